"""Pools of memory in plain Python: bytearrays of one length, and numpy arrays on blocks of a power of two bytes."""

import math
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, final

from fastcore._py.pool import ObjectPool, PoolStats, _Pool, forget, limit
from fastcore.errors import PoolError


@final
class BufferPool(_Pool):
    """Lend bytearrays of `size` zero bytes, and numpy arrays on pooled memory.

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

    def __init__(
        self,
        size: int = 1024,
        *,
        max_idle: int = 64,
        max_size: int = 1 << 20,
        clear: bool = True,
        max_idle_time: float | None = 120.0,
        clock: Callable[[], int] | None = None,
        debug: bool = False,
    ) -> None:
        super().__init__(max_idle, max_idle_time, clock, debug)
        self._max_idle_time = max_idle_time
        self._clear = clear
        self._size = limit("size", size)
        self._max_size = limit("max_size", max_size)
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
        if self._clear:
            obj[:] = self._zeros
        else:
            obj.extend(bytes(max(self._size - len(obj), 0)))
            del obj[self._size :]
        return True

    def _check(self, obj: Any) -> None:
        if type(obj) is not bytearray:
            raise TypeError(f"a BufferPool takes bytearrays, got {type(obj).__name__}")

    def lease_array(self, n: int | tuple[int, ...], dtype: Any = "float64") -> "ArrayLease":
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

        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError(f"an array on pooled memory cannot hold Python objects, got dtype {kind}")
        if kind.itemsize == 0 or kind.subdtype is not None:
            raise ValueError(f"an array on pooled memory needs items of a fixed size and no shape, got dtype {kind}")
        shape = n if isinstance(n, tuple) else (n,)
        nbytes = limit("the bytes of the array", math.prod([limit("n", length) for length in shape]) * kind.itemsize)
        block = 1 << max(nbytes - 1, 0).bit_length()
        if self._out is not None or block > self._max_size:
            return ArrayLease(self, None, np.zeros(nbytes, np.uint8), shape, kind, np.ndarray)
        blocks = self._blocks.get(block)
        if blocks is None:
            blocks = self._blocks.setdefault(block, self._pool_of(partial(np.zeros, block, np.uint8)))
        return ArrayLease(self, blocks, None, shape, kind, np.ndarray)

    def _pool_of(self, make: Callable[[], Any]) -> ObjectPool:
        """A pool of blocks, which ages with its owner."""
        blocks = ObjectPool(
            make,
            reset=_zero if self._clear else None,
            max_idle=self._max_idle,
            max_idle_time=self._max_idle_time,
            clock=self._clock,
        )
        forget(blocks)
        return blocks

    def _look(self) -> int:
        return super()._look() + sum([blocks._look() for blocks in list(self._blocks.values())])

    def trim(self) -> int:
        """Drop the idle objects that nobody needed since the last `trim`, or in this period; returns how many."""
        return super().trim() + sum([blocks.trim() for blocks in list(self._blocks.values())])

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

    __slots__ = ("_array", "_block", "_blocks", "_kind", "_ndarray", "_owner", "_shape")

    def __init__(
        self, owner: BufferPool, blocks: ObjectPool | None, block: Any, shape: tuple[int, ...], kind: Any, ndarray: Any
    ) -> None:
        self._owner = owner
        self._blocks = blocks
        self._block = block
        self._shape = shape
        self._kind = kind
        self._ndarray = ndarray
        self._array: Any = None

    def __enter__(self) -> Any:
        if self._array is not None:
            raise PoolError("a lease cannot be entered twice at a time")
        if self._blocks is not None:
            self._block = self._blocks.acquire()
        self._array = self._ndarray(self._shape, self._kind, self._block)
        return self._array

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        array, self._array = self._array, None
        if self._blocks is None:
            array.flags.writeable = False
            if self._owner._out is not None:
                self._block.fill(255)
            return
        block, self._block = self._block, None
        self._blocks.release(block)
        if self._owner._ages.period > 0:
            self._owner._look()
