"""Middleware that measures an ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import nullcontext
from typing import Any

from fastcore.observe.requests import Measurement, RequestMetrics
from fastcore.observe.trace import begin

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Route = Callable[[Scope], str | None]


def route_of(scope: Scope) -> str | None:
    """The template that the router noted in the scope, as FastAPI and Starlette do; never the path itself."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else None


def measured(app: App, metrics: RequestMetrics, route: Route, tracer: Any) -> App:
    """`app` with its requests counted; websockets and lifespan pass through."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        measurement = metrics.begin(scope["method"], begin(_traceparent(scope)))
        with _span(tracer, scope):
            await _Exchange(scope, receive, send, measurement, route).run(app)

    return middleware


class _Exchange:
    """One request on its way through the application."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, measurement: Measurement, route: Route) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._measurement = measurement
        self._route = route
        self._complete = self._gone = False

    async def run(self, app: App) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._gone = not self._complete  # servers cancel what nobody waits for any more
            raise
        except BaseException as error:
            if not self._gone:
                self._measurement.failed(error)
            raise
        finally:
            self._finish()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._complete:
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 200 and not self._measurement.status:
            self._measurement.status = message["status"]
        try:
            await self._send(message)
        except OSError:
            self._gone = True
            raise
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True
            self._finish()

    def _finish(self) -> None:
        if not self._measurement.done:
            self._measurement.finish(self._route(self._scope), gone=self._gone and not self._complete)


def _traceparent(scope: Scope) -> str | None:
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def _span(tracer: Any, scope: Scope) -> Any:
    if tracer is None:
        return nullcontext()
    return tracer.start_as_current_span(scope["method"], attributes={"http.request.method": scope["method"]})
