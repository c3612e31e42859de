"""What each thread of a pool does: ask the limiter, take a job, ask the breaker, run it."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from fastcore.breaker import BreakerRegistry, Permit
from fastcore.errors import CircuitOpenError, ShutDown, WaitCancelled
from fastcore.ratelimit import TokenBucket
from fastcore.work.errors import DeadlineExceeded
from fastcore.work.jobs import Handle
from fastcore.work.lanes import Lanes
from fastcore.work.ledger import Ledger
from fastcore.work.running import Stopped

log = logging.getLogger("fastcore.work")

_LEAST_DELAY_S = 0.1  # where a breaker cannot say when it will have a place for a trial


class Gate:
    """Lets one worker at a time ask the limiter and take a job, so that one token at most is held without a job.

    Args:
        limiter: None lets everybody through.
        lanes: where jobs come from.
        ledger: who has the last word on whether a job is still wanted.
        over: set when nobody shall wait for a token any more.
    """

    def __init__(self, limiter: TokenBucket | None, lanes: Lanes, ledger: Ledger, over: threading.Event) -> None:
        self._limiter = limiter
        self._lanes = lanes
        self._ledger = ledger
        self._over = over
        self._lock = threading.Lock()
        self._token = False

    def take(self, worker: int) -> Handle:
        """The next job that is still wanted, once the limiter allows one.

        Raises:
            ShutDown: there is none, and will be none.
        """
        if self._limiter is None:
            return self._wanted(worker)
        with self._lock:
            if not self._token:
                try:
                    self._limiter.wait(stop=self._over)
                except WaitCancelled:
                    pass  # what is left are husks
                self._token = True
            handle = self._wanted(worker)
            self._token = False
            return handle

    def unused(self) -> None:
        """The job that was taken will not be run: the next one needs no token."""
        self._token = self._limiter is not None

    def _wanted(self, worker: int) -> Handle:
        while True:
            handle = self._lanes.take(worker)
            if self._ledger.claim(handle):
                return handle
            self._lanes.leave(handle)


class Worker:
    """One thread of a pool.

    Args:
        index: its number.
        gate: where it gets jobs.
        lanes, ledger: of the pool.
        breakers: by kind, or None.
        delay: put back what an open breaker does not let through, instead of failing it.
        run: runs a job and returns what it returned.
        name: of the thread.
    """

    def __init__(
        self,
        index: int,
        gate: Gate,
        lanes: Lanes,
        ledger: Ledger,
        breakers: BreakerRegistry | None,
        delay: bool,
        run: Callable[[Handle], Any],
        name: str,
    ) -> None:
        self._index = index
        self._gate = gate
        self._lanes = lanes
        self._ledger = ledger
        self._breakers = breakers
        self._delay = delay
        self._run = run
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)

    def _work(self) -> None:
        while True:
            try:
                handle = self._gate.take(self._index)
            except ShutDown:
                return
            self._deal_with(handle)
            del handle  # while it waits for the next one, it keeps no result alive

    def _deal_with(self, handle: Handle) -> None:
        job = handle.job
        if handle.context.remaining() == 0:
            error = DeadlineExceeded(
                f"job {job.id!r} of kind {job.kind!r} was not run: it waited longer than its {job.deadline:g} s"
            )
            self._unrun(handle, "deadline", error)
            return
        permit = None
        if self._breakers is not None:
            try:
                permit = self._breakers.get(job.kind).acquire()
            except CircuitOpenError as refusal:
                self._gate.unused()
                if not self._delay or not self._ledger.put_back(handle, max(refusal.remaining, _LEAST_DELAY_S)):
                    self._unrun(handle, "circuit_open", refusal)
                return
        self._run_it(handle, permit)

    def _unrun(self, handle: Handle, reason: str, error: Exception) -> None:
        self._gate.unused()
        self._ledger.end_unrun(handle, reason)
        self._lanes.leave(handle)
        handle.fail(error)

    def _run_it(self, handle: Handle, permit: Permit | None) -> None:
        job = handle.job
        began = self._ledger.begin(handle)
        try:
            result = self._run(handle)
        except Stopped:
            if permit is not None:
                permit.ignore()
            self._over(handle, "cancelled", began)
            handle.reject("cancelled", "was cancelled while it ran")
        except BaseException as error:
            if permit is not None:
                permit.failure(error)
            log.error("job %r of kind %r failed", job.id, job.kind, exc_info=error)
            self._over(handle, "error", began)
            handle.fail(error)
        else:
            if permit is not None:
                permit.success()
            self._over(handle, "success", began)
            handle.succeed(result)

    def _over(self, handle: Handle, how: str, began: int) -> None:
        """Count it before anybody is told, so that who is told reads the new counts."""
        self._ledger.end(handle, how, began)
        self._lanes.leave(handle)
