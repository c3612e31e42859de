# cython: freethreading_compatible=True
"""Those who wait for a queue: threads on a lock, tasks on a future, woken one at a time.

    consumers   wait for a key, in order of arrival; one of them, the leader, until the next delayed key is due
    drainers    wait for the end of all work
    woken       were taken out of the above, and are woken once the queue's section has ended

A crowd belongs to one queue and is only touched inside that queue's critical section. Waiting and waking happen
outside of it, and may run user code: an event loop's `call_soon_threadsafe` and `call_later`, the observer of waits.

Without a GIL, letting go of a waiter that another thread has made may suspend the section. So each is held once more,
by a list or a variable, until what refers to it has changed.
"""

import threading

cimport cython
from libc.stdint cimport INT64_MAX, int64_t

from fastcore._waits import waits
from fastcore.clock import monotonic_ns

# A task's timer is armed anew after a day: event loops differ in the longest delay that they take.
cdef int64_t LOOP_MAX_NS = 86_400_000_000_000


def _resolve(future, /):
    if not future.done():
        future.set_result(None)


@cython.final
cdef class Waiter:
    """One wait: of a thread, or of a task on `loop`."""

    def __cinit__(self, loop=None):
        self.loop = loop
        if loop is None:
            self.lock = threading.Lock()
            self.lock.acquire()
        else:
            self.future = loop.create_future()

    cdef bint wake(self) except -1:
        """End the wait; False if the task's event loop is closed, so that nobody waits there any more."""
        if self.loop is None:
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

    cdef int block(self, int64_t ns) except -1:
        """Block the thread until woken, at most `ns`."""
        observer = waits.observer
        began = None if observer is None else monotonic_ns()
        self.lock.acquire(True, min(max(ns, 0) / 1e9, threading.TIMEOUT_MAX))
        if observer is not None:
            observer(monotonic_ns() - began)
        return 0

    cdef int arm(self, int64_t ns) except -1:
        """End the task's wait after `ns`."""
        if ns != INT64_MAX:
            self.timer = self.loop.call_later(min(ns, LOOP_MAX_NS) / 1e9, _resolve, self.future)
        return 0

    cdef int disarm(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
        return 0


@cython.final
cdef class Crowd:
    """The waiters of one queue."""

    def __cinit__(self):
        self.consumers = {}
        self.drainers = {}

    cdef int enlist(self, Waiter waiter, int64_t pause) except -1:
        """Let a consumer wait; the first while a delayed key is due in `pause` nanoseconds becomes the leader."""
        self.consumers[waiter] = None
        waiter.pause = INT64_MAX
        if self.leader is None and pause != INT64_MAX:
            self.leader = waiter
            waiter.pause = pause
        return 0

    cdef int delist(self, Waiter waiter) except -1:
        cdef Waiter leader
        if waiter is not None:
            self.consumers.pop(waiter, None)
            leader = self.leader            # let go of once the attribute is clear
            if leader is waiter:
                self.leader = None
        return 0

    cdef int signal(self) except -1:
        """Have the consumer that waits longest look again."""
        for waiter in self.consumers:
            self._signal(waiter)
            break
        return 0

    cdef int rearm(self) except -1:
        """Have the leader, or else some consumer, look at a new earliest due time."""
        if self.leader is not None:
            self._signal(self.leader)
        else:
            self.signal()
        return 0

    cdef int _signal(self, Waiter waiter) except -1:
        cdef list waiters = [waiter]
        self.delist(waiter)
        self._wake_soon(waiters)
        return 0

    cdef int end(self) except -1:
        """Have all consumers look again, for the last time."""
        cdef list waiters = list(self.consumers)
        self.leader = None
        self.consumers.clear()
        self._wake_soon(waiters)
        return 0

    cdef int release(self) except -1:
        """End the wait of all drainers."""
        cdef list waiters = list(self.drainers)
        self.drainers.clear()
        self._wake_soon(waiters)
        return 0

    cdef int _wake_soon(self, list waiters) except -1:
        """Takes the list over: were one made here, the collector might run code that makes another in between."""
        if self.woken is None:
            self.woken = waiters
        else:
            self.woken.extend(waiters)
        return 0
