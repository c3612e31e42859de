# cython: freethreading_compatible=True
"""A token bucket a key, in bounded memory.

    table   dict   key ----------> _Meter(key, credit, last, place)
    meters  list   [m0, m1, ...]   the same meters, dense; m.place is its index, -1 once it is out
                        ^ hand     the next one that a sweep looks at

A full bucket behaves as one that was never made, so it may go at any time. Each new key looks at a few meters under
the hand and drops the full ones; over `max_keys` it looks at more, and if none is full it evicts the fullest of them.

User code runs in: the injected clock (before the section); `__hash__` and `__eq__` of keys, in the calls on
`table`. Before a lookup nothing has changed; an insert is decided by one `setdefault`; a victim leaves `table` first,
then whatever `table` gave back leaves `meters`. So a key that calls back finds a consistent object and at most costs us
one more eviction. Dropped meters (and keys) are released after the section.
"""

import cython

from libc.math cimport INFINITY
from libc.stdint cimport INT64_MIN, int64_t

from fastcore._ext.amounts cimport checked_cost, checked_full, checked_rate
from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.credit cimport CREDITS, accrued, covers
from fastcore._ext.instant cimport instant
from fastcore._ext.quota cimport quota_of

cdef enum:
    GLANCE = 2  # meters that a new key looks at while there is room
    SEARCH = 16  # and when there is none


@cython.final
cdef class _Meter:
    """The bucket of one key; its numbers are guarded by the KeyedTokenBucket that owns it."""


@cython.final
@cython.trashcan(True)
cdef class KeyedTokenBucket:
    """KeyedTokenBucket(rate, burst, *, max_keys, clock=None)
--

    Limit each key by a `TokenBucket` of its own, in memory for at most `max_keys` keys.

    A key that was idle until its bucket filled up is dropped, which nobody can tell. If `max_keys` keys are busy at
    once, a new one replaces the fullest of 16 others, whose key starts over with a full bucket: `evictions` counts
    these.

    Args:
        rate: tokens a second for each key, >= 0; `math.inf` allows everything.
        burst: capacity in tokens of each key, finite and >= 0.
        max_keys: most keys to remember, >= 1.
        clock: callable returning integer nanoseconds; default the monotonic clock. One that goes back is held.

    Raises:
        ValueError: `rate`, `burst`, `max_keys` or `n` outside its range.
        TypeError: an unhashable key.
    Complexity: O(1) time a key; about 110 bytes a remembered key beside the key itself.
    Thread safety: every method is atomic.

    Example:
        >>> from fastcore.ratelimit import KeyedTokenBucket
        >>> per_tenant = KeyedTokenBucket(rate=5, burst=1, max_keys=10_000)
        >>> per_tenant.allow("blue"), per_tenant.allow("blue"), per_tenant.allow("green")
        (True, False, True)
    """
    def __cinit__(self, double rate, double burst, *, Py_ssize_t max_keys, clock=None):
        self.rate = checked_rate(rate)
        self._full = checked_full(burst)
        if max_keys < 1:
            raise ValueError(f"max_keys must be >= 1, not {max_keys!r}")
        self.burst = burst
        self.max_keys = max_keys
        self._seen = INT64_MIN
        self._evictions = 0
        self._hand = 0
        self._table = {}
        self._meters = []
        self._clock = clock

    cdef int64_t _read_clock(self) except? -1:
        return monotonic_ns() if self._clock is None else instant(self._clock())

    cdef int64_t _held(self, int64_t now) noexcept:
        if now > self._seen:
            self._seen = now
        return self._seen

    cdef bint _take(self, _Meter meter, int64_t t, double cost) noexcept:
        cdef double credit = accrued(meter.credit, meter.last, t, self.rate, self._full)
        if not covers(credit, cost, self.rate):
            return False
        meter.credit = credit - cost
        meter.last = t
        return True

    cdef _Meter _insert(self, object key, int64_t t, list dropped):
        """The meter of a key that the table did not have; meters that make room for it end in `dropped`."""
        cdef _Meter fresh = _Meter.__new__(_Meter)
        fresh.key = key
        fresh.credit = self._full
        fresh.last = t
        fresh.place = -1
        cdef _Meter meter = <_Meter>self._table.setdefault(key, fresh)
        if meter is fresh:
            meter.place = len(self._meters)
            self._meters.append(meter)
            if len(self._table) <= self.max_keys:
                self._sweep(t, GLANCE, meter, dropped)
            while len(self._table) > self.max_keys:
                if len(self._meters) > 1:
                    self._sweep(t, SEARCH, meter, dropped)
                else:
                    self._start_over(dropped)
        return meter

    cdef int _start_over(self, list dropped) except -1:
        """Forget everything: what the table still holds are keys that changed their hash and cannot be found."""
        cdef _Meter meter
        for meter in self._meters:
            meter.place = -1
        dropped.append(self._table)
        dropped.append(self._meters)
        self._table = {}
        self._meters = []
        return 0

    cdef int _sweep(self, int64_t t, Py_ssize_t looks, _Meter keep, list dropped) except -1:
        """Move the hand over `looks` meters and drop the full ones, and the fullest if that was not enough."""
        cdef double credit
        cdef double most = -1.0
        cdef _Meter meter
        cdef _Meter fullest = None
        while looks > 0 and len(self._meters) > 0:
            looks -= 1
            if self._hand >= len(self._meters):
                self._hand = 0
            meter = <_Meter>self._meters[self._hand]
            credit = accrued(meter.credit, meter.last, t, self.rate, self._full)
            if meter is not keep and credit >= self._full:
                self._drop(meter, dropped)
                continue
            self._hand += 1
            if meter is not keep and credit > most:
                fullest, most = meter, credit
        if fullest is not None and len(self._table) > self.max_keys:
            self._evictions += 1
            self._drop(fullest, dropped)
        return 0

    cdef int _drop(self, _Meter victim, list dropped) except -1:
        cdef _Meter found = <_Meter>self._table.pop(victim.key, None)
        self._unlink(victim)
        dropped.append(victim)
        if found is not None and found is not victim:
            self._unlink(found)
            dropped.append(found)
        return 0

    cdef int _unlink(self, _Meter meter) except -1:
        """Take the meter out of the dense list; the last one moves into its place. No effect if it is out already."""
        cdef _Meter last
        if meter.place < 0:
            return 0
        last = <_Meter>self._meters.pop()
        if last is not meter:
            self._meters[meter.place] = last
            last.place = meter.place
        meter.place = -1
        return 0

    def allow(self, key, double n=1):
        """Take `n` tokens of `key` if they are there; never waits."""
        return self.admit(key, n)

    cdef bint admit(self, object key, double n) except -1:
        cdef double cost = checked_cost(n)
        cdef list dropped = None
        cdef _Meter meter
        cdef int64_t now
        if self.rate == INFINITY or cost == 0.0 or cost > self._full:
            hash(key)
            return self.rate == INFINITY or cost == 0.0
        now = self._read_clock()
        with cython.critical_section(self):
            now = self._held(now)
            meter = <_Meter>self._table.get(key)
            if meter is None:
                dropped = []
                meter = self._insert(key, now, dropped)
            return self._take(meter, now, cost)

    def request(self, key, double n=1):
        """Do what `allow` does, and return a `Quota`: what remains to `key`, and when to come back."""
        cdef double cost = checked_cost(n)
        cdef list dropped = []
        cdef _Meter meter
        cdef double credit
        cdef int64_t now
        if self.rate == INFINITY or cost == 0.0 or cost > self._full:
            return self.peek(key, n)
        now = self._read_clock()
        with cython.critical_section(self):
            now = self._held(now)
            meter = <_Meter>self._table.get(key)
            if meter is None:
                meter = self._insert(key, now, dropped)
            credit = accrued(meter.credit, meter.last, now, self.rate, self._full)
            self._take(meter, now, cost)
            return quota_of(credit, cost, self.rate, self._full, True)

    def peek(self, key, double n=1):
        """Return what `request` would; takes nothing, and does not remember the key."""
        cdef double cost = checked_cost(n)
        cdef _Meter meter
        cdef double credit = self._full
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            now = self._held(now)
            meter = <_Meter>self._table.get(key)
            if meter is not None:
                credit = accrued(meter.credit, meter.last, now, self.rate, self._full)
            return quota_of(credit, cost, self.rate, self._full, False)

    def retry_after(self, key, double n=1):
        """Seconds until `key` has `n` tokens, 0.0 if it has; None if it never will. Takes nothing."""
        return self.peek(key, n).retry_after

    def allow_many(self, keys, /):
        """Take one token of each key, in order, at one instant; a numpy array of bool says which were allowed.

        A key that comes several times takes several tokens. An array of numbers or text is taken as a list of Python's
        own, so its keys are the same as those of single calls. A key that cannot be hashed raises before any token is
        taken.
        """
        from numpy import bool_, frombuffer, ndarray
        if isinstance(keys, ndarray) and keys.dtype.kind in "biufUSO":
            keys = keys.tolist()
        cdef list batch = list(keys)
        cdef bytearray verdicts = bytearray(len(batch))
        cdef list dropped = []
        cdef Py_ssize_t i
        cdef int64_t now
        cdef _Meter meter
        for key in batch:
            hash(key)
        now = self._read_clock()
        with cython.critical_section(self):
            now = self._held(now)
            for i in range(len(batch)):
                if self.rate == INFINITY:
                    verdicts[i] = 1
                elif self._full >= CREDITS:
                    meter = <_Meter>self._table.get(batch[i])
                    if meter is None:
                        meter = self._insert(batch[i], now, dropped)
                    verdicts[i] = 1 if self._take(meter, now, CREDITS) else 0
        return frombuffer(verdicts, dtype=bool_)

    @property
    def evictions(self):
        """Keys that were forgotten before their bucket was full, because there were more than `max_keys`."""
        with cython.critical_section(self):
            return self._evictions

    def __len__(self):
        """Return how many keys are remembered."""
        with cython.critical_section(self):
            return len(self._table)

    def __repr__(self):
        return f"KeyedTokenBucket(rate={self.rate!r}, burst={self.burst!r}, max_keys={self.max_keys})"
