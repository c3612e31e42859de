"""How a worker runs a job: a function in its own thread, a coroutine on an event loop, each within its deadline."""

import asyncio
import inspect
import threading
from concurrent.futures import Future
from typing import Any

from fastcore.work.errors import DeadlineExceeded
from fastcore.work.jobs import Handle


class Stopped(Exception):
    """A coroutine was cancelled because its submitter or the pool wanted it to stop."""


class LoopThread:
    """An event loop for the coroutines of a pool that was given none; the thread starts with the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def owns(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether `loop` is this one."""
        return loop is self._loop

    def stop(self, timeout: float) -> None:
        """End it, `timeout` seconds at most; nothing must run on it any more."""
        with self._lock:
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def run_job(handle: Handle, threads: LoopThread, given: asyncio.AbstractEventLoop | None) -> Any:
    """Run the job and return what it returned.

    Raises:
        Stopped: it was cancelled from outside.
        DeadlineExceeded: its deadline passed while it ran.
        BaseException: what the job raised.
    """
    result = handle.invoke()
    if not inspect.isawaitable(result):
        return result
    loop = threads.loop() if given is None else given
    outcome: Future[Any] = Future()
    awaitable = result

    def never_began(task: "asyncio.Task[None]") -> None:
        if not outcome.done():  # cancelled before its first step, so that nothing of `_outcome` ran
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            outcome.set_exception(Stopped())

    def begin() -> None:
        handle.task = loop.create_task(_outcome(awaitable, handle, outcome), name=f"job {handle.job.id}")
        if handle.context.stopping:  # told so before there was a task to cancel
            handle.task.cancel()
        handle.task.add_done_callback(never_began)

    try:
        handle.start(loop, begin)
    except RuntimeError:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise
    return outcome.result()


async def _outcome(awaitable: Any, handle: Handle, outcome: "Future[Any]") -> None:
    """Await the job; whatever it raises goes to the worker, none of it to the loop."""
    try:
        async with asyncio.timeout(handle.context.remaining()):
            result = await awaitable
    except TimeoutError as error:
        late = handle.context.remaining() == 0
        outcome.set_exception(_late(handle) if late else error)
    except asyncio.CancelledError as error:
        outcome.set_exception(Stopped() if handle.context.stopping else error)
    except BaseException as error:
        outcome.set_exception(error)
    else:
        outcome.set_result(result)


def _late(handle: Handle) -> DeadlineExceeded:
    job = handle.job
    return DeadlineExceeded(f"job {job.id!r} of kind {job.kind!r} was cancelled after its {job.deadline:g} s")


def stop(handle: Handle) -> None:
    """Ask a running job to stop: cancel its task if it is a coroutine; a function may look at its context."""
    handle.context.stop()
    task = handle.task
    if task is not None:
        try:
            task.get_loop().call_soon_threadsafe(task.cancel)
        except RuntimeError:  # the loop is closed: nothing runs there
            pass
