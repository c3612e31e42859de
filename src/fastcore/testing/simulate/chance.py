"""Chance as a function of a seed and a number, so that taking one decision away leaves the others as they were."""

from bisect import bisect_right

from fastcore.testing.simulate.schedule import Ranges

_MASK = (1 << 64) - 1


class Chance:
    """A stream of 64-bit numbers for one purpose.

    Args:
        seed: any integer.
        purpose: keeps two streams of one seed apart.
        ranges: where chance decides; elsewhere every number is 0.

    Attributes:
        count: numbers taken so far.
    """

    def __init__(self, seed: int, purpose: int, ranges: Ranges) -> None:
        self.count = 0
        self._base = (seed * 0x9E3779B97F4A7C15 + purpose * 0xD1B54A32D192ED03) & _MASK
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]

    def __call__(self) -> int:
        """The next number; 0 where chance does not decide."""
        index = self.count
        self.count += 1
        found = bisect_right(self._starts, index) - 1
        if found < 0 or index >= self._ends[found]:
            return 0
        # splitmix64: every bit of the result depends on every bit of seed and index.
        x = (self._base + index * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return x ^ (x >> 31)
