# cython: freethreading_compatible=True
"""The miss-ratio view of a cache: attaches a sampler to it, and turns what that counts into hit ratios.

No user code runs here. The cache's critical section guards the sampler; what names neither is set once.
"""

cimport cython
from libc.math cimport NAN, isinf
from libc.stdint cimport int64_t, uint32_t

from typing import NamedTuple

from fastcore._ext.ring cimport ROOTS
from fastcore._ext.sampler cimport SIMS, SIZES, Sampler, samples
from fastcore._ext.slots cimport Slots, WEIGHS

cdef enum:
    KEYS = 512      # in a simulated cache of the cache's own size, where the cache is small

cdef double RATE = 1 / 64


class ShadowRow(NamedTuple):
    """What one policy would have hit at one size."""

    policy: str
    maxsize: float
    hit_ratio: float
    requests: int


@cython.final
cdef class Shadow:
    """Shadow(cache, rate=None)
--

    What LRU and S3-FIFO would hit in the place of a cache, at half, the same and double size.

    It watches a sample of the keys, chosen by hash, and simulates for each policy and size a cache that is as much
    smaller as the sample is. It begins with what the cache holds. Simulated caches hold hashes, no keys,
    and know no deadlines. Reads count as `hits` and `misses` of the cache do; a miss
    stores what is then set; removing, clearing and the expiry of an entry that is read apply to all of them. Made by
    `cache.shadow()`; a cache has one shadow at a time.

    Args:
        cache: the cache to watch; its `maxsize` is finite and positive.
        rate: the part of the keys to watch, 0 < rate <= 1; default: 1/64, or for a cache of fewer than 32,768 entries
            as much as it takes to have 512 in a simulated cache of its size, so all keys up to 512 entries.

    Raises:
        ValueError: `rate` is out of range, or `maxsize` is 0 or infinite.
        RuntimeError: the cache has a shadow already.

    Complexity: a multiplication and a comparison a call; O(1) for one in `1 / rate` keys, about 0.4 microseconds. Seven
    times `rate` hashes an entry of `maxsize`, of 25 bytes each.
    Thread safety: every method is atomic.

    Example:
        >>> from fastcore.cache import LRUCache
        >>> cache = LRUCache(maxsize=4)
        >>> with cache.shadow() as shadow:
        ...     for key in [0, 1, 2, 3, 4, 5] * 10:
        ...         value = cache.get_or_load(key, lambda: "loaded")
        ...     for row in shadow.report():
        ...         print(row.policy, row.maxsize, f"{row.hit_ratio:.2f}")
        LRU 2 0.00
        LRU 4 0.00
        LRU 8 0.90
        S3-FIFO 2 0.15
        S3-FIFO 4 0.33
        S3-FIFO 8 0.90

    Source: Waldspurger et al., SHARDS (FAST 2015) and miniature simulations (ATC 2017).
    """

    cdef Slots cache
    cdef Sampler sampler
    cdef readonly double rate
    cdef tuple sizes

    def __cinit__(self, cache, rate=None):
        cdef Slots slots
        cdef double limit, entries, part
        cdef bint weighs, alone
        cdef object maxsize
        cdef Sampler sampler
        if not isinstance(cache, Slots):
            raise TypeError(f"cache must be a cache of fastcore, got {type(cache).__name__}")
        slots = cache
        with cython.critical_section(slots):
            limit, maxsize = slots.limit, slots.maxsize_given
            weighs = slots.flags & WEIGHS != 0
            entries = slots.table.count * limit / slots.total if weighs and slots.total > 0 else limit
        if limit == 0 or isinf(limit):
            raise ValueError(f"a shadow needs a positive, finite maxsize, got {maxsize!r}")
        part = min(1, max(RATE, KEYS / entries)) if rate is None else rate
        if not 0 < part <= 1:
            raise ValueError(f"rate must be more than 0 and at most 1, got {rate!r}")
        sizes = (maxsize // 2 if isinstance(maxsize, int) and maxsize > 1 else maxsize / 2, maxsize, 2 * maxsize)
        limits = [size * part if weighs else max(1, round(size * part)) for size in sizes]
        sampler = Sampler(limits, part, weighs)
        with cython.critical_section(slots):
            alone = slots.sampler is None
            if alone:
                prime(sampler, slots)
                slots.sampler = sampler
        if not alone:
            raise RuntimeError(f"this {type(cache).__name__} has a shadow already: close that first")
        self.cache, self.sampler, self.rate, self.sizes = slots, sampler, part, sizes

    def report(self):
        """A `ShadowRow(policy, maxsize, hit_ratio, requests)` for each policy and size, by the reads since the start.

        `requests` are the reads of keys in the sample. Their number is off by chance, mostly because of a few keys
        that are read very often and are in the sample or not; the ratios are corrected for that, taking what is too
        many or too few for hits (SHARDS-adj). nan: nothing was read.
        """
        cdef int64_t hits[SIMS]
        cdef int64_t requests, sampled
        cdef double expected, ratio
        cdef int i
        cdef list rows = []
        with cython.critical_section(self.cache):
            requests, sampled = self.sampler.requests, self.sampler.sampled
            for i in range(SIMS):
                hits[i] = self.sampler.sims[i].hits
        expected = requests * self.rate
        for i in range(SIMS):
            ratio = (hits[i] + expected - sampled) / expected if requests else NAN
            if ratio < 0 or ratio > 1:
                ratio = ratio > 1
            rows.append(ShadowRow("LRU" if i < SIZES else "S3-FIFO", self.sizes[i % SIZES], ratio, sampled))
        return rows

    def close(self):
        """Stop watching the cache; what was counted can still be reported. Once closed, it does nothing."""
        if self.cache is None:      # it was never open
            return
        with cython.critical_section(self.cache):
            if self.cache.sampler is self.sampler:
                self.cache.sampler = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace, /):
        self.close()

    def __del__(self):
        self.close()


cdef void prime(Sampler sampler, Slots cache) noexcept:
    """Let the simulated caches begin with what the cache holds."""
    cdef uint32_t root, slot, hash
    for root in range(<uint32_t>ROOTS):
        slot = cache.table.slots[root].next
        while slot != root:
            hash = cache.table.slots[slot].hash
            if samples(sampler, hash):
                sampler.write(hash, 1 if cache.weights == NULL else cache.weights[slot])
            slot = cache.table.slots[slot].next
