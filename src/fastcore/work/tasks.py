"""A bounded number of tasks and threads that nobody forgets: refused at the limit, logged when they fail, named when
they do not end.
"""

import asyncio
import contextvars
import inspect
import itertools
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar, overload

from fastcore.work.errors import LimitReached, Rejected, ShutdownTimeout, Survivor
from fastcore.work.line import Line, resolve
from fastcore.work.stacks import task_stack, thread_stack

log = logging.getLogger("fastcore.work")

_T = TypeVar("_T")
_Work = Callable[[], Any] | Coroutine[Any, Any, Any]


class TaskStats(NamedTuple):
    """What a task manager has done since it was made; `running` and `waiting` are now."""

    limit: int
    running: int
    waiting: int
    peak: int
    spawned: int
    failed: int
    cancelled: int
    refused: int


class _Running:
    """One task or thread; `work` is None for the moment in which it is being made."""

    __slots__ = ("name", "work")

    def __init__(self, name: str) -> None:
        self.name = name
        self.work: asyncio.Task[Any] | threading.Thread | None = None


class TaskManager:
    """Runs coroutines as tasks and functions in threads, `limit` of them at most.

    What was spawned is referenced until it ends. Its exception is logged with its name, counted, and left in the
    returned task or future for whoever asks. Threads are daemons: one that never ends does not keep the process alive.

    Args:
        limit: tasks and threads together, >= 1.
        name: in log lines and in the names of what has none of its own.

    Attributes:
        stopping: set when shutdown begins; functions in threads look at it, since nothing can end them from outside.

    Raises:
        ValueError: `limit` is below 1.

    Complexity: O(1) to spawn and to end.
    Thread safety: every method may be called from any thread; tasks belong to the loop they were spawned in.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     tasks = TaskManager(limit=10)
        ...     answer = await tasks.spawn(asyncio.sleep(0, "done"), name="nap")
        ...     await tasks.shutdown(timeout=1)
        ...     return answer
        >>> asyncio.run(main())
        'done'
    """

    def __init__(self, limit: int, *, name: str = "tasks") -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._running: dict[_Running, None] = {}
        self._waiting = Line()
        self._ends: list[Future[None]] = []
        self._numbers = itertools.count(1)
        self._spawned = self._failed = self._cancelled = self._refused = self._peak = 0
        self.stopping = threading.Event()

    @overload
    def spawn(self, work: Coroutine[Any, Any, _T], /, name: str | None = None) -> "asyncio.Task[_T]": ...
    @overload
    def spawn(  # type: ignore[overload-overlap]  # what returns coroutines is a function, too
        self, work: Callable[[], Coroutine[Any, Any, _T]], /, name: str | None = None
    ) -> "asyncio.Task[_T]": ...
    @overload
    def spawn(self, work: Callable[[], _T], /, name: str | None = None) -> "Future[_T]": ...
    def spawn(self, work: _Work, /, name: str | None = None) -> "asyncio.Task[Any] | Future[Any]":
        """Start `work` at once, or refuse it; a coroutine that is refused is closed.

        Args:
            work: a coroutine or a coroutine function, which becomes a task of the running loop, or any other function
                without arguments, which gets a thread and the caller's context.
            name: for log lines and dumps; default: the manager's name and a number.

        Raises:
            LimitReached: as many run as may.
            Rejected: shutdown has begun.
            RuntimeError: a coroutine, and no event loop runs here.
            TypeError: `work` is neither.
        """
        try:
            _check(work)
            entry = self._entry(name)
            with self._lock:
                self._admit_open(entry.name)
                if len(self._running) >= self._limit:
                    self._refused += 1
                    raise LimitReached(entry.name, self._limit)
                self._take(entry)
        except BaseException:
            _close(work)
            raise
        return self._start(entry, work)

    async def spawn_wait(
        self, work: _Work, /, name: str | None = None, *, timeout: float = 5.0
    ) -> "asyncio.Task[Any] | Future[Any]":
        """`spawn`, but wait for a place when all are taken; those who wait get theirs in order.

        Args:
            timeout: seconds to wait for a place.

        Raises:
            LimitReached: there was none in time.
            Rejected: shutdown has begun, or began meanwhile.
        """
        try:
            _check(work)
            entry = self._entry(name)
            place = self._queue_up(entry)
            if place is not None:
                await self._turn(place, entry, timeout)
        except BaseException:
            _close(work)
            raise
        return self._start(entry, work)

    def _queue_up(self, entry: _Running) -> "Future[None] | None":
        """A future that resolves when `entry` has its place; None when it has it already."""
        with self._lock:
            self._admit_open(entry.name)
            if len(self._running) < self._limit:
                self._take(entry)
                return None
            return self._waiting.join()

    async def _turn(self, place: "Future[None]", entry: _Running, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await asyncio.wrap_future(place)
                    with self._lock:
                        self._admit_open(entry.name)
                        if len(self._running) < self._limit:
                            self._take(entry)
                            return
                        place = self._waiting.join(first=True)  # somebody else was quicker
        except TimeoutError:
            with self._lock:
                self._refused += 1
            raise LimitReached(entry.name, self._limit) from None
        finally:
            with self._lock:
                if not self._waiting.leave(place) and entry not in self._running:
                    self._waiting.call_one()  # it was our turn, and we do not take it

    def _entry(self, name: str | None) -> _Running:
        return _Running(f"{self._name}-{next(self._numbers)}" if name is None else name)

    def _admit_open(self, name: str) -> None:
        if self.stopping.is_set():
            self._refused += 1
            raise Rejected("shutdown", f"{name!r} was not started: {self._name} is shut down")

    def _take(self, entry: _Running) -> None:
        self._running[entry] = None
        self._spawned += 1
        self._peak = max(self._peak, len(self._running))

    def _start(self, entry: _Running, work: Any) -> "asyncio.Task[Any] | Future[Any]":
        try:
            if inspect.iscoroutinefunction(work):
                work = work()
            return self._task(entry, work) if inspect.iscoroutine(work) else self._thread(entry, work)
        except BaseException:
            _close(work)
            self._ended(entry)
            raise

    def _task(self, entry: _Running, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work, name=entry.name)
        entry.work = task
        task.add_done_callback(lambda done: self._task_ended(entry, done))
        if self.stopping.is_set():  # shutdown began between the check and here, and saw no task to cancel
            task.cancel()
        return task

    def _thread(self, entry: _Running, work: Callable[[], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        context = contextvars.copy_context()

        def run() -> None:
            try:
                result = context.run(work)
            except BaseException as error:
                self._failure(entry, error)
                self._ended(entry)
                future.set_exception(error)
            else:
                self._ended(entry)
                future.set_result(result)

        thread = threading.Thread(target=run, name=entry.name, daemon=True)
        entry.work = thread
        thread.start()
        return future

    def _task_ended(self, entry: _Running, task: "asyncio.Task[Any]") -> None:
        if task.cancelled():
            with self._lock:
                self._cancelled += 1
        elif (error := task.exception()) is not None:
            self._failure(entry, error)
        self._ended(entry)

    def _failure(self, entry: _Running, error: BaseException) -> None:
        with self._lock:
            self._failed += 1
        log.error("%s %r failed", self._name, entry.name, exc_info=error)

    def _ended(self, entry: _Running) -> None:
        """Free the place first, so that nobody who is told reads an old count."""
        with self._lock:
            del self._running[entry]
            self._waiting.call_one()
            ends = () if self._running else tuple(self._ends)
        for end in ends:
            resolve(end)

    async def shutdown(self, timeout: float) -> None:
        """Refuse what comes, cancel every task, and wait until all have ended; may be called again.

        Args:
            timeout: seconds. 0 neither cancels nor waits: it tells who runs.

        Raises:
            ShutdownTimeout: some still run; it names them and says where they are. Threads cannot be ended.
            RuntimeError: called by one of the manager's own tasks, which would wait for itself.
            ValueError: `timeout` is negative.
        """
        end = self._begin(timeout, asyncio.current_task())
        try:
            if not end.done():
                async with asyncio.timeout(timeout):
                    await asyncio.wrap_future(end)
        except TimeoutError:
            raise ShutdownTimeout(timeout, self.running()) from None
        finally:
            self._forget(end)

    def shutdown_blocking(self, timeout: float) -> None:
        """`shutdown` for a thread without an event loop."""
        end = self._begin(timeout, threading.current_thread())
        try:
            end.result(timeout)
        except TimeoutError:
            raise ShutdownTimeout(timeout, self.running()) from None
        finally:
            self._forget(end)

    def _begin(self, timeout: float, caller: object) -> "Future[None]":
        if not timeout >= 0:
            raise ValueError(f"timeout must be >= 0 seconds, got {timeout!r}")
        end: Future[None] = Future()
        with self._lock:
            running = list(self._running)
            if any(entry.work is caller for entry in running):
                raise RuntimeError(f"shutdown of {self._name} was called by a task that it would wait for")
            self.stopping.set()
            self._waiting.call_all()  # they find the manager closed
            if running:
                self._ends.append(end)
            else:
                end.set_result(None)
        if timeout == 0 and running:
            self._forget(end)
            raise ShutdownTimeout(timeout, self.running())
        for entry in running:
            if isinstance(entry.work, asyncio.Task):
                _cancel(entry.work)
        return end

    def _forget(self, end: "Future[None]") -> None:
        with self._lock:
            if end in self._ends:
                self._ends.remove(end)

    def running(self) -> list[Survivor]:
        """Who runs now, and where each is.

        Complexity: O(running x depth of their stacks): for dumps, not for counting.
        """
        with self._lock:
            entries = list(self._running)
        return [
            Survivor("thread", entry.name, thread_stack(entry.work))
            if isinstance(entry.work, threading.Thread)
            else Survivor("task", entry.name, "" if entry.work is None else task_stack(entry.work))
            for entry in entries
        ]

    def __len__(self) -> int:
        """How many run now."""
        return len(self._running)

    def stats(self) -> TaskStats:
        """The counters at one moment."""
        with self._lock:
            return TaskStats(
                self._limit,
                len(self._running),
                len(self._waiting),
                self._peak,
                self._spawned,
                self._failed,
                self._cancelled,
                self._refused,
            )


def _check(work: object) -> None:
    if inspect.iscoroutine(work) or inspect.iscoroutinefunction(work):
        asyncio.get_running_loop()
    elif not callable(work):
        raise TypeError(f"spawn takes a coroutine or a function, got {type(work).__name__}")


def _close(work: object) -> None:
    if inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()


def _cancel(task: "asyncio.Task[Any]") -> None:
    loop = task.get_loop()
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:  # its loop is closed: it will be reported as running, which it is
        pass
