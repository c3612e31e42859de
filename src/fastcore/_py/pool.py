"""Object pools in plain Python: idle objects in a list, last in first out, and the set of their identities.

User code runs without the lock, as the head of the compiled twin says.
"""

import logging
import math
import operator
import sys
import threading
import time
from collections.abc import Callable
from types import GenericAlias, TracebackType
from typing import Any, NamedTuple, final
from weakref import ReferenceType, ref

from fastcore._py.ages import Ages
from fastcore._py.amounts import as_float, checked_time
from fastcore._py.handle import Handle, end, leased
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
    dropped_unused: int


def limit(name: str, value: int) -> int:
    number = operator.index(value)
    if not 0 <= number < 2**31:
        raise ValueError(f"{name} must be from 0 to 2**31 - 1, got {number}")
    return number


# A reference to every pool that is alive. Each operation on a set is atomic, also in the callback of a reference.
_pools: "set[ReferenceType[_Pool]]" = set()


def trim_all(*, drain: bool = False) -> int:
    """Call `trim` of every pool in the process, or `drain`; returns how many objects were dropped.

    For a monitor of memory: `trim_all()` when memory gets short, `trim_all(drain=True)` when it is.
    """
    pools = [found() for found in list(_pools)]
    return sum(pool.drain() if drain else pool.trim() for pool in pools if pool is not None)


def forget(pool: "_Pool") -> None:
    """Leave a pool to the one that owns it."""
    _pools.discard(ref(pool))


class _Pool:
    """What both pools do; they differ in how an object is made, measured and reset."""

    def __init__(
        self, max_idle: int, max_idle_time: float | None, clock: Callable[[], int] | None, debug: bool
    ) -> None:
        self._max_idle = limit("max_idle", max_idle)
        self._ages = Ages()
        if max_idle_time is not None:
            seconds = as_float(max_idle_time)
            if not 0.0 < seconds < math.inf:
                raise ValueError(f"max_idle_time must be > 0 seconds and finite, or None, got {max_idle_time!r}")
            # Two periods are the time; half of 292 years is for ever.
            self._ages.period = max(int(min(seconds, 9.2e9) * 5e8), 1)
        self._clock = time.monotonic_ns if clock is None else clock
        self._seen = -(2**63)
        self._lock = threading.RLock()
        self._idle: list[Any] = []
        self._idle_ids: set[int] = set()
        self._out: dict[int, Handle] | None = {} if debug else None
        self._created = self._reused = self._released = 0
        self._full = self._oversized = self._failed = self._doubles = self._unused = 0
        _pools.add(ref(self, _pools.discard))

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
        obj = self._take()
        if self._out is None:
            return obj
        handle = Handle(obj)
        with self._lock:
            self._out[id(obj)] = handle
        return handle

    def _take(self) -> Any:
        with self._lock:
            if self._idle:
                obj = self._idle.pop()
                self._ages.low = min(self._ages.low, len(self._idle))
                self._idle_ids.discard(id(obj))
                self._reused += 1
                return obj
        obj = self._make()
        with self._lock:
            self._created += 1
        return obj

    def release(self, obj: Any, /) -> None:
        """Reset `obj` and keep it for the next `acquire`, unless the pool is full or `obj` is too large.

        An object whose reset raises is dropped, and the error logged. None is ignored, and so is an object that is
        idle already; in debug mode that raises PoolError, and so does an object that this pool did not hand out.
        """
        if obj is None:
            return
        if type(obj) is Handle:
            obj = leased(obj)
            if obj is None:
                with self._lock:
                    self._doubles += 1
                raise PoolError("a pooled object was released twice: its lease has ended before")
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
        look = False
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
                look = len(self._idle) > 1 and self._ages.period > 0
        if look:
            self._look()

    def _take_back(self, obj: Any) -> bool:
        """Whether `obj` shall be reset and kept."""
        with self._lock:
            if self._out is not None:
                lent = self._out.pop(id(obj), None)
                if lent is None:
                    self._doubles += 1
                    raise PoolError(f"released twice, or not from this pool: {type(obj).__name__} at {id(obj):#x}")
                end(lent)
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

    def age(self) -> int:
        """Drop what was not needed for `max_idle_time`, as `release` does by itself; returns how many.

        For pools that may not be used for long: their memory goes when a monitor calls this now and then.
        """
        return self._look() if self._ages.period > 0 else 0

    def _look(self) -> int:
        """End the period if it is over; how many objects were dropped."""
        now = checked_time(self._clock())
        with self._lock:
            self._seen = max(self._seen, now)
            dropped = self._cut(self._ages.end_period(self._seen, len(self._idle)))
        return len(dropped)

    def _cut(self, count: int) -> list[Any]:
        """Take `count` objects from the bottom; they go after the lock."""
        dropped = self._idle[:count]
        del self._idle[:count]
        self._idle_ids.difference_update(map(id, dropped))
        self._unused += count
        return dropped

    def trim(self) -> int:
        """Drop the idle objects that nobody needed since the last `trim`, or in this period; returns how many."""
        with self._lock:
            dropped = self._cut(self._ages.end_early(len(self._idle)))
        return len(dropped)

    def drain(self) -> int:
        """Drop all idle objects; returns how many."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._idle_ids.clear()
            self._ages.low = self._ages.victims = 0
        return len(idle)

    def stats(self) -> PoolStats:
        """A snapshot of the counters."""
        with self._lock:
            return PoolStats(
                len(self._idle), self._created, self._reused, self._released,
                self._full, self._oversized, self._failed, self._doubles, self._unused,
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
        self._lent = self._pool.acquire()
        return self._lent

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        lent, self._lent = self._lent, None
        self._pool.release(lent)


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

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        reset: Callable[[Any], object] | None = None,
        max_idle: int = 64,
        sizeof: Callable[[Any], int] | None = None,
        max_bytes: int | None = None,
        max_idle_time: float | None = 120.0,
        clock: Callable[[], int] | None = None,
        debug: bool = False,
    ) -> None:
        if sizeof is not None and max_bytes is None:
            raise ValueError("sizeof has no effect without max_bytes")
        super().__init__(max_idle, max_idle_time, clock, debug)
        self._factory = factory
        self._reset = reset
        self._sizeof = sys.getsizeof if sizeof is None else sizeof
        self._max_bytes = None if max_bytes is None else limit("max_bytes", max_bytes)

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
