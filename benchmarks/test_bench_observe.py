"""What measuring a request costs, beside prometheus_client's own counters; and what a scrape costs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fastcore.cache import LRUCache
from fastcore.clock import monotonic_ns
from fastcore.observe import PerformanceMonitor
from fastcore.observe.labels import LabelGuard
from fastcore.observe.requests import BUCKETS, RequestMetrics
from fastcore.observe.trace import Trace

COUNTED = "a request counted: total, duration, in flight"
GUARDED = "a label's value checked against its bound"
ASGI = "an ASGI request that does nothing"
SCRAPE = "a scrape of 1,000 routes"
CACHE = "a hit of a cache whose counters are exported"
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
