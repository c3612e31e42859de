"""Threads for reconcilers that are plain functions: bounded, and never in the way of the process's end.

`concurrent.futures` joins its threads when the interpreter exits, so one reconciler that never returns would keep the
process alive for ever. These threads are daemons: what does not end in time is left behind.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any

_Job = tuple["Future[Any]", Callable[[], Any]]


class DaemonThreads(Executor):
    """Runs functions in daemon threads, which are started when needed and then kept.

    Args:
        limit: threads at most, >= 1; further calls wait for one.
        name: of the threads; they are numbered.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._under_way = 0
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Call `fn` in a thread.

        Raises:
            RuntimeError: the threads are shut down.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the threads {self._name!r} are shut down")
            self._under_way += 1
            if self._threads < min(self._under_way, self._limit):
                threading.Thread(target=self._work, name=f"{self._name}_{self._threads}", daemon=True).start()
                self._threads += 1
            self._jobs.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let every thread end once it has nothing to do; waits for none, whatever `wait` says.

        Args:
            wait: not heeded: a thread that does not end is not waited for.
            cancel_futures: drop the calls that no thread has begun.
        """
        with self._lock:
            self._closed = True
            if cancel_futures:
                while not self._jobs.empty():
                    job = self._jobs.get()
                    if job is not None:
                        job[0].cancel()
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    self._ended()
                    future.set_exception(error)
                else:
                    self._ended()
                    future.set_result(result)
                    del result
            else:
                self._ended()
            del job, future, call

    def _ended(self) -> None:
        with self._lock:
            self._under_way -= 1
