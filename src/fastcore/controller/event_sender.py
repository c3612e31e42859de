"""What the recorders of Events share: a bounded queue, and one task that empties it and tries again (EV-2, EV-3)."""

import asyncio
import contextlib
import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from datetime import UTC, datetime
from itertools import count
from random import Random
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from fastcore.clock import NS_PER_S, Clock, monotonic_ns, new_random, utc_now
from fastcore.controller.client import Client
from fastcore.controller.config import ConfigError
from fastcore.controller.counters import EventStats
from fastcore.controller.errors import ConnectionFailed, RequestTimeout
from fastcore.controller.model import Resource
from fastcore.controller.turn import TURN

log = logging.getLogger(__name__)

TRIES, TRY_AGAIN_S = 12, 10.0  # EV-2
MAX_MESSAGE = 1024
_MAX_REASON = 128
_MAX_NAME = 253
_MAX_INSTANCE = 128


class Report(NamedTuple):
    """One call of `event`, cut to what the server takes."""

    about: Resource
    type: str
    reason: str
    message: str
    action: str
    related: Resource | None
    at: datetime

    @property
    def namespace(self) -> str:
        """Where its Event object lives."""
        namespace: str = self.about.get("namespace") or "default"
        return namespace


class Waiting(Protocol):
    """Occurrences of one event that wait to be written."""

    report: Report


K = TypeVar("K")
W = TypeVar("W", bound=Waiting)


class EventSender(ABC, Generic[K, W]):
    """Takes reports from any thread, and writes them in one task, which starts with the first.

    At most `queue_size` events wait; further ones are dropped and counted. An event that the server refuses is lost;
    one that it cannot be reached for is tried 12 times, 10 s apart.

    Args:
        client: sends the events.
        component: who reports, such as the controller's name.
        queue_size: different events that wait at most, >= 1.
        instance: which replica reports; default the host's name; cut at 128 characters.
        now: gives the present time with its zone.
        clock: integer nanoseconds, of the limits and periods.
        sleep: waits so many seconds.
        random: makes the names differ from those of other recorders that start at the same moment.
        stats: counts what becomes of the reports, for others too; default counters of its own.

    Raises:
        ValueError: `queue_size` is less than 1, or `component` is empty.

    Thread safety: `event` may be called from any thread; the rest belongs to one event loop.
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
        random: Random | None = None,
        stats: EventStats | None = None,
    ) -> None:
        if queue_size < 1:
            raise ValueError(f"queue_size must be >= 1, not {queue_size!r}")
        self._check_component(component)
        self._client = client
        self._component = component
        self._instance = (instance or socket.gethostname())[:_MAX_INSTANCE]
        self._queue_size = queue_size
        self._now = now
        self._clock = clock
        self._sleep = sleep
        started = round(now().timestamp() * NS_PER_S)
        self._numbers = count(started + (random or new_random()).getrandbits(30))
        self._lock = threading.Lock()  # guards _waiting, _closed, and what `_record` keeps: it comes from any thread
        self._waiting: OrderedDict[K, W] = OrderedDict()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stats = EventStats() if stats is None else stats

    def start(self) -> None:
        """Begin to send, in the running loop, as soon as there is something to send; safe to call twice."""
        if self._loop is None and not self._closed:
            self._loop = asyncio.get_running_loop()
            if self._waiting:
                self._begin()

    def event(
        self, obj: Resource, type: str, reason: str, message: str, *, action: str = "", related: Resource | None = None
    ) -> None:
        """Report something about `obj`; returns at once and never raises.

        Args:
            obj: with apiVersion, kind and metadata.
            type: "Normal" or "Warning".
            reason: why, in CamelCase; cut at 128 characters.
            message: for people; cut at 1,024 characters.
            action: what was done or tried, in CamelCase; cut at 128 characters.
            related: another object that has to do with it.
        """
        try:
            report = Report(
                _reference(obj), type, reason[:_MAX_REASON], message[:MAX_MESSAGE], action[:_MAX_REASON],
                None if related is None else _reference(related), self._now().astimezone(UTC),
            )  # fmt: skip
        except Exception:
            log.exception("an event about something that is no object was dropped")
            self.stats.count(dropped=1)
            return
        with self._lock:
            if self._closed:
                self.stats.count(dropped=1)
                return
            if not self._record(report):
                return
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to send
                self._loop.call_soon_threadsafe(self._begin)

    async def close(self, timeout: float = 5.0) -> None:
        """Send what waits, for at most `timeout` seconds, then drop the rest; safe to call twice."""
        with self._lock:
            if not self._closed:
                self._end()
            self._closed = True
            waits = bool(self._waiting)
        if waits and self._task is None and self._loop is not None:
            self._task = self._spawn_sender()
        task, self._task = self._task, None
        if task is not None:
            self._wake.set()
            await asyncio.wait([task], timeout=timeout)
            task.cancel()
            await asyncio.wait([task])
        with self._lock:
            self.stats.count(dropped=sum(map(self._take, self._waiting.values())))
            self._waiting.clear()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    def _record(self, report: Report) -> bool:
        """Take a report, with the lock held; whether there is something new to do."""

    @abstractmethod
    def _take(self, waiting: W) -> int:
        """How many occurrences the next write of `waiting` tells of for the first time, with the lock held."""

    @abstractmethod
    async def _write(self, key: K, waiting: W) -> None:
        """Send `waiting`, once."""

    def _end(self) -> None:
        """Let wait what would have been sent later, with the lock held: the recorder is being closed."""

    def _check_component(self, component: str) -> None:
        if not component:
            raise ValueError("an event recorder needs a component")

    def _has_place(self) -> bool:
        return len(self._waiting) < self._queue_size

    def _new_name(self, about: Resource) -> str:
        suffix = f".{next(self._numbers):x}"
        name: str = about["name"]
        return name[: _MAX_NAME - len(suffix)] + suffix

    def _begin(self) -> None:
        """There is something to do."""
        self._wake.set()
        if self._task is None and not self._closed:
            self._task = self._spawn_sender()

    def _spawn_sender(self) -> asyncio.Task[None]:
        return self._spawn(self._send_for_ever(), f"events of {self._component}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        context = copy_context()
        context.run(TURN.set, None)  # it outlives the reconcile that happens to begin it
        return asyncio.get_running_loop().create_task(work, name=name, context=context)

    async def _send_for_ever(self) -> None:
        while True:
            with self._lock:
                found = self._waiting.popitem(last=False) if self._waiting else None
                if found is None:
                    if self._closed:
                        return
                    self._wake.clear()
                else:
                    occurrences = self._take(found[1])
            if found is None:
                await self._wake.wait()
                continue
            key, waiting = found
            try:
                await self._send(key, waiting)
            except asyncio.CancelledError:
                self.stats.count(dropped=occurrences)
                raise
            except Exception as error:
                self.stats.count(failed=occurrences)
                report = waiting.report
                log.warning(
                    "event %s about %s/%s was not written: %s",
                    report.reason, report.about.get("namespace", ""), report.about["name"], error,
                )  # fmt: skip
            else:
                self.stats.count(written=occurrences)

    async def _send(self, key: K, waiting: W) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._write(key, waiting)
                return
            except (ConnectionFailed, RequestTimeout, ConfigError):
                if attempt == TRIES:
                    raise
                await self._sleep(TRY_AGAIN_S)


def _reference(obj: Resource) -> Resource:
    meta = obj["metadata"]
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"]}
    for name in ("namespace", "uid", "resourceVersion"):
        if meta.get(name):
            reference[name] = meta[name]
    return reference
