"""Interceptors that measure the calls of a gRPC server, in threads or on an event loop."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio

from fastcore.observe.calls import CallMetrics
from fastcore.observe.trace import Trace, begin

_CODES = {status.value[0]: status.name for status in grpc.StatusCode}
_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


def interceptor(metrics: CallMetrics) -> grpc.ServerInterceptor:
    """For `grpc.server(..., interceptors=[...])`."""
    return _Interceptor(metrics)


def aio_interceptor(metrics: CallMetrics) -> grpc.aio.ServerInterceptor:
    """For `grpc.aio.server(interceptors=[...])`."""
    return _AioInterceptor(metrics)


class _Interceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    def __init__(self, metrics: CallMetrics) -> None:
        self._metrics = metrics

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            _unmatched(self._metrics, details)
            return None
        call = _Call(self._metrics, details)
        return _wrapped(handler, call.stream if handler.response_streaming else call.unary)


class _AioInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    def __init__(self, metrics: CallMetrics) -> None:
        self._metrics = metrics

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        handler = await continuation(details)
        if handler is None:
            _unmatched(self._metrics, details)
            return None
        call = _Call(self._metrics, details)
        return _wrapped(handler, call.aio_stream if handler.response_streaming else call.aio_unary)


def _wrapped(handler: Any, measured: Callable[[Any], Any]) -> Any:
    """The same handler around another behaviour."""
    name, make = _KINDS[handler.request_streaming, handler.response_streaming]
    return make(measured(getattr(handler, name)), handler.request_deserializer, handler.response_serializer)


def _unmatched(metrics: CallMetrics, details: Any) -> None:
    metrics.ended(None, "UNIMPLEMENTED", metrics.begin(), _trace(details))


def _trace(details: Any) -> Trace:
    found = [value for name, value in details.invocation_metadata or () if name == "traceparent"]
    return begin(found[0] if len(found) == 1 and isinstance(found[0], str) else None)


class _Call:
    """One call, from its headers to its end; counted once, however it ends."""

    def __init__(self, metrics: CallMetrics, details: Any) -> None:
        self._metrics = metrics
        self._method = details.method
        self._trace = _trace(details)
        self._began = metrics.begin()
        self._done = False

    def _end(self, context: Any, error: BaseException | None) -> None:
        if self._done:
            return
        self._done = True
        code = _code(context)
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            name = "CANCELLED"
        elif error is not None:
            name = code if code not in (None, "OK") else "UNKNOWN"
        else:
            name = code or "OK"
        self._metrics.ended(self._method, name or "UNKNOWN", self._began, self._trace)

    def unary(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def run(request: Any, context: Any) -> Any:
            try:
                answer = behaviour(request, context)
            except BaseException as error:
                self._end(context, error)
                raise
            self._end(context, None if context.is_active() else GeneratorExit())
            return answer

        return run

    def stream(self, behaviour: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
        def run(request: Any, context: Any) -> Iterator[Any]:
            # A generator that nobody asks any more is not ended by anybody: the call is.
            context.add_callback(lambda: self._end(context, GeneratorExit()))
            try:
                yield from behaviour(request, context)
            except BaseException as error:
                self._end(context, error)
                raise
            self._end(context, None if context.is_active() else GeneratorExit())

        return run

    def aio_unary(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def run(request: Any, context: Any) -> Any:
            try:
                answer = behaviour(request, context)
                answer = await answer if inspect.isawaitable(answer) else answer
            except BaseException as error:
                self._end(context, error)
                raise
            self._end(context, None)
            return answer

        return run

    def aio_stream(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def run(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                answers = behaviour(request, context)
                if hasattr(answers, "__aiter__"):
                    async for answer in answers:
                        yield answer
                else:  # it writes to the context itself
                    await answers
            except BaseException as error:
                self._end(context, error)
                raise
            self._end(context, None)

        return run


def _code(context: Any) -> str | None:
    """The name of the code that the behaviour has set."""
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return str(code.name)
    return _CODES.get(code) if isinstance(code, int) else None
