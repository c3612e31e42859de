"""Middleware that measures a WSGI application."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from fastcore.observe.requests import Measurement, RequestMetrics
from fastcore.observe.trace import begin

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
Route = Callable[[Environ], str | None]


def no_route(environ: Environ) -> str | None:
    """WSGI has no place where a router would note its template: whoever has one gives `route=`."""
    return None


def measured(app: App, metrics: RequestMetrics, route: Route, tracer: Any) -> App:
    """`app` with its requests counted."""

    def middleware(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        measurement = metrics.begin(environ["REQUEST_METHOD"], begin(environ.get("HTTP_TRACEPARENT")))

        def starting(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            write = start_response(status, headers, *exc_info)
            measurement.status = int(status[:3])
            return write

        try:
            with _span(tracer, environ):
                return _Body(app(environ, starting), measurement, environ, route)
        except BaseException as error:
            measurement.failed(error)
            measurement.finish(route(environ))
            raise

    return middleware


class _Body:
    """The answer as it is taken; it ends when all was taken, or when the server closes it."""

    def __init__(self, pieces: Iterable[bytes], measurement: Measurement, environ: Environ, route: Route) -> None:
        self._pieces = pieces
        self._measurement = measurement
        self._environ = environ
        self._route = route

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except GeneratorExit:
            raise
        except BaseException as error:
            self._measurement.failed(error)
            self._measurement.finish(self._route(self._environ))
            raise
        self._measurement.finish(self._route(self._environ))

    def close(self) -> None:
        """What the server calls at last, whatever happened; before the end it means that the client went away."""
        try:
            close = getattr(self._pieces, "close", None)
            if close is not None:
                close()
        finally:
            gone = self._environ["REQUEST_METHOD"] != "HEAD"
            self._measurement.finish(self._route(self._environ), gone=gone)


def _span(tracer: Any, environ: Environ) -> Any:
    if tracer is None:
        return nullcontext()
    method = environ["REQUEST_METHOD"]
    return tracer.start_as_current_span(method, attributes={"http.request.method": method})
