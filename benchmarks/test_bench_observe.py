"""What measuring a request costs, beside prometheus_client's own counters; and what a scrape costs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fastcore.cache import LRUCache
from fastcore.clock import monotonic_ns
from fastcore.observe import PerformanceMonitor
from fastcore.observe.calls import CallMetrics
from fastcore.observe.labels import LabelGuard
from fastcore.observe.logs import get_logger
from fastcore.observe.requests import BUCKETS, RequestMetrics
from fastcore.observe.trace import Trace

COUNTED = "a request counted: total, duration, in flight"
GUARDED = "a label's value checked against its bound"
ASGI = "an ASGI request that does nothing"
SCRAPE = "a scrape of 1,000 routes"
CACHE = "a hit of a cache whose counters are exported"
LOG = "a log call that is disabled"
STEP = "one counter of a primitive, exported"
LABELLED = "one counter with a label that comes from outside"
TRACE = Trace("0" * 31 + "1", "0" * 15 + "1", False)


@pytest.mark.subject(COUNTED, "fastcore")
def test_request(benchmark: Any) -> None:
    metrics = RequestMetrics(monotonic_ns)

    def requests() -> None:
        for _ in range(CALLS):
            measurement = metrics.begin("GET", TRACE)
            measurement.status = 200
            measurement.finish("/users/{id}")

    per_call(benchmark, requests)


def peers(registry: CollectorRegistry) -> tuple[Counter, Histogram, Gauge]:
    return (
        Counter("requests", "", ("method", "route", "status"), registry=registry),
        Histogram("duration", "", ("method", "route"), buckets=BUCKETS, registry=registry),
        Gauge("in_flight", "", ("method",), registry=registry),
    )


@pytest.mark.subject(COUNTED, "prometheus_client")
def test_request_of_prometheus_client(benchmark: Any) -> None:
    total, duration, flying = peers(CollectorRegistry())

    def requests() -> None:
        for _ in range(CALLS):
            flying.labels("GET").inc()
            began = monotonic_ns()
            flying.labels("GET").dec()
            total.labels("GET", "/users/{id}", "200").inc()
            duration.labels("GET", "/users/{id}").observe((monotonic_ns() - began) / 1e9)

    per_call(benchmark, requests)


@pytest.mark.subject(GUARDED, "fastcore")
def test_guard(benchmark: Any) -> None:
    guard = LabelGuard()

    def values() -> None:
        for _ in range(CALLS):
            guard("/users/{id}")

    per_call(benchmark, values)


async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def discard(message: Any) -> None: ...


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: app, marks=pytest.mark.subject(ASGI, "bare")),
        pytest.param(lambda: PerformanceMonitor().asgi(app), marks=pytest.mark.subject(ASGI, "measured")),
    ],
)
def test_asgi(benchmark: Any, make: Callable[[], Any]) -> None:
    served = make()

    async def requests() -> None:
        for _ in range(CALLS):
            await served({"type": "http", "method": "GET", "headers": []}, None, discard)

    per_call(benchmark, lambda: asyncio.run(requests()), rounds=20)


@pytest.mark.subject(SCRAPE, "fastcore")
def test_scrape(benchmark: Any) -> None:
    monitor = PerformanceMonitor(CollectorRegistry())
    for number in range(1000):
        monitor.requests.begin("GET", TRACE).finish(f"/r{number}")
    per_call(benchmark, lambda: generate_latest(monitor.registry), calls=1, rounds=10)


@pytest.mark.subject(SCRAPE, "prometheus_client")
def test_scrape_of_prometheus_client(benchmark: Any) -> None:
    registry = CollectorRegistry()
    total, duration, _ = peers(registry)
    for number in range(1000):
        total.labels("GET", f"/r{number}", "200").inc()
        duration.labels("GET", f"/r{number}").observe(0.1)
    per_call(benchmark, lambda: generate_latest(registry), calls=1, rounds=10)


@pytest.mark.parametrize(
    "tracked", [pytest.param(False, marks=pytest.mark.subject(CACHE, "not exported")),
                pytest.param(True, marks=pytest.mark.subject(CACHE, "exported"))],
)  # fmt: skip
def test_hit(benchmark: Any, tracked: bool) -> None:
    cache: LRUCache[str, int] = LRUCache(10)
    cache["a"] = 1
    if tracked:
        PerformanceMonitor(CollectorRegistry()).track("cache", cache)

    def hits() -> None:
        for _ in range(CALLS):
            cache["a"]

    per_call(benchmark, hits)


@pytest.mark.subject(LOG, "fastcore, with a field")
def test_disabled_log(benchmark: Any) -> None:
    log = get_logger("benchmark.shop")

    def calls() -> None:
        for _ in range(CALLS):
            log.debug("sold", items=3)

    per_call(benchmark, calls)


@pytest.mark.subject(LOG, "logging, without fields")
def test_disabled_log_of_logging(benchmark: Any) -> None:
    log = logging.getLogger("benchmark.shop")

    def calls() -> None:
        for _ in range(CALLS):
            log.debug("sold")

    per_call(benchmark, calls)


@pytest.mark.subject(STEP, "fastcore: a miss of a cache, counted")
def test_counter_of_a_primitive(benchmark: Any) -> None:
    monitor, cache = PerformanceMonitor(), LRUCache(10)
    monitor.track("users", cache)
    get = cache.get

    def steps() -> None:
        for _ in range(CALLS):
            get("a")

    per_call(benchmark, steps)


@pytest.mark.subject(STEP, "prometheus_client: inc() alone")
def test_increment_of_prometheus_client(benchmark: Any) -> None:
    inc = Counter("hits", "", registry=CollectorRegistry()).inc

    def steps() -> None:
        for _ in range(CALLS):
            inc()

    per_call(benchmark, steps)


@pytest.mark.subject(LABELLED, "prometheus_client: labels().inc()")
def test_labelled_increment_of_prometheus_client(benchmark: Any) -> None:
    labels = Counter("hits", "", ("route",), registry=CollectorRegistry()).labels

    def steps() -> None:
        for _ in range(CALLS):
            labels("/users/{id}").inc()

    per_call(benchmark, steps)


@pytest.mark.subject(LABELLED, "fastcore: bounded, with a histogram")
def test_labelled_call(benchmark: Any) -> None:
    metrics, begun = CallMetrics(monotonic_ns, buckets=BUCKETS), monotonic_ns()

    def steps() -> None:
        for _ in range(CALLS):
            metrics.ended("/shop.Shop/Get", "OK", begun, TRACE)

    per_call(benchmark, steps)
