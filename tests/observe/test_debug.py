"""The server for pages about the process: what is there, and who may see it."""

import gc
import json
import logging

import pytest

from fastcore.observe import DebugServer, HttpRequest, PerformanceMonitor
from fastcore.work import ResourceTracker
from observe.test_server import ask, get


async def test_pages() -> None:
    """PF8, OB4: metrics, checks and profiles on a free loopback port, which is free again afterwards."""
    monitor = PerformanceMonitor()
    async with DebugServer(registry=monitor.registry) as server:
        server.readiness["cache"] = lambda: "not filled"
        found = {
            path: await ask(server.port, get(path))
            for path in ("/metrics", "/healthz", "/readyz", "/debug/pprof/goroutine?debug=2", "/debug/performance", "/")
        }
    assert {path: status for path, (status, _, _) in found.items()} == {
        "/metrics": 200, "/healthz": 200, "/readyz": 503, "/debug/pprof/goroutine?debug=2": 200,
        "/debug/performance": 200, "/": 404,
    }  # fmt: skip
    assert b"fastcore_label_overflows_total" in found["/metrics"][2]
    assert b"not filled" in found["/readyz"][2]
    assert b"/debug/pprof/" in found["/"][2]
    with pytest.raises(ConnectionError):
        await ask(server.port, get("/healthz"))
    await server.stop()


async def test_performance_triggers_no_collection() -> None:
    """PF9: figures of the process as JSON, with those of a tracker; the collector is left alone."""
    tracker = ResourceTracker()
    async with DebugServer(sample=tracker.sample) as server:
        gc.disable()
        try:
            before = [one["collections"] for one in gc.get_stats()]
            _, headers, body = await ask(server.port, get("/debug/performance"))
            assert [one["collections"] for one in gc.get_stats()] == before
        finally:
            gc.enable()
    tracker.close()
    found = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert {"uptime_seconds", "threads", "tasks", "gc", "cpu_seconds", "pauses", "loop_lag_max"} <= set(found)
    assert found["tasks"] >= 2
    assert set(found["pauses"]) == {"collections", "total", "longest", "last"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com"])
def test_address_that_others_reach_needs_authorize(host: str) -> None:
    """PF8: profiles and paths are not for everybody; the message says what to do."""
    with pytest.raises(ValueError, match="can be reached from outside: say by authorize="):
        DebugServer(host)
    DebugServer(host, authorize=lambda request: False)
    DebugServer("localhost")
    DebugServer("::1")


async def test_authorize_decides() -> None:
    """PF8: who is not allowed gets 403 below /debug/, and metrics and health all the same."""
    seen: list[HttpRequest] = []

    def authorize(request: HttpRequest) -> bool:
        seen.append(request)
        return request.headers.get("authorization") == "Bearer right"

    async with DebugServer(authorize=authorize) as server:
        refused = await ask(server.port, get("/debug/pprof/goroutine?debug=1"))
        allowed = await ask(server.port, get("/debug/pprof/goroutine?debug=1", "Authorization: Bearer right"))
        health = await ask(server.port, get("/healthz"))
    assert (refused[0], allowed[0], health[0]) == (403, 200, 200)
    assert len(seen) == 2


async def test_levels_are_changed_over_http_until_the_server_stops() -> None:
    """LG1: PUT changes, other ways to write are not there; what was changed is put back."""
    shop = logging.getLogger("test.debug.shop")
    async with DebugServer() as server:
        put = "PUT /debug/loglevel?level=debug&logger=test.debug.shop HTTP/1.1\nHost: localhost:1\n\n"
        status, _, body = await ask(server.port, put)
        assert (status, shop.level) == (200, logging.DEBUG)
        assert any(one["name"] == "test.debug.shop" for one in json.loads(body))
        assert (await ask(server.port, put.replace("PUT", "POST")))[0] == 405
        assert (await ask(server.port, put.replace("/debug/loglevel", "/debug/performance")))[0] == 405
    assert shop.level == logging.NOTSET


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:80", 200), ("[::1]:80", 200), ("a.localhost", 200), ("evil.example", 403),
     ("[bad", 403), ("", 403)],
)  # fmt: skip
async def test_a_foreign_name_for_this_host_is_refused(host: str, status: int) -> None:
    """PF8: a page of another site cannot read these by letting its own name point here."""
    async with DebugServer() as server:
        found = await ask(server.port, f"GET /debug/performance HTTP/1.1\nHost: {host}\n\n")
    assert found[0] == status
