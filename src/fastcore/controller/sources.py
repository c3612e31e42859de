"""A manager's informers: one for each workspace, kind and selector, however many controllers watch it."""

import asyncio
from typing import NamedTuple

from fastcore.controller.controller import Watch
from fastcore.controller.informer import Informer
from fastcore.controller.model import Kind
from fastcore.controller.workspace import Workspace


class _Key(NamedTuple):
    workspace: str
    kind: Kind
    label_selector: str | None
    field_selector: str | None
    field_manager: str | None


class Sources:
    """The informers, and the tasks that run them.

    Args:
        resync: seconds between two resyncs of each informer, or None.

    Attributes:
        failed: done, with an exception, once an informer has ended by itself.

    Thread safety: belongs to one event loop; make it there.
    """

    def __init__(self, resync: float | None) -> None:
        self._resync = resync
        self._informers: dict[_Key, Informer] = {}
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._started = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def informer(self, workspace: Workspace, watch: Watch, field_manager: str | None) -> Informer:
        """The informer behind `watch`; made at the first call, and run if the others run already.

        Args:
            workspace: where.
            watch: what.
            field_manager: whose part of managedFields the cache keeps; None is nobody's.
        """
        key = _Key(workspace.name, watch.kind, watch.label_selector, watch.field_selector, field_manager)
        informer = self._informers.get(key)
        if informer is None:
            informer = Informer(
                workspace,
                watch.kind,
                label_selector=watch.label_selector,
                field_selector=watch.field_selector,
                field_manager=field_manager or "",  # nobody's name: none of managedFields is kept
                resync=self._resync,
            )
            self._informers[key] = informer
            if self._started:
                self._run(key)
        return informer

    def start(self) -> None:
        """Run every informer, and those to come when they come."""
        self._started = True
        for key in self._informers:
            self._run(key)

    async def stop(self) -> None:
        """End every informer's task; what they stored stays readable."""
        self._started = False
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.failed.cancel()

    def late(self) -> list[str]:
        """The informers that are not synced yet, as workspace/Kind, in order."""
        return sorted(f"{key.workspace}/{key.kind.kind}" for key, i in self._informers.items() if not i.synced)

    def __len__(self) -> int:
        return len(self._informers)

    def _run(self, key: _Key) -> None:
        task = asyncio.create_task(self._informers[key].run(), name=f"informer-{key.workspace}-{key.kind.plural}")
        self._tasks[key] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.failed.done():
            return
        self.failed.set_exception(task.exception() or RuntimeError(f"{task.get_name()} ended by itself"))
