"""Where threads wait, and who lets them: the block and mutex profiles, empty until somebody asks for them.

Block: how long threads stood still in waits of fastcore's own, such as `WorkQueue.get`, and for locks that are
profiled. Mutex: how long others waited for such a lock, noted where its holder let go of it, as Go does.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from fastcore._waits import waits
from fastcore.clock import monotonic_ns, new_random
from fastcore.observe.profiles.frames import stack_of
from fastcore.observe.profiles.model import Line, Profile, Stack, ValueType

MAX_STACKS = 1000
_OTHER: Stack = (Line("other", "", 0),)
_INSIDE = ("fastcore._waits.", "fastcore.observe.profiles.waits.", "contextlib.", "threading.")


class WaitProfile:
    """Contentions and their delay by stack, since the process began.

    Args:
        name: "block" or "mutex".
        random: decides which are noted.

    Thread safety: may be used from any thread.
    """

    def __init__(self, name: str, *, random: Random | None = None) -> None:
        self.name = name
        self._random = random or new_random()
        # Re-entrant: a finalizer that waits may come between any two lines.
        self._lock = _new_rlock()
        self._counts: dict[Stack, list[float]] = {}

    def add(self, stack: Stack, ns: int, weight: float = 1.0) -> None:
        """Note a wait that stands for `weight` of them."""
        while stack and stack[0].function.startswith(_INSIDE):
            stack = stack[1:]
        with self._lock:
            if stack not in self._counts and len(self._counts) >= MAX_STACKS:
                stack = _OTHER
            held = self._counts.setdefault(stack, [0.0, 0.0])
            held[0] += weight
            held[1] += weight * ns

    def sampled(self, ns: int, rate: float) -> float:
        """For how many a wait stands if one is to be noted for each `rate` nanoseconds; 0: it is not noted."""
        if ns >= rate:
            return 1.0
        return rate / ns if ns > 0 and self._random.random() < ns / rate else 0.0

    def chosen(self, fraction: int) -> float:
        """For how many a wait stands if one of `fraction` is to be noted; 0: it is not noted."""
        return float(fraction) if fraction and self._random.random() * fraction < 1 else 0.0

    def profile(self) -> Profile:
        """All that was noted so far."""
        found = Profile(
            (ValueType("contentions", "count"), ValueType("delay", "nanoseconds")), default="delay", period=1
        )
        found.began_ns = time.time_ns()
        with self._lock:
            counts = {stack: tuple(map(round, held)) for stack, held in self._counts.items()}
        for stack, values in counts.items():
            found.add(stack, values)
        return found

    def stacks(self) -> int:
        """How many different ones there are."""
        return len(self._counts)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._counts.clear()


_new_lock, _new_rlock = threading.Lock, threading.RLock

BLOCK, MUTEX = WaitProfile("block"), WaitProfile("mutex")


class _Rates:
    block = 0.0
    mutex = 0


_rates = _Rates()


def set_block_rate(ns: float) -> None:
    """Note one wait for each `ns` nanoseconds that threads wait, on average; 1 notes all, 0 ends it.

    Raises:
        ValueError: `ns` is below 0.

    Source: Go's runtime.SetBlockProfileRate.
    """
    if not ns >= 0:
        raise ValueError(f"ns must be at least 0 nanoseconds, not {ns!r}")
    _rates.block = ns
    waits.observer = _blocked if ns else None


def set_mutex_fraction(fraction: int) -> int:
    """Note one of `fraction` contentions of profiled locks; 1 notes all, 0 ends it. Returns the one before.

    Raises:
        ValueError: `fraction` is below 0.

    Source: Go's runtime.SetMutexProfileFraction.
    """
    if fraction < 0:
        raise ValueError(f"fraction must be at least 0, not {fraction!r}")
    before, _rates.mutex = _rates.mutex, fraction
    return before


def _blocked(ns: int) -> None:
    weight = BLOCK.sampled(ns, _rates.block) if _rates.block else 0.0
    if weight:
        BLOCK.add(stack_of(sys._getframe(1)), ns, weight)


class ProfiledLock:
    """`threading.Lock` (or what `make` makes) whose contention the profiles see.

    Complexity: an uncontended turn costs two Python calls more.
    Thread safety: it is a lock.

    Example:
        >>> with ProfiledLock() as got:
        ...     got
        True
    """

    __slots__ = ("__weakref__", "_held_ns", "_lock", "_waiting")

    def __init__(self, make: Callable[[], Any] = _new_lock) -> None:
        self._lock = make()
        self._waiting: dict[int, int] = {}  # since when, by thread
        self._held_ns = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `threading.Lock.acquire`."""
        if not blocking and timeout != -1:
            return bool(self._lock.acquire(blocking, timeout))  # which says that this makes no sense
        if self._lock.acquire(False):
            self._held_ns = monotonic_ns() if _rates.mutex else 0
            return True
        if not blocking:
            return False
        began = monotonic_ns()
        me = threading.get_ident()
        self._waiting[me] = began
        try:
            got: bool = self._lock.acquire(True, timeout)
        finally:
            self._waiting.pop(me, None)
            now = monotonic_ns()
        if got:
            self._held_ns = now
        _blocked(now - began)
        return got

    def release(self) -> None:
        """As `threading.Lock.release`."""
        delay = 0
        if self._waiting and _rates.mutex:
            now = monotonic_ns()
            delay = sum(now - max(since, self._held_ns) for since in list(self._waiting.values()))
        self._lock.release()
        if delay > 0 and (weight := MUTEX.chosen(_rates.mutex)):
            MUTEX.add(stack_of(sys._getframe(1)), delay, weight)

    def locked(self) -> bool:
        """As `threading.Lock.locked`."""
        held: bool = self._lock.locked()
        return held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        if name == "_lock":  # of an object that is being made by a copy
            raise AttributeError(name)
        return getattr(self._lock, name)  # what a Condition asks of a re-entrant lock


def _profiled_rlock() -> Any:
    return ProfiledLock(_new_rlock)


@contextmanager
def profiled_locks() -> Iterator[None]:
    """Have `threading.Lock` and `threading.RLock` make profiled locks inside; what was made stays so.

    Call it early, before the modules that make the locks are imported or their objects are made.
    """
    before = threading.Lock, threading.RLock
    threading.Lock = ProfiledLock  # type: ignore[assignment]
    threading.RLock = _profiled_rlock  # type: ignore[assignment]
    try:
        yield
    finally:
        threading.Lock, threading.RLock = before
