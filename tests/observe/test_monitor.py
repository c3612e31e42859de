"""Requests and primitives measured: what is counted, under which labels, and that nothing gets lost on the way."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strictly
from prometheus_client.parser import text_string_to_metric_families

from fastcore.breaker import CircuitBreaker
from fastcore.cache import LRUCache
from fastcore.objects import ObjectStore
from fastcore.observe import HttpRequest, PerformanceMonitor, metrics_page
from fastcore.observe.dashboard import Overview
from fastcore.observe.labels import LabelGuard
from fastcore.observe.trace import Trace, begin, parse
from fastcore.pool import ObjectPool
from fastcore.queue import WorkQueue
from fastcore.ratelimit import TokenBucket
from fastcore.testing.clock import VirtualClock
from fastcore.work import Job, MemoryMonitor, Rejected, ResourceTracker, TaskManager, WorkerPool

TRACED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
Message = dict[str, Any]


class Service:
    """An ASGI application that does as it is told, and a server before it."""

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock()
        self.monitor = PerformanceMonitor(clock=self.clock, **options)
        self.sent: list[Message] = []
        self.incoming: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def ask(
        self, app: Callable[..., Any], method: str = "GET", headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        async def receive() -> Message:
            return self.incoming.pop(0) if self.incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        scope = {"type": "http", "method": method, "path": "/users/42", "headers": list(headers)}
        await self.monitor.asgi(app)(scope, receive, send)

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.monitor.registry.get_sample_value(name, labels)

    def total(self, method: str, route: str, status: str) -> float | None:
        return self.value("http_requests_total", method=method, route=route, status=status)


class Template:
    def __init__(self, path: str) -> None:
        self.path = path


def start(status: int) -> Message:
    return {"type": "http.response.start", "status": status, "headers": []}


def body(more: bool = False) -> Message:
    return {"type": "http.response.body", "body": b"x", "more_body": more}


@pytest.fixture
def service() -> Service:
    return Service()


async def test_route_template_status_and_duration(service: Service) -> None:
    """OB3: the label is the template, the status that of the first final head, the time that of the last byte."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert service.value("http_requests_in_flight", method="GET") == 1
        scope["route"] = Template("/users/{id}")
        await send(start(103))
        await send(start(201))
        service.clock.advance(0.2)
        await send(body(more=True))
        service.clock.advance(0.3)
        await send(body())
        service.clock.advance(60)  # a task in the background, after the answer

    await service.ask(app)
    assert service.total("GET", "/users/{id}", "201") == 1
    labels = {"method": "GET", "route": "/users/{id}"}
    assert service.value("http_request_duration_seconds_sum", **labels) == 0.5
    assert service.value("http_request_duration_seconds_bucket", le="0.25", **labels) == 0
    assert service.value("http_request_duration_seconds_bucket", le="0.5", **labels) == 1
    assert service.value("http_request_duration_seconds_bucket", le="+Inf", **labels) == 1
    assert service.value("http_requests_in_flight", method="GET") == 0
    assert [message["type"] for message in service.sent] == ["http.response.start"] * 2 + ["http.response.body"] * 2


async def test_unmatched_and_unknown(service: Service) -> None:
    """OB3: without a template `_unmatched`, never the path; a method that nobody knows is `_OTHER`."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send(start(404))
        await send(body())

    await service.ask(app, method="BREW")
    assert service.total("_OTHER", "_unmatched", "404") == 1
    assert b"/users/42" not in openmetrics(service.monitor.registry)


async def test_exception_before_and_after_the_head(service: Service) -> None:
    """OB3: before it 500, after it the status that was sent; both are counted by type, and raised on."""

    async def early(scope: Message, receive: Any, send: Any) -> None:
        raise KeyError("secret-token")

    async def late(scope: Message, receive: Any, send: Any) -> None:
        await send(start(200))
        raise KeyError("secret-token")

    for app in (early, late):
        with pytest.raises(KeyError):
            await service.ask(app)
    assert service.total("GET", "_unmatched", "500") == 1
    assert service.total("GET", "_unmatched", "200") == 1
    assert service.value("http_request_errors_total", type="KeyError") == 2
    assert service.value("http_requests_in_flight", method="GET") == 0
    assert b"secret" not in openmetrics(service.monitor.registry)


async def test_client_that_goes_away(service: Service) -> None:
    """OB3: 499 when it leaves before the last byte: told by receive, by send, or by being cancelled."""

    async def listens(scope: Message, receive: Any, send: Any) -> None:
        await send(start(200))
        while (await receive())["type"] != "http.disconnect":
            pass

    async def breaks(scope: Message, receive: Any, send: Any) -> None:
        await send(start(200))
        await send({"type": "http.response.broken"})

    async def hangs(scope: Message, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def afterwards(scope: Message, receive: Any, send: Any) -> None:
        await send(start(200))
        await send(body())
        await receive()

    await service.ask(listens)
    broken = service.monitor.asgi(breaks)

    async def refuse(message: Message) -> None:
        if message["type"] == "http.response.broken":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await broken({"type": "http", "method": "GET", "headers": []}, None, refuse)  # type: ignore[arg-type]
    task = asyncio.create_task(service.ask(hangs))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert service.total("GET", "_unmatched", "499") == 3
    await service.ask(afterwards)
    assert service.total("GET", "_unmatched", "200") == 1
    assert service.value("http_requests_in_flight", method="GET") == 0
    assert service.value("http_request_errors_total", type="BrokenPipeError") is None


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass_through(service: Service, kind: str) -> None:
    """OB3: websockets and lifespan are the application's alone."""
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)

    given = ({"type": kind}, object(), object())
    await service.monitor.asgi(app)(*given)  # type: ignore[arg-type]
    assert all(a is b for a, b in zip(seen, given, strict=True))
    assert service.total("GET", "_unmatched", "500") is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (TRACED, Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)),
        (TRACED[:-2] + "00", Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", False)),
        ("01" + TRACED[2:] + "-more", Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)),
        (TRACED + "-more", None), ("ff" + TRACED[2:], None), (TRACED.upper(), None), (TRACED[:-1], None), ("", None),
        (TRACED + "\n", None), (" " + TRACED, None), (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", None),
    ],
)  # fmt: skip
def test_traceparent_is_read_strictly(header: str, expected: Trace | None) -> None:
    """OB5: what is not exactly as it must be begins a new trace, which is not sampled."""
    assert parse(header) == expected
    began = begin(header, random=lambda count: b"\x01" * count)
    assert began == (expected or Trace("01" * 16, "01" * 8, False))


async def test_exemplars_of_sampled_traces(service: Service) -> None:
    """OB5: a sampled trace leaves its id in its bucket, in OpenMetrics; others leave none."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send(start(200))
        await send(body())

    await service.ask(app, headers=[(b"traceparent", TRACED[:-2].encode() + b"00")])
    assert b"trace_id" not in openmetrics(service.monitor.registry)
    await service.ask(app, headers=[(b"traceparent", TRACED.encode())])
    text = openmetrics(service.monitor.registry).decode()
    assert '{trace_id="4bf92f3577b34da6a3ce929d0e0e4736"}' in text
    await service.ask(app, headers=[(b"traceparent", TRACED.encode())] * 2)  # two are none
    assert service.total("GET", "_unmatched", "200") == 3


async def test_names_are_clean_in_both_forms(service: Service) -> None:
    """OB1, OB4: strict parsers read all of it; only counters end in _total, and nothing is a percentage."""
    for name, primitive in PRIMITIVES.items():
        service.monitor.track(name, primitive())

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send(start(200))
        await send(body())

    await service.ask(app, headers=[(b"traceparent", TRACED.encode())])
    page = metrics_page(service.monitor.registry)
    plain = page(HttpRequest("GET", "/metrics", {}, {})).body.decode()
    assert list(text_string_to_metric_families(plain))
    families = list(strictly(openmetrics(service.monitor.registry).decode()))
    for family in families:
        for sample in family.samples:
            assert sample.name.endswith("_total") <= (family.type == "counter"), sample
        assert "percent" not in family.name
    assert {"http_requests", "fastcore_cache_hits", "fastcore_breaker_state"} <= {family.name for family in families}


PRIMITIVES: dict[str, Callable[[], Any]] = {
    "users": lambda: LRUCache(10),
    "api": lambda: TokenBucket(5, 10),
    "server": lambda: CircuitBreaker("server"),
    "buffers": lambda: ObjectPool(list),
    "keys": WorkQueue,
    "pods": ObjectStore,
}


def test_primitives_are_read_at_scrape(service: Service) -> None:
    """OB1: every kind of primitive has its counters, with the values of the moment."""
    made = {name: make() for name, make in PRIMITIVES.items()}
    for name, primitive in made.items():
        service.monitor.track(name, primitive)
    made["users"]["a"] = 1
    made["users"].get("a")
    made["users"].get("b")
    made["server"].call(int)
    made["server"].force_open()
    made["buffers"].release(made["buffers"].acquire())
    made["keys"].add("k")
    made["pods"].put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})
    for metric, name, expected in (
        ("fastcore_cache_hits_total", "users", 1), ("fastcore_cache_misses_total", "users", 1),
        ("fastcore_cache_entries", "users", 1), ("fastcore_limiter_tokens", "api", 10),
        ("fastcore_breaker_calls_total", "server", 1), ("fastcore_pool_created_total", "buffers", 1),
        ("fastcore_pool_idle", "buffers", 1), ("fastcore_queue_depth", "keys", 1),
        ("fastcore_objects_objects", "pods", 1),
    ):  # fmt: skip
        assert service.value(metric, name=name) == expected, metric
    assert service.value("fastcore_breaker_state", name="server", state="open") == 1
    assert service.value("fastcore_breaker_state", name="server", state="closed") == 0
    service.monitor.untrack("users")
    service.monitor.untrack("users")
    assert service.value("fastcore_cache_hits_total", name="users") is None


def test_what_cannot_be_tracked(service: Service) -> None:
    """OB2: what is no primitive, a name that is taken, and more than a hundred are refused with a reason."""
    service.monitor.track("users", LRUCache(1))
    with pytest.raises(ValueError, match="the name 'users' is taken"):
        service.monitor.track("users", LRUCache(1))
    with pytest.raises(TypeError, match=r"not \{\}"):
        service.monitor.track("dict", {})
    for number in range(99):
        service.monitor.track(f"cache-{number}", LRUCache(1))
    with pytest.raises(ValueError, match=r"100 primitives are exported already.*'one-more'"):
        service.monitor.track("one-more", LRUCache(1))


async def test_routes_are_bounded() -> None:
    """OB2: more templates than allowed are counted together, and how often is told."""
    service = Service(max_routes=2)
    numbers = iter(range(5))

    async def app(scope: Message, receive: Any, send: Any) -> None:
        scope["route"] = Template(f"/r{next(numbers)}")
        await send(start(200))
        await send(body())

    for _ in range(5):
        await service.ask(app)
    assert service.total("GET", "/r1", "200") == 1
    assert service.total("GET", "_other", "200") == 3
    assert service.value("fastcore_label_overflows_total", label="route") == 3


def test_label_guard_is_exact_under_threads() -> None:
    """OB2: never more values than the limit, whoever comes at once."""
    guard = LabelGuard(limit=10)
    found: list[set[str]] = []

    def use(offset: int) -> None:
        found.append({guard(str((n + offset) % 50)) for n in range(50)})

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*found) - {"_other"}) == 10
    with pytest.raises(ValueError, match="limit must be at least 1 value, got 0"):
        LabelGuard(0)


class Tracer:
    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []

    def start_as_current_span(self, name: str, attributes: Any) -> "Tracer":
        self.spans.append((name, attributes))
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.spans.append(("end", None))


async def test_spans() -> None:
    """OB5: with a tracer there is a span around each request, of either kind of application."""
    tracer = Tracer()
    service = Service(tracer=tracer)

    async def app(scope: Message, receive: Any, send: Any) -> None:
        tracer.spans.append(("app", None))
        await send(start(200))
        await send(body())

    await service.ask(app)
    assert [name for name, _ in tracer.spans] == ["GET", "app", "end"]
    list(wsgi(service.monitor.wsgi(lambda environ, start_response: (start_response("200 OK", []) and []) or [])))
    assert [name for name, _ in tracer.spans[3:]] == ["GET", "end"]


# WSGI


def wsgi(app: Any, method: str = "GET", close: bool = True, **environ: str) -> Iterator[bytes]:
    """The answer of `app`, as a server takes it."""
    given: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": "", **environ}
    setup_testing_defaults(given)

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
        return lambda data: None

    result = app(given, start_response)
    try:
        yield from result
    finally:
        if close and hasattr(result, "close"):
            result.close()


def test_wsgi_is_measured_to_the_last_piece(service: Service) -> None:
    """OB3: time until the body was taken, by the template that `route=` gives; wsgiref's validator has no complaint."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(4):
            service.clock.advance(0.25)
            yield b"x"

    measured = service.monitor.wsgi(validator(app), route=lambda environ: "/stream")
    assert b"".join(wsgi(validator(measured))) == b"xxxx"
    assert service.total("GET", "/stream", "200") == 1
    assert service.value("http_request_duration_seconds_sum", method="GET", route="/stream") == 1.0
    assert service.value("http_requests_in_flight", method="GET") == 0


def test_wsgi_errors_and_clients_that_leave(service: Service) -> None:
    """OB3: 500 before the head, what was sent after it, 499 when the body is closed early; in flight ends at 0."""
    closed: list[bool] = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            yield b"x"
            yield b"y"

        def close(self) -> None:
            closed.append(True)

    def early(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        raise LookupError

    def slow(environ: Any, start_response: Any) -> Pieces:
        start_response("200 OK", [])
        return Pieces()

    for app in (early, late):
        with pytest.raises(LookupError):
            list(wsgi(service.monitor.wsgi(app)))
    assert service.value("http_request_errors_total", type="LookupError") == 2
    assert service.total("GET", "_unmatched", "500") == 1
    assert service.total("GET", "_unmatched", "200") == 1
    taking = wsgi(service.monitor.wsgi(slow))
    assert next(taking) == b"x"
    taking.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert service.total("GET", "_unmatched", "499") == 1
    assert list(wsgi(service.monitor.wsgi(slow), method="HEAD")) == [b"x", b"y"]
    assert service.total("HEAD", "_unmatched", "200") == 1
    for method in ("GET", "HEAD"):
        assert service.value("http_requests_in_flight", method=method) == 0


def test_close_leaves_the_registry_clean(service: Service) -> None:
    """What was registered is taken out, so that another monitor may take its place."""
    service.monitor.close()
    PerformanceMonitor(service.monitor.registry)
    assert service.value("fastcore_label_overflows_total", label="route") == 0


def test_buckets_must_ascend() -> None:
    """The message names what was given."""
    with pytest.raises(ValueError, match=r"buckets must be ascending, got \(1.0, 0.5\)"):
        PerformanceMonitor(buckets=(1.0, 0.5))


def test_workers_are_exported() -> None:
    """WP10, MT4, TM1: pools, task managers, memory monitors and trackers, by name; a scrape reacts to nothing."""
    monitor = PerformanceMonitor()
    value = monitor.registry.get_sample_value
    collected: list[int] = []
    memory = MemoryMonitor(limit=1000, usage=lambda: 990, collect=lambda: collected.append(1))
    tasks, tracker = TaskManager(limit=3), ResourceTracker()
    with WorkerPool(workers=2, queue_size=5) as pool:
        for name, thing in {"jobs": pool, "tasks": tasks, "memory": memory, "process": tracker}.items():
            monitor.track(name, thing)
        assert pool.submit(Job("1", "sum", lambda: 3)).result(timeout=30) == 3
        tasks.spawn(lambda: None).result(timeout=30)
        while pool.stats().in_flight:
            time.sleep(0.001)
        assert value("fastcore_worker_pool_workers", {"name": "jobs"}) == 2
        assert value("fastcore_worker_pool_jobs_total", {"name": "jobs", "kind": "sum", "outcome": "success"}) == 1
        assert value("fastcore_worker_pool_run_seconds_count", {"name": "jobs", "kind": "sum"}) == 1
        assert value("fastcore_worker_pool_wait_seconds_bucket", {"name": "jobs", "kind": "sum", "le": "+Inf"}) == 1
    with pytest.raises(Rejected):
        pool.submit(Job("2", "sum", lambda: 3), timeout=0)
    rejected = {"name": "jobs", "kind": "sum", "reason": "shutdown"}
    assert value("fastcore_worker_pool_rejected_total", rejected) == 1
    assert value("fastcore_tasks_limit", {"name": "tasks"}) == 3
    assert value("fastcore_tasks_spawned_total", {"name": "tasks"}) == 1
    assert value("fastcore_memory_usage_bytes", {"name": "memory"}) == 990
    assert value("fastcore_memory_allowed_bytes", {"name": "memory"}) == 900
    assert value("fastcore_memory_refusing", {"name": "memory"}) == 0
    assert collected == []
    memory.check()
    assert value("fastcore_memory_refusing", {"name": "memory"}) == 1
    assert value("fastcore_memory_crossings_total", {"name": "memory", "threshold": "hard"}) == 1
    assert value("fastcore_memory_collections_total", {"name": "memory"}) == len(collected) == 1
    threads = value("fastcore_resources_threads", {"name": "process"})
    assert threads is not None
    assert threads >= 1
    titles = [table.title for table in Overview(monitor.registry).tables()]
    assert {"Worker pools", "Task managers", "Memory", "Event loop"} <= set(titles)
    tracker.close()
    with pytest.raises(TypeError, match="memory monitor, resource tracker or resource store, not 3"):
        monitor.track("three", 3)
