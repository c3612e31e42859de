"""Plain counters of the reconcile loop: an addition an event, read by the metrics at scrape time."""

import threading
from bisect import bisect_left
from dataclasses import dataclass, field

RECONCILE_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5,
    1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0,
)  # fmt: skip
"""Upper bounds in seconds that controller-runtime's dashboards expect."""


class Histogram:
    """Counts values by bucket; the last bucket is everything above the last bound.

    Complexity: O(log buckets) a value.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count `value`; a bound itself belongs to its bucket."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class EventStats:
    """Counters of one recorder, or of several: each call of `event` ends in one of them.

    Attributes:
        written: events, repeats included, that the server has.
        dropped: that found no place in the queue, were about nothing, or came too late.
        failed: that the server did not take.
        suppressed: that were too many of one object (EV-1).

    Thread safety: `count` may be called from any thread.
    """

    written: int = 0
    dropped: int = 0
    failed: int = 0
    suppressed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def count(self, *, written: int = 0, dropped: int = 0, failed: int = 0, suppressed: int = 0) -> None:
        """Add to the counters."""
        with self._lock:
            self.written += written
            self.dropped += dropped
            self.failed += failed
            self.suppressed += suppressed


class ReconcileCounters:
    """What one controller did since it was made; names as in `controller_runtime_*`.

    Attributes:
        events: what became of the events that it reported, in all workspaces.
    """

    __slots__ = (
        "active_workers",
        "error",
        "events",
        "lost_events",
        "own_events",
        "panics",
        "requeue_after",
        "success",
        "terminal_errors",
        "time",
        "timeouts",
    )

    def __init__(self) -> None:
        self.success = 0
        self.requeue_after = 0
        self.error = 0
        self.terminal_errors = 0
        self.panics = 0
        self.timeouts = 0
        self.lost_events = 0
        self.own_events = 0
        self.active_workers = 0
        self.events = EventStats()
        self.time = Histogram(RECONCILE_BUCKETS)
