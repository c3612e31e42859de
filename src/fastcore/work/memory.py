"""Watches the memory of this process against what its container allows, and acts in stages before the kernel does."""

import logging
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from fastcore.clock import NS_PER_S, Clock, monotonic_ns
from fastcore.work.cgroup import Cgroup
from fastcore.work.garbage import Collection, Collector
from fastcore.work.rss import ResidentMemory

log = logging.getLogger("fastcore.work")

_REREAD_NS = 60 * NS_PER_S
_REARM = 0.95


class Reading(NamedTuple):
    """Memory at one moment.

    Args:
        usage: resident bytes, measured after a collection if there was one; None where the system does not tell.
        limit: bytes that the container, or whoever made the monitor, allows; None: nobody limits.
        allowed: the limit times the monitor's ratio.
        level: "ok", "soft" or "hard".
        refusing: whether new work should be refused.
    """

    usage: int | None
    limit: int | None
    allowed: int | None
    level: str
    refusing: bool


class Resizable(Protocol):
    """A cache that can be told its size."""

    @property
    def maxsize(self) -> Any:
        """The size that it may have."""

    @property
    def currsize(self) -> Any:
        """The size that it has."""

    def resize(self, maxsize: Any, /) -> object:
        """Take another one."""


class Drainable(Protocol):
    """A pool that can give back what is idle."""

    def drain(self) -> object:
        """Give it back."""


Callback = Callable[[Reading], object]
_C = TypeVar("_C", bound=Callback)


class _Threshold:
    """Fires once when the usage crosses it, and again only after it fell clearly below."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.callbacks: list[Callback] = []
        self.over = False
        self.crossings = 0

    def crossed(self, usage: int, at: float) -> bool:
        """Whether this reading crosses it upwards."""
        self.settle(usage, at)
        if self.over or usage < at:
            return False
        self.over = True
        self.crossings += 1
        return True

    def settle(self, usage: int, at: float) -> None:
        """Arm again if this reading is clearly below."""
        if usage < at * _REARM:
            self.over = False

    def fire(self, reading: Reading) -> None:
        """Call everybody; one that raises stops no other."""
        for callback in list(self.callbacks):
            try:
                callback(reading)
            except Exception:
                log.exception("callback of the %s memory threshold failed: %r", self._what, callback)


class MemoryMonitor:
    """Compares resident memory with the limit, and reacts in stages.

    At `soft` times what is allowed: the soft callbacks; registered caches shrink and pools drain. At what is allowed: a
    full collection, at most one a minute; if that was not enough, new work is refused and the hard callbacks run. Each
    stage happens once, and again after the usage fell below 0.95 of its threshold; then caches get their size back and
    work is taken again.

    Nothing happens by itself: call `check()` where it suits (it costs microseconds while all is well), or `start()` a
    thread that does.

    Args:
        limit: bytes; None: the smallest limit of the control group and its ancestors, or the machine's memory. If both
            are given the smaller counts. Read again every minute.
        ratio: of the limit that is allowed, 0 < ratio <= 1.
        soft: of what is allowed at which the soft stage begins, 0 < soft < 1.
        pressure: percent of time in which tasks stood still for lack of memory (PSI) that counts as soft, too; None
            does not look.
        collect_every: seconds between two forced collections.
        usage: resident bytes, or None if unknown; default: `/proc/self/statm`. Where there is none (macOS, Windows)
            give one, such as `lambda: psutil.Process().memory_info().rss`; without it the monitor never acts.
        root: folder that holds `proc` and `sys`; tests give another one.
        clock: integer nanoseconds.
        collect: collects garbage.

    Raises:
        ValueError: an argument is out of range.

    Thread safety: every method may be called from any thread; one check reacts at a time, and one that comes
        meanwhile, from a callback or a finalizer too, only measures.

    Example:
        >>> monitor = MemoryMonitor(limit=1000, ratio=0.9, usage=lambda: 100)
        >>> monitor.check()
        Reading(usage=100, limit=1000, allowed=900, level='ok', refusing=False)
    """

    def __init__(
        self,
        limit: int | None = None,
        ratio: float = 0.9,
        *,
        soft: float = 0.85,
        pressure: float | None = None,
        collect_every: float = 60.0,
        usage: Callable[[], int | None] | None = None,
        root: str | Path = "/",
        clock: Clock = monotonic_ns,
        collect: Callable[[], object] | None = None,
    ) -> None:
        if limit is not None and limit <= 0:
            raise ValueError(f"limit must be above 0 bytes, got {limit!r}")
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, got {ratio!r}")
        if not 0 < soft < 1:
            raise ValueError(f"soft must be above 0 and below 1, got {soft!r}")
        if pressure is not None and not 0 < pressure <= 100:
            raise ValueError(f"pressure must be above 0 and at most 100 percent, got {pressure!r}")
        self._explicit = limit
        self._ratio = ratio
        self._soft_share = soft
        self._pressure = math.inf if pressure is None else pressure
        self._cgroup = Cgroup(root)
        self._usage = ResidentMemory(root) if usage is None else usage
        self._clock = clock
        self._collector = Collector(collect_every, clock, *(() if collect is None else (collect,)))
        self._reacting = threading.Lock()
        self._soft, self._hard = _Threshold("soft"), _Threshold("hard")
        self._recover: list[Callable[[], object]] = []
        self._limit: int | None = None
        self._allowed: int | None = None
        self._soft_at: float = math.inf
        self._next_read: int | None = None
        self._refusing = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def limit(self) -> int | None:
        """The limit in bytes, read again if the last reading is a minute old; None: nobody limits."""
        now = self._clock()
        if self._next_read is None or now >= self._next_read:
            self._next_read = now + _REREAD_NS
            limits = [value for value in (self._explicit, self._cgroup.memory_limit()) if value]
            self._limit = min(limits) if limits else self._cgroup.system_memory() or _physical_memory()
            self._allowed = None if self._limit is None else int(self._limit * self._ratio)
            self._soft_at = math.inf if self._allowed is None else self._allowed * self._soft_share
        return self._limit

    def check(self) -> Reading:
        """Measure, and react if a threshold is crossed.

        Complexity: one reading of a small file; a reaction takes as long as it takes (a full collection with millions
            of objects half a second).
        """
        self.limit()
        usage = self._usage()
        calm = usage is None or (usage < self._soft_at and not self._soft.over and not self._refusing)
        if (not calm or self._pressure < math.inf) and self._reacting.acquire(blocking=False):
            try:
                usage = self._react(usage)
            finally:
                self._reacting.release()
        return self._reading(usage)

    def reading(self) -> Reading:
        """Measure, and do nothing about it: what a scrape asks for."""
        self.limit()
        return self._reading(self._usage())

    def refusing(self) -> bool:
        """Whether new work should be refused: too much was still in use after the last collection.

        Complexity: O(1); nothing is measured.
        """
        return self._refusing

    def _react(self, usage: int | None) -> int | None:
        if usage is None or self._allowed is None:
            return usage
        squeezed = (self._pressure < math.inf) and (self._cgroup.pressure() or 0.0) >= self._pressure
        if self._soft.crossed(max(usage, math.ceil(self._soft_at)) if squeezed else usage, self._soft_at):
            self._soft.fire(self._reading(usage))
            usage = self._usage() or usage
        if usage >= self._allowed:
            found = self._collector.try_collect(self._usage)
            if found is not None:
                log.warning("collected %d objects in %.3f s: memory was short", found.objects, found.seconds)
                usage = found.after or usage
                self._soft.settle(usage, self._soft_at)
        if usage < self._allowed * _REARM:
            self._refusing = False
        if self._hard.crossed(usage, self._allowed):
            self._refusing = True
            self._hard.fire(self._reading(usage))
        if not self._soft.over:
            self._give_back()
        return usage

    def _give_back(self) -> None:
        while self._recover:
            recover = self._recover.pop()
            try:
                recover()
            except Exception:
                log.exception("a cache did not take its size back: %r", recover)

    def _reading(self, usage: int | None) -> Reading:
        level = "hard" if self._hard.over else "soft" if self._soft.over else "ok"
        return Reading(usage, self._limit, self._allowed, level, self._refusing)

    def on_soft(self, callback: _C) -> _C:
        """Call `callback(reading)` when the soft threshold is crossed upwards; usable as a decorator."""
        self._soft.callbacks.append(callback)
        return callback

    def on_hard(self, callback: _C) -> _C:
        """Call `callback(reading)` when more is in use than allowed, even after a collection."""
        self._hard.callbacks.append(callback)
        return callback

    def shrink(self, cache: Resizable, keep: float = 0.5) -> Callback:
        """Have `cache` shrink at the soft stage, and get its size back when that has passed.

        Args:
            keep: share of what it holds then that it keeps, 0 < keep < 1.

        Returns:
            What was registered, for `forget`.
        """
        if not 0 < keep < 1:
            raise ValueError(f"keep must be above 0 and below 1, got {keep!r}")

        def shrink(reading: Reading) -> None:
            size, held = cache.maxsize, cache.currsize
            if held:  # an empty one has nothing to give
                self._recover.append(lambda: cache.resize(size))
                cache.resize(max(1, int(held * keep)))

        return self.on_soft(shrink)

    def drain(self, pool: Drainable) -> Callback:
        """Have `pool` give back what is idle at the soft stage; returns what was registered, for `forget`."""
        return self.on_soft(lambda reading: pool.drain())

    def forget(self, callback: Callback) -> None:
        """Take a callback back; one that is not registered is ignored."""
        for threshold in (self._soft, self._hard):
            if callback in threshold.callbacks:
                threshold.callbacks.remove(callback)

    @property
    def crossings(self) -> dict[str, int]:
        """How often each threshold was crossed."""
        return {"soft": self._soft.crossings, "hard": self._hard.crossings}

    @property
    def collections(self) -> int:
        """How many collections were forced."""
        return self._collector.count

    @property
    def last_collection(self) -> Collection | None:
        """What the last forced collection did."""
        return self._collector.last

    def pressure(self) -> float | None:
        """Percent of the last 10 seconds in which tasks stood still for lack of memory; None if unknown."""
        return self._cgroup.pressure()

    def start(self, interval: float = 1.0) -> None:
        """Check every `interval` seconds in a thread of its own, until `stop`; again is as good as once."""
        if not interval > 0:
            raise ValueError(f"interval must be above 0 seconds, got {interval!r}")
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, args=(interval,), name="memory-monitor", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, if there is one."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def _watch(self, interval: float) -> None:
        while not self._stop.wait(interval):
            try:
                self.check()
            except Exception:
                log.exception("the memory monitor could not check")


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
