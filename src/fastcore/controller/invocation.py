"""Calls a reconciler: on the event loop or in a thread, within its time, and takes no result but a `Result`."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from fastcore.controller.context import Context, ReconcileTimeout
from fastcore.controller.counters import ReconcileCounters
from fastcore.controller.model import Request, Result
from fastcore.controller.options import Options
from fastcore.controller.threads import DaemonThreads
from fastcore.controller.tracing import span

log = logging.getLogger("fastcore.controller")

Reconciler = Callable[[Context, Request], Awaitable[Result | None] | Result | None]

_NOTHING = Result()


class Invocation:
    """How one controller calls its reconciler.

    Args:
        name: the controller's.
        reconciler: a coroutine function runs on the event loop, a plain one in a pool of `max_concurrent_reconciles`
            threads.
        options: the controller's.
        counters: where late results are counted.

    Attributes:
        is_async: whether it runs on the event loop.

    Thread safety: belongs to the event loop.
    """

    def __init__(self, name: str, reconciler: Reconciler, options: Options, counters: ReconcileCounters) -> None:
        self.reconciler = reconciler
        self.is_async = _is_coroutine_function(reconciler)
        self._name = name
        self._options = options
        self._counters = counters
        self._threads: DaemonThreads | None = None

    def open(self) -> None:
        """Make ready for calls."""
        if not self.is_async:
            self._threads = DaemonThreads(self._options.max_concurrent_reconciles, f"reconcile-{self._name}")

    def close(self) -> None:
        """Call nothing more; threads that do not return are left behind."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    async def __call__(self, context: Context, request: Request) -> Result:
        """Reconcile `request`.

        Raises:
            ReconcileTimeout: it took longer than `Options.reconcile_timeout`.
            TypeError: the reconciler returned neither a Result nor None.
            Exception: whatever the reconciler raises.
        """
        result: Any
        timeout = self._options.reconcile_timeout
        with span(self._options.tracer, self._name, request):
            if not self.is_async:
                result = await self._in_thread(context, request, timeout)
            elif timeout is None:
                result = await self.reconciler(context, request)  # type: ignore[misc]
            else:
                try:
                    async with asyncio.timeout(timeout) as limit:
                        result = await self.reconciler(context, request)  # type: ignore[misc]
                except TimeoutError as error:
                    if limit.expired():
                        raise ReconcileTimeout(f"the reconcile of {request} took longer than {timeout} s") from error
                    raise
        if result is None:
            return _NOTHING
        if not isinstance(result, Result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError(f"a reconciler returns a Result or None, not {result!r}")
        return result

    async def _in_thread(self, context: Context, request: Request, timeout: float | None) -> Any:
        """Call a plain reconciler. Its key and its worker are taken until it returns: nothing can stop a thread."""
        loop = asyncio.get_running_loop()
        call = copy_context().run
        future = loop.run_in_executor(self._threads, call, self._call, context, request)
        if timeout is None or (await asyncio.wait([future], timeout=timeout))[0]:
            return await future
        log.warning(
            "controller %s: the reconcile of %s still runs after %s s; its thread cannot be stopped, so the key waits "
            "for it: call ctx.check_deadline() in long reconcilers",
            self._name, request, timeout,
        )  # fmt: skip
        try:
            result = await future
        except ReconcileTimeout:
            raise  # counted like all of its kind
        except Exception:
            self._counters.timeouts += 1
            raise
        self._counters.timeouts += 1
        return result

    def _call(self, context: Context, request: Request) -> Any:
        """The plain reconciler. No future can hold a StopIteration: whoever awaits it would wait for ever."""
        try:
            return self.reconciler(context, request)
        except StopIteration as error:
            raise RuntimeError("the reconciler raised StopIteration") from error


def _is_coroutine_function(reconciler: Any) -> bool:
    return inspect.iscoroutinefunction(reconciler) or inspect.iscoroutinefunction(
        getattr(reconciler, "__call__", None)  # noqa: B004 - an object whose __call__ is a coroutine function
    )
