"""How values get into a `LoadingCache`: loads that somebody waits for, and reloads behind the reader's back.

`_load` and `_refresh` are the hooks of the half that reads; see `fastcore._py.loading`.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from fastcore._loaders import call, is_asynchronous, refuse_awaitable
from fastcore._reloads import Reloads
from fastcore._singleflight import ABSENT, Flight, aload, in_loop, load, run, running_loop, start, with_tags
from fastcore.errors import NotFound

if TYPE_CHECKING:
    import asyncio
else:
    from fastcore import _aio as asyncio

LOG = logging.getLogger("fastcore.cache")


class LoadingFlight(Flight):
    """A load for which an old value may stand in."""

    def fail(self, cache: Any, key: Any, error: BaseException) -> Any:
        """Tell the cache; the old value if it may still be used, or ABSENT."""
        failed = isinstance(error, Exception)
        old = cache._fail_load(key, self, self.background, failed)
        if failed and (self.background or old is not None):  # the only trace of an error that no caller gets
            LOG.warning("loading %r failed%s", key, "" if old is None else "; the old value stays", exc_info=error)
        return ABSENT if old is None else old

    def begin_reload(self, cache: Any, key: Any, envelope: Any) -> bool:
        """Take up a reload that nobody waits for, unless it is not needed any more."""
        self.background = True
        begun = False
        try:
            begun = bool(cache._begin_refresh(key, self, envelope))
            return begun
        finally:
            if not begun:
                self.abandon()


class Fetching:
    """The half of LoadingCache that calls loaders, in threads and in event loops."""

    _flight_type: ClassVar[Any]

    def _employ(
        self,
        loader: Callable[..., Any] | None,
        bulk_loader: Callable[[list[Any]], Any] | None,
        cache_none: bool,
        executor: Executor | None,
        refresh_threads: int,
    ) -> None:
        """Take up what loads, the first step of the constructor."""
        for name, given in (("loader", loader), ("bulk_loader", bulk_loader)):
            if given is not None and not callable(given):
                raise TypeError(f"{name} must be callable, got {given!r}")
        self._loader = loader
        self._bulk_loader = bulk_loader
        self._cache_none = cache_none
        self._reloads = Reloads(executor, refresh_threads)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def _this(self) -> Any:
        """This cache with the methods of its other half, which a type checker does not see from here."""
        return self

    # -- loads

    def _load(self, key: Any, loader: Callable[..., Any] | None = None, tags: Iterable[str] = ()) -> Any:
        """The hook of the other half: the envelope of `key`, loaded now, by this thread or another."""
        loader = self._loader_for(loader)
        if loader is None:
            return self._this._wrap_nothing(False, False, self._this._now())
        return load(self._this, with_tags(self._flight_type, tags), key, lambda key: self._fetch(key, loader))

    async def _aload(self, key: Any, loader: Callable[..., Any] | None = None, tags: Iterable[str] = ()) -> Any:
        loader = self._loader_for(loader)
        if loader is None:
            return self._this._wrap_nothing(False, False, self._this._now())
        return await aload(self._this, with_tags(self._flight_type, tags), key, lambda key: self._afetch(key, loader))

    def _refresh(
        self, key: Any, envelope: Any, loader: Callable[..., Any] | None = None, tags: Iterable[str] = ()
    ) -> None:
        """The hook of the other half: reload `key` in the background; if that cannot be, later."""
        begun = False
        try:
            flight = with_tags(self._flight_type, tags)()
            loader = self._loader_for(loader)
            if loader is None:
                pass  # whoever set the value keeps it fresh
            elif running_loop() is not None:
                begun = not self._closed and self._start_reload(flight, key, envelope, loader)
            elif not is_asynchronous(loader):
                begun = self._reloads.submit(self._reload, flight, key, envelope, loader)
        except RuntimeError as error:  # the executor is shut down, or no thread can be started
            LOG.warning("cannot reload %r now: %s", key, error)
        finally:
            if not begun:
                self._this._postpone(envelope)

    def _reload(self, flight: LoadingFlight, key: Any, envelope: Any, loader: Callable[..., Any]) -> None:
        """Runs in a thread of the executor."""
        if flight.begin_reload(self, key, envelope):
            try:
                run(self._this, flight, key, lambda key: self._fetch(key, loader), nullcontext())
            except Exception:
                pass  # logged, and told to those who waited

    def _start_reload(self, flight: Any, key: Any, envelope: Any, loader: Callable[..., Any]) -> bool:
        """Runs in a thread with an event loop."""
        if flight.begin_reload(self, key, envelope):
            start(self._this, flight, key, lambda key: self._afetch(key, loader), nullcontext())
            self._tasks.add(flight.task)
            flight.task.add_done_callback(self._tasks.discard)
        return True

    def _loader_for(self, loader: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """A call's own loader, or else the cache's."""
        if loader is None:
            loader = self._loader
        if loader is None and self._bulk_loader is not None:
            return self._single if is_asynchronous(self._bulk_loader) else self._single_now
        return loader

    def _single_now(self, key: Any) -> Any:
        """Load one key by the bulk loader."""
        answer = self._bulk_loader([key])  # type: ignore[misc]
        refuse_awaitable(answer, key)
        return pick(answer, key)

    async def _single(self, key: Any) -> Any:
        """Load one key by the bulk loader, a coroutine function."""
        return pick(await self._bulk_loader([key]), key)  # type: ignore[misc]

    def _fetch(self, key: Any, loader: Callable[..., Any]) -> Any:
        started = self._this._now()
        try:
            value = call(loader, key)
            refuse_awaitable(value, key)
        except NotFound:
            return self._this._wrap_nothing(False, True, started)
        return self._wrapped(value, started)

    async def _afetch(self, key: Any, loader: Callable[..., Any]) -> Any:
        started = self._this._now()
        try:
            value = await acall(loader, call, loader, key)
        except NotFound:
            return self._this._wrap_nothing(False, True, started)
        return self._wrapped(value, started)

    def _fetch_many(self, keys: list[Any], loader: Callable[..., Any]) -> Any:
        started = self._this._now()
        answer = loader(keys)
        refuse_awaitable(answer, keys)
        return self._wrapped_many(keys, answer, started)

    async def _afetch_many(self, keys: list[Any], loader: Callable[..., Any]) -> Any:
        started = self._this._now()
        return self._wrapped_many(keys, await acall(loader, loader, keys), started)

    def _wrapped(self, value: Any, started: float) -> Any:
        if value is None:
            return self._this._wrap_nothing(True, self._cache_none, started)
        return self._this._wrap(value, started)

    def _wrapped_many(self, keys: list[Any], answer: Any, started: float) -> dict[Any, Any]:
        wrapped = {}
        for key in keys:
            try:
                wrapped[key] = self._wrapped(pick(answer, key), started)
            except NotFound:
                wrapped[key] = self._this._wrap_nothing(False, True, started)
        return wrapped

    # -- ending

    def close(self, timeout: float | None = None) -> bool:
        """Stop reloading in the background: cancel its tasks, wait for its threads; False if `timeout` seconds passed.

        Reads and loads go on working, without reloads.
        """
        self._closed = True
        for task in list(self._tasks):
            in_loop(task.get_loop(), task.cancel)
        return self._reloads.close(timeout)

    async def aclose(self, timeout: float | None = None) -> bool:
        """As `close`, and wait for the tasks of this event loop to end."""
        here = asyncio.get_running_loop()
        mine = [task for task in self._tasks if task.get_loop() is here]
        ended = await asyncio.to_thread(self.close, timeout)
        await asyncio.gather(*mine, return_exceptions=True)
        return ended

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def pick(answer: Any, key: Any) -> Any:
    """What a bulk loader says about `key`."""
    if not isinstance(answer, Mapping):
        raise TypeError(f"a bulk loader must return a mapping, got {type(answer).__name__}")
    if key not in answer:
        raise NotFound(key)
    return answer[key]


async def acall(loader: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns or promises; called in a thread unless `loader` is a coroutine function."""
    value = function(*arguments) if is_asynchronous(loader) else await asyncio.to_thread(function, *arguments)
    return await value if inspect.isawaitable(value) else value


async def together(coroutines: list[Any]) -> list[Any]:
    """The results of all; the first error ends the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
