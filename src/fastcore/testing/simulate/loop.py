"""An event loop on virtual time: one step after the other, in an order that a seed chooses, without waiting.

Time stands still but for two things: each step costs `step_ns`, so that everything happens at a moment of its own and a
fault can come between any two steps; and when nothing is ready, time jumps to the next timer.

The order: a plain callback is a barrier, as asyncio promises that callbacks run in the order of their registration.
Between two barriers the steps of different tasks may run in any order; those of one task keep theirs.

Every handle belongs to the process (`OWNER`) in whose context it was made. A killed process takes no further step,
cleanup included; a frozen one takes none until it is thawed.
"""

import asyncio
import contextvars
import heapq
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

from fastcore.clock import NS_PER_S
from fastcore.testing.simulate.owner import OWNER, Owner, SimulatedTask

_T = TypeVar("_T")
_CLOSES = 100


class Stuck(Exception):
    """The loop can take no step that leads anywhere: nothing is ready and no timer is set, or the step limit is hit."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks, timers and tasks; no sockets, threads, signals or subprocesses.

    Args:
        pick: chooses which of n >= 2 ready steps comes next, in 0..n-1; 0 is the oldest.
        step_ns: what a step costs, nanoseconds, >= 1.
        limit: steps after which `Stuck` is raised, > 0.

    Attributes:
        now_ns: virtual time.
        steps: taken so far.
        observe: called with each step before it is taken, for a trace.
        failures: what was given to the exception handler: errors of tasks that nobody awaits, of callbacks.

    Raises:
        Stuck: from `run_until_complete`, see there.

    Thread safety: none; it must be the only loop that its thread runs meanwhile.
    """

    def __init__(self, pick: Callable[[int], int], *, step_ns: int = 20_000, limit: int = 2_000_000) -> None:
        self.now_ns = 0
        self.steps = 0
        self.limit = limit
        self.observe: Callable[[str, str], None] | None = None
        self.failures: list[dict[str, Any]] = []
        self._pick = pick
        self._step_ns = step_ns
        self._ready: deque[_Entry] = deque()
        self._timers: list[tuple[int, int, _Entry]] = []
        self._sequence = 0
        self._numbers = 0
        self._running = False
        self._closed = False

    # Time and callbacks

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now_ns / NS_PER_S

    def clock(self) -> int:
        """Virtual nanoseconds, for whatever takes `clock=`."""
        return self.now_ns

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run a callback after those that are registered already."""
        self._check_open()
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(_Entry(handle, callback, context.get(OWNER)))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback in `delay` virtual seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a virtual second; of two for the same moment the one registered first goes first."""
        self._check_open()
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._sequence += 1
        # Rounded up: a timer that is due must find that its moment has come.
        entry = (-int(-when * NS_PER_S // 1), self._sequence, _Entry(handle, callback, context.get(OWNER)))
        heapq.heappush(self._timers, entry)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio tells of a cancelled timer; it is thrown away when its time comes."""

    # Futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coroutine: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_: Any,
    ) -> asyncio.Task[_T]:
        """A task of this loop; it belongs to the process that makes it."""
        self._check_open()
        self._numbers += 1
        owner = OWNER.get() if context is None else context.get(OWNER)
        task = SimulatedTask(
            coroutine,  # type: ignore[arg-type]
            number=self._numbers,
            owner=owner,
            loop=self,
            name=name or f"task-{self._numbers}",  # asyncio's own numbers go on from run to run
            context=context,
        )
        if owner is not None:
            owner.tasks[task] = None
            task.add_done_callback(owner.ended, context=_NOBODY)
        return task

    # Processes

    def kill(self, owner: Owner) -> None:
        """End a process as kill -9 does: none of its tasks takes another step.

        Their frames are closed here, one after the other, since the collector would do it at any later time. What their
        `finally` blocks do then reaches nobody: the process has no connections and can start nothing.
        """
        owner.alive = False
        self._ready = deque(entry for entry in self._ready if entry.owner is not owner)
        self._timers = [timer for timer in self._timers if timer[2].owner is not owner]
        heapq.heapify(self._timers)
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(self)  # closing frames may ask for it, also when a run is over
        try:
            while owner.tasks:  # a frame that is closed may begin tasks
                task, _ = owner.tasks.popitem()
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio.gather does
                _close(owner, task.get_coro())
        finally:
            asyncio._set_running_loop(running)
        self._ready = deque(entry for entry in self._ready if entry.owner is not owner)

    # Running

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` is done, and return its result.

        Raises:
            Stuck: nothing is ready and no timer is set, or `limit` steps were taken.
        """
        self._check_open()
        if self._running or asyncio._get_running_loop() is not None:
            raise RuntimeError("a loop is running in this thread already; call simulate() from a plain function")
        main = asyncio.ensure_future(future, loop=self)
        hooks = sys.get_asyncgen_hooks()
        self._running = True
        asyncio._set_running_loop(self)
        # A generator that nobody finishes is closed where it was dropped, not by a task at any later time.
        sys.set_asyncgen_hooks(firstiter=None, finalizer=_finalize)
        try:
            while not main.done():
                self._step()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(None)
            self._running = False
        return main.result()

    def _step(self) -> None:
        if self.steps >= self.limit:
            raise Stuck(f"{self.steps} steps were taken and there is no end: something goes round for ever")
        timers = self._timers
        while timers and timers[0][0] <= self.now_ns:
            self._ready.append(heapq.heappop(timers)[2])
        entry = self._next()
        if entry is None:
            if not timers:
                raise Stuck("nothing is ready and no timer is set: every task waits for another")
            self.now_ns = max(self.now_ns, timers[0][0])
            return
        self.steps += 1
        self.now_ns += self._step_ns
        if self.observe is not None:
            self.observe(entry.owner.name if entry.owner is not None else "", _label(entry.callback))
        entry.handle._run()

    def _next(self) -> "_Entry | None":
        """Take the step that comes next out of the ready ones; None if there is none."""
        ready = self._ready
        seen: set[SimulatedTask] = set()
        candidates: list[_Entry] = []
        waiting: list[_Entry] = []  # those of frozen processes
        while ready:
            entry = ready.popleft()
            if entry.handle.cancelled():
                continue
            if entry.owner is not None:
                if not entry.owner.alive:
                    continue
                if entry.owner.frozen:
                    waiting.append(entry)
                    continue
            task = getattr(entry.callback, "__self__", None)
            if not isinstance(task, SimulatedTask):
                if candidates:
                    ready.appendleft(entry)
                else:
                    candidates.append(entry)
                break
            waiting.append(entry)
            if task not in seen:
                seen.add(task)
                candidates.append(entry)
        chosen: _Entry | None = None
        if candidates:
            chosen = candidates[self._pick(len(candidates)) if len(candidates) > 1 else 0]
        ready.extendleft(entry for entry in reversed(waiting) if entry is not chosen)
        return chosen

    # The rest of what asyncio asks of a loop

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def get_debug(self) -> bool:
        """No: what debugging adds reads real time."""
        return False

    def close(self) -> None:
        """Forget everything; safe to call twice."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def run_in_executor(self, executor: Any, function: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]
        """Run the function at once, in place of a thread: as if the thread were infinitely fast."""
        future = self.create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what went wrong where nobody was looking, for the report."""
        self.failures.append(context)

    def pending(self, owner: Owner) -> list[str]:
        """What a process has left behind: tasks that have not ended, and timers that are set."""
        left = [f"the task {task.get_name()!r}" for task in owner.tasks]
        left += [
            f"a timer for {_label(entry.callback)} at {when / NS_PER_S:.3f} s"
            for when, _, entry in sorted(self._timers, key=lambda timer: timer[:2])
            if entry.owner is owner and not entry.handle.cancelled()
        ]
        return left

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")


class _Entry:
    __slots__ = ("callback", "handle", "owner")

    def __init__(self, handle: asyncio.Handle, callback: Callable[..., object], owner: Owner | None) -> None:
        self.handle = handle
        self.callback = callback
        self.owner = owner


_NOBODY = contextvars.Context()


def _close(owner: Owner, coroutine: Any) -> None:
    """Close a frame in its process's context, again if it waits in a `finally`, whatever it raises."""
    context = contextvars.copy_context()
    context.run(OWNER.set, owner)
    for _ in range(_CLOSES):
        try:
            context.run(coroutine.close)
            return
        except BaseException:
            continue


def _finalize(generator: Any) -> None:
    closing = generator.aclose()
    with suppress(BaseException):
        closing.send(None)
    closing.close()


def _label(callback: Any) -> str:
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return task.get_name()
    return str(getattr(callback, "__qualname__", type(callback).__name__))
