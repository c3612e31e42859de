"""The miss-ratio view of a cache in plain Python: attaches a sampler, and turns what that counts into hit ratios."""

import math
from types import TracebackType
from typing import Any, NamedTuple

from fastcore._py.lru import LRUCache
from fastcore._py.sampler import Sampler

KEYS = 512
RATE = 1 / 64


class ShadowRow(NamedTuple):
    """What one policy would have hit at one size."""

    policy: str
    maxsize: float
    hit_ratio: float
    requests: int


class Shadow:
    """What LRU and S3-FIFO would hit in the place of a cache, at half, the same and double size."""

    __slots__ = ("__weakref__", "_cache", "_rate", "_sampler", "_sizes")

    def __init__(self, cache: Any, rate: float | None = None) -> None:
        self._cache: LRUCache | None = None
        if not isinstance(cache, LRUCache):
            raise TypeError(f"cache must be a cache of fastcore, got {type(cache).__name__}")
        with cache._lock:
            maxsize, weighs, total, count = cache._maxsize, cache._weighs, cache._total, len(cache._all())
        if maxsize == 0 or math.isinf(maxsize):
            raise ValueError(f"a shadow needs a positive, finite maxsize, got {maxsize!r}")
        entries = count * maxsize / total if weighs and total > 0 else maxsize
        part = min(1, max(RATE, KEYS / entries)) if rate is None else float(rate)
        if not 0 < part <= 1:
            raise ValueError(f"rate must be more than 0 and at most 1, got {rate!r}")
        half = maxsize // 2 if isinstance(maxsize, int) and maxsize > 1 else maxsize / 2
        self._sizes = (half, maxsize, 2 * maxsize)
        limits = [size * part if weighs else max(1, round(size * part)) for size in self._sizes]
        self._sampler = Sampler(limits, part, weighs)
        self._rate = part
        with cache._lock:
            if cache._sampler is not None:
                raise RuntimeError(f"this {type(cache).__name__} has a shadow already: close that first")
            for entry in cache._all():
                self._sampler.write(entry.hash, entry.weight)
            cache._sampler = self._sampler
        self._cache = cache

    @property
    def rate(self) -> float:
        """The part of the keys that is watched."""
        return self._rate

    def report(self) -> list[ShadowRow]:
        """A `ShadowRow(policy, maxsize, hit_ratio, requests)` for each policy and size, by the reads since the start.

        `requests` are the reads of keys in the sample. Their number is off by chance, mostly because of a few keys
        that are read very often and are in the sample or not; the ratios are corrected for that, taking what is too
        many or too few for hits (SHARDS-adj). nan: nothing was read.
        """
        assert self._cache is not None
        with self._cache._lock:
            requests, sampled, hits = self._sampler.requests, self._sampler.sampled, list(self._sampler.hits)
        expected = requests * self._rate
        rows = []
        for i, count in enumerate(hits):
            ratio = min(1, max(0, (count + expected - sampled) / expected)) if requests else math.nan
            rows.append(ShadowRow(("LRU", "S3-FIFO")[i // 3], self._sizes[i % 3], float(ratio), sampled))
        return rows

    def close(self) -> None:
        """Stop watching the cache; what was counted can still be reported. Once closed, it does nothing."""
        if self._cache is None:  # it was never open
            return
        with self._cache._lock:
            if self._cache._sampler is self._sampler:
                self._cache._sampler = None

    def __enter__(self) -> "Shadow":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
