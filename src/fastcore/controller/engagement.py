"""Which workspaces a manager works in: gives them to its controllers, and takes them away again, while all run."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any, Protocol, runtime_checkable

from fastcore.controller.context import Scope
from fastcore.controller.controller import Controller
from fastcore.controller.event_sender import EventSender
from fastcore.controller.event_series import SeriesRecorder
from fastcore.controller.events import EventRecorder
from fastcore.controller.sources import Sources
from fastcore.controller.workspace import Workspace

log = logging.getLogger("fastcore.controller")


@runtime_checkable
class WorkspaceProvider(Protocol):
    """Says which workspaces there are, now and from now on.

    Source: the providers of multicluster-runtime; sets instead of single events, so that nothing can be missed.
    """

    def changes(self) -> AsyncGenerator[Iterable[Workspace], None]:
        """The complete set, at once and after each change, until it is closed.

        A workspace that stays is the same object each time. When the next set is asked for, nobody uses what was left
        out of the last one any more. A generator that ends leaves the last set in place; one that raises ends the
        manager.
        """
        ...


Fence = Callable[[Workspace, Controller], Workspace]


class Engagements:
    """The workspaces that are engaged, and what each controller has in each of them.

    Args:
        controllers: all of the manager's.
        sources: makes the informers.
        fence: a workspace as one controller may use it.
        workspaces: those that are there at the start.

    Attributes:
        workspaces: those that are engaged, by name; the manager's own mapping.
        known: a provider has said which workspaces there are.

    Thread safety: belongs to one event loop.
    """

    def __init__(
        self,
        controllers: Iterable[Controller],
        sources: Sources,
        fence: Fence,
        workspaces: dict[str, Workspace],
    ) -> None:
        self._controllers = list(controllers)
        self._sources = sources
        self._fence = fence
        self._recorders: dict[str, list[EventSender[Any, Any]]] = {}
        self._coming: dict[str, tuple[Workspace, asyncio.Task[None]]] = {}
        self.workspaces = workspaces
        self.known = False

    def connect(self) -> None:
        """Give every controller the workspaces that are there, with handlers in place before any informer runs."""
        scopes: dict[Controller, dict[str, Scope]] = {controller: {} for controller in self._controllers}
        for name, workspace in self.workspaces.items():
            for controller, scope in self._scopes(workspace):
                scopes[controller][name] = scope
        for controller, mine in scopes.items():
            controller.connect(mine)

    async def follow(self, provider: WorkspaceProvider) -> None:
        """Work in exactly those workspaces that `provider` names, until cancelled."""
        async with aclosing(provider.changes()) as sets:
            async for wanted in sets:
                await self._follow(wanted)
        await asyncio.get_running_loop().create_future()  # what is engaged stays so

    async def _follow(self, wanted: Iterable[Workspace]) -> None:
        names = {workspace.name: workspace for workspace in wanted}
        present = dict(self.workspaces) | {name: workspace for name, (workspace, _) in self._coming.items()}
        gone = [name for name, workspace in present.items() if names.get(name) is not workspace]
        await asyncio.gather(*(self.disengage(name) for name in gone))
        for name, workspace in names.items():
            if name not in present or name in gone:
                self.engage(workspace)
        self.known = True

    def engage(self, workspace: Workspace) -> None:
        """Begin to work in `workspace`: as soon as its informers are synced, its objects are queued.

        One that does not sync holds up nobody else; it is waited for until it is disengaged.

        Raises:
            ValueError: one of this name is engaged.
        """
        name = workspace.name
        if name in self.workspaces or name in self._coming:
            raise ValueError(f"the workspace {name!r} is engaged already")
        scopes = self._scopes(workspace)
        self._coming[name] = workspace, asyncio.create_task(self._await(workspace, scopes), name=f"engage {name}")

    async def disengage(self, name: str) -> None:
        """Stop working in a workspace, and free all that belonged to it; safe to call twice.

        Running reconciles get the grace of a stop. Its events are sent.
        """
        coming = self._coming.pop(name, None)
        if coming is not None:
            coming[1].cancel()
            await asyncio.wait([coming[1]])
        self.workspaces.pop(name, None)
        await asyncio.gather(*(controller.disengage(name) for controller in self._controllers))
        await asyncio.gather(*(recorder.close() for recorder in self._recorders.pop(name, ())))
        await self._sources.remove(name)

    async def close(self) -> None:
        """Send the last events of all; the informers are the sources' to end."""
        tasks = [task for _, task in self._coming.values()]
        self._coming.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        recorders = [recorder for several in self._recorders.values() for recorder in several]
        self._recorders.clear()
        await asyncio.gather(*(recorder.close() for recorder in recorders))

    def _scopes(self, workspace: Workspace) -> list[tuple[Controller, Scope]]:
        found = []
        recorders = self._recorders[workspace.name] = []
        for controller in self._controllers:
            manager = controller.options.field_manager or controller.name
            tracked = manager if controller.options.track_fields else None
            mine = self._fence(workspace, controller)
            informers = {watch.kind: self._sources.informer(mine, watch, tracked) for watch in controller.watches}
            record = SeriesRecorder if controller.options.event_series else EventRecorder
            recorder: EventSender[Any, Any] = record(mine.client, controller.name, stats=controller.counters.events)
            recorder.start()
            recorders.append(recorder)
            found.append((controller, Scope(mine, informers, recorder, manager)))
        return found

    async def _await(self, workspace: Workspace, scopes: list[tuple[Controller, Scope]]) -> None:
        """Handlers come when every informer is synced: a reconcile must not take what is not read yet for missing."""
        for controller, scope in scopes:
            for informer in scope.informers.values():
                while not informer.synced:
                    try:
                        await informer.wait_synced(controller.options.cache_sync_timeout)
                    except TimeoutError as error:
                        log.warning("workspace %s is not worked in yet: %s", workspace.name, error)
        del self._coming[workspace.name]
        self.workspaces[workspace.name] = workspace
        for controller, scope in scopes:
            controller.engage(workspace.name, scope)
