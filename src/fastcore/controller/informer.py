"""A local copy of one kind in one workspace, kept by a reflector, with indexes and handlers.

User code (transform, index functions, handlers) runs on the event loop: the transform before the store changes, the
index functions while it does (on values computed beforehand), the handlers after it. What they raise is logged and
counted and stops nothing else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import msgspec

from fastcore.clock import NS_PER_S, Clock, monotonic_ns, new_random
from fastcore.controller.frames import Item, answered, read_item
from fastcore.controller.model import Kind, Resource
from fastcore.controller.reflector import Reflector, ReflectorStats
from fastcore.controller.shard_selector import ShardSelector
from fastcore.controller.snapshot import Saved, SnapshotFile, Snapshots
from fastcore.controller.store import IndexFunction, Store
from fastcore.controller.workspace import Workspace
from fastcore.errors import WaitTimeout
from fastcore.objects import Change, ObjectStore

log = logging.getLogger(__name__)

Objects = list[Resource]

_OWNER_INDEX = "owner"

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Handler(Protocol):
    """Told of every change, in order, after the store has it. It must not wait, nor change the objects."""

    def on_add(self, obj: Resource, initial: bool) -> None:
        """`obj` is new; `initial` says that it was there before the handler was."""

    def on_update(self, old: Resource, new: Resource) -> None:
        """`old` became `new`; the same object twice is a resync (IN-5)."""

    def on_delete(self, obj: Resource) -> None:
        """`obj` is gone; this is its last known state (RF-9)."""


class Mirror(Protocol):
    """What feeds an informer: a reflector, or a share of one."""

    stats: ReflectorStats

    async def run(self) -> None:
        """Feed until cancelled."""


@dataclass(frozen=True, slots=True)
class InformerStats:
    """A reading of an informer's counters.

    Attributes:
        objects: in the store now.
        synced: whether the first list is in.
        lists: lists that succeeded; the first is the sync, the others are relists.
        watches: watches that the server accepted.
        failures: lists and watches that failed.
        events: of watches, by type.
        handler_errors: what handlers and transforms raised.
        revision: resourceVersion up to which the store is complete.
        lag: seconds since the last sign of life of the server, at most about a minute where it sends bookmarks.
    """

    objects: int
    synced: bool
    lists: int
    watches: int
    failures: int
    events: dict[str, int]
    handler_errors: int
    revision: str
    lag: float


class Informer:
    """Mirrors the objects of one kind in one workspace.

    The objects that it hands out are shared and read-only views (IN-6): what would change one raises TypeError, and
    `fastcore.objects.thaw` makes a copy that may be changed.

    Args:
        workspace: where; its namespace restricts namespaced kinds.
        kind: what.
        label_selector: restricts the mirrored objects, such as "app=web".
        field_selector: likewise, such as "metadata.name=web".
        shard_selector: mirrors a part of them only; applied here where the server cannot.
        streaming: ask for the objects as a stream where the server has it, instead of lists.
        mirror: makes what feeds this informer, instead of a reflector of its own; such an informer is not run.
        namespace: instead of the workspace's.
        transform: changes each object, decoded for it, before it is stored, in place or by returning another; instead
            of the default, which drops `metadata.managedFields` but for what `field_manager` applied.
        field_manager: our own name in `managedFields`.
        snapshots: begin with what an earlier process has saved there, and save what is mirrored; a transform then sees
            again what it has made. Not for Secrets, nor with a `mirror`.
        resync: every so many seconds (±10 %) each handler gets an update of each object with itself, without any
            request (IN-5); >= 1, None is never.
        idle_timeout: seconds of silence after which the watch is opened anew.
        clock: integer nanoseconds.
        sleep: waits so many seconds.
        random: for all jitter.

    Attributes:
        shared: whether something feeds it together with others, so that it is not run.

    Raises:
        ValueError: `resync` is less than 1 s.

    Complexity: get O(1) for the objects read last, else O(bytes of the object); by_index O(result); list O(bytes).
    Thread safety: use from one event loop.

    Example:
        informer = Informer(workspace, CONFIG_MAP)
        task = asyncio.create_task(informer.run())
        await informer.wait_synced(30)
        informer.get("default", "settings")
    """

    def __init__(
        self,
        workspace: Workspace,
        kind: Kind,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard_selector: ShardSelector | None = None,
        streaming: bool = True,
        mirror: Callable[["Feed"], Mirror] | None = None,
        namespace: str | None = None,
        transform: Callable[[Resource], Resource] | None = None,
        field_manager: str = "fastcore",
        snapshots: Snapshots | None = None,
        resync: float | None = None,
        idle_timeout: float = 150.0,
        clock: Clock = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
    ) -> None:
        if resync is not None and not resync >= 1:
            raise ValueError(f"resync must be >= 1 second or None, not {resync!r}")
        self.workspace = workspace
        self.kind = kind
        self.namespace = (namespace or workspace.namespace) if kind.namespaced else None
        self._transform = transform
        self._resync = resync
        self._snapshots = snapshots if snapshots is not None and mirror is None and snapshots.holds(kind) else None
        self._file: SnapshotFile | None = None
        self._saved = ""  # the revision of what is in the file
        self._kept = repr((label_selector, field_selector, str(shard_selector), transform is not None, field_manager))
        self._clock = clock
        self._sleep = sleep
        self._random = random or new_random()
        self._objects = (
            ObjectStore(api_version=kind.api_version, kind=kind.kind, field_manager=field_manager)
            if transform is None
            else ObjectStore(api_version=kind.api_version, kind=kind.kind, drop=())
        )
        self._objects.index(_OWNER_INDEX, "metadata.ownerReferences.uid")
        self._store = Store(self._objects, partial=bool(label_selector or field_selector or shard_selector))
        self.shared = mirror is not None
        feed = Feed(self)
        self._reflector: Mirror = (
            mirror(feed)
            if mirror is not None
            else Reflector(
                workspace.client,
                kind,
                self.namespace,
                feed,
                label_selector=label_selector,
                field_selector=field_selector,
                shard=shard_selector,
                streaming=streaming,
                clock=clock,
                sleep=sleep,
                random=self._random,
                idle_timeout=idle_timeout,
                resume=None if self._snapshots is None else self._load,
            )
        )
        self._handlers: tuple[Handler, ...] = ()
        self._pending: deque[tuple[tuple[Handler, ...], Change | _Again, bool]] = deque()
        self._delivering = False
        self._handler_errors = 0
        self._synced = False
        self._ready = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._stopping = False

    async def run(self) -> None:
        """Mirror until `stop` is called or this is cancelled; what is stored stays readable.

        Raises:
            RuntimeError: it is running already.
        """
        if self._runner is not None:
            raise RuntimeError(f"the informer of {self} is already running")
        self._stopping = False
        self._runner = asyncio.create_task(self._work(), name=f"informer {self}")
        try:
            await self._runner
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping or (task is not None and task.cancelling()):
                raise
        finally:
            self._runner = None
            self._ready.set()

    async def stop(self) -> None:
        """End `run` and wait until it has ended; safe to call twice."""
        runner = self._runner
        if runner is not None:
            self._stopping = True
            runner.cancel()
            await asyncio.wait([runner])

    @property
    def synced(self) -> bool:
        """Whether the first list is stored and every handler has seen it (IN-2)."""
        return self._synced

    async def wait_synced(self, timeout: float) -> None:
        """Return once `synced`.

        Args:
            timeout: seconds, >= 0.

        Raises:
            WaitTimeout: it did not sync in time, or stopped before; the cause is the last failure.
        """
        if self._synced:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            pass
        if not self._synced:
            error = self._reflector.stats.last_error
            how = "stopped before it synced" if self._ready.is_set() else f"did not sync within {timeout} s"
            raise WaitTimeout(f"the informer of {self} {how}; last error: {error or 'none'}") from error

    def get(self, namespace: str | None, name: str) -> Resource | None:
        """The object of this key, or None."""
        found: Resource | None = self._objects.get((namespace or "", name))
        return found

    def list(self, namespace: str | None = None) -> Objects:
        """Every object, or those of one namespace; each is decoded for it."""
        return [*self._objects.views(namespace)]

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index all objects, also those that are there already (IN-3, IN-4).

        Args:
            name: not used before.
            function: gives the hashable values under which an object is found, none or several.

        Raises:
            ValueError: there is an index of this name.
        """
        self._store.add_index(name, function)

    def by_index(self, name: str, value: Hashable) -> Objects:
        """The objects for which the index function gave `value`.

        Raises:
            ValueError: there is no index of this name.
        """
        return [*self._objects.by_index(name, value)]

    def by_owner(self, uid: str) -> Objects:
        """The objects with an owner reference to `uid`."""
        return [*self._objects.by_index(_OWNER_INDEX, uid)]

    def add_handler(self, handler: Handler) -> None:
        """Tell `handler` of every object that is there and of every change from now on, without a gap (IN-3)."""
        self._handlers = (*self._handlers, handler)
        for key in self._objects:
            obj = self._objects.get(key)
            if obj is not None:
                self._call(handler, (None, obj), True)

    def observe(self, obj: Resource, text: bytes | None = None) -> None:
        """Take the answer of a write of ours, so that reads see it before the watch brings it.

        Nothing happens unless it is newer than all that the watch has brought, which is what a resourceVersion can
        tell (RF-11): a later change, or a deletion, is never undone. Handlers are told; the watch's own event of the
        same version then changes nothing.

        Args:
            obj: as the server answered; it is not changed. One of another kind is ignored.
            text: the same as it came, which spares writing it anew.
        """
        if obj.get("kind", self.kind.kind) != self.kind.kind:
            return  # of a write to /scale, say
        if self.namespace and obj["metadata"].get("namespace") != self.namespace:
            return
        item = read_item(_encode(obj)) if text is None else answered(obj, text)
        self._deliver(self._store.observe(self._prepare(item)), False)

    def resync(self) -> None:
        """Show every handler every object once more, as an update of the object with itself (IN-5)."""
        self._deliver([_Again(self._objects, key) for key in self._objects], False)

    def stats(self) -> InformerStats:
        """A reading of the counters."""
        counts = self._reflector.stats
        return InformerStats(
            objects=len(self._objects),
            synced=self._synced,
            lists=counts.lists,
            watches=counts.watches,
            failures=counts.failures,
            events=dict(counts.events),
            handler_errors=self._handler_errors,
            revision=self._store.revision,
            lag=(self._clock() - counts.active_ns) / NS_PER_S if counts.active_ns else 0.0,
        )

    async def _work(self) -> None:
        if self._resync is None and self._snapshots is None:
            await self._reflector.run()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reflector.run())
                if self._resync is not None:
                    group.create_task(self._resync_for_ever(self._resync))
                if self._snapshots is not None:
                    group.create_task(self._save_for_ever(self._snapshots.period))
        finally:
            await self._save()

    async def _load(self) -> Saved | None:
        assert self._snapshots is not None
        self._file = await self._snapshots.file(self.workspace.client, self.kind, self.namespace, self._kept)
        saved = await asyncio.to_thread(self._file.read)
        self._saved = "" if saved is None else saved.revision
        return saved

    async def _save_for_ever(self, period: float) -> None:
        while True:
            await self._sleep(period * self._random.uniform(0.9, 1.1))
            await self._save()

    async def _save(self) -> None:
        """Write the file, unless it says the same already."""
        revision = self._store.revision
        if self._file is None or not self._synced or revision == self._saved:
            return
        objects = [raw for key in self._objects if (raw := self._objects.raw(key)) is not None]
        try:
            await asyncio.to_thread(self._file.write, Saved(objects, revision))
        except OSError as error:
            log.warning("the snapshot of %s was not written: %s", self, error)
        else:
            self._saved = revision

    async def _resync_for_ever(self, period: float) -> None:
        while True:
            await self._sleep(period * self._random.uniform(0.9, 1.1))
            self.resync()

    def _prepare(self, item: Item) -> Item:
        if self._transform is None:
            return item
        named = {"apiVersion": self.kind.api_version, "kind": self.kind.kind}  # which lists leave out
        try:
            return read_item(_encode(self._transform({**named, **_decode(item.raw)})))
        except Exception:
            self._handler_errors += 1
            log.exception("the transform of %s failed; the object is stored as it came", self)
            return item

    def _deliver(self, changes: "_Changes", initial: bool) -> None:
        """Tell the handlers, in order even if one of them causes further changes (IN-1); empties `changes`."""
        handlers = self._handlers
        if not (handlers and changes):
            return
        self._pending.extend((handlers, change, initial) for change in changes)
        changes.clear()  # so that the views of each are let go of once it has been told
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._pending:
                handlers, change, initial = self._pending.popleft()
                step = (change.old, change.new)
                for handler in handlers:
                    self._call(handler, step, initial)
        finally:
            self._delivering = False

    def _call(self, handler: Handler, step: tuple[Resource | None, Resource | None], initial: bool) -> None:
        old, new = step
        try:
            if old is not None and new is not None:
                handler.on_update(old, new)
            elif new is not None:
                handler.on_add(new, initial)
            elif old is not None:
                handler.on_delete(old)
        except Exception:
            self._handler_errors += 1
            log.exception("a handler of the informer of %s failed", self)

    def __str__(self) -> str:
        return f"{self.kind.plural} in {self.workspace.name}"


class Feed:
    """The informer as a reflector sees it."""

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        self._store = informer._store

    def replace(self, items: list[Item], revision: str) -> None:
        """See Sink."""
        informer = self._informer
        prepared = [informer._prepare(item) for item in items]
        informer._deliver(self._store.replace(prepared, revision), not informer._synced)
        informer._synced = True
        informer._ready.set()

    def advance(self, revision: str) -> None:
        """See Sink."""
        self._store.revision = revision

    def apply(self, change: str, item: Item) -> None:
        """See Sink."""
        informer = self._informer
        informer._deliver(self._store.apply(change, informer._prepare(item)), False)

    def resync(self) -> None:
        """Show every handler every object once more."""
        self._informer.resync()


class _Again:
    """An object that is shown once more, as it is then; nothing, if it has gone meanwhile."""

    __slots__ = ("_key", "_objects")

    def __init__(self, objects: ObjectStore, key: tuple[str, str]) -> None:
        self._objects = objects
        self._key = key

    @property
    def old(self) -> Resource | None:
        found: Resource | None = self._objects.get(self._key)
        return found

    new = old


_Changes = list[Change] | list[_Again]
