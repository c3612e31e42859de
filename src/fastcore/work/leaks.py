"""Finds tasks and threads that outlive the scope they were started in, and says where each was created."""

import asyncio
import fnmatch
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from fastcore.work.errors import LeakError, Survivor

_TRIES = 20
_MAX_PAUSE_S = 0.1
_MAX_FRAMES = 12
_POOLED = ("asyncio_*",)  # the loop's own executor: the loop joins it when it closes


class LeakDetector:
    """A scope, `with` or `async with`, that everything started inside has to leave.

    At the end it looks 20 times, with pauses that double from 1 microsecond up to 100 ms, whether what was started
    has ended, so what is on its way out is no leak. In a `with` around `asyncio.run` tasks cannot be seen: the runner
    cancels them. Use `async with` inside the coroutine for those.

    Args:
        ignore: patterns (`fnmatch`) of names of tasks and threads that may stay.
        tries: how often to look.
        sleep: pauses a thread.

    Raises:
        LeakError: at the end of a scope that raised nothing itself: who is left, and where each was created. Where a
            task was created is not known in loops that are not written in Python.

    Thread safety: a scope belongs to one thread or task; scopes may overlap in one process, but each then sees what
        the other starts.

    Example:
        >>> with LeakDetector():
        ...     thread = threading.Thread(target=print, args=("hello",))
        ...     thread.start()
        ...     thread.join()
        hello

    Source: the schedule of go.uber.org/goleak.
    """

    def __init__(
        self, *, ignore: Iterable[str] = (), tries: int = _TRIES, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._ignore = (*_POOLED, *ignore)
        self._tries = tries
        self._sleep = sleep
        self._threads: set[threading.Thread] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Self:
        _births.watch()
        self._threads = set(threading.enumerate())
        self._tasks = _tasks()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for pause in self._pauses():
                if kind is not None or not self._left():
                    return
                self._sleep(pause)
            self._report()
        finally:
            _births.unwatch()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for pause in self._pauses():
                if kind is not None or not self._left():
                    return
                await asyncio.sleep(pause)
            self._report()
        finally:
            _births.unwatch()

    def _pauses(self) -> Iterable[float]:
        return (min(1e-6 * 2**i, _MAX_PAUSE_S) for i in range(self._tries))

    def _left(self) -> "list[threading.Thread | asyncio.Task[Any]]":
        threads = [t for t in threading.enumerate() if t not in self._threads and t is not threading.current_thread()]
        tasks = [t for t in _tasks() - self._tasks if not t.done()]
        found: list[threading.Thread | asyncio.Task[Any]] = [*threads, *tasks]
        return [one for one in found if not any(fnmatch.fnmatchcase(_name(one), p) for p in self._ignore)]

    def _report(self) -> None:
        left = self._left()
        if left:
            kinds = ("thread" if isinstance(one, threading.Thread) else "task" for one in left)
            found = (Survivor(kind, _name(one), _births.of(one)) for kind, one in zip(kinds, left, strict=True))
            raise LeakError(sorted(found))


class _Births:
    """Stacks at which threads and tasks were created, recorded while any scope is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watching = 0
        self._stacks: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._restore: list[Callable[[], None]] = []

    def watch(self) -> None:
        """Begin to record, if nobody does yet."""
        with self._lock:
            self._watching += 1
            if self._watching == 1:
                self._restore = [
                    self._wrap(threading.Thread, "start", lambda args, result: args[0]),
                    self._wrap(asyncio.BaseEventLoop, "create_task", lambda args, result: result),
                ]

    def unwatch(self) -> None:
        """Stop recording once nobody wants it any more."""
        with self._lock:
            self._watching -= 1
            if not self._watching:
                for restore in self._restore:
                    restore()

    def of(self, one: "threading.Thread | asyncio.Task[Any]") -> str:
        """The stack at which `one` was created, "" if nobody watched."""
        return self._stacks.get(one, "")

    def _wrap(self, owner: type, name: str, born: Callable[[Any, Any], Any]) -> Callable[[], None]:
        original = getattr(owner, name)

        def recording(*args: Any, **kwargs: Any) -> Any:
            stack = "".join(traceback.format_stack(sys._getframe(1), limit=_MAX_FRAMES))
            result = original(*args, **kwargs)
            self._stacks[born(args, result)] = stack
            return result

        setattr(owner, name, recording)
        return lambda: setattr(owner, name, original)


_births = _Births()


def _tasks() -> "set[asyncio.Task[Any]]":
    """The tasks of the running loop but for the one that asks; none where no loop runs."""
    try:
        return asyncio.all_tasks() - {asyncio.current_task()}
    except RuntimeError:
        return set()


def _name(one: "threading.Thread | asyncio.Task[Any]") -> str:
    return one.name if isinstance(one, threading.Thread) else one.get_name()
