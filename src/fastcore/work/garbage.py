"""What the garbage collector does: how long it stops the program, and what a collection gave back."""

import gc
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from fastcore.clock import NS_PER_S, Clock, monotonic_ns

_LONG_PAUSE_S = 0.05
_OLDEST = 2


class PauseStats(NamedTuple):
    """Collections since the tracker was started, and how long they took in seconds."""

    collections: int
    total: float
    longest: float
    last: float


class Pauses:
    """Times every collection, through `gc.callbacks`.

    Args:
        clock: integer nanoseconds.

    Complexity: O(1) a collection; nothing between them.
    Thread safety: may be asked from any thread.
    """

    def __init__(self, clock: Clock = monotonic_ns) -> None:
        self._clock = clock
        self._began: int | None = None
        self._count = self._total = self._longest = self._last = 0

    def start(self) -> None:
        """Begin to time; again is as good as once."""
        if self._notice not in gc.callbacks:
            gc.callbacks.append(self._notice)

    def stop(self) -> None:
        """Time no more."""
        if self._notice in gc.callbacks:
            gc.callbacks.remove(self._notice)
        self._began = None

    def stats(self) -> PauseStats:
        """The figures now."""
        return PauseStats(self._count, self._total / NS_PER_S, self._longest / NS_PER_S, self._last / NS_PER_S)

    def advice(self) -> str | None:
        """What to do about pauses that are too long, if anything."""
        if self._longest < _LONG_PAUSE_S * NS_PER_S or gc.get_freeze_count():
            return None
        return (
            f"the garbage collector stopped the program for {self._longest / NS_PER_S:.3f} s at a time: call "
            "gc.collect() and gc.freeze() once everything is loaded, so that it no longer walks what never goes"
        )

    def _notice(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = self._clock()
        elif self._began is not None:
            self._last = self._clock() - self._began
            self._began = None
            self._count += 1
            self._total += self._last
            self._longest = max(self._longest, self._last)


class Collection(NamedTuple):
    """One forced collection: seconds, objects freed, and the resident bytes before and after, if known."""

    seconds: float
    objects: int
    before: int | None
    after: int | None


class Collector:
    """Forces a full collection, at most one at a time and one in so many seconds.

    Args:
        every: seconds between the starts of two, >= 0.
        clock: integer nanoseconds.
        collect: does it.
    """

    def __init__(
        self, every: float = 60.0, clock: Clock = monotonic_ns, collect: Callable[[], object] = gc.collect
    ) -> None:
        if not every >= 0:
            raise ValueError(f"seconds between two collections must be >= 0, got {every!r}")
        self._every = round(every * NS_PER_S)
        self._clock = clock
        self._collect = collect
        self._lock = threading.Lock()
        self._began: int | None = None
        self.count = 0
        self.last: Collection | None = None

    def try_collect(self, usage: Callable[[], int | None]) -> Collection | None:
        """Collect, unless one runs or the last one began too recently.

        Args:
            usage: resident bytes, asked before and after.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            began = self._clock()
            if self._began is not None and began - self._began < self._every:
                return None
            self._began = began
            before, freed = usage(), _freed()
            self._collect()
            self.count += 1
            self.last = Collection((self._clock() - began) / NS_PER_S, _freed() - freed, before, usage())
            return self.last
        finally:
            self._lock.release()


def _freed() -> int:
    return int(gc.get_stats()[_OLDEST]["collected"])
