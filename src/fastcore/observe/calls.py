"""What a gRPC server answers: calls by method and code, how long they take, how many are under way."""

import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from fastcore.clock import NS_PER_S, Clock
from fastcore.observe.durations import Durations, checked
from fastcore.observe.labels import LabelGuard
from fastcore.observe.trace import Trace

UNMATCHED = "_unmatched"


class CallMetrics(Collector):
    """Counts calls; a scrape reads the counters.

    Args:
        clock: integer nanoseconds.
        buckets: upper bounds in seconds, ascending.
        max_methods: that have series of their own.

    Complexity: O(log buckets) a call.
    Thread safety: may be used from any thread.
    """

    def __init__(self, clock: Clock, *, buckets: tuple[float, ...], max_methods: int = 1000) -> None:
        self._bounds = checked(buckets)
        self._clock = clock
        self._methods = LabelGuard(max_methods)
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, Durations] = {}
        self._in_flight = 0

    def begin(self) -> int:
        """Count a call as under way until its `ended`; returns when that was."""
        with self._lock:
            self._in_flight += 1
        return self._clock()

    def ended(self, method: str | None, code: str, began: int, trace: Trace) -> None:
        """Count a call that is no longer under way.

        Args:
            method: "/package.Service/Method"; None if nobody serves it.
            code: of its status, such as "OK".
            began: what `begin` returned.
            trace: that it belongs to.
        """
        name = UNMATCHED if method is None else self._methods(method)
        seconds = (self._clock() - began) / NS_PER_S
        exemplar = Exemplar({"trace_id": trace.trace_id}, seconds) if trace.sampled else None
        with self._lock:
            self._in_flight -= 1
            self._calls[name, code] += 1
            held = self._durations.get(name)
            if held is None:
                held = self._durations[name] = Durations(self._bounds)
            held.add(seconds, exemplar)

    def collect(self) -> Iterator[Metric]:
        """The families, with their present values."""
        with self._lock:
            calls, in_flight = dict(self._calls), self._in_flight
            durations = [(method, held.copy()) for method, held in self._durations.items()]
        total = CounterMetricFamily("grpc_requests_total", "Calls answered.", labels=("method", "code"))
        for labels, count in calls.items():
            total.add_metric(labels, count)
        times = HistogramMetricFamily(
            "grpc_request_duration_seconds", "From the call to the end of its answer.", labels=("method",)
        )
        for method, held in durations:
            times.add_metric((method,), held.buckets(), held.sum)
        flying = GaugeMetricFamily("grpc_requests_in_flight", "Calls under way.", value=in_flight)
        yield from (total, times, flying)
