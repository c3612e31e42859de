# cython: freethreading_compatible=True
"""How long a failing item waits: `ItemBackoff` and `FastSlow`; `MaxOf` and `WithMaxWait` change what others say.

User code runs in: `__hash__` and `__eq__` of items, in the calls on `_counts`; the members of MaxOf and WithMaxWait.
No method changes anything before that call, and the counter that it returned is then changed in C.
"""

import cython

from libc.math cimport INFINITY, ldexp


@cython.final
cdef class _Failures:
    """How often one item failed; guarded by the critical section of the limiter that counts."""
    cdef long long count


@cython.final
cdef class _Tally:
    """Failures of items; the limiter that owns it holds its own critical section in every call."""
    cdef dict _counts

    def __cinit__(self):
        self._counts = {}

    cdef long long add(self, object item) except -1:
        """Count one more failure; how many there were before."""
        cdef _Failures failures = <_Failures>self._counts.get(item)
        if failures is None:
            failures = <_Failures>self._counts.setdefault(item, _Failures.__new__(_Failures))
        cdef long long before = failures.count
        failures.count = before + 1
        return before

    cdef long long of(self, object item) except -1:
        cdef _Failures failures = <_Failures>self._counts.get(item)
        return 0 if failures is None else failures.count

    cdef object drop(self, object item):
        """Forget the item; what the caller has to release after its section."""
        return self._counts.pop(item, None)


@cython.final
cdef class ItemBackoff:
    """ItemBackoff(base=0.005, max=1000.0)
--

    Make each item wait `base` seconds after its first failure, twice as long after each other, at most `max`.

    An item is remembered until `forget`: call it when the item succeeds or is gone, since nothing else bounds the
    memory.

    Args:
        base: seconds, > 0 and finite.
        max: seconds, >= `base` and finite.

    Raises:
        ValueError: an argument outside its range.
        TypeError: an unhashable item.
    Complexity: O(1) time; about 130 bytes a remembered item beside the item itself.
    Thread safety: every method is atomic.
    Source: ItemExponentialFailureRateLimiter of client-go.

    Example:
        >>> from fastcore.ratelimit import ItemBackoff
        >>> backoff = ItemBackoff(base=1, max=60)
        >>> [backoff.when("a") for _ in range(8)]
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        >>> backoff.forget("a")
        >>> backoff.when("a")
        1.0
    """
    cdef readonly double base
    cdef readonly double max
    cdef int _doublings
    cdef _Tally _tally

    def __cinit__(self, double base=0.005, double max=1000.0):
        if not 0.0 < base < INFINITY:
            raise ValueError(f"base must be > 0 s and finite, not {base!r}")
        if not base <= max < INFINITY:
            raise ValueError(f"max must be >= base ({base!r} s) and finite, not {max!r}")
        self.base = base
        self.max = max
        # The first count at which the doubled base reaches the maximum; from there nothing is doubled any more.
        self._doublings = 0
        while ldexp(base, self._doublings) < max:
            self._doublings += 1
        self._tally = _Tally.__new__(_Tally)

    def when(self, item, /):
        """Count one more failure of `item`; the seconds that it waits this time."""
        cdef long long before
        with cython.critical_section(self):
            before = self._tally.add(item)
        return self.max if before >= self._doublings else ldexp(self.base, <int>before)

    def forget(self, item, /):
        """Forget the failures of `item`; no effect on an unknown one."""
        with cython.critical_section(self):
            failures = self._tally.drop(item)
        del failures

    def retries(self, item, /):
        """Return how often `item` failed since it was forgotten."""
        with cython.critical_section(self):
            return self._tally.of(item)

    def __len__(self):
        """Return how many items are remembered."""
        with cython.critical_section(self):
            return len(self._tally._counts)

    def __repr__(self):
        return f"ItemBackoff(base={self.base!r}, max={self.max!r})"


@cython.final
cdef class FastSlow:
    """FastSlow(fast, slow, max_fast)
--

    Make each item wait `fast` seconds after its first `max_fast` failures, and `slow` after each other.

    For failures that usually heal at once: a few quick attempts, then no more load. An item is remembered until
    `forget`: call it when the item succeeds or is gone, since nothing else bounds the memory.

    Args:
        fast: seconds, >= 0 and finite.
        slow: seconds, >= `fast` and finite.
        max_fast: number of fast attempts, >= 0.

    Raises:
        ValueError: an argument outside its range.
        TypeError: an unhashable item.
    Complexity: O(1) time; about 130 bytes a remembered item beside the item itself.
    Thread safety: every method is atomic.
    Source: ItemFastSlowRateLimiter of client-go.

    Example:
        >>> from fastcore.ratelimit import FastSlow
        >>> limiter = FastSlow(fast=0.1, slow=30, max_fast=3)
        >>> [limiter.when("a") for _ in range(5)]
        [0.1, 0.1, 0.1, 30.0, 30.0]
    """
    cdef readonly double fast
    cdef readonly double slow
    cdef readonly long long max_fast
    cdef _Tally _tally

    def __cinit__(self, double fast, double slow, long long max_fast):
        if not 0.0 <= fast < INFINITY:
            raise ValueError(f"fast must be >= 0 s and finite, not {fast!r}")
        if not fast <= slow < INFINITY:
            raise ValueError(f"slow must be >= fast ({fast!r} s) and finite, not {slow!r}")
        if max_fast < 0:
            raise ValueError(f"max_fast must be >= 0 attempts, not {max_fast!r}")
        self.fast = fast
        self.slow = slow
        self.max_fast = max_fast
        self._tally = _Tally.__new__(_Tally)

    def when(self, item, /):
        """Count one more failure of `item`; the seconds that it waits this time."""
        cdef long long before
        with cython.critical_section(self):
            before = self._tally.add(item)
        return self.fast if before < self.max_fast else self.slow

    def forget(self, item, /):
        """Forget the failures of `item`; no effect on an unknown one."""
        with cython.critical_section(self):
            failures = self._tally.drop(item)
        del failures

    def retries(self, item, /):
        """Return how often `item` failed since it was forgotten."""
        with cython.critical_section(self):
            return self._tally.of(item)

    def __len__(self):
        """Return how many items are remembered."""
        with cython.critical_section(self):
            return len(self._tally._counts)

    def __repr__(self):
        return f"FastSlow(fast={self.fast!r}, slow={self.slow!r}, max_fast={self.max_fast})"


cdef int check_limiter(object limiter) except -1:
    for method in ("when", "forget", "retries"):
        if not callable(getattr(limiter, method, None)):
            raise TypeError(f"a limiter needs a method {method}, which {limiter!r} does not have")
    return 0


@cython.final
cdef class MaxOf:
    """MaxOf(*limiters)
--

    Make an item wait as long as the strictest of several limiters says.

    Each `when` asks every limiter, so each of them counts the failure or reserves its token.

    Args:
        limiters: one or more objects with `when`, `forget` and `retries`: ItemBackoff, TokenBucket, MaxOf, or yours.

    Raises:
        ValueError: no limiter.
        TypeError: an object without these methods.
    Thread safety: as that of the limiters; MaxOf itself never changes.
    Source: MaxOfRateLimiter of client-go.

    Example:
        >>> from fastcore.ratelimit import ItemBackoff, MaxOf, TokenBucket
        >>> limiter = MaxOf(ItemBackoff(base=0.5, max=60), TokenBucket(rate=10, burst=100))
        >>> limiter.when("a"), limiter.when("a"), limiter.retries("a")
        (0.5, 1.0, 2)
    """
    cdef readonly tuple limiters

    def __cinit__(self, *limiters):
        if not limiters:
            raise ValueError("MaxOf needs at least one limiter")
        for limiter in limiters:
            check_limiter(limiter)
        self.limiters = limiters

    def when(self, item, /):
        """Ask every limiter; the longest wait in seconds."""
        return max([limiter.when(item) for limiter in self.limiters])

    def forget(self, item, /):
        """Make every limiter forget `item`."""
        for limiter in self.limiters:
            limiter.forget(item)

    def retries(self, item, /):
        """Return the largest count of failures of `item` that a limiter has."""
        return max([limiter.retries(item) for limiter in self.limiters])

    def __repr__(self):
        return f"MaxOf({', '.join([repr(limiter) for limiter in self.limiters])})"


@cython.final
cdef class WithMaxWait:
    """WithMaxWait(limiter, max_wait)
--

    Make an item wait as long as another limiter says, but never longer than `max_wait` seconds.

    The limiter counts the failure, or reserves its token, as it would alone.

    Args:
        limiter: an object with `when`, `forget` and `retries`.
        max_wait: seconds, >= 0 and finite.

    Raises:
        ValueError: `max_wait` outside its range.
        TypeError: an object without these methods.
    Thread safety: as that of the limiter; WithMaxWait itself never changes.
    Source: WithMaxWaitRateLimiter of client-go.

    Example:
        >>> from fastcore.ratelimit import ItemBackoff, WithMaxWait
        >>> limiter = WithMaxWait(ItemBackoff(base=1, max=1000), max_wait=3)
        >>> [limiter.when("a") for _ in range(4)]
        [1.0, 2.0, 3.0, 3.0]
    """
    cdef readonly object limiter
    cdef readonly double max_wait

    def __cinit__(self, limiter, double max_wait):
        if not 0.0 <= max_wait < INFINITY:
            raise ValueError(f"max_wait must be >= 0 s and finite, not {max_wait!r}")
        check_limiter(limiter)
        self.limiter = limiter
        self.max_wait = max_wait

    def when(self, item, /):
        """Ask the limiter; its wait in seconds, or `max_wait`."""
        return min(self.limiter.when(item), self.max_wait)

    def forget(self, item, /):
        """Make the limiter forget `item`."""
        self.limiter.forget(item)

    def retries(self, item, /):
        """Return the limiter's count of failures of `item`."""
        return self.limiter.retries(item)

    def __repr__(self):
        return f"WithMaxWait({self.limiter!r}, max_wait={self.max_wait!r})"
