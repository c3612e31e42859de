"""Lists a collection, then watches it, for ever: keeps a sink equal to what the server has.

The resume position is the resourceVersion of the last thing seen. A failure either keeps it (watch again from there)
or loses it (list again, then watch); `_after_watch_error` decides which.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import msgspec

from fastcore.clock import NS_PER_S, Clock, monotonic_ns, new_random
from fastcore.controller.client import PAGE_SIZE, Client
from fastcore.controller.config import ConfigError
from fastcore.controller.errors import (
    ApiError,
    ConnectionFailed,
    DecodeError,
    GoneError,
    RequestTimeout,
    ServerError,
    TooManyRequestsError,
    error_of,
)
from fastcore.controller.model import Kind, Resource

log = logging.getLogger(__name__)

_SHORT_NS = NS_PER_S  # RF-6: a watch that is shorter and brought nothing has failed
_SERVER_ERRORS_NS = 60 * NS_PER_S  # RF-5: so long 5xx answers keep the position, then a list is due
_LIST_TIMEOUT_S = 60.0
MAX_RETRY_AFTER_S = 300.0  # servers ask for up to 32 s (LI-2); more comes of a wrong date or clock


class Sink(Protocol):
    """What a reflector fills. Calls never overlap, and none may wait."""

    def replace(self, items: list[Resource], revision: str) -> None:
        """The collection is exactly `items` at `revision`."""

    def advance(self, revision: str) -> None:
        """Everything up to `revision` has been, or with the very next call will be, handed over."""

    def apply(self, change: str, obj: Resource) -> None:
        """`obj` was "ADDED", "MODIFIED" or "DELETED"; it belongs to the sink now."""


class Backoff:
    """Waits that double from `base` to `maximum`, each stretched by up to `jitter` of itself (RF-8).

    Starts over after `reset_after` seconds without a failure.
    """

    def __init__(
        self,
        base: float = 0.8,
        maximum: float = 30.0,
        *,
        factor: float = 2.0,
        jitter: float = 1.0,
        reset_after: float = 120.0,
        clock: Clock = monotonic_ns,
        random: Random | None = None,
    ) -> None:
        self._base = base
        self._maximum = maximum
        self._factor = factor
        self._jitter = jitter
        self._reset_ns = int(reset_after * NS_PER_S)
        self._clock = clock
        self._random = random or new_random()
        self._delay = base
        self._failed_ns: int | None = None

    def next(self) -> float:
        """Note a failure; the seconds to wait after it."""
        now = self._clock()
        if self._failed_ns is not None and now - self._failed_ns > self._reset_ns:
            self._delay = self._base
        delay = self._delay
        self._delay = min(delay * self._factor, self._maximum)
        delay *= 1 + self._random.random() * self._jitter
        self._failed_ns = now + int(delay * NS_PER_S)
        return delay


@dataclass(slots=True)
class ReflectorStats:
    """Counters of a reflector; `events` is by type, `active_ns` the last sign of life on its clock."""

    lists: int = 0
    watches: int = 0
    failures: int = 0
    events: dict[str, int] = field(default_factory=dict)
    active_ns: int = 0
    last_error: Exception | None = None


class Reflector:
    """Keeps `sink` equal to a collection on the server, from `run` until it is cancelled.

    The first list takes any cached state; later ones are not older than what was seen (RF-1). A watch resumes at the
    last position whenever that is possible (RF-5, RF-6), so that the server does not have to list again.

    Args:
        client: reaches the server.
        kind: what to watch.
        namespace: where; None is everywhere.
        sink: gets the objects.
        label_selector: restricts the collection on the server.
        field_selector: likewise.
        backoff: waits after failures.
        clock: integer nanoseconds.
        sleep: waits so many seconds.
        random: of the watch's length, [300, 600] s (RF-7).
        idle_timeout: seconds of silence after which a watch is opened anew, > 0. Servers send bookmarks about every
            minute, and where they do not, a fresh watch costs one request.
        page_size: objects a page of a list (RF-10).

    Thread safety: use from one event loop.
    Source: the statements RF-1 and RF-3 to RF-10, which follow the behaviour of client-go's reflector.
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
        backoff: Backoff | None = None,
        clock: Clock = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
        idle_timeout: float = 150.0,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._sink = sink
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._clock = clock
        self._sleep = sleep
        self._random = random or new_random()
        self._backoff = backoff or Backoff(clock=clock, random=self._random)
        self._idle_timeout = idle_timeout
        self._page_size = page_size
        self._position: str | None = None  # where to watch from; None: list first
        self._list_from = "0"  # the resourceVersion that the next list must not be older than; "": the newest
        self._server_errors_since: int | None = None
        self._progressed = False  # since the last list; a 410 straight after a list must not become a tight loop
        self.stats = ReflectorStats()

    @property
    def position(self) -> str | None:
        """The resourceVersion up to which the sink is complete; None while a list is due."""
        return self._position

    async def run(self) -> None:
        """List and watch until cancelled; failures are logged, counted and retried."""
        while True:
            wait = await (self._list() if self._position is None else self._watch())
            if wait is not None:
                await self._sleep(wait)

    async def _list(self) -> float | None:
        """Fill the sink from a list; the seconds to wait if that failed."""
        start = self._list_from
        try:
            listing = await self._client.list(
                self._kind,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                resource_version=start,
                limit=self._page_size if start in ("", "0") else 0,
                timeout=_LIST_TIMEOUT_S,
                retries=0,
            )
            for item in listing.items:
                _check(item)
        except (ApiError, ConfigError) as error:
            if start and isinstance(error, ApiError) and _unavailable(error):
                self._list_from = ""
                return None
            return self._failed("list", error)
        self.stats.lists += 1
        self.stats.active_ns = self._clock()
        self._sink.replace(listing.items, listing.revision)
        self._position = self._list_from = listing.revision
        self._progressed = False
        return None

    async def _watch(self) -> float | None:
        """Feed the sink from one watch until it ends; the seconds to wait before the next step."""
        opened_ns = self._clock()
        before = self._events()
        error: Exception | None = None
        try:
            await self._stream()
        except (ApiError, ConfigError) as failure:
            error = failure
        healthy = self._events() != before or self._clock() - opened_ns >= _SHORT_NS
        self._progressed = self._progressed or healthy
        if error is None:
            self._server_errors_since = None
            if healthy:
                return None
            return self._failed("watch", ConnectionFailed("the watch ended within a second and brought nothing"))
        return self._after_watch_error(error, healthy)

    async def _stream(self) -> None:
        position = self._position or ""
        # A watch from "" or "0" begins with the present objects in any order of their versions, which say nothing
        # about where to resume (RF-3).
        settled = position not in ("", "0")
        params: dict[str, str | int | bool | None] = {
            "resourceVersion": position,
            "allowWatchBookmarks": True,
            "timeoutSeconds": self._random.randint(300, 600),
            "labelSelector": self._label_selector,
            "fieldSelector": self._field_selector,
        }
        stats, sink, counts = self.stats, self._sink, self.stats.events
        lines = self._client.watch(
            self._kind.path(self._namespace), params, idle_timeout=self._idle_timeout, opened=self._opened
        )
        async with aclosing(lines):
            async for line in lines:
                change, obj = _decode_event(line)
                counts[change] = counts.get(change, 0) + 1
                stats.active_ns = self._clock()
                if change == "ERROR":
                    raise _watch_error(obj)
                if change != "BOOKMARK":
                    _check(obj)
                settled = settled or change != "ADDED"
                if settled:
                    self._position = self._list_from = revision = _revision(obj)
                    sink.advance(revision)
                if change in ("ADDED", "MODIFIED", "DELETED"):
                    sink.apply(change, obj)

    def _opened(self) -> None:
        self.stats.watches += 1
        self.stats.active_ns = self._clock()

    def _events(self) -> int:
        counts = self.stats.events
        return sum(counts.values()) - counts.get("ERROR", 0)

    def _after_watch_error(self, error: Exception, healthy: bool) -> float | None:
        """RF-5: keep the position or lose it; the seconds to wait."""
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

    def _failed(self, what: str, error: Exception) -> float:
        self.stats.failures += 1
        self.stats.last_error = error
        asked = min(getattr(error, "retry_after", None) or 0.0, MAX_RETRY_AFTER_S)
        wait = max(self._backoff.next(), asked)
        log.warning("%s: %s failed, next try in %.1f s: %s", self, what, wait, error)
        return wait

    def __str__(self) -> str:
        where = f"{self._client.prefix} {self._namespace or ''}".strip()
        return f"{self._kind.plural} of {where}" if where else self._kind.plural


class _Event(msgspec.Struct, gc=False):
    type: str
    object: dict[str, Any]


_decode = msgspec.json.Decoder(_Event).decode


def _decode_event(line: bytes) -> tuple[str, Resource]:
    try:
        event = _decode(line)
    except msgspec.DecodeError as error:
        raise DecodeError(f"the watch sent something that is no event: {error}") from error
    return event.type, event.object


def _revision(obj: Resource) -> str:
    try:
        return str(obj["metadata"]["resourceVersion"])
    except (KeyError, TypeError) as error:
        raise DecodeError("the watch sent an object without a resourceVersion") from error


def _check(obj: Resource) -> None:
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        raise DecodeError("the server sent an object without a name")


def _watch_error(status: Resource) -> ApiError:
    code = status.get("code")
    if code is None and status.get("reason") in ("Expired", "Gone"):
        code = 410
    return error_of(code if isinstance(code, int) else 500, status)


def _unavailable(error: ApiError) -> bool:
    """Whether a list failed because this server has no state that is as new as asked, or as old."""
    return (
        isinstance(error, GoneError)
        or any(cause.reason == "ResourceVersionTooLarge" for cause in error.causes)
        or "Too large resource version" in error.message
    )
