"""Where queued jobs wait: one queue that all workers pull from, or one for each worker with stealing between them.

Every queue is a `fastcore.queue.WorkQueue` of handles. A job that nobody wants any more stays in it as a husk, which
the pool makes the next to be taken, and the worker that takes it throws it away.
"""

import threading
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from fastcore.errors import ShutDown, WaitTimeout
from fastcore.queue import WorkQueue
from fastcore.work.jobs import Handle

FIRST = 2**31 - 1  # the highest priority that a WorkQueue has; jobs stay below
NewQueue = Callable[[str], "WorkQueue[Any]"]


class Lanes(Protocol):
    """What a pool asks of its queues."""

    def put(self, handle: Handle) -> None:
        """Queue `handle`."""

    def hurry(self, handle: Handle, priority: int = FIRST) -> None:
        """Make what waits, a husk by default, ready at this priority: the next to be taken."""

    def take(self, worker: int) -> Handle:
        """The next handle for `worker`; waits for one. Raises ShutDown when there is none and will be none."""

    def put_back(self, handle: Handle, delay: float) -> None:
        """Queue in `delay` seconds a handle that `take` gave."""

    def leave(self, handle: Handle) -> None:
        """The handle that `take` gave has ended, or is a husk."""

    def shut_down(self) -> None:
        """Refuse what comes; what is queued can still be taken."""


class SharedLane:
    """One queue: whoever is free takes what has the highest priority."""

    def __init__(self, new_queue: NewQueue) -> None:
        self._queue: WorkQueue[Handle] = new_queue("")

    def put(self, handle: Handle) -> None:
        """Queue `handle`."""
        self._queue.add(handle, handle.job.priority)

    def hurry(self, handle: Handle, priority: int = FIRST) -> None:
        """Make it ready at this priority."""
        self._queue.add(handle, priority)

    def take(self, worker: int) -> Handle:
        """The next handle; waits for one."""
        return self._queue.get()

    def put_back(self, handle: Handle, delay: float) -> None:
        """Queue it again in `delay` seconds."""
        self._queue.add_after(handle, delay, handle.job.priority)
        self._queue.done(handle)

    def leave(self, handle: Handle) -> None:
        """The handle has ended."""
        self._queue.done(handle)

    def shut_down(self) -> None:
        """Refuse what comes."""
        self._queue.shut_down()


class WorkerLanes:
    """A queue for each worker: a job goes to the least loaded one, and a worker with nothing to do steals.

    The load of a worker is what waits in its queue and what it runs; ties go to the lowest index. Priorities order each
    queue, not all of them together.

    Args:
        count: of workers.
        random: picks the two queues that are compared; None compares all of them.

    Complexity: O(workers) to put and to steal; O(1) to put with `random`.
    Thread safety: every method may be called from any thread.

    Source: the power of two choices (Mitzenmacher).
    """

    def __init__(self, new_queue: NewQueue, count: int, random: Random | None) -> None:
        self._queues: list[WorkQueue[Any]] = [new_queue(f"-{index}") for index in range(count)]
        self._lock = threading.Lock()
        self._load = [0] * count
        self._idle = [False] * count
        self._nudge = object()  # a key that says: look at the others' queues
        self._random = random

    def loads(self) -> list[int]:
        """Jobs queued and running, by worker."""
        with self._lock:
            return list(self._load)

    def put(self, handle: Handle) -> None:
        """Queue `handle` at the least loaded worker."""
        with self._lock:
            handle.lane = handle.worker = lane = self._pick()
            self._load[lane] += 1
        self._queues[lane].add(handle, handle.job.priority)
        self._wake(lane)

    def hurry(self, handle: Handle, priority: int = FIRST) -> None:
        """Make it ready at this priority."""
        self._queues[handle.lane].add(handle, priority)

    def take(self, worker: int) -> Handle:
        """The next handle of the worker's own queue, or of the most loaded one; waits for one."""
        own = self._queues[worker]
        while True:
            try:
                found = own.get(0)
            except (ShutDown, WaitTimeout):
                found = self._steal(worker)
            if found is None:
                self._rest(worker, True)  # from here on who puts says so; look once more for those before
                try:
                    found = self._steal(worker) or own.get()
                except ShutDown:
                    found = self._steal(worker)
                    if found is None:
                        raise
                finally:
                    self._rest(worker, False)
            if found is not self._nudge:
                return found  # type: ignore[no-any-return]
            own.done(found)

    def put_back(self, handle: Handle, delay: float) -> None:
        """Queue it again in `delay` seconds, where it came from."""
        with self._lock:
            self._load[handle.worker] -= 1
            self._load[handle.lane] += 1
            handle.worker = handle.lane
        self._queues[handle.lane].add_after(handle, delay, handle.job.priority)
        self._queues[handle.lane].done(handle)

    def leave(self, handle: Handle) -> None:
        """The handle has ended."""
        with self._lock:
            self._load[handle.worker] -= 1
        self._queues[handle.lane].done(handle)

    def shut_down(self) -> None:
        """Refuse what comes."""
        for queue in self._queues:
            queue.shut_down()

    def _pick(self) -> int:
        count = len(self._load)
        if self._random is None or count < 3:
            return self._load.index(min(self._load))
        one, other = sorted(self._random.sample(range(count), 2))
        return other if self._load[other] < self._load[one] else one

    def _wake(self, lane: int) -> None:
        """Have an idle worker look, unless the one that got the job is idle itself."""
        with self._lock:
            idle = None if self._idle[lane] or True not in self._idle else self._idle.index(True)
        if idle is not None:
            self._queues[idle].add(self._nudge)

    def _rest(self, worker: int, idle: bool) -> None:
        with self._lock:
            self._idle[worker] = idle

    def _steal(self, worker: int) -> Handle | None:
        with self._lock:
            order = sorted(range(len(self._load)), key=self._load.__getitem__, reverse=True)
            victims = [lane for lane in order if lane != worker and self._load[lane] and not self._idle[lane]]
        for lane in victims:
            try:
                found = self._queues[lane].get(0)
            except (ShutDown, WaitTimeout):
                continue
            if found is self._nudge:  # meant for somebody who is about to look anyway
                self._queues[lane].done(found)
                continue
            with self._lock:
                self._load[found.worker] -= 1
                self._load[worker] += 1
                found.worker = worker
            return found  # type: ignore[no-any-return]
        return None
