"""Records Events about objects in the background: a reconcile neither waits for them nor fails with them (EV-3)."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple, Self

from fastcore.clock import NS_PER_S, Clock, monotonic_ns, utc_now
from fastcore.controller.client import Client
from fastcore.controller.config import ConfigError
from fastcore.controller.correlate import COMBINED, Correlator, EventKey
from fastcore.controller.errors import ConnectionFailed, NotFoundError, RequestTimeout
from fastcore.controller.model import EVENT, Resource
from fastcore.controller.turn import TURN

log = logging.getLogger(__name__)

_REMEMBERED = 4096  # EV-1: so many different events are known by name, so that repeats only count up
_TRIES, _TRY_AGAIN_S = 12, 10.0  # EV-2
_MAX_MESSAGE = 1024
_MAX_REASON = 128
_MAX_NAME = 253


@dataclass(slots=True)
class EventStats:
    """Counters of a recorder: each call of `event` ends in one of them.

    Attributes:
        written: events, repeats included, that the server has.
        dropped: that found no place in the queue, were about nothing, or came too late.
        failed: that the server did not take.
        suppressed: that were too many of one object (EV-1).
    """

    written: int = 0
    dropped: int = 0
    failed: int = 0
    suppressed: int = 0


@dataclass(slots=True)
class _Waiting:
    """Occurrences of one event that are not written yet."""

    reference: Resource
    message: str
    first: str
    last: str
    count: int = 1


class _Written(NamedTuple):
    """An Event object on the server."""

    name: str
    occurrences: int


class EventRecorder:
    """Writes core/v1 Events about objects, one task for all of them, which starts with the first.

    Repeats of the same event (object, type, reason and message) count one Event object up instead of making more:
    those that wait are merged before they are sent, those already written are patched. More than 10 that differ in
    their message alone become one with the latest message, and an object that causes more than 25 is cut down to one
    every 5 minutes (EV-1). At most `queue_size` different events wait; further ones are dropped and counted. An event
    that the server refuses is dropped; one that it cannot be reached for is tried 12 times, 10 s apart.

    Args:
        client: sends the events.
        component: who reports, such as the controller's name.
        queue_size: different events that wait at most, >= 1.
        instance: which replica reports; default the host's name.
        now: gives the present time with its zone.
        clock: integer nanoseconds, of the limits.
        sleep: waits so many seconds.

    Raises:
        ValueError: `queue_size` is less than 1, or `component` is empty.

    Thread safety: `event` may be called from any thread; the rest belongs to one event loop. Call `start` there, or
    use the recorder with `async with`; what is recorded before waits.
    """

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        queue_size: int = 1000,
        instance: str | None = None,
        now: Callable[[], datetime] = utc_now,
        clock: Clock = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if queue_size < 1:
            raise ValueError(f"queue_size must be >= 1, not {queue_size!r}")
        if not component:
            raise ValueError("an event recorder needs a component")
        self._client = client
        self._component = component
        self._instance = instance or socket.gethostname()
        self._queue_size = queue_size
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._names = count(round(now().timestamp() * NS_PER_S))
        # Guards _waiting, _correlator, _closed, and the stats that `event` counts: it comes from any thread.
        self._lock = threading.Lock()
        self._correlator: Correlator | None = None
        self._waiting: OrderedDict[EventKey, _Waiting] = OrderedDict()
        self._written: OrderedDict[EventKey, _Written] = OrderedDict()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stats = EventStats()

    def start(self) -> None:
        """Begin to send, in the running loop, as soon as there is something to send; safe to call twice."""
        if self._loop is None and not self._closed:
            self._loop = asyncio.get_running_loop()
            if self._waiting:
                self._begin()

    def _begin(self) -> None:
        """There is something to send."""
        self._wake.set()
        if self._task is None and not self._closed:
            loop = asyncio.get_running_loop()
            context = copy_context()
            context.run(TURN.set, None)  # it outlives the reconcile that happens to begin it
            self._task = loop.create_task(self._send_for_ever(), name=f"events of {self._component}", context=context)

    def event(self, obj: Resource, type: str, reason: str, message: str) -> None:
        """Report something about `obj`; returns at once and never raises.

        Args:
            obj: with apiVersion, kind and metadata.
            type: "Normal" or "Warning".
            reason: why, in CamelCase; cut at 128 characters.
            message: for people; cut at 1,024 characters.
        """
        try:
            reference = _reference(obj)
            key = EventKey(
                reference.get("uid", ""), reference.get("namespace", ""), reference["name"],
                type, reason[:_MAX_REASON], message[:_MAX_MESSAGE],
            )  # fmt: skip
            now = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        except Exception:
            log.exception("an event about something that is no object was dropped")
            with self._lock:
                self.stats.dropped += 1
            return
        with self._lock:
            if self._closed:
                self.stats.dropped += 1
                return
            correlator = self._correlator
            if correlator is None:
                correlator = self._correlator = Correlator(self._clock)
            text = key.message
            if correlator.combined(key):
                text = (COMBINED + text)[:_MAX_MESSAGE]
                key = key._replace(message=COMBINED)
            if not correlator.allows(key):
                self.stats.suppressed += 1
                return
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.count += 1
                waiting.last, waiting.message = now, text
                return
            if len(self._waiting) >= self._queue_size:
                self.stats.dropped += 1
                return
            self._waiting[key] = _Waiting(reference, text, now, now)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to send
                self._loop.call_soon_threadsafe(self._begin)

    async def close(self, timeout: float = 5.0) -> None:
        """Send what waits, for at most `timeout` seconds, then drop the rest; safe to call twice."""
        if self._loop is not None and self._waiting:
            self._begin()
        with self._lock:
            self._closed = True
        task, self._task = self._task, None
        if task is not None:
            self._wake.set()
            await asyncio.wait([task], timeout=timeout)
            task.cancel()
            await asyncio.wait([task])
        with self._lock:
            self.stats.dropped += sum(waiting.count for waiting in self._waiting.values())
            self._waiting.clear()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send_for_ever(self) -> None:
        while True:
            with self._lock:
                key, waiting = self._waiting.popitem(last=False) if self._waiting else (None, None)
                if key is None:
                    if self._closed:
                        return
                    self._wake.clear()
            if key is None or waiting is None:
                await self._wake.wait()
                continue
            try:
                await self._send(key, waiting)
            except asyncio.CancelledError:
                self.stats.dropped += waiting.count
                raise
            except Exception as error:
                self.stats.failed += waiting.count
                log.warning("event %s about %s/%s was not written: %s", key.reason, key.namespace, key.name, error)
            else:
                self.stats.written += waiting.count

    async def _send(self, key: EventKey, waiting: _Waiting) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                await self._write(key, waiting)
                return
            except (ConnectionFailed, RequestTimeout, ConfigError):
                if attempt == _TRIES:
                    raise
                await self._sleep(_TRY_AGAIN_S)

    async def _write(self, key: EventKey, waiting: _Waiting) -> None:
        namespace = key.namespace or "default"
        known = self._written.get(key)
        if known is not None:
            total = known.occurrences + waiting.count
            patch: dict[str, Any] = {"count": total, "lastTimestamp": waiting.last}
            if key.message != waiting.message:  # of many that are alike: what was said last
                patch["message"] = waiting.message
            try:
                await self._client.patch(EVENT, namespace, known.name, patch)
            except NotFoundError:  # events expire, after an hour by default
                del self._written[key]
            else:
                self._remember(key, _Written(known.name, total))
                return
        suffix = f".{next(self._names):x}"
        name = key.name[: _MAX_NAME - len(suffix)] + suffix
        await self._client.create(EVENT, self._object(key, waiting, namespace, name))
        self._remember(key, _Written(name, waiting.count))

    def _object(self, key: EventKey, waiting: _Waiting, namespace: str, name: str) -> Resource:
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": namespace, "name": name},
            "involvedObject": waiting.reference,
            "type": key.type,
            "reason": key.reason,
            "message": waiting.message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": waiting.first,
            "lastTimestamp": waiting.last,
            "count": waiting.count,
        }

    def _remember(self, key: EventKey, written: _Written) -> None:
        self._written[key] = written
        self._written.move_to_end(key)
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)


def _reference(obj: Resource) -> Resource:
    meta = obj["metadata"]
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"]}
    for field in ("namespace", "uid", "resourceVersion"):
        if meta.get(field):
            reference[field] = meta[field]
    return reference
