"""A worker pool: jobs in, results out, and everything between them bounded."""

import asyncio
import logging
import math
import operator
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from random import Random
from types import TracebackType
from typing import Any, Literal, NamedTuple, NoReturn, Self

from fastcore._waits import watched
from fastcore.breaker import BreakerRegistry
from fastcore.clock import Clock, monotonic_ns, new_random
from fastcore.queue import WorkQueue
from fastcore.ratelimit import TokenBucket
from fastcore.work.cpus import usable_cpus
from fastcore.work.jobs import ENDED, QUEUED, RUNNING, Handle, Job, check_job
from fastcore.work.kinds import KindStats
from fastcore.work.lanes import Lanes, SharedLane, WorkerLanes
from fastcore.work.ledger import Ledger
from fastcore.work.running import LoopThread, run_job, stop
from fastcore.work.worker import Gate, Worker

log = logging.getLogger("fastcore.work")

_BREAKER: Mapping[str, Any] = {"failure_threshold": 10, "open_for": 60.0}
_RATE = 100.0
_LEAVE_S = 30.0  # for a `with` block to drain
_GRACE_S = 1.0  # for what was cancelled at the end of a drain to end


class PoolStats(NamedTuple):
    """What a pool holds and has done, at one moment."""

    workers: int
    depth: int
    depth_by_priority: dict[int, int]
    waiting: int
    in_flight: int
    kinds: dict[str, KindStats]


class WorkerPool:
    """Runs jobs in a fixed number of threads that pull from a queue ordered by priority.

    A worker asks the limiter before it takes a job, so none is held by a worker that cannot run it; the breaker of the
    job's kind is asked last. Functions run in the worker's thread; coroutines on `loop`, and occupy a worker, too, so
    `workers` bounds both.

    Args:
        workers: jobs at once, >= 1; default: the processors that the container may use.
        queue_size: jobs that wait at most, >= 1.
        rate: jobs begun a second, in bursts of as many; None or math.inf: no limit.
        breaker: arguments of each kind's CircuitBreaker; default: 10 failures, then 60 s open. None: no breakers.
        fair: maps a job to its group (a workspace); within a priority the groups take turns.
        aging: seconds after which a waiting job gets every second turn, however low its priority; None: strict order.
        displace: a full queue gives up its youngest job of the lowest priority for one of a higher.
        on_open: "fail" a job whose kind's breaker is open, or "delay" it until the breaker tries again.
        balance: "shared" is one queue; "least_loaded" one a worker, the least loaded gets the job; "two_choices" the
            less loaded of two at random. Idle workers steal.
        refuse: called at each submission; true refuses the job (`MemoryMonitor.refusing`).
        loop: where coroutines run; default: a loop of the pool's own, in a thread.
        max_kinds: kinds with counters and breakers of their own; the others share.
        name: for threads, breakers and metrics.
        clock: integer nanoseconds, for deadlines, the limiter, the breakers and the queue; waiting sleeps in real time.
        random: for "two_choices".

    Raises:
        ValueError: an argument is out of range.

    Complexity: O(1) to submit and to take (O(workers) with `balance`).
    Thread safety: every method may be called from any thread.

    Example:
        >>> with WorkerPool(workers=2) as pool:
        ...     handle = pool.submit(Job("1", "sum", lambda: sum(range(10))))
        ...     handle.result(timeout=5)
        45
    """

    def __init__(
        self,
        workers: int | None = None,
        queue_size: int = 1000,
        rate: float | None = _RATE,
        breaker: Mapping[str, Any] | None = _BREAKER,
        fair: Callable[[Job], Hashable] | None = None,
        *,
        aging: float | None = 60.0,
        displace: bool = False,
        on_open: Literal["fail", "delay"] = "fail",
        balance: Literal["shared", "least_loaded", "two_choices"] = "shared",
        refuse: Callable[[], object] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        max_kinds: int = 100,
        name: str = "jobs",
        clock: Clock = monotonic_ns,
        random: Random | None = None,
    ) -> None:
        count = usable_cpus() if workers is None else workers
        for what, value in (("workers", count), ("queue_size", queue_size), ("max_kinds", max_kinds)):
            if value < 1:
                raise ValueError(f"{what} must be at least 1, got {value}")
        if balance not in ("shared", "least_loaded", "two_choices"):
            raise ValueError(f"balance must be 'shared', 'least_loaded' or 'two_choices', got {balance!r}")
        if on_open not in ("fail", "delay"):
            raise ValueError(f"on_open must be 'fail' or 'delay', got {on_open!r}")
        self.name = name
        self._clock = clock
        self._fair = fair
        self._refusing = refuse
        self._loop = loop
        self._threads = LoopThread(f"{name}-loop")
        self._over = threading.Event()
        self._ending = threading.Lock()
        self._unrun: list[Job] | None = None
        self.breakers = None if breaker is None else BreakerRegistry(max_breakers=max_kinds, clock=clock, **breaker)
        limiter = None if rate is None or rate == math.inf else TokenBucket(rate, max(1.0, rate), clock=clock)
        lanes = self._lanes(count, balance, aging, random)
        self._ledger = Ledger(lanes, queue_size, displace, max_kinds, clock)
        gates = [Gate(limiter, lanes, self._ledger, self._over) for _ in range(1 if balance == "shared" else count)]
        self._workers = [
            Worker(
                index,
                gates[index % len(gates)],
                lanes,
                self._ledger,
                self.breakers,
                on_open == "delay",
                self._run,
                f"{name}-{index}",
            )
            for index in range(count)
        ]
        for worker in self._workers:
            worker.thread.start()

    def _lanes(self, count: int, balance: str, aging: float | None, random: Random | None) -> Lanes:
        def new_queue(suffix: str) -> "WorkQueue[Any]":
            group = None if self._fair is None else operator.attrgetter("group")
            return WorkQueue(aging=aging, fair_by=group, clock=self._clock, name=self.name + suffix)

        if balance == "shared":
            return SharedLane(new_queue)
        return WorkerLanes(new_queue, count, (random or new_random()) if balance == "two_choices" else None)

    def _run(self, handle: Handle) -> Any:
        return run_job(handle, self._threads, self._loop)

    def submit(self, job: Job, timeout: float = 5.0) -> Handle:
        """Queue `job`, waiting for room if there is none; those who wait get theirs in order.

        Args:
            timeout: seconds to wait for room; 0 does not wait.

        Raises:
            Rejected: "queue_full": no room in time; "shutdown": it has begun; "memory": `refuse` says so.
            TypeError, ValueError: the job or `timeout` makes no sense.
        """
        handle = self._handle(job, timeout)
        place = self._ledger.enter(handle)
        if place is not None:
            deadline = time.monotonic() + timeout
            entered = False
            try:
                while not entered:
                    with watched():
                        place.result(max(0.0, deadline - time.monotonic()))
                    again = self._ledger.enter(handle, first=True)
                    entered = again is None
                    place = again or place
            except TimeoutError:
                self._full(handle, timeout)
            finally:
                self._ledger.leave_line(place, taken=entered)
        return handle

    async def asubmit(self, job: Job, timeout: float = 5.0) -> Handle:
        """`submit` without blocking the event loop; a cancelled one leaves nothing queued."""
        handle = self._handle(job, timeout)
        place = self._ledger.enter(handle)
        if place is not None:
            entered = False
            try:
                async with asyncio.timeout(timeout):
                    while not entered:
                        await asyncio.wrap_future(place)
                        again = self._ledger.enter(handle, first=True)
                        entered = again is None
                        place = again or place
            except TimeoutError:
                self._full(handle, timeout)
            finally:
                self._ledger.leave_line(place, taken=entered)
        return handle

    def _handle(self, job: Job, timeout: float) -> Handle:
        check_job(job)
        if not timeout >= 0:
            raise ValueError(f"timeout must be >= 0 seconds, got {timeout!r}")
        group = None if self._fair is None else self._fair(job)
        handle = Handle(job, group, self._clock(), self._clock, self._cancel)
        if self._refusing is not None and self._refusing():
            self._ledger.refuse(handle, "memory", "was not taken: memory is short")
        return handle

    def _full(self, handle: Handle, timeout: float) -> NoReturn:
        self._ledger.refuse(handle, "queue_full", f"was not taken: the queue had no room for {timeout:g} s")

    def _cancel(self, handle: Handle) -> bool:
        state = self._ledger.drop(handle, "cancelled")
        if state == QUEUED:
            handle.reject("cancelled", "was cancelled before it began")
        elif state == RUNNING:
            stop(handle)
        return state != ENDED

    def shutdown(self, timeout: float) -> list[Job]:
        """Refuse what comes, run what is queued until the timeout, then cancel what runs; again returns the same.

        Blocks. Functions cannot be cancelled: those that still run one second after the timeout are named in the log,
        and their threads, which are daemons, are left behind.

        Args:
            timeout: seconds for what is queued and running; 0 gives it none.

        Returns:
            The jobs that were not run, the highest priority first. Their handles fail with Rejected("shutdown").

        Raises:
            RuntimeError: called by one of the pool's own jobs, or on the loop that its coroutines run on.
            ValueError: `timeout` is negative.
        """
        if not timeout >= 0:
            raise ValueError(f"timeout must be >= 0 seconds, got {timeout!r}")
        if any(worker.thread is threading.current_thread() for worker in self._workers) or self._on_own_loop():
            raise RuntimeError(
                f"shutdown of {self.name!r} would wait for its own caller; use `await ashutdown(timeout)`"
            )
        self._ledger.close()
        with self._ending:
            if self._unrun is None:
                self._unrun = self._end(timeout)
            return list(self._unrun)

    async def ashutdown(self, timeout: float) -> list[Job]:
        """`shutdown` without blocking the event loop."""
        return await asyncio.to_thread(self.shutdown, timeout)

    def _on_own_loop(self) -> bool:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return False
        return running is self._loop or self._threads.owns(running)

    def _end(self, timeout: float) -> list[Job]:
        self._ledger.wait_drained(timeout)
        left = self._ledger.abandon()
        self._over.set()
        for handle in left:
            handle.reject("shutdown", "was not run: the pool was shut down before its turn")
        for handle in self._ledger.running():
            stop(handle)
        deadline = time.monotonic() + _GRACE_S
        for worker in self._workers:
            worker.thread.join(max(0.0, deadline - time.monotonic()))
        surviving = self._ledger.running()
        if surviving:
            names = ", ".join(f"{handle.job.id!r} of kind {handle.job.kind!r}" for handle in surviving)
            log.warning("pool %r: still running after shutdown: %s", self.name, names)
        else:
            self._threads.stop(_GRACE_S)
        return [handle.job for handle in left]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(_LEAVE_S if kind is None else 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.ashutdown(_LEAVE_S if kind is None else 0)

    def __len__(self) -> int:
        """How many jobs wait."""
        return sum(self.stats().depth_by_priority.values())

    def running(self) -> list[Job]:
        """The jobs that run now, the longest first."""
        return [handle.job for handle in self._ledger.running()]

    def stats(self) -> PoolStats:
        """The counters at one moment."""
        depths, waiting, in_flight, kinds = self._ledger.counts()
        return PoolStats(len(self._workers), sum(depths.values()), depths, waiting, in_flight, kinds)
