"""Whom a step belongs to: a process that can die or freeze, and its tasks."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any


class Owner:
    """What a handle belongs to: a process that can die or freeze.

    Attributes:
        alive: False: what belongs to it never runs again.
        frozen: True: what belongs to it waits.
        tasks: those that have not ended.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.tasks: dict[SimulatedTask, None] = {}

    def ended(self, task: Any) -> None:
        """Forget a task."""
        self.tasks.pop(task, None)


class SimulatedTask(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks are walked in the same order in every run."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, number: int, owner: Owner | None, **more: Any) -> None:
        self.number = number
        self.owner = owner
        super().__init__(coroutine, **more)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


OWNER: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("fastcore_simulated_process", default=None)
"""The process in whose context a step is taken; None is the simulator itself."""
