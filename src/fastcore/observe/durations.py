"""A histogram as plain numbers, with the last sampled trace of each bucket."""

import math
from bisect import bisect_left

from prometheus_client.core import Exemplar

Bucket = tuple[str, float] | tuple[str, float, Exemplar]


def checked(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """Upper bounds that ascend.

    Raises:
        ValueError: they do not, or there are none.
    """
    if list(bounds) != sorted(set(bounds)) or not bounds:
        raise ValueError(f"buckets must be ascending, got {bounds!r}")
    return tuple(map(float, bounds))


class Durations:
    """Counts durations by bucket; whoever owns it guards it.

    Args:
        bounds: of the buckets in seconds, ascending.
    """

    __slots__ = ("_bounds", "_counts", "_exemplars", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._exemplars: list[Exemplar | None] = [None] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float, exemplar: Exemplar | None) -> None:
        """Count one."""
        at = bisect_left(self._bounds, seconds)
        self._counts[at] += 1
        self.sum += seconds
        if exemplar is not None:
            self._exemplars[at] = exemplar

    def copy(self) -> "Durations":
        """A snapshot."""
        other = Durations(self._bounds)
        other._counts, other._exemplars, other.sum = list(self._counts), list(self._exemplars), self.sum
        return other

    def buckets(self) -> list[Bucket]:
        """Cumulative counts, as an exposition has them."""
        found: list[Bucket] = []
        so_far = 0
        for bound, count, exemplar in zip((*self._bounds, math.inf), self._counts, self._exemplars, strict=True):
            so_far += count
            name = "+Inf" if bound == math.inf else repr(bound)
            found.append((name, float(so_far)) if exemplar is None else (name, float(so_far), exemplar))
        return found
