"""A histogram of durations by powers of ten, 10 ns to 1000 s and above: client-go's buckets for work queues."""

import math
from typing import NamedTuple

_BOUNDS_NS = tuple(10 ** (i + 1) for i in range(12))


class Durations(NamedTuple):
    """A histogram: pairs of an upper bound in seconds and the count up to it, and the sum in seconds."""

    buckets: tuple[tuple[float, int], ...]
    sum: float


class Counts:
    """Counts of durations, one a power of ten."""

    __slots__ = ("_counts", "_sum_ns")

    def __init__(self) -> None:
        self._counts = [0] * 13
        self._sum_ns = 0.0

    def add(self, ns: int) -> None:
        """Count one duration."""
        i = 0
        while i < 12 and ns > _BOUNDS_NS[i]:
            i += 1
        self._counts[i] += 1
        self._sum_ns += ns

    def snapshot(self) -> Durations:
        """The cumulative counts, as Prometheus wants them."""
        buckets, total = [], 0
        for i, count in enumerate(self._counts):
            total += count
            buckets.append((_BOUNDS_NS[i] / 1e9 if i < 12 else math.inf, total))
        return Durations(tuple(buckets), self._sum_ns / 1e9)
