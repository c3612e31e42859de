"""One list and watch for many workspaces of a server, split by the workspace of each object.

A quiet workspace costs no request, connection or task of its own: its part waits for what the shared watch brings. A
part that is attached while the watch runs is listed once, by itself, from where the watch stands; what the watch brings
for it meanwhile is held back and follows the list.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple, Protocol

from fastcore.clock import Clock, monotonic_ns, new_random
from fastcore.controller.backoff import Backoff
from fastcore.controller.collection import Collection
from fastcore.controller.config import ConfigError
from fastcore.controller.errors import ApiError
from fastcore.controller.frames import Item, unavailable
from fastcore.controller.model import Kind, parse_revision
from fastcore.controller.reads import PAGE_SIZE
from fastcore.controller.reflector import Reflector, ReflectorStats, Sink
from fastcore.controller.shard_selector import ShardSelector
from fastcore.controller.workspace import Wildcard, Workspace

log = logging.getLogger(__name__)

_JOINS = 10  # lists of single parts at once


class PartSink(Sink, Protocol):
    """What a part fills: an informer."""

    def resync(self) -> None:
        """Show every object to every handler once more (IN-5)."""


class _Held(NamedTuple):
    change: str
    item: Item


class Part:
    """One workspace's share of a shared watch, as its informer sees it.

    Attributes:
        stats: of the shared watch.
    """

    def __init__(self, shared: "SharedWatch", workspace: Workspace, sink: PartSink) -> None:
        self.stats: ReflectorStats = shared.stats
        self.workspace = workspace
        self.sink = sink
        self.filled = False
        self.held: list[_Held] = []
        self.join: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Nothing to do: the shared watch runs for all its parts.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"the informer of {self.workspace.name} is fed by a shared watch: it does not run by itself")

    def fill(self, items: list[Item], revision: str) -> None:
        """The share is exactly `items` at `revision`, and then what was held back and is newer."""
        self.filled = True
        held, self.held = self.held, []
        self.sink.replace(items, revision)
        for change, item in held:
            if _newer(item.head.revision, revision):
                self.take(change, item, item.head.revision)

    def take(self, change: str, item: Item, revision: str) -> None:
        """An event of the shared watch."""
        if not self.filled:
            self.held.append(_Held(change, item))
            return
        self.sink.advance(revision)
        self.sink.apply(change, item)


class SharedWatch:
    """Mirrors one kind in every workspace that is attached, over one reflector.

    Args:
        wildcard: the way to all workspaces of the server.
        kind: what.
        label_selector: restricts the collection on the server.
        field_selector: likewise.
        shard: restricts it to a part.
        streaming: as of `Reflector`.
        resync: seconds between two resyncs of every part, or None.
        clock: integer nanoseconds.
        sleep: waits so many seconds.
        random: of all jitter.

    Complexity: O(1) an event, whatever the number of workspaces; O(workspaces) a bookmark.
    Thread safety: use from one event loop.
    """

    def __init__(
        self,
        wildcard: Wildcard,
        kind: Kind,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard: ShardSelector | None = None,
        streaming: bool = True,
        resync: float | None = None,
        clock: Clock = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
    ) -> None:
        self._wildcard = wildcard
        self._kind = kind
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._shard = shard
        self._resync = resync
        self._clock = clock
        self._sleep = sleep
        self._random = random or new_random()
        self._parts: dict[str, Part] = {}
        self._dropped: set[str] = set()  # workspaces of objects that nobody wanted, since the last start
        self._passed: str | None = None  # a revision that no part knows of yet
        self._slots = asyncio.Semaphore(_JOINS)
        self._reflector = Reflector(
            wildcard.client,
            kind,
            None,
            self,
            label_selector=label_selector,
            field_selector=field_selector,
            shard=shard,
            only=self._wanted,
            streaming=streaming,
            clock=clock,
            sleep=sleep,
            random=self._random,
        )
        self.stats = self._reflector.stats

    def attach(self, workspace: Workspace, sink: PartSink) -> Part:
        """Feed `sink` with the objects of `workspace`, from now on or from the start.

        Raises:
            ValueError: it is attached already.
        """
        if workspace.name in self._parts:
            raise ValueError(f"workspace {workspace.name!r} is attached twice to the watch of {self._kind.plural}")
        part = self._parts[workspace.name] = Part(self, workspace, sink)
        if self._reflector.position is not None:
            self._join(part)
        return part

    async def detach(self, name: str) -> None:
        """Forget the part of workspace `name`; safe to call twice."""
        part = self._parts.pop(name, None)
        if part is not None:
            part.held = []
            await _end(part.join)

    def __len__(self) -> int:
        return len(self._parts)

    async def run(self) -> None:
        """Mirror until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reflector.run(), name=f"watch of {self}")
                if self._resync is not None:
                    group.create_task(self._resync_for_ever(self._resync), name=f"resync of {self}")
        finally:
            for part in self._parts.values():
                await _end(part.join)

    # What the reflector calls

    def replace(self, items: list[Item], revision: str) -> None:
        """Every part is exactly its share of `items`, but for those that came after the start had begun."""
        shares: dict[str, list[Item]] = {name: [] for name in self._parts}
        place = self._wildcard.place
        for item in items:
            share = shares.get(place(item))
            if share is not None:
                share.append(self._wildcard.strip(item))
        incomplete, self._dropped = self._dropped, set()
        self._passed = None
        for name, share in shares.items():
            part = self._parts.get(name)
            if part is None:
                continue  # a handler has detached it meanwhile
            if name in incomplete:
                part.filled = False
                self._join(part)
            else:
                part.held = []
                part.fill(share, revision)

    def advance(self, revision: str) -> None:
        """Tell the parts of a bookmark, but not of every event of others."""
        if self._passed is None:
            asyncio.get_running_loop().call_soon(self._tell)
        self._passed = revision

    def apply(self, change: str, item: Item) -> None:
        """Hand an event to the part that it belongs to."""
        part = self._parts.get(self._wildcard.place(item))
        if part is not None:
            part.take(change, self._wildcard.strip(item), self._passed or item.head.revision)
        self._passed = ""

    def _tell(self) -> None:
        passed, self._passed = self._passed, None
        if passed:
            for part in self._parts.values():
                if part.filled:
                    part.sink.advance(passed)

    def _wanted(self, item: Item) -> bool:
        name = self._wildcard.place(item)
        if name in self._parts:
            return True
        if self._reflector.position is None:
            self._dropped.add(name)
        return False

    # Parts that come later

    def _join(self, part: Part) -> None:
        if part.join is not None:
            part.join.cancel()  # it began before the watch did, so it may lie behind it
        part.join = asyncio.create_task(self._list(part), name=f"list of {self} for {part.workspace.name}")

    async def _list(self, part: Part) -> None:
        """Fill a part by a list of its own; whatever else fills it ends this."""
        workspace, kind = part.workspace, self._kind
        collection = Collection(
            workspace.client,
            kind,
            workspace.namespace if kind.namespaced else None,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            shard=self._shard,
            page_size=PAGE_SIZE,
        )
        backoff = Backoff(clock=self._clock, random=self._random)
        start = self._reflector.position
        while not part.filled and start is not None:
            try:
                async with self._slots:
                    part.held = []
                    await collection.prepare()
                    items, revision = await collection.list(start)
            except (ApiError, ConfigError) as error:
                if start and isinstance(error, ApiError) and unavailable(error):
                    start = ""
                    continue
                wait = backoff.next()
                self.stats.failures += 1
                self.stats.last_error = error
                log.warning("%s in %s: list failed, next try in %.1f s: %s", self, workspace.name, wait, error)
                await self._sleep(wait)
                start = self._reflector.position
            else:
                if not part.filled:
                    part.fill(items, revision)

    async def _resync_for_ever(self, period: float) -> None:
        while True:
            await self._sleep(period * self._random.uniform(0.9, 1.1))
            for part in list(self._parts.values()):
                part.sink.resync()

    def __str__(self) -> str:
        return str(self._reflector)


def _newer(revision: str, than: str) -> bool:
    """Whether an event is not part of a list; one that cannot be told is taken (RF-11)."""
    mine, theirs = parse_revision(revision), parse_revision(than)
    return mine is None or theirs is None or mine > theirs


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
