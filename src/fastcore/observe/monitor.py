"""One object that measures a service: its requests, its primitives, its process."""

from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from fastcore.clock import Clock, monotonic_ns
from fastcore.observe import asgi, wsgi
from fastcore.observe.calls import CallMetrics
from fastcore.observe.primitives import PrimitiveMetrics
from fastcore.observe.requests import BUCKETS, RequestMetrics


class PerformanceMonitor:
    """Metrics of a service under names that OpenMetrics accepts.

    Args:
        registry: where they are exported; None makes one, with those of the process, the platform and the collector.
        buckets: of `http_request_duration_seconds`, in seconds, ascending.
        max_routes: routes that have series of their own; the others are `_other`.
        tracer: of OpenTelemetry, for a span around each request; None: no spans.
        clock: integer nanoseconds.

    Complexity: O(log buckets) a request; primitives cost nothing until somebody scrapes.
    Thread safety: may be used from any thread.

    Example:
        >>> from fastcore.cache import LRUCache
        >>> monitor, users = PerformanceMonitor(), LRUCache(100)
        >>> monitor.track("users", users)
        >>> users["a"] = 1
        >>> monitor.registry.get_sample_value("fastcore_cache_insertions_total", {"name": "users"})
        1
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        buckets: tuple[float, ...] = BUCKETS,
        max_routes: int = 1000,
        tracer: Any = None,
        clock: Clock = monotonic_ns,
    ) -> None:
        self.requests = RequestMetrics(clock, buckets=buckets, max_routes=max_routes)
        self.primitives = PrimitiveMetrics()
        self._tracer = tracer
        self._clock = clock
        self._buckets = buckets
        self._calls: CallMetrics | None = None
        if registry is None:
            registry = CollectorRegistry()
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=registry)
        self.registry = registry
        registry.register(self.requests)
        registry.register(self.primitives)

    def track(self, name: str, primitive: Any) -> None:
        """Export what a primitive counts, or a worker pool, task manager, memory monitor or resource tracker.

        Raises:
            TypeError: it is none of those.
            ValueError: the name is taken, or there are too many.
        """
        self.primitives.track(name, primitive)

    def untrack(self, name: str) -> None:
        """Export it no more."""
        self.primitives.untrack(name)

    def asgi(self, app: asgi.App, *, route: asgi.Route = asgi.route_of) -> asgi.App:
        """`app` with its HTTP requests measured to the last byte.

        Args:
            app: ASGI 3; put this outermost.
            route: the template of a request, read when it is over; default: what FastAPI notes. None counts as
                `_unmatched`. It must not be the path itself.
        """
        return asgi.measured(app, self.requests, route, self._tracer)

    def wsgi(self, app: wsgi.App, *, route: wsgi.Route = wsgi.no_route) -> wsgi.App:
        """`app` with its requests measured until the last piece was taken.

        Args:
            app: PEP 3333; put this outermost.
            route: the template of a request by its environ; default: `_unmatched`.
        """
        return wsgi.measured(app, self.requests, route, self._tracer)

    def grpc_interceptor(self, *, aio: bool = False) -> Any:
        """An interceptor for a server of grpcio that measures its calls: `grpc_request_duration_seconds` and more.

        Args:
            aio: for a server of `grpc.aio`.

        Raises:
            ModuleNotFoundError: grpcio is not installed.
        """
        from fastcore.observe.rpc import aio_interceptor, interceptor

        if self._calls is None:
            self._calls = CallMetrics(self._clock, buckets=self._buckets)
            self.registry.register(self._calls)
        return (aio_interceptor if aio else interceptor)(self._calls)

    def close(self) -> None:
        """Take everything out of the registry."""
        for collector in (self.requests, self.primitives, self._calls):
            if collector is not None:
                self.registry.unregister(collector)
