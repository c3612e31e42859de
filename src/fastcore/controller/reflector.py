"""Mirrors a collection for ever: reads all of it, then watches, and keeps a sink equal to what the server has.

The start is one stream that brings the present objects and then the changes (RF-2), or a list followed by a watch
where a server has no such streams. The resume position is the resourceVersion of the last thing seen. A failure either
keeps it (watch again from there) or loses it (start anew); `_after_watch_error` decides which.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypedDict

from fastcore.clock import NS_PER_S, Clock, monotonic_ns, new_random
from fastcore.controller.backoff import Backoff
from fastcore.controller.client import Client
from fastcore.controller.collection import Collection, refused
from fastcore.controller.config import ConfigError
from fastcore.controller.errors import (
    ApiError,
    ConnectionFailed,
    GoneError,
    RequestTimeout,
    ServerError,
    TooManyRequestsError,
)
from fastcore.controller.frames import Item, read_event, read_item, revision_of, unavailable, watch_error
from fastcore.controller.initial import NotStreamed, catch_up, collect
from fastcore.controller.model import Kind
from fastcore.controller.reads import PAGE_SIZE
from fastcore.controller.shard_selector import ShardSelector
from fastcore.controller.snapshot import Saved
from fastcore.objects import WatchEvent

log = logging.getLogger(__name__)

_SHORT_NS = NS_PER_S  # RF-6: a watch that is shorter and brought nothing has failed
_SERVER_ERRORS_NS = 60 * NS_PER_S  # RF-5: so long 5xx answers keep the position, then a list is due
_INITIAL_SILENCE_S = 15.0  # a server that streams the present objects does not pause for so long
_CATCH_UP_S = 1  # the watch that tells what happened since a snapshot; at most ten times that, if a server forgets
_BROKEN_STARTS = 3  # streams that break before the end of the initial events; then a list is tried
MAX_RETRY_AFTER_S = 300.0  # servers ask for up to 32 s (LI-2); more comes of a wrong date or clock


class Sink(Protocol):
    """What a reflector fills. Calls never overlap, and none may wait."""

    def replace(self, items: list[Item], revision: str) -> None:
        """The collection is exactly `items` at `revision`."""

    def advance(self, revision: str) -> None:
        """Everything up to `revision` has been, or with the very next call will be, handed over."""

    def apply(self, change: str, item: Item) -> None:
        """`item` was "ADDED", "MODIFIED" or "DELETED"."""


class _Watching(TypedDict):
    timeout: int
    idle_timeout: float
    opened: Callable[[], None]


@dataclass(slots=True)
class ReflectorStats:
    """Counters of a reflector.

    Attributes:
        lists: how often the sink was filled anew, by a list or by a stream.
        streams: how many of them were streams.
        resumes: how many began with a snapshot.
        watches: watches that the server accepted, streams included.
        failures: lists, streams, watches and probes that failed.
        events: of watches, by type.
        active_ns: the last sign of life, on the reflector's clock.
        last_error: the last failure.
    """

    lists: int = 0
    streams: int = 0
    resumes: int = 0
    watches: int = 0
    failures: int = 0
    events: dict[str, int] = field(default_factory=dict)
    active_ns: int = 0
    last_error: Exception | None = None


class Reflector:
    """Keeps `sink` equal to a collection on the server, from `run` until it is cancelled.

    It begins with the newest state where the server can stream it (RF-2), else with a list of any cached state; later
    starts are not older than what was seen (RF-1). A watch resumes at the last position whenever that is possible
    (RF-5, RF-6), so that the server does not have to send everything again. After a connection broke, one small list
    asks whether the server still knows the position: one that was restored from a backup may not, and would accept a
    watch from the future and stay silent.

    Args:
        client: reaches the server.
        kind: what to watch.
        namespace: where; None is everywhere.
        sink: gets the objects.
        label_selector: restricts the collection on the server.
        field_selector: likewise.
        shard: restricts it to a part; here, where the server cannot.
        only: which objects the sink is given; the position moves on with the others, too.
        streaming: start with a stream where the server offers it; it takes no more memory than the objects do, while
            a list is held whole.
        backoff: waits after failures.
        clock: integer nanoseconds.
        sleep: waits so many seconds.
        random: of the watch's length, [300, 600] s (RF-7).
        idle_timeout: seconds of silence after which a watch is opened anew, > 0. Servers send bookmarks about every
            minute, and where they do not, a fresh watch costs one request.
        page_size: objects a page of a list (RF-10).
        resume: gives what an earlier process has saved, once, for the first start; the sink gets it together with what
            has happened since, or not at all.

    Thread safety: use from one event loop.
    Source: the statements RF-1 to RF-10, which follow the behaviour of client-go's reflector.
    """

    def __init__(
        self,
        client: Client,
        kind: Kind,
        namespace: str | None,
        sink: Sink,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard: ShardSelector | None = None,
        only: Callable[[Item], bool] | None = None,
        streaming: bool = True,
        backoff: Backoff | None = None,
        clock: Clock = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
        idle_timeout: float = 150.0,
        page_size: int = PAGE_SIZE,
        resume: Callable[[], Awaitable[Saved | None]] | None = None,
    ) -> None:
        self._resume = resume
        self._collection = Collection(
            client,
            kind,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            shard=shard,
            page_size=page_size,
            only=only,
        )
        self._sink = sink
        self._streaming = streaming
        self._clock = clock
        self._sleep = sleep
        self._random = random or new_random()
        self._backoff = backoff or Backoff(clock=clock, random=self._random)
        self._idle_timeout = idle_timeout
        self._position: str | None = None  # where to watch from; None: start anew
        self._start_from = "0"  # the resourceVersion that the next start must not be older than; "": the newest
        self._broken_starts = 0
        self._doubtful = False  # the server may have another history since its connection broke
        self._server_errors_since: int | None = None
        self._progressed = False  # since the last start; a 410 straight after it must not become a tight loop
        self.stats = ReflectorStats()

    @property
    def position(self) -> str | None:
        """The resourceVersion up to which the sink is complete; None while a start is due."""
        return self._position

    async def run(self) -> None:
        """Start and watch until cancelled; failures are logged, counted and retried."""
        while True:
            wait = await self._step()
            if wait is not None:
                await self._sleep(wait)

    async def _step(self) -> float | None:
        if self._position is None:
            try:
                await self._collection.prepare()
            except (ApiError, ConfigError) as error:
                return self._failed("list", error)
            if self._resume is not None:
                resume, self._resume = self._resume, None
                if await self._resumed(resume):
                    return None
            return await (self._start() if self._streams() else self._list())
        return await (self._probe() if self._doubtful else self._watch())

    # Starts

    def _streams(self) -> bool:
        return self._streaming and self._broken_starts < _BROKEN_STARTS and self._collection.streams

    async def _list(self) -> float | None:
        """Fill the sink from a list; the seconds to wait if that failed."""
        try:
            items, revision = await self._collection.list(self._start_from)
        except (ApiError, ConfigError) as error:
            return None if self._from_the_newest(error) else self._failed("list", error)
        self._fill(items, revision)
        return None

    async def _start(self) -> float | None:
        """Fill the sink from a stream, and feed it from the same stream until it ends (RF-2)."""
        start = "" if self._start_from == "0" else self._start_from
        silence = min(_INITIAL_SILENCE_S, self._idle_timeout)
        opened_ns = self._clock()
        error: Exception | None = None
        try:
            async with aclosing(self._collection.stream(start, **self._watching())) as lines:
                items, revision = await collect(lines, self._event, self._collection.holds, silence)
                self.stats.streams += 1
                self._fill(items, revision)
                async for line in lines:
                    self._take(line)
        except (ApiError, ConfigError) as failure:
            error = failure
        if self._position is not None or error is None:
            return self._after_watch(opened_ns, True, error)
        if self._from_the_newest(error):
            return None
        if isinstance(error, NotStreamed) or (isinstance(error, ApiError) and refused(error)):
            self._collection.no_streams()
            log.info("%s: the server does not stream its objects, so it is asked for a list: %s", self, error)
            return None
        self._broken_starts += 1
        return self._failed("stream", error)

    async def _resumed(self, resume: Callable[[], Awaitable[Saved | None]]) -> bool:
        """Fill the sink from a snapshot and the changes since; whether that could be done."""
        saved = await resume()
        if saved is None:
            return False
        watching: _Watching = {**self._watching(), "timeout": _CATCH_UP_S}
        try:
            known = [read_item(raw) for raw in saved.objects]
            async with asyncio.timeout(10 * _CATCH_UP_S):
                await self._collection.probe(saved.revision)
                async with aclosing(self._collection.watch(saved.revision, **watching)) as lines:
                    items, revision = await catch_up(lines, self._event, self._collection.holds, known, saved.revision)
        except (ApiError, ConfigError, TimeoutError) as error:
            log.info("%s: its snapshot is of no use, so the server is asked for everything: %s", self, error)
            return False
        self.stats.resumes += 1
        self._fill(items, revision)
        return True

    def _from_the_newest(self, error: Exception) -> bool:
        """RF-1: whether this server has no such state, and so has to be asked for its newest, which it has."""
        if not (self._start_from and isinstance(error, ApiError) and unavailable(error)):
            return False
        self._start_from = ""
        return True

    def _fill(self, items: list[Item], revision: str) -> None:
        self.stats.lists += 1
        self.stats.active_ns = self._clock()
        self._sink.replace(items, revision)
        self._position = self._start_from = revision
        self._progressed = self._doubtful = False
        self._broken_starts = 0

    # Watches

    async def _watch(self) -> float | None:
        """Feed the sink from one watch until it ends; the seconds to wait before the next step."""
        opened_ns = self._clock()
        before = self._events()
        error: Exception | None = None
        try:
            await self._stream(self._position or "")
        except (ApiError, ConfigError) as failure:
            error = failure
        return self._after_watch(opened_ns, self._events() != before, error)

    async def _stream(self, position: str) -> None:
        # A watch from "" or "0" begins with the present objects in any order of their versions, which say nothing
        # about where to resume (RF-3).
        settled = position not in ("", "0")
        async with aclosing(self._collection.watch(position, **self._watching())) as lines:
            async for line in lines:
                settled = self._take(line, settled)

    def _watching(self) -> _Watching:
        return {
            "timeout": self._random.randint(300, 600),
            "idle_timeout": self._idle_timeout,
            "opened": self._opened,
        }

    def _event(self, line: bytes) -> WatchEvent:
        event = read_event(line)
        counts = self.stats.events
        counts[event.type] = counts.get(event.type, 0) + 1
        self.stats.active_ns = self._clock()
        if event.type == "ERROR":
            raise watch_error(event.object)
        return event

    def _take(self, line: bytes, settled: bool = True) -> bool:
        """Hand one event to the sink; whether the events from here on say where to resume."""
        event = self._event(line)
        change = event.type
        item = read_item(event.object) if change != "BOOKMARK" else None
        settled = settled or change != "ADDED"
        if settled:
            self._position = self._start_from = revision = revision_of(event)
            self._sink.advance(revision)
        if item is not None and change in ("ADDED", "MODIFIED", "DELETED") and self._collection.holds(item):
            self._sink.apply(change, item)
        return settled

    def _opened(self) -> None:
        self.stats.watches += 1
        self.stats.active_ns = self._clock()

    def _events(self) -> int:
        counts = self.stats.events
        return sum(counts.values()) - counts.get("ERROR", 0)

    def _after_watch(self, opened_ns: int, brought: bool, error: Exception | None) -> float | None:
        """RF-6: what a watch that ended with or without an error means; the seconds to wait."""
        healthy = brought or self._clock() - opened_ns >= _SHORT_NS
        self._progressed = self._progressed or healthy
        if error is not None:
            return self._after_watch_error(error, healthy)
        self._server_errors_since = None
        if healthy:
            return None
        return self._failed("watch", ConnectionFailed("the watch ended within a second and brought nothing"))

    def _after_watch_error(self, error: Exception, healthy: bool) -> float | None:
        """RF-5: keep the position or lose it; the seconds to wait."""
        self._doubtful = self._doubtful or isinstance(error, ServerError | ConnectionFailed | RequestTimeout)
        if isinstance(error, ServerError):
            now = self._clock()
            if self._server_errors_since is None:
                self._server_errors_since = now
            if now - self._server_errors_since >= _SERVER_ERRORS_NS:
                self._position = self._server_errors_since = None
            return self._failed("watch", error)
        self._server_errors_since = None
        if isinstance(error, ConnectionFailed | RequestTimeout):
            if not healthy:
                return self._failed("watch", error)
            log.debug("%s: %s; resuming at %s", self, error, self._position)
            return None
        if isinstance(error, TooManyRequestsError):
            return self._failed("watch", error)
        self._position = None
        if isinstance(error, GoneError) and self._progressed:
            log.info("%s: %s; listing again", self, error)
            return None
        return self._failed("watch", error)

    async def _probe(self) -> float | None:
        """Ask whether the server's history reaches the position; start anew if not; the seconds to wait."""
        position = self._position or ""
        try:
            await self._collection.probe(position)
        except (ApiError, ConfigError) as error:
            if isinstance(error, ApiError) and unavailable(error):
                log.warning("%s: the server has not reached %s, so its history is another: %s", self, position, error)
                self._position, self._start_from = None, ""
            elif not (isinstance(error, ApiError) and refused(error)):
                return self._after_watch_error(error, False)
        self._doubtful = False
        return None

    def _failed(self, what: str, error: Exception) -> float:
        self.stats.failures += 1
        self.stats.last_error = error
        asked = min(getattr(error, "retry_after", None) or 0.0, MAX_RETRY_AFTER_S)
        wait = max(self._backoff.next(), asked)
        log.warning("%s: %s failed, next try in %.1f s: %s", self, what, wait, error)
        return wait

    def __str__(self) -> str:
        return str(self._collection)
