# cython: freethreading_compatible=True
"""The work queue: each key once, never to two consumers at a time.

    items: dict key -> Entry            owns every entry that is ready, being processed or delayed
    levels: C, by priority              borrowed links: ready entries, a lane a group (levels.pxd)
    ready: C ring                       the same entries in the order in which they became ready
    processing: C ring                  entries handed out, oldest first
    timers: C heap                      delayed entries by due time
    crowd                               consumers that wait (waiting.pyx); empty on the fast path

User code runs: in `clock`, `fair_by` and the limiter, outside the section; in a key's `__hash__` and `__eq__`, on the
dict call that opens an operation (nothing has changed yet) and on the `pop` in `_drop`, while the entry still counts as
being processed; in a key's `__del__`, when a method returns. Dict calls may let other threads in on a free-threaded
build, so that after each of them the entry's state is read anew. An entry leaves the dict in `_drop` alone.
"""

import math
from collections import namedtuple
from types import GenericAlias

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.number cimport PyNumber_Index
from libc.math cimport isnan
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MAX, int64_t

from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.durations cimport BUCKETS, Counts, counts_add
from fastcore._ext.levels cimport (
    Lane, Level, Levels, lanes_free, lanes_get, level_put, level_remove, level_take, levels_free, levels_get,
    levels_top, levels_trim,
)
from fastcore._ext.link cimport Link, ring_append, ring_empty, ring_init, ring_remove
from fastcore._ext.timers cimport Timer, Timers, timers_add, timers_free, timers_remove, timers_up
from fastcore._ext.waiting cimport Crowd, Waiter

from fastcore.errors import ShutDown, WaitTimeout

cdef extern from "math.h" nogil:
    long long llrint(double)

cdef enum:
    READY = 1
    PROCESSING = 2
    DIRTY = 4           # added while being processed
    DELAYED = 8
    KEPT_GROUPS = 64

cdef int64_t THREAD_RECHECK_NS = 10_000_000_000
cdef long long SAME_PRIORITY = INT64_MAX

QueueStats = namedtuple(
    "QueueStats",
    "name depth depth_by_priority processing delayed adds retries unfinished_work longest_running"
    " queue_duration work_duration",
)
QueueStats.__doc__ = "What a queue holds and has done, at one moment; times in seconds."

Durations = namedtuple("Durations", "buckets sum")
Durations.__doc__ = "A histogram: pairs of an upper bound in seconds and the count up to it, and the sum in seconds."


cdef int64_t to_ns(double seconds) except? -1:
    """Nanoseconds, saturated to 64 bits."""
    if isnan(seconds):
        raise ValueError("a delay must be a number of seconds, got nan")
    return llrint(max(-9.2e18, min(seconds * 1e9, 9.2e18)))


cdef int64_t timeout_ns(object timeout) except? -1:
    if not timeout >= 0:
        raise ValueError(f"timeout must be >= 0 seconds, got {timeout!r}")
    return to_ns(timeout)


cdef long long to_priority(object priority) except? -1:
    cdef int overflow = 0
    cdef long long value = PyLong_AsLongLongAndOverflow(priority, &overflow)
    if overflow or value < INT32_MIN or value > INT32_MAX:
        raise ValueError(f"priority must be from -2**31 to 2**31 - 1, got {PyNumber_Index(priority)}")
    return value


cdef object snapshot(Counts* histogram):
    cdef list buckets = []
    cdef int64_t total = 0
    cdef int i
    for i in range(BUCKETS):
        total += histogram.counts[i]
        buckets.append((10.0 ** (i + 1) / 1e9 if i < BUCKETS - 1 else math.inf, total))
    return Durations(tuple(buckets), histogram.sum_ns / 1e9)


@cython.final
cdef class _ItemBackoff:
    """The limiter of a queue that was given none: 5 ms, doubled with each call for the key, up to 1000 s."""

    cdef dict failures

    def __cinit__(self):
        self.failures = {}

    def when(self, key, /):
        n = self.failures.get(key, 0)
        self.failures[key] = n + 1
        return min(0.005 * 2.0 ** min(n, 60), 1000.0)

    def forget(self, key, /):
        self.failures.pop(key, None)

    def retries(self, key, /):
        return self.failures.get(key, 0)


@cython.final
cdef class _Group:
    """Stands for one value of `fair_by`, or for all keys without it; compared by identity: no user code."""

    cdef Lane* lanes
    cdef Py_ssize_t members

    def __dealloc__(self):
        lanes_free(&self.lanes)


@cython.final
@cython.freelist(64)
cdef class _Entry:
    """All that the queue knows of one key."""

    cdef object key
    cdef _Group group
    cdef Link line          # in a lane while ready, in `processing` while being processed
    cdef Link age           # in `ready` while ready
    cdef Timer timer        # in `timers` while delayed
    cdef Lane* lane
    cdef Level* level
    cdef int64_t added      # when it was first added since it was last handed out
    cdef int64_t ready_at
    cdef int64_t started
    cdef int state
    cdef int priority
    cdef int popped         # the priority it was handed out with

    def __cinit__(self):
        self.line.owner = self.age.owner = self.timer.owner = <void*>self


@cython.final
cdef class WorkQueue:
    """WorkQueue(*, limiter=None, aging=60.0, fair_by=None, clock=None, name='')
--

    Hand each added key to one consumer at a time, once however often it was added.

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

    cdef dict items
    cdef Levels levels
    cdef Link ready
    cdef Py_ssize_t depth
    cdef Link processing
    cdef Py_ssize_t running
    cdef Timers timers
    cdef int64_t seq
    cdef Crowd crowd
    cdef object clock
    cdef object limiter
    cdef object fair_by
    cdef dict groups
    cdef Py_ssize_t groups_limit
    cdef _Group everyone
    cdef int64_t aging
    cdef bint aged_turn
    cdef bint shut
    cdef int64_t last       # the highest time seen
    cdef int64_t adds
    cdef int64_t retried
    cdef Counts queue_durations
    cdef Counts work_durations
    cdef readonly object name  #: The name given at construction.
    cdef object __weakref__

    def __cinit__(self, *, limiter=None, aging=60.0, fair_by=None, clock=None, name=""):
        ring_init(&self.ready)
        ring_init(&self.processing)
        if aging is not None and not aging > 0:
            raise ValueError(f"aging must be > 0 seconds or None, got {aging!r}")
        self.aging = INT64_MAX if aging is None else to_ns(aging)
        self.items = {}
        self.groups = {}
        self.groups_limit = KEPT_GROUPS
        self.everyone = _Group.__new__(_Group)
        self.crowd = Crowd.__new__(Crowd)
        self.clock = clock
        self.limiter = _ItemBackoff.__new__(_ItemBackoff) if limiter is None else limiter
        self.fair_by = fair_by
        self.name = name

    def __dealloc__(self):
        levels_free(&self.levels)
        timers_free(&self.timers)

    @classmethod
    def __class_getitem__(cls, item, /):
        return GenericAlias(cls, item)

    # Producers

    def add(self, key, priority=0):
        """Make `key` ready, or have it handed out again after `done` if it is being processed.

        A key that is already ready moves to the end of the level of `priority` if that is higher; a pending delay
        ends. Ignored after shutdown.
        """
        self._put(key, 0, to_priority(priority), False)

    def add_after(self, key, double delay, priority=None):
        """Add `key` in `delay` seconds; of several delays the earliest counts, and `delay` <= 0 is `add`.

        With `priority` None a key that is being processed keeps the priority that it was handed out with.
        """
        self._put(key, to_ns(delay), SAME_PRIORITY if priority is None else to_priority(priority), True)

    def add_rate_limited(self, key, priority=None):
        """Add `key` after the delay that the limiter asks for."""
        cdef long long level = SAME_PRIORITY if priority is None else to_priority(priority)
        if not self.shut:
            self._put(key, to_ns(self.limiter.when(key)), level, True)

    def forget(self, key, /):
        """Tell the limiter that `key` succeeded: its back-off starts anew."""
        self.limiter.forget(key)

    def retries(self, key, /):
        """How often the limiter has delayed `key` since it was forgotten."""
        return PyNumber_Index(self.limiter.retries(key))

    # Consumers

    def get(self, timeout=None):
        """Take the next key, waiting for one; call `done` with it afterwards.

        Args:
            timeout: seconds of real time, >= 0; None waits without limit.

        Raises:
            WaitTimeout: a TimeoutError; no key within `timeout`.
            ShutDown: the queue is shut down and no key is ready.
        """
        cdef int64_t limit = -1 if timeout is None else timeout_ns(timeout)
        cdef int64_t deadline, pause
        cdef Waiter waiter = None, previous
        cdef _Entry entry = self._take_or_wait(None, None)
        if entry is not None:
            return entry.key
        deadline = -1 if limit < 0 else monotonic_ns() + min(limit, INT64_MAX // 2)
        try:
            while True:
                previous = waiter
                waiter = Waiter()
                entry = self._take_or_wait(waiter, previous)
                if entry is not None:
                    return entry.key
                pause = min(waiter.pause, THREAD_RECHECK_NS)
                if deadline >= 0:
                    pause = min(pause, deadline - monotonic_ns())
                    if pause <= 0:
                        raise WaitTimeout(f"no key within {timeout} s")
                waiter.block(pause)
        finally:
            self._leave(waiter)

    async def aget(self):
        """Take the next key as `get` does, without blocking the event loop; cancelling loses no key."""
        cdef Waiter waiter = None, previous
        cdef _Entry entry = self._take_or_wait(None, None)
        if entry is not None:
            return entry.key
        from asyncio import get_running_loop

        loop = get_running_loop()
        try:
            while True:
                previous = waiter
                waiter = Waiter(loop)
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

    def done(self, key, /):
        """End the processing of `key`; it becomes ready again if it was added meanwhile.

        Raises:
            ValueError: `key` is not being processed.
        """
        cdef int64_t now = self._read()
        cdef _Entry entry = None
        cdef list woken
        with cython.critical_section(self):
            entry = self._finish(key, now)
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)
        if entry is None:
            raise ValueError(f"done() of a key that is not being processed: {key!r}")

    def __len__(self):
        """The number of ready keys; delayed ones and those being processed do not count."""
        cdef int64_t now = self._read() if self.timers.size else 0
        cdef Py_ssize_t depth
        cdef list woken
        with cython.critical_section(self):
            self._promote(self._at(now))
            depth = self.depth
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)
        return depth

    # End

    def shut_down(self):
        """Take no more keys: consumers get those that are ready, then ShutDown; delayed keys are dropped.

        Consumers and drains that wait are woken. Calling it again has no effect.
        """
        cdef list woken
        with cython.critical_section(self):
            self._close()
            self.crowd.release()
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)

    def shut_down_with_drain(self, timeout):
        """Shut down, then wait up to `timeout` seconds until no key is ready or being processed.

        Returns:
            True once all is done; False at the deadline, or when `shut_down` ended the wait before.
        """
        cdef int64_t limit = timeout_ns(timeout)
        cdef Waiter waiter = Waiter()
        cdef bint drained
        if self._drain(waiter):
            return True
        try:
            waiter.block(limit)
        finally:
            drained = self._drained(waiter)
        return drained

    async def ashut_down_with_drain(self, timeout):
        """Shut down and wait as `shut_down_with_drain` does, without blocking the event loop."""
        from asyncio import get_running_loop

        cdef int64_t limit = timeout_ns(timeout)
        cdef Waiter waiter = Waiter(get_running_loop())
        cdef bint drained
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
    def shutting_down(self):
        """Whether the queue was shut down."""
        return self.shut

    def stats(self):
        """A snapshot of counters and durations."""
        cdef int64_t now = self._read(), total = 0, longest = 0
        cdef dict depths = {}
        cdef list woken
        cdef Link* link
        cdef Py_ssize_t i
        cdef Counts queued, worked
        with cython.critical_section(self):
            # Nothing in here allocates what the collector tracks: a collection may run user code.
            now = self._at(now)
            self._promote(now)
            link = self.processing.next
            if not ring_empty(&self.processing):
                longest = now - (<_Entry>link.owner).started
            while link != &self.processing:
                total += now - (<_Entry>link.owner).started
                link = link.next
            for i in range(self.levels.size - 1, -1, -1):
                if self.levels.items[i].count:
                    depths[self.levels.items[i].priority] = self.levels.items[i].count
            depth, running, delayed = self.depth, self.running, self.timers.size
            adds, retried = self.adds, self.retried
            queued = self.queue_durations
            worked = self.work_durations
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)
        return QueueStats(
            self.name, depth, depths, running, delayed, adds, retried, total / 1e9, longest / 1e9,
            snapshot(&queued), snapshot(&worked),
        )

    # Inside: these take the section

    cdef inline int64_t _read(self) except? -1:
        if self.clock is None:
            return monotonic_ns()
        return PyNumber_Index(self.clock())

    cdef _Group _group(self, object key):
        """The group of `key`. Forgets groups without keys now and then, so that their number stays bounded."""
        cdef _Group group
        value = self.fair_by(key)
        if len(self.groups) >= self.groups_limit:
            for known, group in list(self.groups.items()):
                if group.members == 0:
                    self.groups.pop(known, None)
            self.groups_limit = max(KEPT_GROUPS, 2 * len(self.groups))
        return self.groups.setdefault(value, _Group.__new__(_Group))

    cdef int _put(self, object key, int64_t delay, long long priority, bint again) except -1:
        """Mark `key` for the time in `delay`; `again` is a requeue: counted as a retry, and keeps its priority."""
        cdef _Entry fresh, entry
        cdef int64_t now
        cdef list woken
        if self.shut:
            return 0
        fresh = _Entry.__new__(_Entry)
        fresh.key = key
        fresh.group = self.everyone if self.fair_by is None else self._group(key)
        now = self._read()
        with cython.critical_section(self):
            entry = self.items.setdefault(key, fresh)
            if entry is fresh:
                fresh.group.members += 1
            now = self._at(now)
            self._promote(now)
            if priority == SAME_PRIORITY:
                priority = entry.popped if entry.state & PROCESSING else 0
            if again and delay > 0:
                self.retried += 1
            if entry.state & (READY | DIRTY):
                self._raise(entry, <int>priority)
            elif delay > 0:
                self._delay(entry, now + delay if delay < INT64_MAX - now else INT64_MAX, <int>priority)
            else:
                if entry.state & DELAYED:
                    priority = max(priority, <long long>entry.priority)
                    entry.state &= ~DELAYED
                    timers_remove(&self.timers, &entry.timer)
                entry.priority = <int>priority
                self._mark(entry, now)
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)
        return 0

    cdef _Entry _take_or_wait(self, Waiter waiter, Waiter previous):
        """Take a key; without one, let `waiter` take the place of `previous` among those who wait."""
        cdef int64_t now = self._read()
        cdef _Entry entry
        cdef bint ended
        cdef list woken
        with cython.critical_section(self):
            if previous is not None:
                self.crowd.delist(previous)
            now = self._at(now)
            entry = self._take(now)
            ended = entry is None and self.shut
            if entry is None and waiter is not None and not ended:
                self.crowd.enlist(waiter, self.timers.items[0].due - now if self.timers.size else INT64_MAX)
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)
        if ended:
            raise ShutDown(f"the queue {self.name!r} is shut down and holds no more keys")
        return entry

    cdef int _leave(self, Waiter waiter) except -1:
        """Stop waiting, and let another consumer see to what is there, or to the next delayed key."""
        cdef list woken
        with cython.critical_section(self):
            self.crowd.delist(waiter)
            self._hand_on()
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)
        return 0

    cdef int _wake(self, list woken) except -1:
        """Wake those who were signalled, outside the section; replace one whose event loop is closed by another."""
        cdef Waiter waiter
        while woken is not None:
            for waiter in woken:
                if not waiter.wake():
                    with cython.critical_section(self):
                        self._hand_on()
            with cython.critical_section(self):
                woken = self.crowd.take_woken()
        return 0

    cdef bint _drain(self, Waiter waiter) except -1:
        cdef bint idle
        cdef list woken
        with cython.critical_section(self):
            self._close()
            idle = self.depth == 0 and self.running == 0
            if not idle:
                self.crowd.drainers[waiter] = None
            woken = self.crowd.take_woken()
        if woken is not None:
            self._wake(woken)
        return idle

    cdef bint _drained(self, Waiter waiter) except -1:
        cdef bint idle
        with cython.critical_section(self):
            self.crowd.drainers.pop(waiter, None)
            idle = self.depth == 0 and self.running == 0
        return idle

    # Inside the section

    cdef inline int64_t _at(self, int64_t now) noexcept:
        """`now`, or the highest time seen if the clock went back."""
        if now > self.last:
            self.last = now
        return self.last

    cdef int _raise(self, _Entry entry, int priority) except -1:
        cdef Level* level
        cdef Lane* lane
        if priority <= entry.priority:
            return 0
        if entry.state & READY:
            level = levels_get(&self.levels, priority)
            lane = lanes_get(&entry.group.lanes, priority)
            level_remove(entry.level, entry.lane, &entry.line)
            levels_trim(&self.levels, entry.level)
            self._link(entry, level, lane)
        entry.priority = priority
        return 0

    cdef inline void _link(self, _Entry entry, Level* level, Lane* lane) noexcept:
        entry.level = level
        entry.lane = lane
        level_put(level, lane, &entry.line)

    cdef int _delay(self, _Entry entry, int64_t due, int priority) except -1:
        if entry.state & DELAYED:
            entry.priority = max(priority, entry.priority)
            if due >= entry.timer.due:
                return 0
            self.seq += 1
            entry.timer.due = due
            entry.timer.seq = self.seq
            timers_up(&self.timers, &entry.timer)
        else:
            self.seq += 1
            entry.timer.due = due
            entry.timer.seq = self.seq
            timers_add(&self.timers, &entry.timer)
            entry.state |= DELAYED
            entry.priority = priority
        if self.timers.items[0] == &entry.timer and len(self.crowd.consumers):
            self.crowd.rearm()
        return 0

    cdef inline int _promote(self, int64_t now) except -1:
        """Mark the delayed keys that are due, in the order of their due times."""
        cdef _Entry entry
        while self.timers.size and self.timers.items[0].due <= now:
            entry = <_Entry>self.timers.items[0].owner
            timers_remove(&self.timers, &entry.timer)
            entry.state &= ~DELAYED
            self._mark(entry, entry.timer.due)
        return 0

    cdef inline int _mark(self, _Entry entry, int64_t now) except -1:
        self.adds += 1
        entry.added = now
        if entry.state & PROCESSING:
            entry.state |= DIRTY
        else:
            self._push(entry, now)
        return 0

    cdef inline int _push(self, _Entry entry, int64_t now) except -1:
        cdef Level* level = levels_get(&self.levels, entry.priority)
        self._link(entry, level, lanes_get(&entry.group.lanes, entry.priority))
        entry.ready_at = now
        entry.state |= READY
        ring_append(&self.ready, &entry.age)
        self.depth += 1
        if len(self.crowd.consumers):
            self.crowd.signal()
        return 0

    cdef inline _Entry _take(self, int64_t now):
        cdef Level* level
        cdef _Entry entry
        self._promote(now)
        if self.depth == 0:
            return None
        level = levels_top(&self.levels)
        entry = <_Entry>self.ready.next.owner
        if entry.priority < level.priority and now - entry.ready_at > self.aging:
            self.aged_turn = not self.aged_turn
            if not self.aged_turn:
                level = entry.level
        entry = <_Entry>level_take(level).owner
        levels_trim(&self.levels, level)
        ring_remove(&entry.age)
        self.depth -= 1
        entry.state = (entry.state & ~READY) | PROCESSING
        entry.popped = entry.priority
        entry.started = now
        ring_append(&self.processing, &entry.line)
        self.running += 1
        counts_add(&self.queue_durations, now - entry.added)
        return entry

    cdef _Entry _finish(self, object key, int64_t now):
        """The entry whose processing has ended, or None if it is not being processed."""
        cdef _Entry entry = self.items.get(key)
        if entry is None or not entry.state & PROCESSING:
            return None
        if entry.state == PROCESSING:
            self._drop(key, entry)
            if not entry.state & PROCESSING:
                return entry
        now = self._at(now)
        entry.state &= ~PROCESSING
        ring_remove(&entry.line)
        self.running -= 1
        counts_add(&self.work_durations, now - entry.started)
        if entry.state & DIRTY:
            entry.state &= ~DIRTY
            self._push(entry, now)
        if self.shut and self.depth == 0 and self.running == 0:
            self.crowd.release()
        return entry

    cdef int _drop(self, object key, _Entry entry) except -1:
        """Take the clean `entry` out of the dict; if the key's `__eq__` has added it again meanwhile, put it back."""
        cdef _Entry gone = self.items.pop(key, None), kept = None
        if gone is entry and entry.state == PROCESSING:
            entry.group.members -= 1
        elif gone is not None:
            try:
                kept = self.items.setdefault(key, gone)
            finally:
                if kept is not gone:
                    self._dismiss(gone)
        return 0

    cdef void _dismiss(self, _Entry entry) noexcept:
        """Unlink an entry that the dict no longer owns."""
        if entry.state & READY:
            level_remove(entry.level, entry.lane, &entry.line)
            ring_remove(&entry.age)
            self.depth -= 1
        if entry.state & PROCESSING:
            ring_remove(&entry.line)
            self.running -= 1
        if entry.state & DELAYED:
            timers_remove(&self.timers, &entry.timer)
        entry.state = 0
        entry.group.members -= 1

    cdef int _hand_on(self) except -1:
        if len(self.crowd.consumers) and (self.depth or (self.timers.size and self.crowd.leader is None)):
            self.crowd.signal()
        return 0

    cdef int _close(self) except -1:
        """End intake. Entries that were only delayed stay in the dict, idle, until the queue goes."""
        cdef Py_ssize_t i
        self.shut = True
        for i in range(self.timers.size):
            (<_Entry>self.timers.items[i].owner).state &= ~DELAYED
        self.timers.size = 0
        self.crowd.end()
        return 0
