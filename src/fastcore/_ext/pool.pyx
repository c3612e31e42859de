# cython: freethreading_compatible=True
"""Object pools: idle objects in a list, last in first out, and a C set of their addresses.

User code runs outside the section, between two steps that each leave the pool whole: `factory`, `reset`, `sizeof`, the
injected clock, log handlers, and the `__del__` of objects that are dropped.

What was not needed for a while is dropped (ages.pxd). There is no thread and no hook in the garbage collector, whose
runs follow the number of new containers, not the need for memory: `release` looks at the clock, and only when more than
the object just released is idle, so that a pool in steady use does not.
"""

import logging
import sys
from collections import namedtuple
from types import GenericAlias
from weakref import ref

cimport cython
from cpython.object cimport PyObject
from libc.math cimport INFINITY
from libc.stdint cimport INT64_MIN, int64_t

from fastcore._ext.ages cimport end_early, end_period
from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.handle cimport Handle
from fastcore._ext.instant cimport instant
from fastcore._ext.pointers cimport pointers_add, pointers_clear, pointers_has, pointers_remove, pointers_reserve

from fastcore.errors import PoolError

PoolStats = namedtuple(
    "PoolStats",
    "idle created reused released dropped_full dropped_oversized dropped_failed double_releases dropped_unused",
)
PoolStats.__doc__ = "What a pool holds and has done, at one moment."

# A reference to every pool that is alive. Each operation on a set is atomic, also in the callback of a reference.
_pools = set()


def trim_all(*, bint drain=False):
    """Call `trim` of every pool in the process, or `drain`; returns how many objects were dropped.

    For a monitor of memory: `trim_all()` when memory gets short, `trim_all(drain=True)` when it is.
    """
    pools = [found() for found in list(_pools)]
    return sum([pool.drain() if drain else pool.trim() for pool in pools if pool is not None])


@cython.trashcan(True)
cdef class _Pool:
    """What both pools do; they differ in how an object is made, measured and reset."""

    def __dealloc__(self):
        pointers_clear(&self.idle_ids)

    cdef int configure(self, object max_idle, object max_idle_time, object clock, bint debug) except -1:
        cdef double seconds
        self.max_idle = limit("max_idle", max_idle)
        if max_idle_time is not None:
            seconds = max_idle_time
            if not 0.0 < seconds < INFINITY:
                raise ValueError(f"max_idle_time must be > 0 seconds and finite, or None, got {max_idle_time!r}")
            # Two periods are the time; half of 292 years is for ever.
            self.ages.period = max(<int64_t>(min(seconds, 9.2e9) * 5e8), 1)
        self.clock = clock
        self.seen = INT64_MIN
        self.idle = []
        self.out = {} if debug else None
        return 0

    cdef int check(self, object obj) except -1:
        """Refuse an object of the wrong kind."""
        return 0

    cdef object make(self):
        raise NotImplementedError

    cdef bint fits(self, object obj) except -1:
        raise NotImplementedError

    cdef bint clean(self, object obj) except -1:
        raise NotImplementedError

    def acquire(self):
        """Take the object that was released last, or a new one; give it back with `release`."""
        return self.lend()

    def release(self, obj, /):
        """Reset `obj` and keep it for the next `acquire`, unless the pool is full or `obj` is too large.

        An object whose reset raises is dropped, and the error logged. None is ignored, and so is an object that is
        idle already; in debug mode that raises PoolError, and so does an object that this pool did not hand out.
        """
        self.give(obj)

    def lease(self):
        """Acquire in a with statement, and release on every exit from it."""
        cdef Lease lease = Lease.__new__(Lease)
        lease.pool = self
        return lease

    def age(self):
        """Drop what was not needed for `max_idle_time`, as `release` does by itself; returns how many.

        For pools that may not be used for long: their memory goes when a monitor calls this now and then.
        """
        return self.look() if self.ages.period > 0 else 0

    def trim(self):
        """Drop the idle objects that nobody needed since the last `trim`, or in this period; returns how many."""
        return self.shrink()

    def drain(self):
        """Drop all idle objects; returns how many."""
        return self.empty()

    def stats(self):
        """A snapshot of the counters."""
        return PoolStats(*self.snapshot())

    cdef object lend(self):
        """What Python code gets: in debug mode a handle."""
        cdef Handle handle
        obj = self.take()
        if self.out is None:
            return obj
        handle = Handle(obj)
        with cython.critical_section(self):
            self.out[<size_t><PyObject*>obj] = handle
        return handle

    cdef object take(self):
        """Acquire: an idle object, or a new one."""
        cdef object obj = None
        cdef bint found = False
        with cython.critical_section(self):
            if self.depth:
                self.depth -= 1
                obj = self.idle[self.depth]
                self.idle[self.depth] = None
                if self.depth < self.ages.low:
                    self.ages.low = self.depth
                pointers_remove(&self.idle_ids, <PyObject*>obj)
                self.reused += 1
                found = True
                if self.out is not None:
                    self.out[<size_t><PyObject*>obj] = obj
        if found:
            return obj
        obj = self.make()
        with cython.critical_section(self):
            self.created += 1
            if self.out is not None:
                self.out[<size_t><PyObject*>obj] = obj
        return obj

    cdef int give(self, object obj) except -1:
        """Release an object, or its handle."""
        cdef bint fits = False, clean = False, look = False
        if obj is None:
            return 0
        if type(obj) is Handle:
            obj = (<Handle>obj).get()
            if obj is None:
                with cython.critical_section(self):
                    self.doubles += 1
                raise PoolError("a pooled object was released twice: its lease has ended before")
        self.check(obj)
        if not self.take_back(obj):
            return 0
        try:
            fits = self.fits(obj)
            clean = fits and self.clean(obj)
        except Exception:
            fits = True
            logging.getLogger("fastcore.pool").exception("A pooled object could not be reset and is dropped")
        with cython.critical_section(self):
            if not fits:
                self.oversized += 1
            elif not clean:
                self.failed += 1
            elif pointers_has(&self.idle_ids, <PyObject*>obj):
                self.doubles += 1
            elif self.depth >= self.max_idle:
                self.full += 1
            else:
                pointers_reserve(&self.idle_ids)
                if self.depth < len(self.idle):
                    self.idle[self.depth] = obj
                else:
                    self.idle.append(obj)
                self.depth += 1
                pointers_add(&self.idle_ids, <PyObject*>obj)
                look = self.depth > 1 and self.ages.period > 0
        if look:
            self.look()
        return 0

    cdef bint take_back(self, object obj) except -1:
        """Whether `obj` shall be reset and kept."""
        cdef bint known = True, wanted = False
        cdef object lent = None
        with cython.critical_section(self):
            if self.out is not None:
                lent = self.out.pop(<size_t><PyObject*>obj, None)
                known = lent is not None
            else:
                known = not pointers_has(&self.idle_ids, <PyObject*>obj)
            if not known:
                self.doubles += 1
            else:
                self.released += 1
                wanted = self.depth < self.max_idle
                self.full += not wanted
        if not known and self.out is not None:
            raise PoolError(
                f"released twice, or not from this pool: {type(obj).__name__} at {<size_t><PyObject*>obj:#x}"
            )
        if type(lent) is Handle:
            (<Handle>lent).end()
        return wanted

    # --- dropping: what is cut out of the list goes after the section

    cdef int64_t now(self) except? -1:
        return monotonic_ns() if self.clock is None else instant(self.clock())

    cdef list cut(self, Py_ssize_t count):
        """In the section: take `count` objects from the bottom."""
        cdef list dropped
        if count == 0:
            return None
        dropped = self.idle[:count]
        del self.idle[:count]
        self.depth -= count
        self.unused += count
        for obj in dropped:
            pointers_remove(&self.idle_ids, <PyObject*>obj)
        return dropped

    cdef Py_ssize_t look(self) except -1:
        """End the period if it is over; how many objects were dropped."""
        cdef int64_t now = self.now()
        cdef Py_ssize_t count
        cdef list dropped
        with cython.critical_section(self):
            self.seen = max(self.seen, now)
            count = end_period(&self.ages, self.seen, self.depth)
            dropped = self.cut(count)
        del dropped
        return count

    cdef Py_ssize_t shrink(self) except -1:
        """What `trim` does."""
        cdef Py_ssize_t count
        cdef list dropped
        with cython.critical_section(self):
            count = end_early(&self.ages, self.depth)
            dropped = self.cut(count)
        del dropped
        return count

    cdef Py_ssize_t empty(self) except -1:
        """What `drain` does."""
        cdef list idle, fresh = []
        cdef Py_ssize_t depth
        with cython.critical_section(self):
            idle = self.idle
            depth = self.depth
            self.idle = fresh
            self.depth = self.ages.low = self.ages.victims = 0
            pointers_clear(&self.idle_ids)
        idle.clear()
        return depth

    cdef tuple snapshot(self):
        cdef int64_t created, reused, released, full, oversized, failed, doubles, unused
        cdef Py_ssize_t idle
        with cython.critical_section(self):
            idle = self.depth
            created, reused, released = self.created, self.reused, self.released
            full, oversized, failed, doubles = self.full, self.oversized, self.failed, self.doubles
            unused = self.unused
        return idle, created, reused, released, full, oversized, failed, doubles, unused


@cython.final
@cython.freelist(64)
@cython.trashcan(True)
cdef class Lease:
    """Holds one object of a pool for the length of a with statement."""

    cdef _Pool pool
    cdef object lent

    cdef bint entered(self) noexcept:
        with cython.critical_section(self):
            return self.lent is not None

    def __enter__(self):
        if not self.entered():
            lent = self.pool.lend()
            with cython.critical_section(self):
                if self.lent is None:
                    self.lent = lent
                    return lent
            self.pool.give(lent)        # another thread has entered meanwhile
        raise PoolError("a lease cannot be entered twice at a time")

    def __exit__(self, kind, error, traceback, /):
        with cython.critical_section(self):
            lent = self.lent
            self.lent = None
        self.pool.give(lent)


@cython.final
@cython.trashcan(True)
cdef class ObjectPool(_Pool):
    """ObjectPool(factory, *, reset=None, max_idle=64, sizeof=None, max_bytes=None, max_idle_time=120.0,
        clock=None, debug=False)
--

    Lend objects that are expensive to make, and reset them when they come back.

    Idle objects are handed out last in first out. Pooling pays for objects that are slow to construct (parsers,
    compiled contexts, large buffers); for small ones Python's allocator is faster.

    Args:
        factory: makes an object.
        reset: called with each object that is released, before it is kept; its errors drop the object.
        max_idle: how many objects are kept, >= 0; more are dropped.
        sizeof: measures an object in bytes; default sys.getsizeof. Needs `max_bytes`.
        max_bytes: larger objects are dropped at release, >= 0; None keeps all sizes.
        max_idle_time: seconds, > 0: objects that nobody needed for at least half of it are dropped when it is over,
            at a later release or `age`; None keeps them.
        clock: callable returning integer nanoseconds; default the monotonic clock. One that goes back is held.
        debug: detect double release, and use after release: objects are lent behind a handle.

    Raises:
        ValueError: a limit or time is out of range, or `sizeof` comes without `max_bytes`.

    Complexity: O(1); dropping is O(objects dropped).
    Thread safety: every method is atomic; factory, reset and sizeof run without a lock.

    Example:
        >>> pool = ObjectPool(dict, reset=dict.clear)
        >>> with pool.lease() as scratch:
        ...     scratch["a"] = 1
        >>> pool.acquire()
        {}

    Source: Go's sync.Pool, with a bound, and with time in the place of garbage collections.
    """

    def __cinit__(
        self, factory, *, reset=None, max_idle=64, max_bytes=None, max_idle_time=120.0, clock=None, bint debug=False,
        **options,
    ):
        # `sizeof` is an operator in Cython, so that it cannot be a parameter.
        measure = options.pop("sizeof", None)
        for name in options:
            raise TypeError(f"ObjectPool() got an unexpected keyword argument {name!r}")
        if measure is not None and max_bytes is None:
            raise ValueError("sizeof has no effect without max_bytes")
        self.configure(max_idle, max_idle_time, clock, debug)
        self.max_bytes = -1 if max_bytes is None else limit("max_bytes", max_bytes)
        self.factory = factory
        self.reset = reset
        self.measure = sys.getsizeof if measure is None else measure
        _register(self)

    @classmethod
    def __class_getitem__(cls, item, /):
        return GenericAlias(cls, item)

    cdef object make(self):
        return self.factory()

    cdef bint fits(self, object obj) except -1:
        return self.max_bytes < 0 or self.measure(obj) <= self.max_bytes

    cdef bint clean(self, object obj) except -1:
        if self.reset is not None:
            self.reset(obj)
        return True


def _register(pool):
    _pools.add(ref(pool, _pools.discard))


def _forget(pool):
    """Leave a pool to the one that owns it."""
    _pools.discard(ref(pool))
