"""A manager's informers: one for each workspace, kind and selector, however many controllers watch it."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, NamedTuple

from fastcore.controller.handlers import Watch
from fastcore.controller.informer import Feed, Informer, Mirror
from fastcore.controller.model import Kind
from fastcore.controller.shard_selector import ShardSelector
from fastcore.controller.snapshot import Snapshots
from fastcore.controller.wildcard import SharedWatch
from fastcore.controller.workspace import Wildcard, Workspace


class _What(NamedTuple):
    """What is mirrored, wherever it is."""

    kind: Kind
    label_selector: str | None
    field_selector: str | None
    shard_selector: ShardSelector | None
    field_manager: str | None


class _Key(NamedTuple):
    workspace: str
    what: _What


class Sources:
    """The informers, and the tasks that run them: one an informer, or one for all workspaces that share a wildcard.

    Args:
        resync: seconds between two resyncs of each informer, or None.
        streaming: start with streams where a server has them.
        snapshots: where informers save what they mirror, and begin with it; None is nowhere.

    Attributes:
        failed: done, with an exception, once an informer has ended by itself.

    Thread safety: belongs to one event loop; make it there.
    """

    def __init__(self, resync: float | None, *, streaming: bool = True, snapshots: Snapshots | None = None) -> None:
        self._resync = resync
        self._snapshots = snapshots
        self._streaming = streaming
        self._informers: dict[_Key, Informer] = {}
        self._shared: dict[tuple[Wildcard, _What], SharedWatch] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._started = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def informer(self, workspace: Workspace, watch: Watch, field_manager: str | None) -> Informer:
        """The informer behind `watch`; made at the first call, and run if the others run already.

        Args:
            workspace: where.
            watch: what.
            field_manager: whose part of managedFields the cache keeps; None is nobody's.
        """
        what = _What(watch.kind, watch.label_selector, watch.field_selector, watch.shard_selector, field_manager)
        key = _Key(workspace.name, what)
        informer = self._informers.get(key)
        if informer is None:
            wildcard = workspace.wildcard
            shared = None
            if wildcard is not None and wildcard.covers(watch.kind):
                shared = self._shared_watch(wildcard, what)
            informer = self._informers[key] = self._make(workspace, what, shared)
            if shared is None and self._started:
                self._run(key, informer.run(), f"informer-{workspace.name}-{watch.kind.plural}")
        return informer

    def start(self) -> None:
        """Run every informer, and those to come when they come."""
        self._started = True
        for key, informer in self._informers.items():
            if not informer.shared:
                self._run(key, informer.run(), f"informer-{key.workspace}-{key.what.kind.plural}")
        for place, watch in self._shared.items():
            self._run(place, watch.run(), f"watch-{place[1].kind.plural}")

    def also(self, running: Coroutine[Any, Any, None], name: str) -> None:
        """Run something else with the informers, which fails them all if it fails."""
        self._run(name, running, name)

    async def remove(self, name: str) -> None:
        """End and forget the informers of a workspace; safe to call twice."""
        keys = [key for key in self._informers if key.workspace == name]
        tasks = [task for key in keys if (task := self._tasks.pop(key, None)) is not None]
        await _end(tasks)
        for key in keys:
            wildcard = self._informers.pop(key).workspace.wildcard
            if wildcard is None:
                continue
            place = (wildcard, key.what)
            watch = self._shared.get(place)
            if watch is not None:
                await watch.detach(name)
                if not len(watch) and self._shared.get(place) is watch:
                    del self._shared[place]
                    await _end([task for task in (self._tasks.pop(place, None),) if task is not None])

    async def stop(self) -> None:
        """End every informer's task; what they stored stays readable."""
        self._started = False
        tasks = list(self._tasks.values())
        self._tasks.clear()
        await _end(tasks)
        self.failed.cancel()

    def late(self) -> list[str]:
        """The informers that are not synced yet, as workspace/Kind, in order."""
        return sorted(f"{key.workspace}/{key.what.kind.kind}" for key, i in self._informers.items() if not i.synced)

    def informers(self) -> list[Informer]:
        """Every informer."""
        return list(self._informers.values())

    def __len__(self) -> int:
        return len(self._informers)

    def _make(self, workspace: Workspace, what: _What, shared: SharedWatch | None) -> Informer:
        def mirror(feed: Feed) -> Mirror:
            assert shared is not None
            return shared.attach(workspace, feed)

        return Informer(
            workspace,
            what.kind,
            label_selector=what.label_selector,
            field_selector=what.field_selector,
            shard_selector=what.shard_selector,
            streaming=self._streaming,
            mirror=None if shared is None else mirror,
            field_manager=what.field_manager or "",  # nobody's name: none of managedFields is kept
            snapshots=self._snapshots,
            resync=self._resync,
        )

    def _shared_watch(self, wildcard: Wildcard, what: _What) -> SharedWatch:
        place = (wildcard, what)
        watch = self._shared.get(place)
        if watch is None:
            watch = self._shared[place] = SharedWatch(
                wildcard,
                what.kind,
                label_selector=what.label_selector,
                field_selector=what.field_selector,
                shard=what.shard_selector,
                streaming=self._streaming,
                resync=self._resync,
            )
            if self._started:
                self._run(place, watch.run(), f"watch-{what.kind.plural}")
        return watch

    def _run(self, key: object, running: Coroutine[Any, Any, None], name: str) -> None:
        task = self._tasks[key] = asyncio.create_task(running, name=name)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.failed.done():
            return
        self.failed.set_exception(task.exception() or RuntimeError(f"{task.get_name()} ended by itself"))


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
