"""A job, the handle that its submitter holds, and what the job itself can ask about its run."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future
from typing import Any, NamedTuple

from fastcore.clock import NS_PER_S, Clock
from fastcore.work.errors import Rejected

_PRIORITIES = range(-(2**31), 2**31 - 1)  # the WorkQueue's, but for the highest
QUEUED, RUNNING, ENDED = "queued", "running", "ended"


class Job(NamedTuple):
    """A piece of work.

    Args:
        id: for logs; never a label of a metric.
        kind: what it is one of ("sync", "mail"): has its own breaker and metrics. Few values, stated in the code.
        run: a function or coroutine function; called with the JobContext if it requires one argument, else with none.
        priority: higher goes first.
        deadline: seconds from submission, > 0; not begun by then it fails without running, and a coroutine that still
            runs then is cancelled. None: none.
    """

    id: str
    kind: str
    run: Callable[..., Any]
    priority: int = 0
    deadline: float | None = None


class JobContext:
    """What a running job can ask.

    Attributes:
        job: the job itself.

    Thread safety: may be asked from any thread.
    """

    __slots__ = ("_clock", "_deadline_ns", "_stop", "job")

    def __init__(self, job: Job, deadline_ns: int | None, clock: Clock) -> None:
        self.job = job
        self._deadline_ns = deadline_ns
        self._clock = clock
        self._stop = threading.Event()

    def remaining(self) -> float | None:
        """Seconds until the deadline, not below 0; None without one."""
        return None if self._deadline_ns is None else max(0, self._deadline_ns - self._clock()) / NS_PER_S

    @property
    def stopping(self) -> bool:
        """Whether the pool or the submitter no longer wants the result: a function that takes long should look."""
        return self._stop.is_set()

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds, or until the job should stop; returns whether it should."""
        return self._stop.wait(timeout)

    def stop(self) -> None:
        """Tell the job to stop."""
        self._stop.set()


_current: contextvars.ContextVar[JobContext] = contextvars.ContextVar("fastcore_job")


def current_job() -> JobContext:
    """The context of the job that calls this.

    Raises:
        LookupError: no job does.
    """
    return _current.get()


class Handle:
    """A submitted job: its result, now or later. Made by `WorkerPool.submit`.

    `await handle` waits without blocking the loop, and does not cancel the job when the wait is cancelled.

    Attributes:
        job: the job.

    Thread safety: every method may be called from any thread, and awaited from any loop.
    """

    __slots__ = (
        "_cancel",
        "_context",
        "_future",
        "context",
        "group",
        "job",
        "lane",
        "queued_ns",
        "state",
        "task",
        "worker",
    )

    def __init__(
        self, job: Job, group: Hashable, now_ns: int, clock: Clock, cancel: "Callable[[Handle], bool]"
    ) -> None:
        self.job = job
        self.group = group
        self.context = JobContext(job, None if job.deadline is None else now_ns + round(job.deadline * NS_PER_S), clock)
        self.lane = self.worker = 0
        self.task: asyncio.Task[None] | None = None
        self.state = QUEUED
        self.queued_ns = now_ns
        self._context = contextvars.copy_context()
        self._future: Future[Any] = Future()
        self._cancel = cancel

    def __repr__(self) -> str:
        return f"<Handle of {self.job.kind} {self.job.id!r}: {self.state}>"

    def result(self, timeout: float | None = None) -> Any:
        """What the job returned; waits up to `timeout` seconds.

        Raises:
            TimeoutError: it has not ended in time; it goes on.
            Rejected, DeadlineExceeded, CircuitOpenError: it was not run, and why.
            BaseException: what the job raised.
        """
        return self._future.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What `result` would raise, None if nothing; waits likewise."""
        return self._future.exception(timeout)

    def done(self) -> bool:
        """Whether it has ended, one way or another."""
        return self._future.done()

    def cancel(self) -> bool:
        """Take the job out of the queue, or ask it to stop: a coroutine is cancelled, a function may look.

        Returns whether it could be asked; False when it had ended.
        """
        return self._cancel(self)

    def add_done_callback(self, callback: "Callable[[Handle], object]") -> None:
        """Call `callback(handle)` when it has ended, in whichever thread ends it; at once if it has."""
        self._future.add_done_callback(lambda _: callback(self))

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._future.done():
            loop = asyncio.get_running_loop()
            told = loop.create_future()

            def tell(_: "Future[Any]") -> None:
                try:
                    loop.call_soon_threadsafe(_wake, told)
                except RuntimeError:  # that loop is closed: nobody waits there any more
                    pass

            self._future.add_done_callback(tell)
            yield from told
        return self._future.result()

    def invoke(self) -> Any:
        """Call the job's function, in the context of its submitter."""
        return self._context.run(self._call)

    def start(self, loop: asyncio.AbstractEventLoop, begin: Callable[[], object]) -> None:
        """Call `begin` on `loop`, in the context of the submitter."""
        loop.call_soon_threadsafe(begin, context=self._context)

    def _call(self) -> Any:
        _current.set(self.context)
        return self.job.run(self.context) if wants_context(self.job.run) else self.job.run()

    def succeed(self, result: Any) -> None:
        """Give the result to those who wait."""
        self._future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Give the error to those who wait."""
        self._future.set_exception(error)

    def reject(self, reason: str, detail: str) -> None:
        """Tell those who wait that the job was not run, or not to its end."""
        self._future.set_exception(Rejected(reason, f"job {self.job.id!r} of kind {self.job.kind!r} {detail}"))


def _wake(told: "asyncio.Future[None]") -> None:
    if not told.done():  # the wait may have been cancelled
        told.set_result(None)


def check_job(job: Job) -> None:
    """Refuse what is no job.

    Raises:
        TypeError, ValueError: and why.
    """
    if not callable(job.run):
        raise TypeError(f"run of job {job.id!r} must be a function, got {type(job.run).__name__}")
    if not isinstance(job.kind, str) or not job.kind:
        raise ValueError(f"kind of job {job.id!r} must be a name, got {job.kind!r}")
    if job.priority not in _PRIORITIES:
        raise ValueError(f"priority of job {job.id!r} must be from -2**31 to 2**31 - 2, got {job.priority!r}")
    if job.deadline is not None and not job.deadline > 0:
        raise ValueError(f"deadline of job {job.id!r} must be > 0 seconds or None, got {job.deadline!r}")


def wants_context(run: Callable[..., Any]) -> bool:
    """Whether `run` requires an argument."""
    try:
        parameters = inspect.signature(run).parameters.values()
    except (TypeError, ValueError):  # built in, and does not tell
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)
