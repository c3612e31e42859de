"""Checks what a flight recorder says that a controller did against what controllers promise.

A ring forgets its oldest records, so nothing is held against a key but what the dump itself shows: an end whose start
is older than the dump is no violation, and neither is what its last records leave open.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fastcore.clock import NS_PER_S
from fastcore.controller.flight_log import Record
from fastcore.controller.model import Request

FAILURES = frozenset({"error", "timeout", "panic"})
"""Results after which a key comes back with back-off."""

_BROKEN = FAILURES | {"quarantine", "terminal error"}


class Violation(NamedTuple):
    """A promise that was not kept.

    Args:
        line: of the record that shows it.
        controller: whose.
        request: the key; None if it concerns all.
        rule: "order", "one at a time", "write after the end", "back-off" or "passed over".
        text: what happened.
    """

    line: int
    controller: str
    request: Request | None
    rule: str
    text: str


class Limits(NamedTuple):
    """What cannot be read from the dump.

    Args:
        base: seconds of the first delay after a failure, doubled by each further one; 0 does not check delays.
        maximum: seconds; no delay needs to be longer.
        patience: seconds that a key may wait while others have their turns.
    """

    base: float = 0.005
    maximum: float = 1000.0
    patience: float = 60.0


class _Key:
    """What is known of a key after some records."""

    __slots__ = ("due", "ended", "failures", "owed", "running", "seen_whole", "started")

    def __init__(self) -> None:
        self.seen_whole = False  # whether a turn has begun or ended in the dump: before, one may be under way
        self.running: int | None = None  # the id of the turn
        self.started = self.ended = 0
        self.failures = 0
        self.owed: list[Record] = []  # events that no turn has taken up yet
        self.due: tuple[int, Record] | None = None  # when it comes back by itself, and what said so


def check(records: Iterable[Record], limits: Limits = Limits()) -> list[Violation]:  # noqa: B008 - immutable
    """The promises that these records of one or more controllers show broken, in the order of the lines.

    Complexity: O(records).
    """
    controllers: dict[str, list[Record]] = {}
    for record in records:
        controllers.setdefault(record.controller, []).append(record)
    found = [violation for name in controllers for violation in _check(controllers[name], limits)]
    return sorted(found, key=lambda violation: violation.line)


def failed(record: Record) -> bool:
    """Whether a record tells of something that went wrong."""
    if record.what == "end":
        return record.says["result"] in _BROKEN
    return record.what == "request" and not 0 < record.says["status"] < 400


def _check(records: list[Record], limits: Limits) -> Iterator[Violation]:
    keys: dict[Request, _Key] = {}
    last = last_start = 0
    for record in records:
        if record.t < last:
            yield _violation(record, "order", "its time is before that of the record before: one dump a file, please")
            return  # what follows is another process's
        last = record.t
        if record.request is None:
            continue
        key = keys.setdefault(record.request, _Key())
        yield from _step(key, record, limits)
        if record.what == "start":
            last_start = record.t
    for key in keys.values():
        yield from _passed_over(key, last_start, limits)


def _step(key: _Key, record: Record, limits: Limits) -> Iterator[Violation]:
    what, says = record.what, record.says
    if what == "event":
        key.owed.append(record)
    elif what == "start":
        if key.running is not None:
            yield _violation(record, "one at a time", f"turn {says['id']} begins while turn {key.running} goes on")
        key.seen_whole, key.running, key.started = True, says["id"], record.t
        key.owed, key.due = [], None
    elif what == "end":
        if key.running != says["id"] and key.seen_whole:
            goes_on = "none is under way" if key.running is None else f"turn {key.running} is under way"
            yield _violation(record, "one at a time", f"turn {says['id']} ends, but {goes_on}")
        key.seen_whole, key.running, key.ended = True, None, record.t
        yield from _ended(key, record, limits)
    elif what == "held":
        if key.running is not None:
            yield _violation(record, "one at a time", f"put back ({says['why']}) while turn {key.running} goes on")
        key.owed, key.due = [], (record.t + int(says["delay"] * NS_PER_S), record)
    elif what == "drop":
        if says["events"]:  # the turn that has just ended brought them about
            del key.owed[: says["events"]]
        else:
            key.owed, key.due, key.failures = [], None, 0
    elif record.is_write and key.seen_whole:
        yield from _wrote(key, record)


def _ended(key: _Key, record: Record, limits: Limits) -> Iterator[Violation]:
    result, delay = record.says["result"], record.says["delay"]
    if result in FAILURES:
        key.failures += 1
        least = min(limits.base * 2.0 ** min(key.failures - 1, 64), limits.maximum)
        if delay is None:
            yield _violation(record, "back-off", f"{result}, and no retry follows")
        elif delay < least * 0.999:
            yield _violation(
                record, "back-off", f"failure {key.failures} in a row waits {delay:g} s, less than {least:g} s"
            )
    elif result != "cancelled":
        key.failures = 0
    key.due = None if delay is None else (record.t + int(delay * NS_PER_S), record)


def _wrote(key: _Key, record: Record) -> Iterator[Violation]:
    says, sent = record.says, record.t - record.says["ns"]
    if key.running is None:
        late = (record.t - key.ended) / 1e6
        yield _violation(
            record, "write after the end", f"{says['method']} {says['path']} is answered {late:.1f} ms after its turn"
        )
    elif sent < key.started:
        yield _violation(
            record, "write after the end", f"{says['method']} {says['path']} was sent before turn {key.running} began"
        )


def _passed_over(key: _Key, last_start: int, limits: Limits) -> Iterator[Violation]:
    if key.running is not None:
        return
    waits = [(event.t, event) for event in key.owed[:1]] + ([] if key.due is None else [key.due])
    for since, record in waits:
        waited = (last_start - max(since, key.ended)) / NS_PER_S
        if waited > limits.patience:
            text = f"no turn came of it within {waited:.1f} s, while others had theirs"
            yield _violation(record, "passed over", text)
            return


def _violation(record: Record, rule: str, text: str) -> Violation:
    return Violation(record.line, record.controller, record.request, rule, text)
