"""Object pools in plain Python: idle objects in a list, last in first out, and the set of their identities."""

import logging
import operator
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import GenericAlias, TracebackType
from typing import Any, NamedTuple, final

from fastcore._py.handle import Handle, end, unwrap
from fastcore.errors import PoolError


class PoolStats(NamedTuple):
    """What a pool holds and has done, at one moment."""

    idle: int
    created: int
    reused: int
    released: int
    dropped_full: int
    dropped_oversized: int
    dropped_failed: int
    double_releases: int


def _limit(name: str, value: int) -> int:
    number = operator.index(value)
    if not 0 <= number < 2**31:
        raise ValueError(f"{name} must be from 0 to 2**31 - 1, got {number}")
    return number


class _Pool:
    """What both pools do; they differ in how an object is made, measured and reset."""

    def __init__(self, max_idle: int, debug: bool) -> None:
        self._max_idle = _limit("max_idle", max_idle)
        self._lock = threading.RLock()
        self._idle: list[Any] = []
        self._idle_ids: set[int] = set()
        self._out: dict[int, Any] | None = {} if debug else None
        self._created = self._reused = self._released = 0
        self._full = self._oversized = self._failed = self._doubles = 0

    def _check(self, obj: Any) -> None:
        """Refuse an object of the wrong kind."""

    def _make(self) -> Any:
        raise NotImplementedError

    def _fits(self, obj: Any) -> bool:
        raise NotImplementedError

    def _clean(self, obj: Any) -> bool:
        raise NotImplementedError

    def acquire(self) -> Any:
        """Take the object that was released last, or a new one; give it back with `release`."""
        with self._lock:
            if self._idle:
                obj = self._idle.pop()
                self._idle_ids.discard(id(obj))
                self._reused += 1
                if self._out is not None:
                    self._out[id(obj)] = obj
                return obj
        obj = self._make()
        with self._lock:
            self._created += 1
            if self._out is not None:
                self._out[id(obj)] = obj
        return obj

    def release(self, obj: Any, /) -> None:
        """Reset `obj` and keep it for the next `acquire`, unless the pool is full or `obj` is too large.

        An object whose reset raises is dropped, and the error logged. None is ignored, and so is an object that is
        idle already; in debug mode that raises PoolError, and so does an object that this pool did not hand out.
        """
        if obj is None:
            return
        if type(obj) is Handle:
            obj = unwrap(obj)
        self._check(obj)
        if not self._take_back(obj):
            return
        fits = clean = False
        try:
            fits = self._fits(obj)
            clean = fits and self._clean(obj)
        except Exception:
            fits = True
            logging.getLogger("fastcore.pool").exception("A pooled object could not be reset and is dropped")
        with self._lock:
            if not fits:
                self._oversized += 1
            elif not clean:
                self._failed += 1
            elif id(obj) in self._idle_ids:
                self._doubles += 1
            elif len(self._idle) >= self._max_idle:
                self._full += 1
            else:
                self._idle.append(obj)
                self._idle_ids.add(id(obj))

    def _take_back(self, obj: Any) -> bool:
        """Whether `obj` shall be reset and kept."""
        with self._lock:
            if self._out is not None:
                if self._out.pop(id(obj), None) is None:
                    self._doubles += 1
                    raise PoolError(f"released twice, or not from this pool: {type(obj).__name__} at {id(obj):#x}")
            elif id(obj) in self._idle_ids:
                self._doubles += 1
                return False
            self._released += 1
            if len(self._idle) >= self._max_idle:
                self._full += 1
                return False
        return True

    def lease(self) -> "Lease":
        """Acquire in a with statement, and release on every exit from it."""
        return Lease(self)

    def drain(self) -> int:
        """Drop all idle objects; returns how many."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._idle_ids.clear()
        return len(idle)

    def stats(self) -> PoolStats:
        """A snapshot of the counters."""
        with self._lock:
            return PoolStats(
                len(self._idle), self._created, self._reused, self._released,
                self._full, self._oversized, self._failed, self._doubles,
            )  # fmt: skip


@final
class Lease:
    """Holds one object of a pool for the length of a with statement."""

    __slots__ = ("_lent", "_pool")

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._lent: Any = None

    def __enter__(self) -> Any:
        if self._lent is not None:
            raise PoolError("a lease cannot be entered twice at a time")
        obj = self._pool.acquire()
        self._lent = obj if self._pool._out is None else Handle(obj)
        return self._lent

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        lent, self._lent = self._lent, None
        try:
            self._pool.release(lent)
        finally:
            if type(lent) is Handle:
                end(lent)


@final
class ObjectPool(_Pool):
    """Lend objects that are expensive to make, and reset them when they come back.

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

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        reset: Callable[[Any], object] | None = None,
        max_idle: int = 64,
        sizeof: Callable[[Any], int] | None = None,
        max_bytes: int | None = None,
        debug: bool = False,
    ) -> None:
        super().__init__(max_idle, debug)
        if sizeof is not None and max_bytes is None:
            raise ValueError("sizeof has no effect without max_bytes")
        self._factory = factory
        self._reset = reset
        self._sizeof = sys.getsizeof if sizeof is None else sizeof
        self._max_bytes = None if max_bytes is None else _limit("max_bytes", max_bytes)

    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias:
        return GenericAlias(cls, item)

    def _make(self) -> Any:
        return self._factory()

    def _fits(self, obj: Any) -> bool:
        return self._max_bytes is None or self._sizeof(obj) <= self._max_bytes

    def _clean(self, obj: Any) -> bool:
        if self._reset is not None:
            self._reset(obj)
        return True


@final
class BufferPool(_Pool):
    """Lend bytearrays of `size` zero bytes, and numpy arrays on pooled memory.

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

    def __init__(self, size: int = 1024, *, max_idle: int = 64, max_size: int = 1 << 20, debug: bool = False) -> None:
        super().__init__(max_idle, debug)
        self._size = _limit("size", size)
        self._max_size = _limit("max_size", max_size)
        if self._max_size < self._size:
            raise ValueError(f"max_size must be >= size ({self._size}), got {self._max_size}")
        self._zeros = bytes(self._size)
        self._blocks: dict[int, ObjectPool] = {}

    def _make(self) -> Any:
        return bytearray(self._size)

    def _fits(self, obj: Any) -> bool:
        return len(obj) <= self._max_size

    def _clean(self, obj: Any) -> bool:
        try:
            obj.append(0)  # refused while a memoryview of the buffer is alive
        except BufferError:
            return False
        obj[:] = self._zeros
        return True

    def _check(self, obj: Any) -> None:
        if type(obj) is not bytearray:
            raise TypeError(f"a BufferPool takes bytearrays, got {type(obj).__name__}")

    def lease_array(self, n: int, dtype: Any = "float64") -> "ArrayLease":
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

        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError(f"an array on pooled memory cannot hold Python objects, got dtype {kind}")
        nbytes = _limit("the bytes of the array", _limit("n", n) * kind.itemsize)
        block = 1 << max(nbytes - 1, 0).bit_length()
        if self._out is not None or block > self._max_size:
            return ArrayLease(None, np.zeros(nbytes, np.uint8), nbytes, kind)
        blocks = self._blocks.get(block)
        if blocks is None:
            blocks = self._blocks.setdefault(
                block, ObjectPool(partial(np.zeros, block, np.uint8), reset=_zero, max_idle=self._max_idle)
            )
        return ArrayLease(blocks, None, nbytes, kind)

    def drain(self) -> int:
        """Drop all idle objects; returns how many."""
        return super().drain() + sum(blocks.drain() for blocks in list(self._blocks.values()))

    def stats(self) -> PoolStats:
        """A snapshot of the counters."""
        pools = [super().stats(), *(blocks.stats() for blocks in list(self._blocks.values()))]
        return PoolStats(*map(sum, zip(*pools, strict=True)))


def _zero(block: Any) -> None:
    block.fill(0)


@final
class ArrayLease:
    """Holds the memory of one numpy array for the length of a with statement."""

    __slots__ = ("_array", "_block", "_blocks", "_kind", "_nbytes")

    def __init__(self, blocks: ObjectPool | None, block: Any, nbytes: int, kind: Any) -> None:
        self._blocks = blocks
        self._block = block
        self._nbytes = nbytes
        self._kind = kind
        self._array: Any = None

    def __enter__(self) -> Any:
        if self._array is not None:
            raise PoolError("a lease cannot be entered twice at a time")
        if self._blocks is not None:
            self._block = self._blocks.acquire()
        self._array = self._block[: self._nbytes].view(self._kind)
        return self._array

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        array, self._array = self._array, None
        if self._blocks is None:
            array.flags.writeable = False
        else:
            block, self._block = self._block, None
            self._blocks.release(block)
