# cython: freethreading_compatible=True
"""Object pools: idle objects in a list, last in first out, and a C set of their addresses.

User code runs outside the section, between two steps that each leave the pool whole: `factory`, `reset`, `sizeof`,
log handlers, and the `__del__` of objects that are dropped.
"""

import logging
import sys
from collections import namedtuple
from functools import partial
from types import GenericAlias

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from libc.stdint cimport INT32_MAX, int64_t
from libc.string cimport memset

from fastcore._ext.handle cimport Handle
from fastcore._ext.pointers cimport (
    Pointers, pointers_add, pointers_clear, pointers_has, pointers_remove, pointers_reserve,
)

from fastcore.errors import PoolError

PoolStats = namedtuple(
    "PoolStats",
    "idle created reused released dropped_full dropped_oversized dropped_failed double_releases",
)
PoolStats.__doc__ = "What a pool holds and has done, at one moment."


cdef Py_ssize_t limit(str name, object value) except -1:
    number = PyNumber_Index(value)
    if not 0 <= number <= INT32_MAX:
        raise ValueError(f"{name} must be from 0 to 2**31 - 1, got {number}")
    return number


cdef class _Pool:
    """What both pools do; they differ in how an object is made, measured and reset."""

    cdef list idle          # a stack of `depth` objects; the slots above it hold None
    cdef Py_ssize_t depth
    cdef Pointers idle_ids
    cdef dict out           # in debug mode: address -> object, for each that is lent
    cdef Py_ssize_t max_idle
    cdef int64_t created, reused, released
    cdef int64_t full, oversized, failed, doubles

    def __dealloc__(self):
        pointers_clear(&self.idle_ids)

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
        return self.take()

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

    def drain(self):
        """Drop all idle objects; returns how many."""
        return self.empty()

    def stats(self):
        """A snapshot of the counters."""
        return PoolStats(*self.snapshot())

    cdef object take(self):
        cdef object obj = None
        cdef bint found = False
        with cython.critical_section(self):
            if self.depth:
                obj = self.idle[self.depth - 1]
                self.idle[self.depth - 1] = None
                self.depth -= 1
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
        cdef bint fits = False, clean = False
        if obj is None:
            return 0
        if type(obj) is Handle:
            obj = (<Handle>obj).unwrap()
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
        return 0

    cdef bint take_back(self, object obj) except -1:
        """Whether `obj` shall be reset and kept."""
        cdef bint known = True, wanted = False
        with cython.critical_section(self):
            if self.out is not None:
                known = self.out.pop(<size_t><PyObject*>obj, None) is not None
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
        return wanted

    cdef Py_ssize_t empty(self) except -1:
        cdef list idle, fresh = []
        cdef Py_ssize_t depth
        with cython.critical_section(self):
            idle = self.idle
            depth = self.depth
            self.idle = fresh
            self.depth = 0
            pointers_clear(&self.idle_ids)
        idle.clear()
        return depth

    cdef tuple snapshot(self):
        cdef int64_t created, reused, released, full, oversized, failed, doubles
        cdef Py_ssize_t idle
        with cython.critical_section(self):
            idle = self.depth
            created, reused, released = self.created, self.reused, self.released
            full, oversized, failed, doubles = self.full, self.oversized, self.failed, self.doubles
        return idle, created, reused, released, full, oversized, failed, doubles


@cython.final
@cython.freelist(64)
cdef class Lease:
    """Holds one object of a pool for the length of a with statement."""

    cdef _Pool pool
    cdef object lent

    cdef bint entered(self) noexcept:
        with cython.critical_section(self):
            return self.lent is not None

    def __enter__(self):
        if not self.entered():
            lent = self.pool.take()
            if self.pool.out is not None:
                lent = Handle(lent)
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
        try:
            self.pool.give(lent)
        finally:
            if type(lent) is Handle:
                (<Handle>lent).end()


@cython.final
cdef class ObjectPool(_Pool):
    """ObjectPool(factory, *, reset=None, max_idle=64, sizeof=None, max_bytes=None, debug=False)
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
        debug: detect double release, and use after the end of a lease.

    Raises:
        ValueError: a limit is out of range, or `sizeof` comes without `max_bytes`.

    Complexity: O(1).
    Thread safety: every method is atomic; factory, reset and sizeof run without a lock.

    Example:
        >>> pool = ObjectPool(dict, reset=dict.clear)
        >>> with pool.lease() as scratch:
        ...     scratch["a"] = 1
        >>> pool.acquire()
        {}

    Source: Go's sync.Pool, with a bound.
    """

    cdef object factory
    cdef object reset
    cdef object measure
    cdef Py_ssize_t max_bytes       # -1: no limit

    def __cinit__(self, factory, *, reset=None, max_idle=64, max_bytes=None, bint debug=False, **options):
        # `sizeof` is an operator in Cython, so that it cannot be a parameter.
        measure = options.pop("sizeof", None)
        for name in options:
            raise TypeError(f"ObjectPool() got an unexpected keyword argument {name!r}")
        self.max_idle = limit("max_idle", max_idle)
        if measure is not None and max_bytes is None:
            raise ValueError("sizeof has no effect without max_bytes")
        self.max_bytes = -1 if max_bytes is None else limit("max_bytes", max_bytes)
        self.idle = []
        self.out = {} if debug else None
        self.factory = factory
        self.reset = reset
        self.measure = sys.getsizeof if measure is None else measure

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


@cython.final
cdef class BufferPool(_Pool):
    """BufferPool(size=1024, *, max_idle=64, max_size=1048576, debug=False)
--

    Lend bytearrays of `size` zero bytes, and numpy arrays on pooled memory.

    A buffer that comes back is set to zeros and to its length; it is dropped if it has grown beyond `max_size`, or if a
    memoryview of it is still alive.

    Args:
        size: bytes of a buffer, 0 to 2**31 - 1.
        max_idle: how many buffers are kept, and how many blocks for arrays, >= 0; more are dropped.
        max_size: bytes of the largest buffer or block that is kept, >= `size`.
        debug: detect double release, and use after the end of a lease.

    Raises:
        ValueError: a limit is out of range.

    Complexity: O(size) for release, to clear the buffer; else O(1).
    Thread safety: every method is atomic.

    Example:
        >>> pool = BufferPool(4)
        >>> with pool.lease() as buffer:
        ...     buffer[0] = 255
        >>> pool.acquire()
        bytearray(b'\\x00\\x00\\x00\\x00')

    Source: Go's sync.Pool, with a bound.
    """

    cdef Py_ssize_t size
    cdef Py_ssize_t max_size
    cdef dict blocks        # bytes of a block -> ObjectPool

    def __cinit__(self, size=1024, *, max_idle=64, max_size=1048576, bint debug=False):
        self.max_idle = limit("max_idle", max_idle)
        self.size = limit("size", size)
        self.max_size = limit("max_size", max_size)
        if self.max_size < self.size:
            raise ValueError(f"max_size must be >= size ({self.size}), got {self.max_size}")
        self.idle = []
        self.out = {} if debug else None
        self.blocks = {}

    cdef int check(self, object obj) except -1:
        if type(obj) is not bytearray:
            raise TypeError(f"a BufferPool takes bytearrays, got {type(obj).__name__}")
        return 0

    cdef object make(self):
        return bytearray(self.size)

    cdef bint fits(self, object obj) except -1:
        return PyByteArray_GET_SIZE(obj) <= self.max_size

    cdef bint clean(self, object obj) except -1:
        # The section is of the buffer: whoever released it may still write to it.
        with cython.critical_section(obj):
            try:
                PyByteArray_Resize(obj, PyByteArray_GET_SIZE(obj) + 1)  # refused while a memoryview of it is alive
                PyByteArray_Resize(obj, self.size)
            except BufferError:
                return False
            memset(PyByteArray_AS_STRING(obj), 0, self.size)
        return True

    def lease_array(self, n, dtype="float64"):
        """Lend a one-dimensional numpy array of `n` zeros in a with statement.

        Its memory, a block of a power of two bytes, is used again after the statement: copy what is to stay. In debug
        mode it is not used again, and a late write raises ValueError.

        Args:
            n: number of items, >= 0.
            dtype: numpy's type of an item, without Python objects.

        Raises:
            TypeError: `dtype` holds Python objects.
            ValueError: `n` is negative, or the array has 2**31 bytes or more.
        """
        import numpy as np

        cdef ArrayLease lease
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError(f"an array on pooled memory cannot hold Python objects, got dtype {kind}")
        nbytes = limit("the bytes of the array", limit("n", n) * kind.itemsize)
        block = 1 << max(nbytes - 1, 0).bit_length()
        lease = ArrayLease.__new__(ArrayLease)
        lease.nbytes = nbytes
        lease.kind = kind
        if self.out is not None or block > self.max_size:
            lease.block = np.zeros(nbytes, np.uint8)
            return lease
        lease.blocks = self.blocks.get(block)
        if lease.blocks is None:
            lease.blocks = self.blocks.setdefault(
                block, ObjectPool(partial(np.zeros, block, np.uint8), reset=_zero, max_idle=self.max_idle)
            )
        return lease

    def drain(self):
        """Drop all idle objects; returns how many."""
        return self.empty() + sum([(<ObjectPool>blocks).empty() for blocks in list(self.blocks.values())])

    def stats(self):
        """A snapshot of the counters."""
        pools = [self.snapshot(), *[(<ObjectPool>blocks).snapshot() for blocks in list(self.blocks.values())]]
        return PoolStats(*map(sum, zip(*pools)))


def _zero(block, /):
    block.fill(0)


@cython.final
cdef class ArrayLease:
    """Holds the memory of one numpy array for the length of a with statement."""

    cdef ObjectPool blocks      # None: the block is not pooled
    cdef object block
    cdef object array
    cdef object kind
    cdef Py_ssize_t nbytes

    cdef bint entered(self) noexcept:
        with cython.critical_section(self):
            return self.array is not None

    def __enter__(self):
        if not self.entered():
            block = self.block if self.blocks is None else self.blocks.take()
            array = block[:self.nbytes].view(self.kind)
            with cython.critical_section(self):
                if self.array is None:
                    self.array = array
                    if self.blocks is not None:
                        self.block = block
                    return array
            if self.blocks is not None:
                self.blocks.give(block)     # another thread has entered meanwhile
        raise PoolError("a lease cannot be entered twice at a time")

    def __exit__(self, kind, error, traceback, /):
        cdef object block = None
        with cython.critical_section(self):
            array, self.array = self.array, None
            if self.blocks is not None:
                block, self.block = self.block, None
        if self.blocks is None:
            array.flags.writeable = False
        else:
            self.blocks.give(block)
