"""The work queue in plain Python: each key once, never to two consumers at a time.

The book (book.py) knows the keys, the crowd (waiting.py) who waits for one; this is what surrounds them: the lock, the
clock, waiting and waking. No thread runs in the background: of the waiting consumers one, the leader, sleeps until the
next delayed key is due.

User code runs outside the lock: `clock`, `fair_by`, the limiter, event loops. The `__hash__` and `__eq__` of keys (see
book.py) and of the groups that `fair_by` names run under it, which is why it is reentrant.
"""

import math
import operator
import threading
from collections.abc import Callable
from time import monotonic_ns
from types import GenericAlias
from typing import Any, final

from fastcore._py.backoff import ItemBackoff
from fastcore._py.book import Book
from fastcore._py.book import KeyState as KeyState
from fastcore._py.book import QueueStats as QueueStats
from fastcore._py.durations import Durations as Durations
from fastcore._py.levels import Entry, Group
from fastcore._py.waiting import NEVER, Crowd, Waiter
from fastcore.errors import ShutDown, WaitTimeout

_THREAD_RECHECK_NS = 10_000_000_000
_KEPT_GROUPS = 64


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
        self._limiter = ItemBackoff() if limiter is None else limiter
        self._fair_by = fair_by
        self._clock = monotonic_ns if clock is None else clock
        self._name = name
        self._lock = threading.RLock()
        self._crowd = Crowd()
        self._book = Book(self._crowd, NEVER if aging is None else _ns(aging))
        self._groups: dict[Any, Group] = {}
        self._groups_limit = _KEPT_GROUPS

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
        if not self._book.shut:
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
        now = self._now()
        with self._lock:
            entry = self._book.finish(key, now)
        self._wake()
        if entry is None:
            raise ValueError(f"done() of a key that is not being processed: {key!r}")

    def __len__(self) -> int:
        """The number of ready keys; delayed ones and those being processed do not count."""
        now = self._now() if self._book.delayed() else 0
        with self._lock:
            self._book.advance(now)
            depth = self._book.depth()
        self._wake()
        return depth

    # End

    def discard(self, group: Any, /) -> int:
        """Drop all turns that the keys of one group wait for, at once, and have the limiter forget these keys.

        Ready and delayed keys leave. One that is being processed stays with its consumer and is not handed out again
        at `done`, unless it is added anew; its back-off is forgotten, too. What is added while this runs may stay.

        Args:
            group: a value of `fair_by`.

        Returns:
            How many keys had a turn to lose.

        Raises:
            ValueError: the queue has no `fair_by`.
            TypeError: `group` is not hashable.
            Exception: from the limiter's `forget`, once it was called for all keys: the first one.

        Complexity: O(keys in the queue), and O(log n) for each delayed key of the group.

        Example:
            >>> queue = WorkQueue(fair_by=lambda key: key.partition("/")[0])
            >>> queue.add("shop/web"); queue.add_after("shop/db", 30); queue.add("blog/web")
            >>> queue.discard("shop"), queue.get(timeout=0), queue.stats().delayed
            (2, 'blog/web', 0)
        """
        if self._fair_by is None:
            raise ValueError("discard() needs a queue with fair_by: without it there are no groups")
        with self._lock:
            known = self._groups.get(group)
            dropped, entries = (0, []) if known is None else self._book.discard(known)
        self._wake()
        first: Exception | None = None
        for entry in entries:
            try:
                self._limiter.forget(entry.key)
            except Exception as error:
                first = first or error
        if first is not None:
            raise first
        return dropped

    def shut_down(self) -> None:
        """Take no more keys: consumers get those that are ready, then ShutDown; delayed keys are dropped.

        Consumers and drains that wait are woken. Calling it again has no effect.
        """
        with self._lock:
            gone = self._book.close()
            self._crowd.release()
        del gone  # not under the lock
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
        return self._book.shut

    @property
    def name(self) -> str:
        """The name given at construction."""
        return self._name

    def stats(self) -> QueueStats:
        """A snapshot of counters and durations."""
        now = self._now()
        with self._lock:
            snapshot = self._book.read(now, self._name)
        self._wake()
        return snapshot

    def state(self, key: Any, /) -> KeyState | None:
        """Where `key` is now, or None if the queue does not hold it.

        Returns:
            A `KeyState`: "ready", "processing" or "delayed", its priority, for how long, and when its delay ends.

        Raises:
            TypeError: `key` is not hashable.

        Complexity: O(1).
        """
        now = self._now()
        with self._lock:
            found = self._book.tell(key, now)
        self._wake()
        return found

    # Inside: these take the lock

    def _now(self) -> int:
        return operator.index(self._clock())

    def _group(self, key: Any) -> Group:
        """The group of `key`, held. Now and then forgets those that nobody holds, so that their number is bounded."""
        value = None if self._fair_by is None else self._fair_by(key)
        with self._lock:
            if len(self._groups) >= self._groups_limit:
                for known, group in list(self._groups.items()):
                    if group.members == 0:
                        self._groups.pop(known, None)
                        if group.members:  # the hash or comparison of a value used the queue
                            self._groups.setdefault(known, group)
                self._groups_limit = max(_KEPT_GROUPS, 2 * len(self._groups))
            group = self._groups.setdefault(value, Group())
            group.members += 1
            return group

    def _put(self, key: Any, delay: int, priority: int | None, again: bool) -> None:
        """See Book.put."""
        if self._book.shut:
            return
        group = self._group(key)
        try:
            now = self._now()
            with self._lock:
                self._book.put(key, group, delay, priority, again, now)
        finally:
            with self._lock:
                group.members -= 1
        self._wake()

    def _take_or_wait(self, waiter: Waiter | None, previous: Waiter | None) -> Entry | None:
        """Take a key; without one, let `waiter` take the place of `previous` among those who wait."""
        now = self._now()
        with self._lock:
            self._crowd.delist(previous)
            entry = self._book.take(now)
            ended = entry is None and self._book.shut
            if entry is None and waiter is not None and not ended:
                self._crowd.enlist(waiter, self._book.next_due(now))
        self._wake()
        if ended:
            raise ShutDown(f"the queue {self._name!r} is shut down and holds no more keys")
        return entry

    def _leave(self, waiter: Waiter | None) -> None:
        """Stop waiting, and let another consumer see to what is there, or to the next delayed key."""
        with self._lock:
            self._crowd.delist(waiter)
            self._book.hand_on()
        self._wake()

    def _wake(self) -> None:
        """Wake those who were signalled, outside the lock; replace one whose event loop is closed by another."""
        while self._crowd.woken:
            with self._lock:
                woken = self._crowd.take_woken()
            for waiter in woken:
                if not waiter.wake():
                    with self._lock:
                        self._book.hand_on()

    def _drain(self, waiter: Waiter) -> bool:
        with self._lock:
            gone = self._book.close()
            idle = self._book.idle()
            if not idle:
                self._crowd.drainers[waiter] = None
        del gone  # not under the lock
        self._wake()
        return idle

    def _drained(self, waiter: Waiter) -> bool:
        with self._lock:
            self._crowd.drainers.pop(waiter, None)
            return self._book.idle()
