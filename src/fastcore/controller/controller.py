"""The reconcile loop of one controller: a queue of keys, workers, and what becomes of each result.

A key is in the queue at most once and with one worker at most (CT-4). Whatever a reconcile ends with, one of four
things happens to its key, before `done` lets it be handed out again: it is forgotten, delayed, retried with back-off,
or dropped.
"""

import asyncio
import inspect
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any, NamedTuple

from fastcore.clock import NS_PER_S, monotonic_ns, own_clock
from fastcore.controller.context import Context, ReconcileTimeout, Scope
from fastcore.controller.counters import ReconcileCounters
from fastcore.controller.errors import ApiError
from fastcore.controller.handlers import EVENTS, Mapper, WatchHandler
from fastcore.controller.model import Kind, Request, Result, TerminalError
from fastcore.controller.options import Options, default_limiter
from fastcore.controller.predicates import Predicate
from fastcore.errors import FastcoreError, ShutDown
from fastcore.queue import WorkQueue

log = logging.getLogger("fastcore.controller")

Reconciler = Callable[[Context, Request], Awaitable[Result | None] | Result | None]

# What Go would panic about: these say that the program is wrong, not that the world is.
_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, NotImplementedError, TypeError)
_UNIQUE = secrets.token_hex(4)
_numbers = itertools.count(1)
_NOTHING = Result()


class CacheSyncTimeout(FastcoreError, TimeoutError):
    """The first lists of a controller did not come within `Options.cache_sync_timeout` (CT-7)."""


class Watch(NamedTuple):
    """A kind that a controller watches, and what its events mean.

    Args:
        kind: the kind.
        mapper: which primary objects an object concerns.
        predicate: which events count.
        label_selector: restricts what is watched and cached; None is everything.
        field_selector: likewise.
    """

    kind: Kind
    mapper: Mapper
    predicate: Predicate
    label_selector: str | None = None
    field_selector: str | None = None


class Controller:
    """Reconciles one kind; made by `ControllerBuilder.complete`, run by its manager.

    Args:
        name: unique in its manager (CT-9).
        kind: the primary kind.
        watches: what leads to a reconcile.
        reconciler: `reconcile(ctx, request)`; a coroutine function runs on the event loop, a plain one in a pool of
            `max_concurrent_reconciles` threads.
        options: how it runs.

    Attributes:
        queue: the keys that wait.
        counters: what happened so far.

    Thread safety: belongs to the manager's event loop; any thread may call `queue.add`.
    """

    def __init__(
        self, name: str, kind: Kind, watches: tuple[Watch, ...], reconciler: Reconciler, options: Options
    ) -> None:
        self.name = name
        self.kind = kind
        self.watches = watches
        self.options = options
        self.counters = ReconcileCounters()
        limiter = default_limiter() if options.limiter is None else options.limiter
        self.queue: WorkQueue[Request] = WorkQueue(limiter=limiter, fair_by=itemgetter(0), clock=own_clock(), name=name)
        self._reconciler = reconciler
        self._is_async = _is_coroutine_function(reconciler)
        self._scopes: Mapping[str, Scope] = {}
        self._causes: dict[Request, int] = {}
        self._running: set[Request] = set()
        self._workers: list[asyncio.Task[None]] = []
        self._executor: ThreadPoolExecutor | None = None
        self._stopping = False

    def enqueue(self, request: Request, priority: int = 0, cause: int = 0) -> None:
        """Queue a key; `cause` is a bit mask over watches and events, four bits a watch."""
        if cause:
            self._causes[request] = self._causes.get(request, 0) | cause
        self.queue.add(request, priority)

    def failed_event(self) -> None:
        """Count an event that a predicate or mapper could not digest."""
        self.counters.lost_events += 1

    def connect(self, scopes: Mapping[str, Scope]) -> None:
        """Add a handler to each informer; before they start, so that no event is missed."""
        self._scopes = scopes
        for name, scope in scopes.items():
            for i, watch in enumerate(self.watches):
                handler = WatchHandler(name, self, watch.kind.kind, watch.predicate, watch.mapper, i * len(EVENTS))
                scope.informers[watch.kind].add_handler(handler)

    async def run(self) -> None:
        """Wait for the caches, then reconcile until `stop`; returns when the workers have ended.

        Raises:
            CacheSyncTimeout: an informer was not synced in time.
            Exception: a bug in the reconciler, if `recover_panic` is False.
        """
        await self._wait_synced()
        if self._stopping:
            return
        if not self._is_async:
            self._executor = ThreadPoolExecutor(self.options.max_concurrent_reconciles, f"reconcile-{self.name}")
        self._workers = [
            asyncio.create_task(self._work(), name=f"{self.name}-worker-{i}")
            for i in range(self.options.max_concurrent_reconciles)
        ]
        try:
            ended, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await self._end_workers()
        for worker in ended:
            if not worker.cancelled():
                worker.result()

    async def stop(self, *, grace: float | None = None) -> list[Request]:
        """Hand out no more keys, give running reconciles `grace` seconds, then cancel them (CT-10).

        Args:
            grace: seconds, >= 0; None is `Options.shutdown_grace`.

        Returns:
            The keys whose reconcile was cut short.
        """
        self._stopping = True
        self.queue.shut_down()
        if self._workers:
            await asyncio.wait(self._workers, timeout=self.options.shutdown_grace if grace is None else grace)
        cut = sorted(self._running)
        for request in cut:
            log.warning("controller %s: the reconcile of %s did not end in time and is cancelled", self.name, request)
        await self._end_workers()
        return cut

    async def _end_workers(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _wait_synced(self) -> None:
        informers = [informer for scope in self._scopes.values() for informer in scope.informers.values()]
        timeout = self.options.cache_sync_timeout
        results = await asyncio.gather(*(i.wait_synced(timeout) for i in informers), return_exceptions=True)
        late = [result for result in results if isinstance(result, BaseException)]
        if late and not self._stopping:
            raise CacheSyncTimeout(f"controller {self.name!r}: {'; '.join(map(str, late))}") from late[0]

    async def _work(self) -> None:
        queue = self.queue
        while not self._stopping:
            try:
                request = await queue.aget()
            except ShutDown:
                return
            try:
                if not self._stopping:
                    await self._process(request)
            finally:
                queue.done(request)

    async def _process(self, request: Request) -> None:
        counters = self.counters
        scope = self._scopes.get(request.workspace)
        if scope is None:
            self._causes.pop(request, None)
            log.error("controller %s: %s is in no workspace of this manager: dropped", self.name, request)
            return
        timeout = self.options.reconcile_timeout
        started = monotonic_ns() / NS_PER_S
        context = Context(
            scope,
            request,
            controller=self.name,
            reconcile_id=f"{_UNIQUE}-{next(_numbers)}",
            causes=self._take_causes(request),
            deadline=None if timeout is None else started + timeout,
            loop=asyncio.get_running_loop(),
        )
        counters.active_workers += 1
        self._running.add(request)
        try:
            self._succeeded(request, await self._reconcile(context, request, timeout))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._failed(context, error)  # the reconciler awaited something that was cancelled: its own failure
        except Exception as error:
            self._failed(context, error)
        finally:
            self._running.discard(request)
            counters.active_workers -= 1
            counters.time.observe(monotonic_ns() / NS_PER_S - started)

    async def _reconcile(self, context: Context, request: Request, timeout: float | None) -> Result:
        if self._is_async:
            if timeout is None:
                result = await self._reconciler(context, request)  # type: ignore[misc]
            else:
                try:
                    async with asyncio.timeout(timeout) as limit:
                        result = await self._reconciler(context, request)  # type: ignore[misc]
                except TimeoutError as error:
                    if limit.expired():
                        raise ReconcileTimeout(f"the reconcile of {request} took longer than {timeout} s") from error
                    raise
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._executor, self._call, context, request)
        if result is None:
            return _NOTHING
        if not isinstance(result, Result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError(f"a reconciler returns a Result or None, not {result!r}")
        return result

    def _call(self, context: Context, request: Request) -> Any:
        """The plain reconciler. No future can hold a StopIteration: whoever awaits it would wait for ever."""
        try:
            return self._reconciler(context, request)
        except StopIteration as error:
            raise RuntimeError("the reconciler raised StopIteration") from error

    def _succeeded(self, request: Request, result: Result) -> None:
        """CT-3: forget the failures, then delay if asked to."""
        self.queue.forget(request)
        if result.requeue_after:
            self.counters.requeue_after += 1
            self.queue.add_after(request, result.requeue_after, result.priority)
        else:
            self.counters.success += 1

    def _failed(self, context: Context, error: BaseException) -> None:
        """CT-2, CT-5, CT-6: count it, and retry with back-off unless it is terminal."""
        counters = self.counters
        counters.error += 1
        request = context.request
        if isinstance(error, TerminalError):
            counters.terminal_errors += 1
            self.queue.forget(request)
            context.log.error("terminal error, no retry: %s", _in_words(error))
            return
        if isinstance(error, ReconcileTimeout):
            counters.timeouts += 1
        expected = isinstance(error, FastcoreError | OSError) or not isinstance(error, _BUGS)
        if not expected:
            counters.panics += 1
            if not self.options.recover_panic:
                raise error
        self.queue.add_rate_limited(request)
        context.log.error(
            "%s: %s (failure %d in a row)",
            "reconcile failed" if expected else "bug in the reconciler",
            _in_words(error),
            self.queue.retries(request),
            exc_info=None if _says_it_all(error) else error,
        )

    def _take_causes(self, request: Request) -> tuple[str, ...]:
        mask = self._causes.pop(request, 0)
        if not mask:
            return ()
        found = []
        for i, watch in enumerate(self.watches):
            for j, event in enumerate(EVENTS):
                if mask >> (i * len(EVENTS) + j) & 1:
                    found.append(f"{watch.kind.kind} {event}")
        return tuple(found)


def _is_coroutine_function(reconciler: Any) -> bool:
    return inspect.iscoroutinefunction(reconciler) or inspect.iscoroutinefunction(
        getattr(reconciler, "__call__", None)  # noqa: B004 - an object whose __call__ is a coroutine function
    )


def _in_words(error: BaseException) -> str:
    """What the error says, and what those in a group say, since a group itself only counts them."""
    text = str(error) or type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        text += ": " + "; ".join(_in_words(inner) for inner in error.exceptions)
    return text


def _says_it_all(error: BaseException) -> bool:
    """Whether a traceback would tell nothing that the message does not."""
    if isinstance(error, BaseExceptionGroup):
        return all(_says_it_all(inner) for inner in error.exceptions)
    return isinstance(error, ApiError | ReconcileTimeout)
