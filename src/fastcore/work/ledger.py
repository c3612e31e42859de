"""Which job is where: waiting, running or ended. Every change of state happens here, in one step each."""

import threading
import time
from concurrent.futures import Future
from typing import NoReturn

from fastcore.clock import NS_PER_S, Clock
from fastcore.work.backlog import Backlog
from fastcore.work.errors import Rejected
from fastcore.work.jobs import ENDED, QUEUED, RUNNING, Handle
from fastcore.work.kinds import Kinds, KindStats
from fastcore.work.lanes import Lanes
from fastcore.work.line import Line


class Ledger:
    """The books of a pool.

    Args:
        lanes: where what waits is taken from.
        size: jobs that wait at most.
        displace: a full queue gives up its youngest job of the lowest priority for one of a higher.
        max_kinds: kinds with counters of their own.
        clock: integer nanoseconds.

    Thread safety: every method may be called from any thread. No code of a job, of a callback or of a key function runs
        while the lock is held.
    """

    def __init__(self, lanes: Lanes, size: int, displace: bool, max_kinds: int, clock: Clock) -> None:
        self._lanes = lanes
        self._size = size
        self._displace = displace
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._room = Line()
        self._backlog = Backlog()
        self._delayed: set[Handle] = set()
        self._running: dict[Handle, None] = {}
        self._kinds = Kinds(max_kinds)
        self._closed = False

    def enter(self, handle: Handle, *, first: bool = False) -> "Future[None] | None":
        """Queue `handle`; or return a place in the line for room, with `first` at its front.

        Raises:
            Rejected: shutdown has begun.
        """
        victim = None
        with self._changed:
            if self._closed:
                self._refuse(handle, "shutdown", "was not taken: the pool is shut down")
            if len(self._backlog) >= self._size:
                victim = self._backlog.last_below(handle.job.priority) if self._displace else None
                if victim is None:
                    return self._room.join(first=first)
                self._drop(victim, "displaced")
            self._backlog.add(handle)
            self._lanes.put(handle)
        if victim is not None:
            victim.reject("displaced", f"gave way to one of priority {handle.job.priority}: the queue was full")
        return None

    def leave_line(self, place: "Future[None]", *, taken: bool) -> None:
        """Give up a place in the line; a call that it got and did not use goes to the next."""
        with self._changed:
            if not self._room.leave(place) and not taken:
                self._room.call_one()

    def refuse(self, handle: Handle, reason: str, detail: str) -> NoReturn:
        """Count and raise a rejection of what was not taken."""
        with self._changed:
            self._refuse(handle, reason, detail)

    def _refuse(self, handle: Handle, reason: str, detail: str) -> NoReturn:
        job = handle.job
        self._kinds.of(job.kind).rejected[reason] += 1
        raise Rejected(reason, f"job {job.id!r} of kind {job.kind!r} {detail}")

    def claim(self, handle: Handle) -> bool:
        """Have a worker take `handle` from those that wait; False if it is a husk."""
        with self._changed:
            if handle.state != QUEUED:
                return False
            self._backlog.remove(handle)
            self._delayed.discard(handle)
            handle.state = RUNNING
            self._running[handle] = None
            self._kinds.of(handle.job.kind).in_flight += 1
            self._room.call_one()
            return True

    def begin(self, handle: Handle) -> int:
        """Count how long it waited; returns the time."""
        now = self._clock()
        with self._changed:
            self._kinds.of(handle.job.kind).waited.observe((now - handle.queued_ns) / NS_PER_S)
        return now

    def end(self, handle: Handle, how: str, began_ns: int) -> None:
        """Count a job that was run, to whichever end."""
        seconds = (self._clock() - began_ns) / NS_PER_S
        with self._changed:
            counters = self._kinds.of(handle.job.kind)
            counters.ended[how] += 1
            counters.ran.observe(seconds)
            self._over(handle)

    def end_unrun(self, handle: Handle, reason: str) -> None:
        """Count a job that a worker took and did not run."""
        with self._changed:
            self._kinds.of(handle.job.kind).rejected[reason] += 1
            self._over(handle)

    def put_back(self, handle: Handle, delay: float) -> bool:
        """Have it wait again for `delay` seconds; False if the pool is shut down."""
        with self._changed:
            if self._closed:
                return False
            self._leave_running(handle)
            handle.state = QUEUED
            self._backlog.add(handle)
            self._delayed.add(handle)
            self._lanes.put_back(handle, delay)
            return True

    def _over(self, handle: Handle) -> None:
        self._leave_running(handle)
        handle.state = ENDED
        if self._closed and not self._running and not len(self._backlog):
            self._changed.notify_all()

    def _leave_running(self, handle: Handle) -> None:
        del self._running[handle]
        self._kinds.of(handle.job.kind).in_flight -= 1

    def drop(self, handle: Handle, reason: str) -> str:
        """Take `handle` out if it waits; returns the state that it was in."""
        with self._changed:
            state = handle.state
            if state == QUEUED:
                self._drop(handle, reason)
                self._room.call_one()
                if self._closed and not self._running and not len(self._backlog):
                    self._changed.notify_all()
            return state

    def _drop(self, handle: Handle, reason: str) -> None:
        self._kinds.of(handle.job.kind).rejected[reason] += 1
        self._backlog.remove(handle)
        self._delayed.discard(handle)
        handle.state = ENDED
        self._lanes.hurry(handle)

    def close(self) -> None:
        """Refuse what comes; those that a breaker delays are due at once."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._room.call_all()
                for handle in self._delayed:
                    self._lanes.hurry(handle, handle.job.priority)
                self._lanes.shut_down()

    def wait_drained(self, timeout: float) -> bool:
        """Wait until nothing waits or runs, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._running or len(self._backlog):
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return not self._running and not len(self._backlog)
            return True

    def abandon(self) -> list[Handle]:
        """Drop all that wait, and return them, the highest priority first."""
        with self._changed:
            found = self._backlog.clear()
            self._delayed.clear()
            for handle in found:
                handle.state = ENDED
                self._kinds.of(handle.job.kind).rejected["shutdown"] += 1
            return found

    def running(self) -> list[Handle]:
        """Those that run now, the longest first."""
        with self._changed:
            return list(self._running)

    def counts(self) -> tuple[dict[int, int], int, int, dict[str, KindStats]]:
        """Depth by priority, submitters in line, jobs in flight, and the counters by kind."""
        with self._changed:
            return self._backlog.by_priority(), len(self._room), len(self._running), self._kinds.stats()
