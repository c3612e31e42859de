"""Single flight: whoever asks for a key that is being loaded waits for that load, in threads and event loops alike.

The cache decides who loads and whether the result may be stored (`_begin_load`, `_end_load`, `_fail_load`, one critical
section each). Here stands what callers do meanwhile. Locks of this module are held for a few assignments, never while a
loader, a cache or an event loop runs.
"""

import inspect
import threading
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any, Protocol

from fastcore._loaders import call, refuse_awaitable
from fastcore._waits import watched
from fastcore.errors import ReentrancyError

if TYPE_CHECKING:
    import asyncio
else:
    from fastcore import _aio as asyncio

if TYPE_CHECKING:
    from fastcore._bulk import Party

ABSENT: Any = object()
POLL_S = 1.0  # how often a waiter looks whether the event loop of its load was closed


class Loads(Protocol):
    """The half of single flight that a cache provides; see `fastcore._py.lru.LRUCache`."""

    def _begin_load(self, key: Any, load: Any, /) -> tuple[bool, Any]: ...
    def _end_load(self, key: Any, load: Any, value: Any, /) -> bool: ...
    def _fail_load(self, key: Any, load: Any, /) -> None: ...


class Flight:
    """One load and those who wait for it.

    A load ends with a value, with an error that every waiter gets, or abandoned: cancelled or interrupted for a reason
    of the one who ran it. Those who waited for an abandoned load start over.
    """

    background = False  # runs for nobody in particular, and so goes on when nobody waits
    party: "Party | None" = None  # the loads that one call answers together, if it is not this one's own

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakeups: list[Callable[[], object]] = []
        self._waiting = 0
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self.done = False
        self.abandoned = False
        self.thread: int | None = None  # where a synchronous loader runs
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[Any] | None = None  # what runs an asynchronous one

    def begin(self, cache: Loads, key: Any) -> tuple[bool, Any]:
        """Ask the cache for the value, or for the load to run or to wait for.

        It shows this one to others before it has compared all keys; if this one is not to run, they start over.
        """
        current = None
        try:
            found, current = cache._begin_load(key, self)
            return found, current
        finally:
            if current is not self:
                self.abandon()

    def abandon(self) -> None:
        """Let those who wait start over."""
        self.finish(error=asyncio.CancelledError("the load was abandoned"))

    def finish(self, value: Any = None, error: BaseException | None = None) -> None:
        """Hand the outcome to everybody; later calls do nothing."""
        with self._lock:
            if self.done:
                return
            self._value, self._error = value, error
            if error is not None:
                self._traceback = error.__traceback__
                self.abandoned = isinstance(
                    error, (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
                )
            self.done = True  # the last step: who sees it without the lock goes on to the outcome
            wakeups, self._wakeups = self._wakeups, []
        for wake in wakeups:
            wake()

    def fail(self, cache: Loads, key: Any, error: BaseException) -> Any:
        """Tell the cache that the load brought nothing; what everybody gets in place of `error`, or ABSENT."""
        cache._fail_load(key, self)
        return ABSENT

    def result(self) -> Any:
        """The outcome for a waiter: the value, or an error of its own."""
        if self._error is None:
            return self._value
        raise copy_error(self._error, self._traceback)

    def outcome(self) -> Any:
        """The outcome for the one who started the load: the value, or the very error."""
        if self._error is None:
            return self._value
        raise self._error

    def outcome_is(self, error: BaseException) -> bool:
        """Whether the load ended with this very error."""
        return self._error is error

    def _join(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            if self.done:
                return False
            self._waiting += 1
            self._wakeups.append(wake)
            return True

    def _leave(self, wake: Callable[[], object]) -> None:
        """Stop waiting; the last one to leave an asynchronous load cancels it."""
        with self._lock:
            if self.done:
                return
            self._wakeups.remove(wake)
            self._waiting -= 1
            last = self._waiting == 0
        if last and not self.background and self.task is not None and self.loop is not None:
            in_loop(self.loop, self._cancel_if_deserted if self.party is None else self.party.cancel_if_deserted)

    def _cancel_if_deserted(self) -> None:
        """In the loop of the load, where whoever has started it waits by now too: he does so in the same step."""
        if self.task is not None and not self._waiting:
            self.task.cancel()

    def _lost(self, cache: Loads, key: Hashable) -> bool:
        """Whether the load is over; abandons one whose event loop was closed under it."""
        if not self.done and self.loop is not None and self.loop.is_closed():
            closed = asyncio.CancelledError("the event loop was closed")
            self.fail(cache, key, closed)
            self.finish(error=closed)
        return self.done

    def wait(self, cache: Loads, key: Hashable) -> None:
        """Block this thread until the load ends."""
        if self.thread == threading.get_ident() and not self.done:
            raise ReentrancyError(f"the loader of {key!r} asks the cache for {key!r} itself")
        if self.loop is not None and self.loop is running_loop() and not self.done:
            raise ReentrancyError(f"get_or_load({key!r}) would block the event loop that loads it; use aget_or_load")
        gate = threading.Lock()
        gate.acquire()
        if self._lost(cache, key) or not self._join(gate.release):
            return
        try:
            with watched():
                while not gate.acquire(timeout=POLL_S):
                    self._lost(cache, key)
        except BaseException:
            self._leave(gate.release)
            raise

    async def join(self, cache: Loads, key: Hashable) -> None:
        """Wait in a task until the load ends."""
        if not self.done and (
            (self.thread is not None and self.thread == threading.get_ident())
            or (self.task is not None and self.task is asyncio.current_task())
        ):
            raise ReentrancyError(f"the loader of {key!r} asks the cache for {key!r} itself")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def release() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            in_loop(loop, release)

        if self._lost(cache, key) or not self._join(wake):
            return
        foreign = self.loop is not None and self.loop is not loop
        try:
            while not self.done:
                watch = loop.call_later(POLL_S, release) if foreign else None
                try:
                    await future
                finally:
                    if watch is not None:
                        watch.cancel()
                if not self._lost(cache, key):
                    future = loop.create_future()
        except BaseException:
            self._leave(wake)
            raise


def listed(tags: Iterable[str]) -> Iterable[str]:
    """`tags`, to be gone through more than once; a str stays one, and is refused where it is used."""
    return tags if isinstance(tags, (str, bytes)) else tuple(tags)


def with_tags(flight_type: Callable[[], Any], tags: Iterable[str]) -> Callable[[], Any]:
    """What makes a load whose result gets `tags`."""
    if tags == ():
        return flight_type
    return partial(tagged, flight_type, listed(tags))


def tagged(flight_type: Callable[[], Any], tags: Iterable[str]) -> Any:
    """A load whose result gets `tags`."""
    flight = flight_type()
    flight._tag(tags)
    return flight


def load(
    cache: Loads, flight_type: Callable[[], Flight], key: Any, loader: Callable[..., Any], guard: Any = None
) -> Any:
    """Return what is cached under `key`, or load it in this thread, or wait for the load in flight."""
    guard = nullcontext() if guard is None else guard
    while True:
        flight: Flight = flight_type()
        flight.thread = threading.get_ident()
        with guard:
            found, current = flight.begin(cache, key)
        if found:
            return current
        if current is flight:
            return run(cache, flight, key, loader, guard)
        current.wait(cache, key)
        if not current.abandoned:
            return current.result()


def run(cache: Loads, flight: Flight, key: Any, loader: Callable[..., Any], guard: AbstractContextManager[Any]) -> Any:
    """Load in this thread, for everybody."""
    flight.thread = threading.get_ident()
    try:
        value = call(loader, key)
        refuse_awaitable(value, key)
        with guard:
            cache._end_load(key, flight, value)
    except BaseException as error:
        value = ABSENT
        try:
            with guard:
                value = flight.fail(cache, key, error)
        finally:
            if value is ABSENT:
                flight.finish(error=error)
        if value is ABSENT:
            raise
    flight.finish(value)
    return value


async def aload(
    cache: Loads, flight_type: Callable[[], Flight], key: Any, loader: Callable[..., Any], guard: Any = None
) -> Any:
    """Return what is cached under `key`, or load it in a task of its own, or wait for the load in flight."""
    guard = nullcontext() if guard is None else guard
    while True:
        flight: Flight = flight_type()
        flight.loop = asyncio.get_running_loop()
        with guard:
            found, current = flight.begin(cache, key)
        if found:
            return current
        if current is flight:
            start(cache, flight, key, loader, guard)
            await flight.join(cache, key)
            return flight.outcome()
        await current.join(cache, key)
        if not current.abandoned:
            return current.result()


def start(
    cache: Loads, flight: Flight, key: Any, loader: Callable[..., Any], guard: AbstractContextManager[Any]
) -> None:
    """Load in a task of the running event loop, for everybody."""

    async def fetch() -> Any:
        flight.task = asyncio.current_task()
        value = call(loader, key)
        return await value if inspect.isawaitable(value) else value

    def ended(task: asyncio.Task[Any]) -> None:
        try:
            value = task.result()
            with guard:
                cache._end_load(key, flight, value)
        except BaseException as error:  # whatever it is, it goes to those who wait
            value = ABSENT
            try:
                with guard:
                    value = flight.fail(cache, key, error)
            finally:
                if value is ABSENT:
                    flight.finish(error=error)
        flight.finish(value)

    flight.loop = asyncio.get_running_loop()
    flight.task = flight.loop.create_task(fetch())
    flight.task.add_done_callback(ended)


def in_loop(loop: "asyncio.AbstractEventLoop", function: Callable[[], object]) -> None:
    """Run `function` in `loop`; nobody is there any more if the loop is closed."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        if not loop.is_closed():
            raise


def running_loop() -> "asyncio.AbstractEventLoop | None":
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def copy_error(error: BaseException, traceback: TracebackType | None) -> BaseException:
    """The same error as an object of its own, so that a waiter's traceback does not grow on everybody's.

    The copy is made by the builtin class that the error derives from; an `__init__` written in Python is not called,
    since it would not know what to do with `args`.
    """
    try:
        bases: Any = type(error).__mro__
        base = next(c for c in bases if isinstance(vars(c).get("__init__"), WrapperDescriptorType))
        _, arguments, *state = base.__reduce__(error)
        copy: BaseException = base.__new__(type(error), *arguments)
        base.__init__(copy, *arguments)
        if state and state[0]:
            copy.__setstate__({k: list(v) if k == "__notes__" else v for k, v in state[0].items()})
    except Exception:  # a type that cannot be made this way: better the shared one than another
        copy = error
    copy.__cause__, copy.__context__ = error.__cause__, error.__context__
    copy.__suppress_context__ = error.__suppress_context__
    return copy.with_traceback(traceback)
