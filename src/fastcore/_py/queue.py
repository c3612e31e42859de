"""The work queue in plain Python: each key once, never to two consumers at a time.

A key is in `_items` while it is ready, being processed or delayed. Ready keys stand in `_ready` (in the order they
became ready) and in the lane of their group and priority; delayed ones in a heap by due time, whose stale entries are
skipped. No thread runs in the background: of the waiting consumers one, the leader, sleeps until the next key is due.

User code that runs inside: a key's `__hash__` and `__eq__` (on the first dict call of an operation, before anything
changed); outside the lock: `clock`, `fair_by`, the limiter.
"""

import math
import operator
import threading
from _thread import LockType, allocate_lock
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic_ns
from types import GenericAlias
from typing import Any, final

from fastcore.errors import ShutDown, WaitTimeout

_READY, _PROCESSING, _DIRTY, _DELAYED = 1, 2, 4, 8
_NEVER = 2**63 - 1
_THREAD_RECHECK_NS = 10_000_000_000
_LOOP_RECHECK_NS = 86_400_000_000_000
_BOUNDS_NS = tuple(10 ** (i + 1) for i in range(12))

QueueStats = namedtuple(
    "QueueStats",
    "name depth depth_by_priority processing delayed adds retries unfinished_work longest_running"
    " queue_duration work_duration",
)
QueueStats.__doc__ = "What a queue holds and has done, at one moment; times in seconds."

Durations = namedtuple("Durations", "buckets sum")
Durations.__doc__ = "A histogram: pairs of an upper bound in seconds and the count up to it, and the sum in seconds."


def _ns(seconds: float) -> int:
    """Nanoseconds, saturated to 64 bits."""
    if math.isnan(seconds):
        raise ValueError("a delay must be a number of seconds, got nan")
    return round(max(-9.2e18, min(seconds * 1e9, 9.2e18)))


def _level(priority: int) -> int:
    """`priority` as an integer of 32 bits."""
    value = operator.index(priority)
    if not -(2**31) <= value < 2**31:
        raise ValueError(f"priority must be from -2**31 to 2**31 - 1, got {value}")
    return value


def _timeout_ns(timeout: float) -> int:
    if not timeout >= 0:
        raise ValueError(f"timeout must be >= 0 seconds, got {timeout!r}")
    return _ns(timeout)


class _Durations:
    """Counts of durations by power of ten, from 10 ns to 1000 s and above."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * 13
        self.sum_ns = 0

    def observe(self, ns: int) -> None:
        i = 0
        while i < 12 and ns > _BOUNDS_NS[i]:
            i += 1
        self.counts[i] += 1
        self.sum_ns += ns

    def snapshot(self) -> Durations:
        buckets, total = [], 0
        for i, count in enumerate(self.counts):
            total += count
            buckets.append((_BOUNDS_NS[i] / 1e9 if i < 12 else math.inf, total))
        return Durations(tuple(buckets), self.sum_ns / 1e9)


class _ItemBackoff:
    """The limiter of a queue that was given none: 5 ms, doubled with each call for the key, up to 1000 s."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures: dict[Any, int] = {}

    def when(self, key: Any) -> float:
        n = self.failures.get(key, 0)
        self.failures[key] = n + 1
        return min(0.005 * 2.0 ** min(n, 60), 1000.0)

    def forget(self, key: Any) -> None:
        self.failures.pop(key, None)

    def retries(self, key: Any) -> int:
        return self.failures.get(key, 0)


class _Group:
    """Stands for one value of `fair_by`; compared by identity, so that taking turns runs no user code."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members = 0


class _Entry:
    """All that the queue knows of one key."""

    __slots__ = ("added", "due", "group", "key", "popped", "priority", "ready_at", "seq", "started", "state")

    def __init__(self, key: Any, group: _Group | None) -> None:
        self.key = key
        self.group = group
        self.state = self.priority = self.popped = 0
        self.added = self.ready_at = self.started = self.due = self.seq = 0


class _Level:
    """The ready keys of one priority: a lane a group, first in first out; the groups take turns."""

    __slots__ = ("count", "lanes", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.count = 0
        self.lanes: OrderedDict[_Group | None, OrderedDict[_Entry, None]] = OrderedDict()

    def put(self, entry: _Entry) -> None:
        self.lanes.setdefault(entry.group, OrderedDict())[entry] = None
        self.count += 1

    def remove(self, entry: _Entry) -> None:
        lane = self.lanes[entry.group]
        del lane[entry]
        self.count -= 1
        if not lane:
            del self.lanes[entry.group]

    def take(self) -> _Entry:
        group, lane = next(iter(self.lanes.items()))
        entry = next(iter(lane))
        if len(lane) > 1:
            self.lanes.move_to_end(group)
        self.remove(entry)
        return entry


def _resolve(future: Any) -> None:
    if not future.done():
        future.set_result(None)


class _Waiter:
    """One wait of a thread (a lock it blocks on) or of a task (a future and its loop)."""

    __slots__ = ("future", "lock", "loop", "pause")

    def __init__(self, loop: Any = None) -> None:
        self.pause = _NEVER
        self.loop = loop
        self.lock: LockType | None = None
        self.future = None
        if loop is None:
            self.lock = allocate_lock()
            self.lock.acquire()
        else:
            self.future = loop.create_future()

    def wake(self) -> bool:
        """End the wait; False if the task's loop is closed, so that nobody waits there any more."""
        if self.lock is not None:
            self.lock.release()
            return True
        from asyncio import _get_running_loop

        try:
            if _get_running_loop() is self.loop:
                _resolve(self.future)
            else:
                self.loop.call_soon_threadsafe(_resolve, self.future)
        except RuntimeError:
            return False
        return True

    def block(self, ns: int) -> None:
        assert self.lock is not None
        self.lock.acquire(timeout=min(max(ns, 0) / 1e9, threading.TIMEOUT_MAX))

    async def pend(self, ns: int) -> None:
        timer = None if ns == _NEVER else self.loop.call_later(min(ns, _LOOP_RECHECK_NS) / 1e9, _resolve, self.future)
        try:
            await self.future  # type: ignore[misc]
        finally:
            if timer is not None:
                timer.cancel()


@final
class WorkQueue:
    """Hand each added key to one consumer at a time, once however often it was added.

    Levels of priority, a turn for each group in a level, delays, back-off and metrics; threads and tasks may consume
    side by side, and any thread may add. A key that is added while it is being processed is handed out again after
    `done`. Of keys with equal priority the one that became ready first goes first.

    Args:
        limiter: `when(key)` -> seconds, `forget(key)` and `retries(key)` for `add_rate_limited`; default: 5 ms doubled
            with each call for the key, up to 1000 s.
        aging: seconds, > 0, after which a ready key counts as starving: every second `get` then serves its level,
            however low. None: strict priority.
        fair_by: maps a key to its group (a workspace); within a level the groups with ready keys take turns.
        clock: integer nanoseconds; default the monotonic clock. Waiting itself sleeps in real time (or loop time).
        name: for metrics.

    Raises:
        ValueError: `aging` is not above 0.
        TypeError: a key is not hashable; nothing changed.

    Complexity: O(1) for add, get and done; O(log n) of the delayed keys for delays; O(processing) for stats.
    Thread safety: every method may be called from any thread; `aget` from any event loop.

    Example:
        >>> queue = WorkQueue()
        >>> queue.add("a"); queue.add("a"); queue.add("b", priority=1)
        >>> len(queue), queue.get(), queue.get()
        (2, 'b', 'a')
        >>> queue.add("a"); len(queue)   # being processed: waits for done
        0
        >>> queue.done("a"); len(queue)
        1

    Source: client-go's workqueue and controller-runtime's priority queue.
    """

    __slots__ = (
        "__weakref__", "_adds", "_aged_turn", "_aging", "_clock", "_delayed", "_drainers", "_fair_by", "_groups",
        "_groups_limit", "_heap", "_items", "_last", "_leader", "_levels", "_limiter", "_lock", "_name", "_processing",
        "_queue_durations", "_ready", "_retries", "_seq", "_shut", "_waiters", "_woken", "_work_durations",
    )  # fmt: skip

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(
        self,
        *,
        limiter: Any = None,
        aging: float | None = 60.0,
        fair_by: Callable[[Any], Any] | None = None,
        clock: Callable[[], int] | None = None,
        name: str = "",
    ) -> None:
        if aging is not None and not aging > 0:
            raise ValueError(f"aging must be > 0 seconds or None, got {aging!r}")
        self._limiter = _ItemBackoff() if limiter is None else limiter
        self._aging = _NEVER if aging is None else _ns(aging)
        self._fair_by = fair_by
        self._clock = monotonic_ns if clock is None else clock
        self._name = name
        self._lock = threading.RLock()
        self._items: dict[Any, _Entry] = {}
        self._levels: dict[int, _Level] = {}
        self._ready: OrderedDict[_Entry, None] = OrderedDict()
        self._processing: dict[_Entry, None] = {}
        self._heap: list[tuple[int, int, _Entry]] = []
        self._delayed = self._seq = self._last = self._adds = self._retries = 0
        self._groups: dict[Any, _Group] = {}
        self._groups_limit = 64
        self._aged_turn = self._shut = False
        self._waiters: dict[_Waiter, None] = {}
        self._drainers: dict[_Waiter, None] = {}
        self._leader: _Waiter | None = None
        self._woken: list[_Waiter] = []
        self._queue_durations = _Durations()
        self._work_durations = _Durations()

    # Producers

    def add(self, key: Any, priority: int = 0) -> None:
        """Make `key` ready, or have it handed out again after `done` if it is being processed.

        A key that is already ready moves to the end of the level of `priority` if that is higher; a pending delay
        ends. Ignored after shutdown.
        """
        self._put(key, 0, _level(priority), False)

    def add_after(self, key: Any, delay: float, priority: int | None = None) -> None:
        """Add `key` in `delay` seconds; of several delays the earliest counts, and `delay` <= 0 is `add`.

        With `priority` None a key that is being processed keeps the priority that it was handed out with.
        """
        self._put(key, _ns(delay), None if priority is None else _level(priority), True)

    def add_rate_limited(self, key: Any, priority: int | None = None) -> None:
        """Add `key` after the delay that the limiter asks for."""
        level = None if priority is None else _level(priority)
        if not self._shut:
            self._put(key, _ns(self._limiter.when(key)), level, True)

    def forget(self, key: Any, /) -> None:
        """Tell the limiter that `key` succeeded: its back-off starts anew."""
        self._limiter.forget(key)

    def retries(self, key: Any, /) -> int:
        """How often the limiter has delayed `key` since it was forgotten."""
        return operator.index(self._limiter.retries(key))

    # Consumers

    def get(self, timeout: float | None = None) -> Any:
        """Take the next key, waiting for one; call `done` with it afterwards.

        Args:
            timeout: seconds of real time, >= 0; None waits without limit.

        Raises:
            WaitTimeout: a TimeoutError; no key within `timeout`.
            ShutDown: the queue is shut down and no key is ready.
        """
        limit = None if timeout is None else _timeout_ns(timeout)
        entry = self._take_or_wait(None)
        if entry is not None:
            return entry.key
        deadline = None if limit is None else monotonic_ns() + limit
        waiter = None
        try:
            while True:
                previous, waiter = waiter, _Waiter()
                entry = self._take_or_wait(waiter, previous)
                if entry is not None:
                    return entry.key
                pause = min(waiter.pause, _THREAD_RECHECK_NS)
                if deadline is not None:
                    left = deadline - monotonic_ns()
                    if left <= 0:
                        raise WaitTimeout(f"no key within {timeout} s")
                    pause = min(pause, left)
                waiter.block(pause)
        finally:
            self._leave(waiter)

    async def aget(self) -> Any:
        """Take the next key as `get` does, without blocking the event loop; cancelling loses no key."""
        entry = self._take_or_wait(None)
        if entry is not None:
            return entry.key
        from asyncio import get_running_loop

        loop = get_running_loop()
        waiter = None
        try:
            while True:
                previous, waiter = waiter, _Waiter(loop)
                entry = self._take_or_wait(waiter, previous)
                if entry is not None:
                    return entry.key
                await waiter.pend(waiter.pause)
        finally:
            self._leave(waiter)

    def done(self, key: Any, /) -> None:
        """End the processing of `key`; it becomes ready again if it was added meanwhile.

        Raises:
            ValueError: `key` is not being processed.
        """
        now = self._clock()
        with self._lock:
            entry = self._items.get(key)
            if entry is None or not entry.state & _PROCESSING:
                raise ValueError(f"done() of a key that is not being processed: {key!r}")
            if entry.state == _PROCESSING:
                self._drop(key, entry)
                if not entry.state & _PROCESSING:
                    return
            now = self._at(now)
            entry.state &= ~_PROCESSING
            del self._processing[entry]
            self._work_durations.observe(now - entry.started)
            if entry.state & _DIRTY:
                entry.state &= ~_DIRTY
                self._push(entry, now)
            if self._shut and self._idle():
                self._wake_all(self._drainers)
        self._wake()

    def __len__(self) -> int:
        """The number of ready keys; delayed ones and those being processed do not count."""
        now = self._clock() if self._delayed else 0
        with self._lock:
            self._promote(self._at(now))
            depth = len(self._ready)
        self._wake()
        return depth

    # End

    def shut_down(self) -> None:
        """Take no more keys: consumers get those that are ready, then ShutDown; delayed keys are dropped.

        Consumers and drains that wait are woken. Calling it again has no effect.
        """
        with self._lock:
            self._close()
            self._wake_all(self._drainers)
        self._wake()

    def shut_down_with_drain(self, timeout: float) -> bool:
        """Shut down, then wait up to `timeout` seconds until no key is ready or being processed.

        Returns:
            True once all is done; False at the deadline, or when `shut_down` ended the wait before.
        """
        limit = _timeout_ns(timeout)
        waiter = _Waiter()
        if self._drain(waiter):
            return True
        try:
            waiter.block(limit)
        finally:
            drained = self._drained(waiter)
        return drained

    async def ashut_down_with_drain(self, timeout: float) -> bool:
        """Shut down and wait as `shut_down_with_drain` does, without blocking the event loop."""
        from asyncio import get_running_loop

        limit = _timeout_ns(timeout)
        waiter = _Waiter(get_running_loop())
        if self._drain(waiter):
            return True
        try:
            await waiter.pend(limit)
        finally:
            drained = self._drained(waiter)
        return drained

    @property
    def shutting_down(self) -> bool:
        """Whether the queue was shut down."""
        return self._shut

    @property
    def name(self) -> str:
        """The name given at construction."""
        return self._name

    def stats(self) -> QueueStats:
        """A snapshot of counters and durations."""
        now = self._clock()
        with self._lock:
            now = self._at(now)
            self._promote(now)
            running = [now - entry.started for entry in self._processing]
            snapshot = QueueStats(
                name=self._name,
                depth=len(self._ready),
                depth_by_priority={p: self._levels[p].count for p in sorted(self._levels, reverse=True)},
                processing=len(running),
                delayed=self._delayed,
                adds=self._adds,
                retries=self._retries,
                unfinished_work=sum(running) / 1e9,
                longest_running=max(running, default=0) / 1e9,
                queue_duration=self._queue_durations.snapshot(),
                work_duration=self._work_durations.snapshot(),
            )
        self._wake()
        return snapshot

    # Under the lock, but for _put, _take_or_wait and _leave, which take it

    def _at(self, now: int) -> int:
        """`now`, or the highest time seen if the clock went back."""
        self._last = max(self._last, operator.index(now))
        return self._last

    def _group(self, key: Any) -> _Group | None:
        if self._fair_by is None:
            return None
        value = self._fair_by(key)
        if len(self._groups) >= self._groups_limit:
            for known, group in list(self._groups.items()):
                if group.members == 0:
                    self._groups.pop(known, None)
            self._groups_limit = max(64, 2 * len(self._groups))
        return self._groups.setdefault(value, _Group())

    def _put(self, key: Any, delay: int, priority: int | None, again: bool) -> None:
        """Mark `key` for the time in `delay`; `again` is a requeue: counted as a retry, and keeps its priority."""
        if self._shut:
            return
        fresh = _Entry(key, self._group(key))
        now = self._clock()
        with self._lock:
            entry = self._items.setdefault(key, fresh)
            if entry is fresh and fresh.group is not None:
                fresh.group.members += 1
            now = self._at(now)
            self._promote(now)
            if priority is None:
                priority = entry.popped if entry.state & _PROCESSING else 0
            if again and delay > 0:
                self._retries += 1
            if entry.state & (_READY | _DIRTY):
                self._raise(entry, priority)
            elif delay > 0:
                self._delay(entry, min(now + delay, _NEVER), priority)
            else:
                if entry.state & _DELAYED:
                    priority = max(priority, entry.priority)
                    entry.state &= ~_DELAYED
                    self._delayed -= 1
                entry.priority = priority
                self._mark(entry, now)
        self._wake()

    def _raise(self, entry: _Entry, priority: int) -> None:
        if priority <= entry.priority:
            return
        if entry.state & _READY:
            self._unlink(entry)
            entry.priority = priority
            self._link(entry)
        else:
            entry.priority = priority

    def _delay(self, entry: _Entry, due: int, priority: int) -> None:
        if entry.state & _DELAYED:
            entry.priority = max(priority, entry.priority)
            if due >= entry.due:
                return
        else:
            entry.state |= _DELAYED
            entry.priority = priority
            self._delayed += 1
        self._seq += 1
        entry.due, entry.seq = due, self._seq
        if len(self._heap) > 2 * self._delayed + 64:
            self._heap = [item for item in self._heap if self._waits(item)]
            heapify(self._heap)
        heappush(self._heap, (due, entry.seq, entry))
        if self._heap[0][2] is entry:
            if self._leader is not None:
                self._signal(self._leader)
            elif self._waiters:
                self._signal()

    @staticmethod
    def _waits(item: tuple[int, int, _Entry]) -> bool:
        return bool(item[2].state & _DELAYED) and item[2].seq == item[1]

    def _next_due(self) -> int:
        """When the next delayed key is due; drops stale entries of the heap."""
        while self._heap and not self._waits(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else _NEVER

    def _promote(self, now: int) -> None:
        """Mark the delayed keys that are due, in the order of their due times."""
        while self._delayed and self._next_due() <= now:
            entry = heappop(self._heap)[2]
            entry.state &= ~_DELAYED
            self._delayed -= 1
            self._mark(entry, entry.due)

    def _mark(self, entry: _Entry, now: int) -> None:
        self._adds += 1
        entry.added = now
        if entry.state & _PROCESSING:
            entry.state |= _DIRTY
        else:
            self._push(entry, now)

    def _push(self, entry: _Entry, now: int) -> None:
        entry.ready_at = now
        entry.state |= _READY
        self._ready[entry] = None
        self._link(entry)
        if self._waiters:
            self._signal()

    def _link(self, entry: _Entry) -> None:
        level = self._levels.get(entry.priority)
        if level is None:
            level = self._levels[entry.priority] = _Level(entry.priority)
        level.put(entry)

    def _unlink(self, entry: _Entry) -> None:
        level = self._levels[entry.priority]
        level.remove(entry)
        if not level.count:
            del self._levels[entry.priority]

    def _take(self, now: int) -> _Entry | None:
        self._promote(now)
        if not self._ready:
            return None
        level = self._levels[max(self._levels)]
        oldest = next(iter(self._ready))
        if oldest.priority < level.priority and now - oldest.ready_at > self._aging:
            self._aged_turn = not self._aged_turn
            if not self._aged_turn:
                level = self._levels[oldest.priority]
        entry = level.take()
        if not level.count:
            del self._levels[level.priority]
        del self._ready[entry]
        entry.state = (entry.state & ~_READY) | _PROCESSING
        entry.popped, entry.started = entry.priority, now
        self._processing[entry] = None
        self._queue_durations.observe(now - entry.added)
        return entry

    def _take_or_wait(self, waiter: _Waiter | None, previous: _Waiter | None = None) -> _Entry | None:
        """Take a key; without one, let `waiter` take the place of `previous` among those who wait."""
        now = self._clock()
        try:
            with self._lock:
                self._delist(previous)
                now = self._at(now)
                entry = self._take(now)
                if entry is None:
                    if self._shut:
                        raise ShutDown(f"the queue {self._name!r} is shut down and holds no more keys")
                    if waiter is not None:
                        self._waiters[waiter] = None
                        if self._leader is None and self._delayed:
                            self._leader = waiter
                            waiter.pause = self._next_due() - now
                return entry
        finally:
            self._wake()

    def _delist(self, waiter: _Waiter | None) -> None:
        if waiter is not None:
            self._waiters.pop(waiter, None)
            if self._leader is waiter:
                self._leader = None

    def _leave(self, waiter: _Waiter | None) -> None:
        """Stop waiting, and let another consumer see to what is there, or to the next delayed key."""
        with self._lock:
            self._delist(waiter)
            self._hand_on()
        self._wake()

    def _hand_on(self) -> None:
        if self._waiters and (self._ready or (self._delayed and self._leader is None)):
            self._signal()

    def _signal(self, waiter: _Waiter | None = None) -> None:
        if waiter is None:
            waiter = next(iter(self._waiters))
        self._delist(waiter)
        self._woken.append(waiter)

    def _wake_all(self, waiters: dict[_Waiter, None]) -> None:
        self._woken.extend(waiters)
        waiters.clear()

    def _wake(self) -> None:
        """Wake those who were signalled, outside the lock; replace one whose event loop is closed by another."""
        while self._woken:
            with self._lock:
                woken, self._woken = self._woken, []
            for waiter in woken:
                if not waiter.wake():
                    with self._lock:
                        self._hand_on()

    def _drop(self, key: Any, entry: _Entry) -> None:
        """Take the clean `entry` out of the dict; if the key's `__eq__` has added it again meanwhile, put it back."""
        gone = self._items.pop(key, None)
        if gone is entry and entry.state == _PROCESSING:
            self._dismiss_group(entry)
        elif gone is not None and self._items.setdefault(key, gone) is not gone:
            self._dismiss(gone)

    def _dismiss(self, entry: _Entry) -> None:
        if entry.state & _READY:
            self._unlink(entry)
            del self._ready[entry]
        if entry.state & _DELAYED:
            self._delayed -= 1
        self._processing.pop(entry, None)
        entry.state = 0
        self._dismiss_group(entry)

    @staticmethod
    def _dismiss_group(entry: _Entry) -> None:
        if entry.group is not None:
            entry.group.members -= 1

    def _idle(self) -> bool:
        return not self._ready and not self._processing

    def _close(self) -> None:
        self._shut = True
        for _, _, entry in self._heap:
            entry.state &= ~_DELAYED
        self._heap = []
        self._delayed = 0
        self._leader = None
        self._wake_all(self._waiters)

    def _drain(self, waiter: _Waiter) -> bool:
        with self._lock:
            self._close()
            idle = self._idle()
            if not idle:
                self._drainers[waiter] = None
        self._wake()
        return idle

    def _drained(self, waiter: _Waiter) -> bool:
        with self._lock:
            self._drainers.pop(waiter, None)
            return self._idle()
