"""What a service answers: requests by route and status, how long they take, how many are under way."""

import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from fastcore.clock import NS_PER_S, Clock
from fastcore.observe.durations import Durations, checked
from fastcore.observe.labels import LabelGuard
from fastcore.observe.trace import Trace

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds; those that OpenTelemetry's semantic conventions recommend."""

UNMATCHED = "_unmatched"
GONE = 499
"""The status of a request whose client went away before the answer was complete, as nginx has it."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_OTHER_METHOD = "_OTHER"


class RequestMetrics(Collector):
    """Counts requests; a scrape reads the counters.

    Args:
        clock: integer nanoseconds.
        buckets: upper bounds in seconds, ascending.
        max_routes: routes that have series of their own.

    Complexity: O(log buckets) a request; a scrape copies the counters, and renders the copy.
    Thread safety: may be used from any thread.
    """

    def __init__(self, clock: Clock, *, buckets: tuple[float, ...] = BUCKETS, max_routes: int = 1000) -> None:
        self._bounds = checked(buckets)
        self.clock = clock
        self._routes = LabelGuard(max_routes)
        self._errors = LabelGuard()
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._durations: dict[tuple[str, str], Durations] = {}
        self._failures: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()

    def begin(self, method: str, trace: Trace) -> "Measurement":
        """Count a request as under way until its `finish`."""
        method = method if method in _METHODS else _OTHER_METHOD
        with self._lock:
            self._in_flight[method] += 1
        return Measurement(self, method, trace)

    def failed(self, error: BaseException) -> None:
        """Count an exception by its type."""
        kind = self._errors(type(error).__qualname__)
        with self._lock:
            self._failures[kind] += 1

    def ended(self, method: str, route: str | None, status: int, seconds: float, trace: Trace) -> None:
        """Count a request that is no longer under way."""
        route = UNMATCHED if route is None else self._routes(route)
        exemplar = Exemplar({"trace_id": trace.trace_id}, seconds) if trace.sampled else None
        with self._lock:
            self._in_flight[method] -= 1
            self._requests[method, route, str(status)] += 1
            held = self._durations.get((method, route))
            if held is None:
                held = self._durations[method, route] = Durations(self._bounds)
            held.add(seconds, exemplar)

    def collect(self) -> Iterator[Metric]:
        """The families, with their present values."""
        with self._lock:
            requests, failures, flying = dict(self._requests), dict(self._failures), dict(self._in_flight)
            durations = [(labels, held.copy()) for labels, held in self._durations.items()]
        total = CounterMetricFamily("http_requests_total", "Requests answered.", labels=("method", "route", "status"))
        for labels, count in requests.items():
            total.add_metric(labels, count)
        times = HistogramMetricFamily(
            "http_request_duration_seconds",
            "From the request to the last byte of its answer.",
            labels=("method", "route"),
        )
        for where, held in durations:
            times.add_metric(where, held.buckets(), held.sum)
        errors = CounterMetricFamily(
            "http_request_errors_total", "Exceptions out of the application.", labels=("type",)
        )
        for kind, count in failures.items():
            errors.add_metric((kind,), count)
        in_flight = GaugeMetricFamily("http_requests_in_flight", "Requests under way.", labels=("method",))
        for method, count in flying.items():
            in_flight.add_metric((method,), count)
        overflow = CounterMetricFamily(
            "fastcore_label_overflows_total", "Values of labels that were counted as _other.", labels=("label",)
        )
        overflow.add_metric(("route",), self._routes.overflows)
        overflow.add_metric(("type",), self._errors.overflows)
        yield from (total, times, errors, in_flight, overflow)


class Measurement:
    """One request; `finish` counts it, once.

    Attributes:
        status: of the answer; 0 until its head was sent.
        trace: that it belongs to.
    """

    __slots__ = ("_began", "_method", "_metrics", "done", "status", "trace")

    def __init__(self, metrics: RequestMetrics, method: str, trace: Trace) -> None:
        self._metrics = metrics
        self._method = method
        self._began = metrics.clock()
        self.trace = trace
        self.status = 0
        self.done = False

    def failed(self, error: BaseException) -> None:
        """The application raised; without a head before it the server answers 500."""
        self._metrics.failed(error)
        if not self.status:
            self.status = 500

    def finish(self, route: str | None, *, gone: bool = False) -> None:
        """The last byte was sent, or never will be.

        Args:
            route: its template, such as "/users/{id}"; None if nothing matched.
            gone: whether the client went away before.
        """
        if self.done:
            return
        self.done = True
        seconds = (self._metrics.clock() - self._began) / NS_PER_S
        self._metrics.ended(self._method, route, GONE if gone else self.status or 500, seconds, self.trace)
