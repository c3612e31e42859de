"""The simulations behind a cache's shadow in plain Python: what LRU and S3-FIFO would hold at three sizes.

A simulated cache is a cache of this folder whose keys are hashes of sampled keys, and whose values are sizes. All of
this runs under the lock of the cache that is watched.
"""

import math
from collections.abc import Sequence

from fastcore._py.lru import LRUCache
from fastcore._py.s3fifo import S3FIFOCache


class Sampler:
    """Counts what LRU and S3-FIFO would hit, at each of three `limits`, over a `rate` of all keys."""

    __slots__ = ("_sims", "_threshold", "hits", "requests", "sampled")

    def __init__(self, limits: Sequence[float], rate: float, weighs: bool) -> None:
        self._threshold = math.ceil(rate * 2**32)
        size = float if weighs else None
        self._sims = [*(LRUCache(limit, size) for limit in limits), *(S3FIFOCache(limit, size) for limit in limits)]
        self.hits = [0] * len(self._sims)
        self.requests = self.sampled = 0

    def _code(self, hash: int) -> int | None:
        """32 bits of the hash of a key, if keys of this hash are in the sample."""
        code = (hash % 2**64 * 0x9E3779B97F4A7C15) % 2**64 >> 32
        return code if code * 0x9E3779B1 % 2**32 < self._threshold else None

    def read(self, hash: int, weight: float | None) -> None:
        """A read, which the watched cache answered with an entry of `weight`; None: not."""
        self.requests += 1
        code = self._code(hash)
        if code is None:
            return
        self.sampled += 1
        for i, sim in enumerate(self._sims):
            found, _ = sim._fetch(code)
            self.hits[i] += found
            if not found and weight is not None:
                sim.set(code, weight)

    def write(self, hash: int, weight: float) -> None:
        """A key was set: what a miss of a simulated cache stores, or what was there changes."""
        code = self._code(hash)
        if code is None:
            return
        for sim in self._sims:
            if sim.peek(code) != weight:
                sim.invalidate(code)
                sim.set(code, weight)
            elif not isinstance(sim, S3FIFOCache):
                sim._fetch(code)

    def remove(self, hash: int) -> None:
        """A key was removed, or was found dead."""
        code = self._code(hash)
        if code is not None:
            for sim in self._sims:
                sim.invalidate(code)

    def clear(self) -> None:
        """The watched cache was emptied; what was counted stays."""
        for sim in self._sims:
            sim.clear()
