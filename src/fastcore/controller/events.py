"""Records core/v1 Events about objects in the background: repeats count up, and too many become few (EV-1, EV-3)."""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from fastcore.controller.correlate import COMBINED, Correlator, EventKey
from fastcore.controller.errors import AlreadyExistsError, NotFoundError
from fastcore.controller.event_sender import MAX_MESSAGE, EventSender, Report
from fastcore.controller.model import EVENT, Resource

_REMEMBERED = 4096  # EV-1: so many different events are known by name, so that repeats only count up


@dataclass(slots=True)
class _Waiting:
    """Occurrences of one event that are not written yet."""

    report: Report  # the latest
    first: datetime
    name: str  # of the Event object, if this makes one: the same at each try, so that none is made twice
    count: int = 1


class _Written(NamedTuple):
    """An Event object on the server."""

    name: str
    occurrences: int


class EventRecorder(EventSender[EventKey, _Waiting]):
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
        instance: which replica reports; default the host's name; cut at 128 characters.
        now: gives the present time with its zone.
        clock: integer nanoseconds, of the limits.
        sleep: waits so many seconds.
        random: makes the names differ from those of other recorders that start at the same moment.
        stats: counts what becomes of the reports, for others too; default counters of its own.

    Raises:
        ValueError: `queue_size` is less than 1, or `component` is empty.

    Thread safety: `event` may be called from any thread; the rest belongs to one event loop. Call `start` there, or
    use the recorder with `async with`; what is recorded before waits.
    """

    @cached_property
    def _correlator(self) -> Correlator:
        return Correlator(self._clock)

    @cached_property
    def _written(self) -> OrderedDict[EventKey, _Written]:
        return OrderedDict()

    def _record(self, report: Report) -> bool:
        about = report.about
        key = EventKey(
            about.get("uid", ""), about.get("namespace", ""), about["name"],
            report.type, report.reason, report.message,
        )  # fmt: skip
        if self._correlator.combined(key):
            report = report._replace(message=(COMBINED + report.message)[:MAX_MESSAGE])
            key = key._replace(message=COMBINED)
        if not self._correlator.allows(key):
            self.stats.count(suppressed=1)
            return False
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.count += 1
            waiting.report = report
            return False
        if not self._has_place():
            self.stats.count(dropped=1)
            return False
        self._waiting[key] = _Waiting(report, report.at, self._new_name(about))
        return True

    def _take(self, waiting: _Waiting) -> int:
        return waiting.count

    async def _write(self, key: EventKey, waiting: _Waiting) -> None:
        report = waiting.report
        known = self._written.get(key)
        if known is not None:
            total = known.occurrences + waiting.count
            patch: dict[str, Any] = {"count": total, "lastTimestamp": _seconds(report.at)}
            if key.message != report.message:  # of many that are alike: what was said last
                patch["message"] = report.message
            try:
                await self._client.patch(EVENT, report.namespace, known.name, patch)
            except NotFoundError:  # events expire, after an hour by default
                del self._written[key]
            else:
                self._remember(key, _Written(known.name, total))
                return
        with suppress(AlreadyExistsError):  # by a try whose answer was lost
            await self._client.create(EVENT, self._object(waiting))
        self._remember(key, _Written(waiting.name, waiting.count))

    def _object(self, waiting: _Waiting) -> Resource:
        report = waiting.report
        event: Resource = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": report.namespace, "name": waiting.name},
            "involvedObject": report.about,
            "type": report.type,
            "reason": report.reason,
            "message": report.message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": _seconds(waiting.first),
            "lastTimestamp": _seconds(report.at),
            "count": waiting.count,
        }
        if report.action:
            event["action"] = report.action
        if report.related is not None:
            event["related"] = report.related
        return event

    def _remember(self, key: EventKey, written: _Written) -> None:
        self._written[key] = written
        self._written.move_to_end(key)
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)


def _seconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
