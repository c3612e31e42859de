# cython: freethreading_compatible=True
"""Pools of memory: bytearrays of one length, and numpy arrays on blocks of a power of two bytes.

User code runs where pool.pyx says; numpy's, which allocates and fills, runs outside every section, too.
"""

from functools import partial

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from libc.string cimport memset

from fastcore._ext.pool import PoolStats, _forget, _register
from fastcore.errors import PoolError

from fastcore._ext.pool cimport ObjectPool, _Pool, limit


@cython.final
cdef class BufferPool(_Pool):
    """BufferPool(size=1024, *, max_idle=64, max_size=1048576, clear=True, max_idle_time=120.0, clock=None,
        debug=False)
--

    Lend bytearrays of `size` zero bytes, and numpy arrays on pooled memory.

    A buffer that comes back is set to zeros and to its length; it is dropped if it has grown beyond `max_size`, or if a
    memoryview of it is still alive.

    Args:
        size: bytes of a buffer, 0 to 2**31 - 1.
        max_idle: how many buffers are kept, and how many blocks for arrays, >= 0; more are dropped.
        max_size: bytes of the largest buffer or block that is kept, >= `size`.
        clear: set memory to zeros when it comes back; False hands out what the last user left in it, which saves the
            time for memory that is written before it is read, and holds no secrets.
        max_idle_time: seconds, > 0: memory that nobody needed for at least half of it is dropped when it is over, at
            a later release or `age`; None keeps it.
        clock: callable returning integer nanoseconds; default the monotonic clock. One that goes back is held.
        debug: detect double release, and use after release: buffers are lent behind a handle.

    Raises:
        ValueError: a limit or time is out of range.

    Complexity: O(size) for release, unless `clear` is off; else O(1).
    Thread safety: every method is atomic.

    Example:
        >>> pool = BufferPool(4)
        >>> with pool.lease() as buffer:
        ...     buffer[0] = 255
        >>> pool.acquire()
        bytearray(b'\\x00\\x00\\x00\\x00')

    Source: Go's sync.Pool, with a bound, and with time in the place of garbage collections.
    """

    cdef Py_ssize_t size
    cdef Py_ssize_t max_size
    cdef object max_idle_time
    cdef bint clear
    cdef dict blocks  # bytes of a block -> ObjectPool

    def __cinit__(
        self, size=1024, *, max_idle=64, max_size=1048576, bint clear=True, max_idle_time=120.0, clock=None,
        bint debug=False,
    ):
        self.configure(max_idle, max_idle_time, clock, debug)
        self.max_idle_time = max_idle_time
        self.clear = clear
        self.size = limit("size", size)
        self.max_size = limit("max_size", max_size)
        if self.max_size < self.size:
            raise ValueError(f"max_size must be >= size ({self.size}), got {self.max_size}")
        self.blocks = {}
        _register(self)

    cdef int check(self, object obj) except -1:
        if type(obj) is not bytearray:
            raise TypeError(f"a BufferPool takes bytearrays, got {type(obj).__name__}")
        return 0

    cdef object make(self):
        return bytearray(self.size)

    cdef bint fits(self, object obj) except -1:
        return PyByteArray_GET_SIZE(obj) <= self.max_size

    cdef bint clean(self, object obj) except -1:
        cdef Py_ssize_t length, keep
        # The section is of the buffer: whoever released it may still write to it.
        with cython.critical_section(obj):
            length = PyByteArray_GET_SIZE(obj)
            try:
                PyByteArray_Resize(obj, length + 1)  # refused while a memoryview of it is alive
                PyByteArray_Resize(obj, self.size)
            except BufferError:
                return False
            # What the last resize added is not initialised.
            keep = 0 if self.clear else min(length, self.size)
            memset(PyByteArray_AS_STRING(obj) + keep, 0, self.size - keep)
        return True

    def lease_array(self, n, dtype="float64"):
        """Lend a numpy array of zeros in a with statement; of anything if `clear` is off.

        Its memory, a block of a power of two bytes, is used again after the statement: copy what is to stay. In debug
        mode it is not used again: a late write raises ValueError, a late read finds all bits set (NaN, -1).

        Args:
            n: number of items, >= 0, or a tuple of them: the shape.
            dtype: numpy's type of an item, of fixed size and without Python objects.

        Raises:
            TypeError: `dtype` holds Python objects.
            ValueError: `n` is negative, `dtype` has no size or a shape, or the array has 2**31 bytes or more.
        """
        import numpy as np

        cdef ArrayLease lease
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError(f"an array on pooled memory cannot hold Python objects, got dtype {kind}")
        if kind.itemsize == 0 or kind.subdtype is not None:
            raise ValueError(f"an array on pooled memory needs items of a fixed size and no shape, got dtype {kind}")
        shape = n if isinstance(n, tuple) else (n,)
        nbytes = kind.itemsize
        for length in shape:
            nbytes *= limit("n", length)
        nbytes = limit("the bytes of the array", nbytes)
        lease = ArrayLease.__new__(ArrayLease)
        lease.owner = self
        lease.ndarray = np.ndarray
        lease.shape = shape
        lease.kind = kind
        block = 1 << max(nbytes - 1, 0).bit_length()
        if self.out is not None or block > self.max_size:
            lease.block = np.zeros(nbytes, np.uint8)
        else:
            lease.blocks = self.blocks.get(block)
            if lease.blocks is None:
                lease.blocks = self.blocks.setdefault(block, self.pool_of(partial(np.zeros, block, np.uint8)))
        return lease

    cdef ObjectPool pool_of(self, make):
        """A pool of blocks, which ages with its owner."""
        cdef ObjectPool blocks = ObjectPool(
            make, reset=_zero if self.clear else None, max_idle=self.max_idle, max_idle_time=self.max_idle_time,
            clock=self.clock,
        )
        _forget(blocks)
        return blocks

    cdef Py_ssize_t look(self) except -1:
        cdef Py_ssize_t count = _Pool.look(self)
        for blocks in list(self.blocks.values()):
            count += (<ObjectPool>blocks).look()
        return count

    cdef Py_ssize_t shrink(self) except -1:
        cdef Py_ssize_t count = _Pool.shrink(self)
        for blocks in list(self.blocks.values()):
            count += (<ObjectPool>blocks).shrink()
        return count

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

    cdef BufferPool owner
    cdef ObjectPool blocks  # None: the block is not pooled
    cdef object block
    cdef object array
    cdef tuple shape
    cdef object kind
    cdef object ndarray

    cdef bint entered(self) noexcept:
        with cython.critical_section(self):
            return self.array is not None

    def __enter__(self):
        if not self.entered():
            block = self.block if self.blocks is None else self.blocks.take()
            array = self.ndarray(self.shape, self.kind, block)
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
            if self.owner.out is not None:
                self.block.fill(255)
            return
        self.blocks.give(block)
        if self.owner.ages.period > 0:
            self.owner.look()
