"""What the jobs of each kind did: plain numbers, for a bounded number of kinds."""

import math
from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

OTHER = "other"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms in seconds."""


class Durations(NamedTuple):
    """A histogram: pairs of an upper bound in seconds and the count up to it, and the sum in seconds."""

    buckets: tuple[tuple[float, int], ...]
    sum: float


class KindStats(NamedTuple):
    """Of one kind: how its jobs ended, why others were not run, how many run now, and how long it took.

    `ended` counts "success", "error" and "cancelled"; `rejected` the reasons of those that were not run: "queue_full",
    "shutdown", "memory", "displaced", "cancelled", "deadline", "circuit_open".
    """

    ended: dict[str, int]
    rejected: dict[str, int]
    in_flight: int
    waited: Durations
    ran: Durations


class Spread:
    """Counts durations by bucket.

    Complexity: O(log buckets).
    """

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one; a bound itself belongs to its bucket."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def durations(self) -> Durations:
        """Cumulative counts."""
        total, found = 0, []
        for bound, count in zip((*BOUNDS, math.inf), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return Durations(tuple(found), self._sum)


class KindCounters:
    """The counters of one kind; belongs to the pool's lock."""

    __slots__ = ("ended", "in_flight", "ran", "rejected", "waited")

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.in_flight = 0
        self.waited = Spread()
        self.ran = Spread()

    def stats(self) -> KindStats:
        """A snapshot."""
        return KindStats(
            dict(self.ended), dict(self.rejected), self.in_flight, self.waited.durations(), self.ran.durations()
        )


class Kinds:
    """Counters by kind; kinds beyond the limit share those of "other".

    Args:
        limit: kinds with counters of their own, >= 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kinds: dict[str, KindCounters] = {}

    def of(self, kind: str) -> KindCounters:
        """The counters of `kind`, or of those that found no room."""
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) >= self._limit:
                kind = OTHER
            found = self._kinds.setdefault(kind, KindCounters())
        return found

    def stats(self) -> dict[str, KindStats]:
        """A snapshot by kind."""
        return {kind: counters.stats() for kind, counters in sorted(self._kinds.items())}
