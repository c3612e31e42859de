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
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic_ns
from types import GenericAlias
from typing import Any, NamedTuple, final

from fastcore._py.delays import Delays
from fastcore._py.durations import Counts, Durations
from fastcore._py.levels import Entry, Group, Levels
from fastcore._py.waiting import NEVER, Crowd, Waiter
from fastcore.errors import ShutDown, WaitTimeout

_READY, _PROCESSING, _DIRTY, _DELAYED = 1, 2, 4, 8
_THREAD_RECHECK_NS = 10_000_000_000
_KEPT_GROUPS = 64


class QueueStats(NamedTuple):
    """What a queue holds and has done, at one moment; times in seconds."""

    name: str
    depth: int
    depth_by_priority: dict[int, int]
    processing: int
    delayed: int
    adds: int
    retries: int
    unfinished_work: float
    longest_running: float
    queue_duration: Durations
    work_duration: Durations


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

    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias:
        return GenericAlias(cls, item)

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
        self._aging = NEVER if aging is None else _ns(aging)
        self._fair_by = fair_by
        self._clock = monotonic_ns if clock is None else clock
        self._name = name
        self._lock = threading.RLock()
        self._items: dict[Any, Entry] = {}
        self._levels = Levels()
        self._ready: OrderedDict[Entry, None] = OrderedDict()
        self._processing: dict[Entry, None] = {}
        self._delays = Delays()
        self._crowd = Crowd()
        self._everyone = Group()
        self._groups: dict[Any, Group] = {}
        self._groups_limit = _KEPT_GROUPS
        self._aged_turn = self._shut = False
        self._last = self._adds = self._retries = 0
        self._queue_durations = Counts()
        self._work_durations = Counts()

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
        entry = self._take_or_wait(None, None)
        if entry is not None:
            return entry.key
        deadline = None if limit is None else monotonic_ns() + limit
        waiter: Waiter | None = None
        try:
            while True:
                previous, waiter = waiter, Waiter()
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
        entry = self._take_or_wait(None, None)
        if entry is not None:
            return entry.key
        from asyncio import get_running_loop

        loop = get_running_loop()
        waiter: Waiter | None = None
        try:
            while True:
                previous, waiter = waiter, Waiter(loop)
                entry = self._take_or_wait(waiter, previous)
                if entry is not None:
                    return entry.key
                waiter.arm(waiter.pause)
                try:
                    await waiter.future
                finally:
                    waiter.disarm()
        finally:
            self._leave(waiter)

    def done(self, key: Any, /) -> None:
        """End the processing of `key`; it becomes ready again if it was added meanwhile.

        Raises:
            ValueError: `key` is not being processed.
        """
        now = self._clock()
        with self._lock:
            entry = self._finish(key, now)
        self._wake()
        if entry is None:
            raise ValueError(f"done() of a key that is not being processed: {key!r}")

    def __len__(self) -> int:
        """The number of ready keys; delayed ones and those being processed do not count."""
        now = self._clock() if self._delays.count else 0
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
            self._crowd.release()
        self._wake()

    def shut_down_with_drain(self, timeout: float) -> bool:
        """Shut down, then wait up to `timeout` seconds until no key is ready or being processed.

        Returns:
            True once all is done; False at the deadline, or when `shut_down` ended the wait before.
        """
        limit = _timeout_ns(timeout)
        waiter = Waiter()
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
        waiter = Waiter(get_running_loop())
        if self._drain(waiter):
            return True
        waiter.arm(limit)
        try:
            await waiter.future
        finally:
            waiter.disarm()
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
                depth_by_priority=self._levels.depths(),
                processing=len(running),
                delayed=self._delays.count,
                adds=self._adds,
                retries=self._retries,
                unfinished_work=sum(running) / 1e9,
                longest_running=max(running, default=0) / 1e9,
                queue_duration=self._queue_durations.snapshot(),
                work_duration=self._work_durations.snapshot(),
            )
        self._wake()
        return snapshot

    # Inside: these take the lock

    def _group(self, key: Any) -> Group:
        """The group of `key`. Forgets groups without keys now and then, so that their number stays bounded."""
        if self._fair_by is None:
            return self._everyone
        value = self._fair_by(key)
        if len(self._groups) >= self._groups_limit:
            for known, group in list(self._groups.items()):
                if group.members == 0:
                    self._groups.pop(known, None)
            self._groups_limit = max(_KEPT_GROUPS, 2 * len(self._groups))
        return self._groups.setdefault(value, Group())

    def _put(self, key: Any, delay: int, priority: int | None, again: bool) -> None:
        """Mark `key` for the time in `delay`; `again` is a requeue: counted as a retry, and keeps its priority."""
        if self._shut:
            return
        fresh = Entry(key, self._group(key))
        now = self._clock()
        with self._lock:
            entry = self._items.setdefault(key, fresh)
            if entry is fresh:
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
                self._delay(entry, min(now + delay, NEVER), priority)
            else:
                if entry.state & _DELAYED:
                    priority = max(priority, entry.priority)
                    entry.state &= ~_DELAYED
                    self._delays.cancel(entry)
                entry.priority = priority
                self._mark(entry, now)
        self._wake()

    def _take_or_wait(self, waiter: Waiter | None, previous: Waiter | None) -> Entry | None:
        """Take a key; without one, let `waiter` take the place of `previous` among those who wait."""
        now = self._clock()
        with self._lock:
            self._crowd.delist(previous)
            now = self._at(now)
            entry = self._take(now)
            ended = entry is None and self._shut
            if entry is None and waiter is not None and not ended:
                self._crowd.enlist(waiter, self._delays.next_due() - now if self._delays.count else NEVER)
        self._wake()
        if ended:
            raise ShutDown(f"the queue {self._name!r} is shut down and holds no more keys")
        return entry

    def _leave(self, waiter: Waiter | None) -> None:
        """Stop waiting, and let another consumer see to what is there, or to the next delayed key."""
        with self._lock:
            self._crowd.delist(waiter)
            self._hand_on()
        self._wake()

    def _wake(self) -> None:
        """Wake those who were signalled, outside the lock; replace one whose event loop is closed by another."""
        while self._crowd.woken:
            with self._lock:
                woken = self._crowd.take_woken()
            for waiter in woken:
                if not waiter.wake():
                    with self._lock:
                        self._hand_on()

    def _drain(self, waiter: Waiter) -> bool:
        with self._lock:
            self._close()
            idle = self._idle()
            if not idle:
                self._crowd.drainers[waiter] = None
        self._wake()
        return idle

    def _drained(self, waiter: Waiter) -> bool:
        with self._lock:
            self._crowd.drainers.pop(waiter, None)
            return self._idle()

    # Under the lock

    def _at(self, now: int) -> int:
        """`now`, or the highest time seen if the clock went back."""
        self._last = max(self._last, operator.index(now))
        return self._last

    def _raise(self, entry: Entry, priority: int) -> None:
        if priority <= entry.priority:
            return
        if entry.state & _READY:
            self._levels.remove(entry)
            entry.priority = priority
            self._levels.put(entry)
        else:
            entry.priority = priority

    def _delay(self, entry: Entry, due: int, priority: int) -> None:
        if entry.state & _DELAYED:
            entry.priority = max(priority, entry.priority)
            if due >= entry.due:
                return
        else:
            entry.state |= _DELAYED
            entry.priority = priority
        self._delays.put(entry, due)
        if self._delays.first() is entry:
            self._crowd.rearm()

    def _promote(self, now: int) -> None:
        """Mark the delayed keys that are due, in the order of their due times."""
        while (entry := self._delays.first()) is not None and entry.due <= now:
            self._delays.cancel(entry)
            entry.state &= ~_DELAYED
            self._mark(entry, entry.due)

    def _mark(self, entry: Entry, now: int) -> None:
        self._adds += 1
        entry.added = now
        if entry.state & _PROCESSING:
            entry.state |= _DIRTY
        else:
            self._push(entry, now)

    def _push(self, entry: Entry, now: int) -> None:
        self._levels.put(entry)
        entry.ready_at = now
        entry.state |= _READY
        self._ready[entry] = None
        self._crowd.signal()

    def _take(self, now: int) -> Entry | None:
        self._promote(now)
        if not self._ready:
            return None
        priority = self._levels.top()
        oldest = next(iter(self._ready))
        if oldest.priority < priority and now - oldest.ready_at > self._aging:
            self._aged_turn = not self._aged_turn
            if not self._aged_turn:
                priority = oldest.priority
        entry = self._levels.take(priority)
        del self._ready[entry]
        entry.state = (entry.state & ~_READY) | _PROCESSING
        entry.popped, entry.started = entry.priority, now
        self._processing[entry] = None
        self._queue_durations.add(now - entry.added)
        return entry

    def _finish(self, key: Any, now: int) -> Entry | None:
        """The entry whose processing has ended, or None if it is not being processed."""
        entry = self._items.get(key)
        if entry is None or not entry.state & _PROCESSING:
            return None
        if entry.state == _PROCESSING:
            self._drop(key, entry)
            if not entry.state & _PROCESSING:
                return entry
        now = self._at(now)
        entry.state &= ~_PROCESSING
        del self._processing[entry]
        self._work_durations.add(now - entry.started)
        if entry.state & _DIRTY:
            entry.state &= ~_DIRTY
            self._push(entry, now)
        if self._shut and self._idle():
            self._crowd.release()
        return entry

    def _drop(self, key: Any, entry: Entry) -> None:
        """Take the clean `entry` out of the dict; if the key's `__eq__` has added it again meanwhile, put it back."""
        gone, kept = self._items.pop(key, None), None
        if gone is entry and entry.state == _PROCESSING:
            entry.group.members -= 1
        elif gone is not None:
            try:
                kept = self._items.setdefault(key, gone)
            finally:
                if kept is not gone:
                    self._dismiss(gone)

    def _dismiss(self, entry: Entry) -> None:
        """Unlink an entry that the dict no longer owns."""
        if entry.state & _READY:
            self._levels.remove(entry)
            del self._ready[entry]
        if entry.state & _DELAYED:
            self._delays.cancel(entry)
        self._processing.pop(entry, None)
        entry.state = 0
        entry.group.members -= 1

    def _hand_on(self) -> None:
        if self._ready or (self._delays.count and self._crowd.leader is None):
            self._crowd.signal()

    def _idle(self) -> bool:
        return not self._ready and not self._processing

    def _close(self) -> None:
        """End intake. Entries that were only delayed stay in the dict, idle, until the queue goes."""
        self._shut = True
        for entry in self._delays.clear():
            entry.state &= ~_DELAYED
        self._crowd.end()
