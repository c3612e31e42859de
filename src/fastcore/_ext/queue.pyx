# cython: freethreading_compatible=True
"""The work queue: each key once, never to two consumers at a time.

The book (book.pyx) knows the keys, the crowd (waiting.pyx) who waits for one; this is what surrounds them: the critical
section, the clock, waiting and waking.

User code runs outside the section: `clock`, `fair_by`, the limiter, event loops, and a key's `__del__` when a method
returns. The `__hash__` and `__eq__` of keys (see book.pyx) and of the groups that `fair_by` names run inside.
"""

import math
from collections import namedtuple
from types import GenericAlias

cimport cython
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport INT64_MAX, int64_t

from fastcore._ext.book cimport Book, Facts, Figures, Group
from fastcore._ext.catalog cimport DELAYED, DIRTY, PROCESSING, READY, party_drop
from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.durations cimport BUCKETS, Counts
from fastcore._ext.requests cimport SAME_PRIORITY, own, timeout_ns, to_ns, to_priority
from fastcore._ext.waiting cimport Crowd, Waiter, take_woken

from fastcore._ext.backoff import ItemBackoff
from fastcore.errors import ShutDown, WaitTimeout

cdef enum:
    KEPT_GROUPS = 64

cdef int64_t THREAD_RECHECK_NS = 10_000_000_000

QueueStats = namedtuple(
    "QueueStats",
    "name depth depth_by_priority processing delayed adds retries unfinished_work longest_running"
    " queue_duration work_duration",
)
QueueStats.__doc__ = "What a queue holds and has done, at one moment; times in seconds."

KeyState = namedtuple("KeyState", "state priority since due again")
KeyState.__doc__ = """Where a queue has a key, at one moment; times in seconds.

    Fields:
        state: "ready", "processing" or "delayed".
        priority: of its turn, now or next.
        since: how long it has been ready or processed; None while it is delayed.
        due: until its delay ends; None if there is none.
        again: it was added while being processed, so that it will be ready after `done`.
    """

Durations = namedtuple("Durations", "buckets sum")
Durations.__doc__ = "A histogram: pairs of an upper bound in seconds and the count up to it, and the sum in seconds."


cdef object snapshot(Counts* histogram):
    cdef list buckets = []
    cdef int64_t total = 0
    cdef int i
    for i in range(BUCKETS):
        total += histogram.counts[i]
        buckets.append((10.0 ** (i + 1) / 1e9 if i < BUCKETS - 1 else math.inf, total))
    return Durations(tuple(buckets), histogram.sum_ns / 1e9)


@cython.final
@cython.trashcan(True)
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

    def __cinit__(self, *, limiter=None, aging=60.0, fair_by=None, clock=None, name=""):
        if aging is not None and not aging > 0:
            raise ValueError(f"aging must be > 0 seconds or None, got {aging!r}")
        self.crowd = Crowd.__new__(Crowd)
        self.book = Book.__new__(Book)
        self.book.crowd = self.crowd
        self.book.aging = INT64_MAX if aging is None else to_ns(aging)
        self.groups = {}
        self.groups_limit = KEPT_GROUPS
        self.everyone = Group.__new__(Group)
        self.clock = clock
        self.limiter = ItemBackoff() if limiter is None else limiter
        self.fair_by = fair_by
        self.name = name

    @classmethod
    def __class_getitem__(cls, item, /):
        return GenericAlias(cls, item)

    # Producers

    def add(self, key, priority=0):
        """Make `key` ready, or have it handed out again after `done` if it is being processed.

        A key that is already ready moves to the end of the level of `priority` if that is higher; a pending delay
        ends. Ignored after shutdown.
        """
        # `is` spares the common case a conversion; an equal object takes the other way.
        self.put(key, 0, 0 if priority is 0 else to_priority(priority), False)

    def add_after(self, key, double delay, priority=None):
        """Add `key` in `delay` seconds; of several delays the earliest counts, and `delay` <= 0 is `add`.

        With `priority` None a key that is being processed keeps the priority that it was handed out with.
        """
        self.put(key, to_ns(delay), SAME_PRIORITY if priority is None else to_priority(priority), True)

    def add_rate_limited(self, key, priority=None):
        """Add `key` after the delay that the limiter asks for."""
        cdef long long level = SAME_PRIORITY if priority is None else to_priority(priority)
        if not self._shut():
            self.put(key, to_ns(self.limiter.when(key)), level, True)

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
        cdef PyObject* key = self.take(None, None)
        if key == NULL:
            key = self._wait(timeout, limit)
        return own(key)

    async def aget(self):
        """Take the next key as `get` does, without blocking the event loop; cancelling loses no key."""
        cdef Waiter waiter = None, previous
        cdef PyObject* key = self.take(None, None)
        if key != NULL:
            return own(key)
        from asyncio import get_running_loop

        loop = get_running_loop()
        try:
            while True:
                previous = waiter
                waiter = Waiter(loop)
                key = self.take(waiter, previous)
                if key != NULL:
                    return own(key)
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
        self.finish(key)

    def __len__(self):
        """The number of ready keys; delayed ones and those being processed do not count."""
        return self.count()

    # End

    def discard(self, group, /):
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
        cdef list keys = []     # lives until after the section
        cdef Group known
        cdef Py_ssize_t dropped
        cdef bint signalled
        if self.fair_by is None:
            raise ValueError("discard() needs a queue with fair_by: without it there are no groups")
        with cython.critical_section(self):
            known = self.groups.get(group)
            dropped = 0 if known is None else self.book.discard(known.party, keys)
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        self._forget_all(keys)
        return dropped

    def shut_down(self):
        """Take no more keys: consumers get those that are ready, then ShutDown; delayed keys are dropped.

        Consumers and drains that wait are woken. Calling it again has no effect.
        """
        cdef list gone = []     # lives until after the section
        cdef bint signalled
        with cython.critical_section(self):
            self.book.close(gone)
            self.crowd.release()
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()

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
        return self._shut()

    def stats(self):
        """A snapshot of counters and durations."""
        cdef int64_t now = self._read()
        cdef dict depths = {}
        cdef Figures figures
        cdef bint signalled
        with cython.critical_section(self):
            self.book.read(now, &figures, depths)
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        return QueueStats(
            self.name, figures.depth, depths, figures.running, figures.delayed, figures.adds, figures.retries,
            figures.unfinished_ns / 1e9, figures.longest_ns / 1e9, snapshot(&figures.queued), snapshot(&figures.worked),
        )

    def state(self, key, /):
        """Where `key` is now, or None if the queue does not hold it.

        Returns:
            A `KeyState`: "ready", "processing" or "delayed", its priority, for how long, and when its delay ends.

        Raises:
            TypeError: `key` is not hashable.

        Complexity: O(1).
        """
        cdef int64_t now = self._read()
        cdef Facts facts
        cdef bint signalled
        with cython.critical_section(self):
            self.book.tell(key, now, &facts)
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        if facts.state == 0:
            return None
        return KeyState(
            "processing" if facts.state & PROCESSING else "ready" if facts.state & READY else "delayed",
            facts.priority,
            None if facts.since < 0 else facts.since / 1e9,
            facts.due / 1e9 if facts.state & DELAYED else None,
            facts.state & DIRTY != 0,
        )

    cdef int _forget_all(self, list keys) except -1:
        """Call the limiter for each key; an error does not spare the others."""
        first = None
        for key in keys:
            try:
                self.limiter.forget(key)
            except Exception as error:
                first = first or error
        if first is not None:
            raise first
        return 0

    # Inside: these take the section

    cdef int64_t _read(self) except? -1:
        return monotonic_ns() if self.clock is None else self._call_clock()

    cdef int64_t _call_clock(self) except? -1:
        return PyNumber_Index(self.clock())

    cdef bint _shut(self) noexcept:
        with cython.critical_section(self):
            return self.book.shut

    cdef Group _group(self, object key):
        """The group of `key`, held. Now and then forgets those that nobody holds, so that their number is bounded."""
        cdef Group group
        cdef list known_groups = None       # lives until after the section
        value = self.fair_by(key)
        with cython.critical_section(self):
            if len(self.groups) >= self.groups_limit:
                known_groups = list(self.groups.items())
                for known, group in known_groups:
                    if group.party.holders == 1:
                        self.groups.pop(known, None)
                        if group.party.holders > 1:     # the hash or comparison of a value let somebody in
                            self.groups.setdefault(known, group)
                self.groups_limit = max(KEPT_GROUPS, 2 * len(self.groups))
            group = self.groups.setdefault(value, Group.__new__(Group))
            group.party.holders += 1
        return group

    cdef int put(self, object key, int64_t delay, long long priority, bint again) except -1:
        """See Book.put."""
        if self.fair_by is not None:
            return self._put_fairly(key, delay, priority, again)
        if self.clock is not None and self._shut():
            return 0        # without calling it; the book looks again
        return self._put_in(key, self.everyone, delay, priority, again)

    cdef int _put_fairly(self, object key, int64_t delay, long long priority, bint again) except -1:
        cdef Group group
        if self._shut():
            return 0
        group = self._group(key)
        try:
            self._put_in(key, group, delay, priority, again)
        finally:
            with cython.critical_section(self):
                party_drop(group.party)
        return 0

    cdef int _put_in(self, object key, Group group, int64_t delay, long long priority, bint again) except -1:
        cdef int64_t now = self._read()
        cdef bint signalled
        with cython.critical_section(self):
            self.book.put(key, group.party, delay, priority, again, now)
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        return 0

    cdef PyObject* take(self, Waiter waiter, Waiter previous) except? NULL:
        """Take a key, as a new reference; without one, let `waiter` take the place of `previous` among those who wait.

        NULL, without an exception, for no key.
        """
        cdef int64_t now = self._read()
        cdef PyObject* key
        cdef bint ended = False
        cdef bint signalled
        with cython.critical_section(self):
            if previous is not None:
                self.crowd.delist(previous)
            key = self.book.take(now)
            if key == NULL:
                ended = self.book.shut
                if waiter is not None and not ended:
                    self.crowd.enlist(waiter, self.book.next_due(now))
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        if ended:
            raise ShutDown(f"the queue {self.name!r} is shut down and holds no more keys")
        return key

    cdef int finish(self, object key) except -1:
        """See `done`."""
        cdef int64_t now = self._read()
        cdef PyObject* gone = NULL
        cdef bint processed
        cdef bint signalled
        with cython.critical_section(self):
            processed = self.book.finish(key, now, &gone)
            signalled = self.crowd.woken is not None
        Py_XDECREF(gone)
        if signalled:
            self._wake()
        if not processed:
            raise ValueError(f"done() of a key that is not being processed: {key!r}")
        return 0

    cdef Py_ssize_t count(self) except -1:
        """The number of ready keys."""
        cdef int64_t now = 0
        cdef Py_ssize_t depth, delayed
        cdef bint signalled
        with cython.critical_section(self):
            delayed = self.book.timers.size
        if delayed:
            now = self._read()
        with cython.critical_section(self):
            depth = self.book.count(now)
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        return depth

    cdef PyObject* _wait(self, object timeout, int64_t limit) except NULL:
        """Take a key, blocking the thread for up to `limit` nanoseconds; negative is without limit."""
        cdef int64_t deadline = -1 if limit < 0 else monotonic_ns() + min(limit, INT64_MAX // 2)
        cdef int64_t pause
        cdef Waiter waiter = None, previous
        cdef PyObject* key
        try:
            while True:
                previous = waiter
                waiter = Waiter()
                key = self.take(waiter, previous)
                if key != NULL:
                    return key
                pause = min(waiter.pause, THREAD_RECHECK_NS)
                if deadline >= 0:
                    pause = min(pause, deadline - monotonic_ns())
                    if pause <= 0:
                        raise WaitTimeout(f"no key within {timeout} s")
                waiter.block(pause)
        finally:
            self._leave(waiter)

    cdef int _leave(self, Waiter waiter) except -1:
        """Stop waiting, and let another consumer see to what is there, or to the next delayed key."""
        cdef bint signalled
        with cython.critical_section(self):
            self.crowd.delist(waiter)
            self.book.hand_on()
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        return 0

    cdef int _wake(self) except -1:
        """Wake those who were signalled, outside the section; replace one whose event loop is closed by another."""
        cdef Waiter waiter
        cdef list woken
        while True:
            with cython.critical_section(self):
                woken = take_woken(self.crowd)
            if woken is None:
                return 0
            for waiter in woken:
                if not waiter.wake():
                    with cython.critical_section(self):
                        self.book.hand_on()

    cdef bint _drain(self, Waiter waiter) except -1:
        cdef bint idle
        cdef list gone = []     # lives until after the section
        cdef bint signalled
        with cython.critical_section(self):
            self.book.close(gone)
            idle = self.book.idle()
            if not idle:
                self.crowd.drainers[waiter] = None
            signalled = self.crowd.woken is not None
        if signalled:
            self._wake()
        return idle

    cdef bint _drained(self, Waiter waiter) except -1:
        cdef bint idle
        with cython.critical_section(self):
            self.crowd.drainers.pop(waiter, None)
            idle = self.book.idle()
        return idle
