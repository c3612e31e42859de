"""Threads for reloads in the background: few, started when first needed, with a bounded queue."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

MOST_PENDING = 1000


class Reloads:
    """Runs reloads on an executor, its own or a given one.

    An own executor is shut down by `close`, or with its last reference; a process that was forked gets a new one.
    """

    def __init__(self, executor: Executor | None, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"refresh_threads must be at least 1, got {threads!r}")
        self._given = executor
        self._threads = threads
        self._changed = threading.Condition()
        self._own: ThreadPoolExecutor | None = None
        self._process = 0
        self._pending = 0
        self._closed = False

    def submit(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Have `function` called with `arguments` soon; False if too much is waiting, or after `close`."""
        with self._changed:
            if self._process != os.getpid():
                self._process, self._own, self._pending = os.getpid(), None, 0
            if self._closed or self._pending >= MOST_PENDING:
                return False
            executor = self._given or self._own
            if executor is None:
                executor = self._own = ThreadPoolExecutor(self._threads, thread_name_prefix="fastcore-reload")
            self._pending += 1
        try:
            future = executor.submit(function, *arguments)
        except BaseException:
            self._ended(None)
            raise
        future.add_done_callback(self._ended)
        return True

    def _ended(self, future: Future[Any] | None) -> None:
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()

    def close(self, timeout: float | None) -> bool:
        """Take no more, drop what waits, wait for what runs; whether it ended within `timeout` seconds."""
        with self._changed:
            self._closed = True
            if self._process != os.getpid():
                return True
            own = self._own
        if own is not None:
            own.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, timeout)
