"""Records events.k8s.io/v1 Events in the background: what repeats becomes a series, which is written rarely (EV-2)."""

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from fastcore.clock import NS_PER_S
from fastcore.controller.errors import AlreadyExistsError, NotFoundError
from fastcore.controller.event_sender import EventSender, Report
from fastcore.controller.model import EVENT_SERIES, Resource

FINISHED_S = 360.0
REFRESHED_S = 1800.0
_REMEMBERED = 4096
_ACTION = "Reconcile"
_COMPONENT = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class SeriesKey(NamedTuple):
    """What makes two events the same one: all but the message."""

    about: tuple[str, ...]
    related: tuple[str, ...]
    type: str
    reason: str
    action: str


@dataclass(slots=True)
class _Series:
    """One event: at first a single one, a series after its first repeat."""

    report: Report  # the first
    name: str  # of the Event object
    last: datetime
    seen_ns: int
    queued_ns: int = 0
    count: int = 1
    sent: int = 0  # occurrences that a write told of, or tried to
    sent_last: datetime | None = None
    exists: bool = False


class SeriesRecorder(EventSender[str, _Series]):
    """Writes events.k8s.io/v1 Events about objects; `event` takes the same as an `EventRecorder`'s.

    An event that is the same as one before (object, type, reason, action and related object; the message is the
    first one's) makes that one a series, with the count and the time of the last: the first repeat is written at once,
    further ones every 30 minutes while they come, and once more when none has come for 6 minutes, which ends the
    series; the next one then is a new event. So an event that repeats for ever costs two writes an hour, and does not
    expire. 4,096 events are remembered at most; the one that was quiet longest is finished for the next.

    At most `queue_size` events wait; further ones are dropped and counted. An event that the server refuses is lost;
    one that it cannot be reached for is tried 12 times, 10 s apart. The next write of the series makes up for both.

    Args:
        client: sends the events; it needs the verbs create and patch of events in the group events.k8s.io.
        component: who reports, such as the controller's name: a name of at most 63 letters, digits, "-", "_" and ".",
            which may have a DNS name and "/" before it.
        queue_size: different events that wait at most, >= 1.
        instance: which replica reports; default the host's name; cut at 128 characters.
        now: gives the present time with its zone.
        clock: integer nanoseconds, of the periods.
        sleep: waits so many seconds.
        random: makes the names differ from those of other recorders that start at the same moment.
        stats: counts what becomes of the reports, for others too; default counters of its own.

    Raises:
        ValueError: `queue_size` is less than 1, or `component` is no such name.

    Complexity: O(1) a report; two tasks while an event is remembered.
    Thread safety: `event` may be called from any thread; the rest belongs to one event loop. Call `start` there, or
    use the recorder with `async with`; what is recorded before waits.
    Source: client-go, tools/events, event_broadcaster.go; there the message of a repeat is lost, too.
    """

    @cached_property
    def _open(self) -> OrderedDict[SeriesKey, _Series]:
        """What is remembered, that which was quiet longest first."""
        return OrderedDict()

    @cached_property
    def _by_write(self) -> OrderedDict[SeriesKey, _Series]:
        """The same, that which was written longest ago first."""
        return OrderedDict()

    _keeper: asyncio.Task[None] | None = None

    def _check_component(self, component: str) -> None:
        check_component(component)

    def _record(self, report: Report) -> bool:
        key = SeriesKey(
            _identity(report.about), _identity(report.related), report.type, report.reason, report.action or _ACTION
        )
        now = self._clock()
        series = self._open.get(key)
        if series is not None:
            series.count += 1
            series.last, series.seen_ns = report.at, now
            self._open.move_to_end(key)
            return series.count == 2 and self._queue(key, series, now)
        if not self._has_place():
            self.stats.count(dropped=1)
            return False
        if len(self._open) >= _REMEMBERED:
            self._finish(next(iter(self._open)))
        series = _Series(report, self._new_name(report.about), report.at, now)
        self._open[key] = series
        return self._queue(key, series, now)

    def _queue(self, key: SeriesKey, series: _Series, now: int) -> bool:
        """Have it written; without a place its next time comes later."""
        series.queued_ns = now
        self._by_write[key] = series
        self._by_write.move_to_end(key)
        return self._wait(series)

    def _wait(self, series: _Series) -> bool:
        if series.name not in self._waiting and not self._has_place():
            return False
        self._waiting[series.name] = series
        return True

    def _finish(self, key: SeriesKey) -> None:
        """Forget an event; what the server does not know of it yet is written first."""
        series = self._open.pop(key)
        del self._by_write[key]
        if series.count > series.sent and not self._wait(series):
            self.stats.count(dropped=self._take(series))

    def _end(self) -> None:
        for key in list(self._open):
            self._finish(key)

    def _take(self, waiting: _Series) -> int:
        new = waiting.count - waiting.sent
        waiting.sent, waiting.sent_last = waiting.count, waiting.last
        return new

    def _begin(self) -> None:
        super()._begin()
        if self._keeper is None and self._open and not self._closed:
            self._keeper = self._spawn(self._keep(), f"series of events of {self._component}")

    async def _keep(self) -> None:
        """Write what is due, for as long as something is remembered."""
        while True:
            with self._lock:
                seconds = self._tend()
            if self._waiting:
                self._begin()
            if seconds is None:
                self._keeper = None
                return
            await self._sleep(seconds)

    def _tend(self) -> float | None:
        """Let wait what is due, with the lock held; the seconds until more is, or None if nothing is remembered.

        What comes meanwhile is due later than all that is there: it need not wake the keeper.
        """
        now = self._clock()
        finished, refreshed = round(FINISHED_S * NS_PER_S), round(REFRESHED_S * NS_PER_S)
        while self._open:
            key, series = next(iter(self._open.items()))
            if now - series.seen_ns < finished:
                break
            self._finish(key)
        if not self._open:
            return None
        while True:
            key, oldest = next(iter(self._by_write.items()))
            if now - oldest.queued_ns < refreshed:
                break
            self._queue(key, oldest, now)
        due = min(series.seen_ns + finished, oldest.queued_ns + refreshed)
        return max(due - now, 0) / NS_PER_S

    async def close(self, timeout: float = 5.0) -> None:
        """Send what waits and the last counts of all series, for at most `timeout` seconds, then drop the rest."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        await super().close(timeout)

    async def _write(self, key: str, waiting: _Series) -> None:
        namespace, series = waiting.report.namespace, _told(waiting)
        if not waiting.exists:
            try:
                await self._client.create(EVENT_SERIES, self._object(waiting, series))
            except AlreadyExistsError:  # by a try whose answer was lost
                waiting.exists = True
            else:
                waiting.exists = True
                return
        if series is None:
            return
        try:
            await self._client.patch(EVENT_SERIES, namespace, key, {"series": series})
        except NotFoundError:  # somebody has deleted it, or it is past its time
            await self._client.create(EVENT_SERIES, self._object(waiting, series))

    def _object(self, waiting: _Series, series: Resource | None) -> Resource:
        report = waiting.report
        event: Resource = {
            "apiVersion": EVENT_SERIES.api_version,
            "kind": EVENT_SERIES.kind,
            "metadata": {"namespace": report.namespace, "name": waiting.name},
            "eventTime": _micros(report.at),
            "regarding": report.about,
            "type": report.type,
            "reason": report.reason,
            "action": report.action or _ACTION,
            "note": report.message,
            "reportingController": self._component,
            "reportingInstance": self._instance,
        }
        if report.related is not None:
            event["related"] = report.related
        if series is not None:
            event["series"] = series
        return event


def check_component(component: str) -> None:
    """Refuse what the API does not take as the name of a reporting controller; ValueError."""
    if not _COMPONENT.fullmatch(component):
        raise ValueError(
            "the component of events.k8s.io/v1 events is at most 63 letters, digits, '-', '_' and '.', begun and ended "
            f"by a letter or digit, after a DNS name and '/' if need be, not {component!r}"
        )


def _told(waiting: _Series) -> Resource | None:
    """What a write says of the repeats: the count and the time as they were when it was taken from the queue."""
    if waiting.sent < 2 or waiting.sent_last is None:
        return None
    return {"count": waiting.sent, "lastObservedTime": _micros(waiting.sent_last)}


def _identity(reference: Resource | None) -> tuple[str, ...]:
    """Which object it is, whatever its version."""
    if reference is None:
        return ()
    return tuple(reference.get(name, "") for name in ("apiVersion", "kind", "namespace", "name", "uid"))


def _micros(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
