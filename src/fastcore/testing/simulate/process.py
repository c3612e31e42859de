"""A simulated process: a manager with its controllers, that can be killed at any step and started again."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from fastcore.clock import Surroundings, surrounded
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.context import Context, Scope
from fastcore.controller.controller import Controller
from fastcore.controller.manager import Manager
from fastcore.controller.model import Request
from fastcore.controller.workspace import Workspace
from fastcore.testing.simulate.connection import HOST, Connection
from fastcore.testing.simulate.network import Network
from fastcore.testing.simulate.owner import OWNER, Owner
from fastcore.testing.simulate.world import World

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Process(Owner):
    """One life of one replica.

    Args:
        name: of the replica.
        life: number of this life, from 0.
        world: what runs in it.
        network: leads to the server.
        seed: of its jitter.
        begun: told of each reconcile that begins; of the controller's name and the request.
        wrong: told what is wrong with it.

    Attributes:
        manager: of the controllers.
        running: the task of `manager.run()`.
    """

    def __init__(
        self,
        name: str,
        life: int,
        world: World,
        network: Network,
        seed: int,
        begun: Callable[[str, Request], None],
        wrong: Callable[[str, str], None],
    ) -> None:
        super().__init__(name)
        self._world = world
        self._network = network
        self._begun = begun
        self._wrong = wrong
        self._random = Random(f"process {seed} {name} {life}")
        self._busy: set[tuple[str, Request]] = set()
        self.manager: Manager = contextvars.copy_context().run(self._start)

    def _start(self) -> Manager:
        OWNER.set(self)
        loop = self._network.loop
        around = Surroundings(
            clock=loop.clock,
            now=lambda: EPOCH + timedelta(microseconds=loop.now_ns // 1000),
            new_random=lambda: Random(self._random.getrandbits(64)),
        )
        with surrounded(around):
            client = Client(ClientConfig(f"http://{HOST}"), transport=Connection(self._network, self))
            manager = _Manager(
                self._watched,
                workspaces=[Workspace(name, client.scoped(prefix)) for name, prefix in self._world.prefixes.items()],
                handle_signals=False,
                **self._world.manager(self.name),
            )
            self._world.start(manager)
            self.running = loop.create_task(manager.run(), name=f"{self.name} manager")
            self.running.add_done_callback(_retrieve)
        return manager

    def scopes(self) -> Iterator[tuple[Controller, Scope]]:
        """The controllers, in each workspace that they serve."""
        for controller in self.manager.controllers.values():
            for scope in controller._scopes.values():
                yield controller, scope

    def _watched(self, controller: Controller) -> None:
        """Have each reconcile tell when it begins and ends."""
        invocation = controller.invocation
        reconcile = invocation.reconciler
        name = controller.name

        def begin(request: Request) -> None:
            if (name, request) in self._busy:
                self._wrong(
                    "two reconciles at once", f"controller {name!r} reconciles {request} twice at the same time"
                )
            self._busy.add((name, request))
            self._begun(name, request)

        async def waiting(context: Context, request: Request) -> Any:
            begin(request)
            try:
                result: Any = reconcile(context, request)
                return await result if isinstance(result, Awaitable) else result
            finally:
                self._busy.discard((name, request))

        def plain(context: Context, request: Request) -> Any:
            begin(request)
            try:
                return reconcile(context, request)
            finally:
                self._busy.discard((name, request))

        invocation.reconciler = waiting if invocation.is_async else plain


class _Manager(Manager):
    def __init__(self, added: Callable[[Controller], None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._added = added

    def add(self, controller: Controller) -> None:
        super().add(controller)
        self._added(controller)


def _retrieve(task: asyncio.Task[None]) -> None:
    """An end by an exception is the process's exit, not an error that nobody has seen."""
    if not task.cancelled():
        task.exception()
