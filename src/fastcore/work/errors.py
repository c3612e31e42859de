"""What the services of `fastcore.work` raise on purpose."""

from collections.abc import Sequence
from typing import NamedTuple

from fastcore.errors import FastcoreError


class Rejected(FastcoreError, RuntimeError):
    """A job or task was not taken, or was taken and never begun.

    Attributes:
        reason: "queue_full", "shutdown", "displaced", "cancelled" or "memory".
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class LimitReached(FastcoreError, RuntimeError):
    """A task manager runs as many tasks as it may."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        super().__init__(name, limit)

    def __str__(self) -> str:
        return f"{self.name!r} was not started: {self.limit} tasks run, which is the limit; wait for one, or raise it"


class DeadlineExceeded(FastcoreError, TimeoutError):
    """A job's deadline passed before it ended."""


class Survivor(NamedTuple):
    """A task or thread that still runs.

    Args:
        kind: "task" or "thread".
        name: its name.
        stack: where it is, or, from a leak detector, where it was created; "" where nobody knows.
    """

    kind: str
    name: str
    stack: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" + (f"\n{self.stack.rstrip()}" if self.stack else "")


class ShutdownTimeout(FastcoreError, TimeoutError):
    """Some of what was told to end did not.

    Attributes:
        running: who still runs, and where.
    """

    def __init__(self, timeout: float, running: Sequence[Survivor]) -> None:
        self.timeout = timeout
        self.running = tuple(running)
        super().__init__(timeout, self.running)

    def __str__(self) -> str:
        listed = "\n".join(map(str, self.running))
        return f"{len(self.running)} still running after {self.timeout:g} s:\n{listed}"


class LeakError(FastcoreError, AssertionError):
    """Tasks or threads outlived the scope that they were started in.

    Attributes:
        leaked: who, and where each was created.
    """

    def __init__(self, leaked: Sequence[Survivor]) -> None:
        self.leaked = tuple(leaked)
        super().__init__(self.leaked)

    def __str__(self) -> str:
        listed = "\n".join(map(str, self.leaked))
        return f"{len(self.leaked)} left behind (with the stack that created each):\n{listed}"
