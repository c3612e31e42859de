# cython: freethreading_compatible=True
"""How long a failing item waits: `ItemBackoff`, and `MaxOf` for several rules at once.

User code runs in: `__hash__` and `__eq__` of items, in the single call that each method makes on `tally`; the members
of MaxOf. No method changes anything before that call, and the counter that it returned is then changed in C.
"""

import cython

from libc.math cimport INFINITY, ldexp


@cython.final
cdef class _Failures:
    """How often one item failed; guarded by the ItemBackoff that owns it."""
    cdef long long count


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
    cdef dict _tally

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
        self._tally = {}

    def when(self, item, /):
        """Count one more failure of `item`; the seconds that it waits this time."""
        cdef _Failures failures
        cdef long long before
        with cython.critical_section(self):
            failures = <_Failures>self._tally.get(item)
            if failures is None:
                failures = <_Failures>self._tally.setdefault(item, _Failures.__new__(_Failures))
            before = failures.count
            failures.count = before + 1
        return self.max if before >= self._doublings else ldexp(self.base, <int>before)

    def forget(self, item, /):
        """Forget the failures of `item`; no effect on an unknown one."""
        with cython.critical_section(self):
            failures = self._tally.pop(item, None)
        del failures

    def retries(self, item, /):
        """Return how often `item` failed since it was forgotten."""
        cdef _Failures failures
        with cython.critical_section(self):
            failures = <_Failures>self._tally.get(item)
            return 0 if failures is None else failures.count

    def __len__(self):
        """Return how many items are remembered."""
        return len(self._tally)

    def __repr__(self):
        return f"ItemBackoff(base={self.base!r}, max={self.max!r})"


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
            for method in ("when", "forget", "retries"):
                if not callable(getattr(limiter, method, None)):
                    raise TypeError(f"a limiter needs a method {method}, which {limiter!r} does not have")
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
