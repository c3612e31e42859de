"""The flight recorder: what came in, what was decided and what went out, of late, in a bounded ring.

Records hold names, versions, paths and statuses, never objects: no Secret can be in them.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from fastcore.clock import NS_PER_S
from fastcore.controller.context import cause_names
from fastcore.controller.model import Request

RECORD_BYTES = 1024
"""What one record takes at most, with names of usual length; the ring holds so many fewer records than bytes."""

FIELDS = {
    "event": ("t", "what", "request", "kind", "event", "object", "from", "to", "passed"),
    "start": ("t", "what", "request", "id", "causes"),
    "request": ("t", "what", "request", "method", "path", "status", "ns"),
    "held": ("t", "what", "request", "why", "delay"),
    "drop": ("t", "what", "request", "why", "events"),
    "end": ("t", "what", "request", "id", "result", "detail", "delay"),
}
"""What each kind of record says, in order: `t` is nanoseconds of the monotonic clock, `request` the key;
`causes` is kept as a bit mask and told in words."""

_DETAIL = 200


class FlightRecorder:
    """Keeps the last records of one controller.

    Args:
        max_bytes: memory for them, >= 0; 0 records nothing. A copy is kept of those that led to the last bug.
        watched: the names of the watched kinds, which the bits of causes stand for.

    Complexity: O(1) a record.
    Thread safety: belongs to the event loop; `lines` may be called from any thread, and may miss the newest.
    """

    __slots__ = ("_append", "_panic", "_ring", "_watched")

    def __init__(self, max_bytes: int, watched: Sequence[str] = ()) -> None:
        self._watched = watched
        self._ring: deque[tuple[Any, ...]] = deque(maxlen=max_bytes // RECORD_BYTES)
        self._append = self._ring.append
        self._panic: tuple[tuple[Any, ...], ...] = ()

    def __len__(self) -> int:
        return len(self._ring)

    def event(
        self,
        now_ns: int,
        request: Request | None,
        kind: str,
        event: str,
        key: tuple[str, str],
        old: str | None,
        new: str | None,
    ) -> None:
        """An event of an object: for `request`, or None if a predicate dropped it."""
        self._append((now_ns, "event", request, kind, event, key, old, new, request is not None))

    def start(self, now_ns: int, request: Request, number: int, causes: int) -> None:
        """A reconcile begins."""
        self._append((now_ns, "start", request, number, causes))

    def request(self, now_ns: int, request: Request, method: str, target: str, status: int, took_ns: int) -> None:
        """A request of a reconcile has its answer; status 0 is none."""
        self._append((now_ns, "request", request, method, target.partition("?")[0], status, took_ns))

    def held(self, now_ns: int, request: Request, why: str, delay: float) -> None:
        """A key was taken, but put back for a while."""
        self._append((now_ns, "held", request, why, delay))

    def drop(self, now_ns: int, request: Request, why: str, events: int) -> None:
        """Nothing comes of a key that was taken, or of so many of its events."""
        self._append((now_ns, "drop", request, why, events))

    def end(self, now_ns: int, request: Request, number: int, result: str, detail: str, delay: float | None) -> None:
        """A reconcile has ended; `delay` is when the key comes back by itself, None if it does not."""
        self._append((now_ns, "end", request, number, result, detail[:_DETAIL], delay))

    def durations(self) -> Iterator[tuple[Request, float, str]]:
        """The reconciles that began and ended within the ring: the key, seconds, and how it ended."""
        began: dict[int, int] = {}
        for record in list(self._ring):
            if record[1] == "start":
                began[record[3]] = record[0]
            elif record[1] == "end" and record[3] in began:
                yield record[2], (record[0] - began.pop(record[3])) / NS_PER_S, record[4]

    def keep(self) -> None:
        """Keep a copy of what is there, because of a bug; it replaces the copy before."""
        self._panic = tuple(self._ring)

    def lines(self, controller: str, *, panic: bool = False) -> Iterator[str]:
        """The records, oldest first, as JSON without line ends; with `panic` those that led to the last bug."""
        for record in self._panic if panic else list(self._ring):
            names = FIELDS[record[1]]
            told = dict(zip(names, record, strict=True))
            if "causes" in told:
                told["causes"] = cause_names(told["causes"], self._watched)
            yield json.dumps({"controller": controller, **told})
