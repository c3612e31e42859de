"""The pages about a process: what a client gets, and that nothing is left behind."""

import asyncio
import gzip
import logging

import pytest
from prometheus_client import CollectorRegistry, Counter

from fastcore.observe import HttpRequest, HttpResponse, HttpServer, checks_page, metrics_page
from fastcore.observe import server as server_module


async def ask(port: int, text: str) -> tuple[int, dict[str, str], bytes]:
    """Send `text` on a connection of its own and return status, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text.replace("\n", "\r\n").encode())
        return await answer(reader)
    finally:
        writer.close()
        await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"]))


def get(path: str, *lines: str) -> str:
    return "\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""])


class Served:
    """A started server with one page, `/hello`, that echoes its query."""

    def __init__(self) -> None:
        self.server = HttpServer()
        self.server.route("/hello", lambda request: HttpResponse(200, str(dict(request.query)).encode()))

    async def __aenter__(self) -> HttpServer:
        await self.server.start()
        return self.server

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()


async def test_serves_pages_by_exact_path() -> None:
    async with Served() as server:
        status, headers, body = await ask(server.port, get("/hello?a=1&b"))
        assert (status, body) == (200, b"{'a': ['1'], 'b': ['']}")
        assert headers["cache-control"] == "no-store"
        status, _, body = await ask(server.port, get("/hello/more"))
        assert status == 404
        assert b"/hello" in body


async def test_awaits_coroutine_pages() -> None:
    async def slow(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        return HttpResponse(200, b"late")

    async with Served() as server:
        server.route("/slow", slow)
        assert (await ask(server.port, get("/slow")))[2] == b"late"


async def test_keeps_a_connection_open_for_the_next_scrape() -> None:
    async with Served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(3):
            writer.write(get("/hello").replace("\n", "\r\n").encode())
            assert (await answer(reader))[0] == 200
        writer.write(get("/hello", "Connection: close").replace("\n", "\r\n").encode())
        assert (await answer(reader))[1]["connection"] == "close"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_head_sends_no_body() -> None:
    async with Served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HEAD /hello HTTP/1.0\r\n\r\n")
        data = await reader.read()
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert data.endswith(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("POST /hello HTTP/1.1\n\n", 405),
        ("GET /hello\n\n", 400),
        ("GET hello HTTP/1.1\n\n", 400),
        ("GET /hello HTTP/2\n\n", 400),
        ("GET /hello HTTP/1.1\nbroken\n\n", 400),
        ("GET /hello HTTP/1.1\nspace : x\n\n", 400),
        ("GET /hello HTTP/1.1\nContent-Length: 5\n\nhello", 413),
        ("GET /hello HTTP/1.1\nTransfer-Encoding: chunked\n\n", 413),
        ("GET /hello HTTP/1.1\nlong: " + "x" * server_module.MAX_HEAD_BYTES + "\n\n", 431),
    ],
)
async def test_refuses_what_it_does_not_understand(text: str, status: int) -> None:
    async with Served() as server:
        found, headers, _ = await ask(server.port, text)
        assert found == status
        assert headers["connection"] == "close"


async def test_a_failing_page_answers_500_and_keeps_its_secret(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("password=hunter2")

    async with Served() as server:
        server.route("/broken", broken)
        with caplog.at_level(logging.ERROR, "fastcore.observe"):
            status, _, body = await ask(server.port, get("/broken"))
        assert status == 500
        assert b"hunter2" not in body
        assert "/broken" in caplog.text


async def test_refuses_more_connections_than_it_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 1)
    async with Served() as server:
        _, idle = await asyncio.open_connection("127.0.0.1", server.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await answer(reader))[0] == 503
        for w in (idle, writer):
            w.close()
            await w.wait_closed()


async def test_a_silent_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_TIMEOUT_S", 0.01)
    async with Served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_stop_ends_open_connections_and_frees_the_port() -> None:
    """PF8: stop() releases the port; no task stays."""
    served = Served()
    await served.server.start()
    port = served.server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(get("/hello").replace("\n", "\r\n").encode())
    await answer(reader)
    await served.server.stop()
    await served.server.stop()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_taken_port_is_named() -> None:
    async with Served() as server:
        second = HttpServer(port=server.port)
        with pytest.raises(OSError, match=f"127.0.0.1:{server.port}"):
            await second.start()


def test_listens_on_loopback_by_default() -> None:
    """PF8."""
    assert HttpServer().host == "127.0.0.1"


@pytest.mark.parametrize("port", [-1, 65536])
def test_refuses_a_port_out_of_range(port: int) -> None:
    with pytest.raises(ValueError, match=str(port)):
        HttpServer(port=port)


def test_refuses_routes_that_cannot_work() -> None:
    server = HttpServer()
    server.route("/a", lambda request: HttpResponse(200, b""))
    with pytest.raises(ValueError, match="taken"):
        server.route("/a", lambda request: HttpResponse(200, b""))
    with pytest.raises(ValueError, match="'a'"):
        server.route("a", lambda request: HttpResponse(200, b""))


def request(**headers: str) -> HttpRequest:
    return HttpRequest("GET", "/metrics", {}, {name.replace("_", "-"): value for name, value in headers.items()})


def test_metrics_negotiate_format_and_compression() -> None:
    """OB4."""
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    page = metrics_page(registry)
    plain = page(request())
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert b"things_total 1.0" in plain.body
    openmetrics = page(request(accept="application/openmetrics-text; version=1.0.0"))
    assert openmetrics.content_type.startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")
    packed = page(request(accept_encoding="deflate, gzip"))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body


def test_checks_name_what_failed() -> None:
    checks = {"ping": lambda: None, "informers": lambda: "2 of 5 synced"}
    page = checks_page(checks)
    failed = page(request())
    assert failed.status == 503
    assert failed.body == b"[-] informers failed: 2 of 5 synced\n"
    checks["informers"] = lambda: None
    assert page(request())[:2] == (200, b"ok\n")
    assert page(request()._replace(query={"verbose": [""]})).body == b"[+] ping ok\n[+] informers ok\nok\n"


async def deaf(server: HttpServer) -> asyncio.StreamWriter:
    """A connection whose client asks for much and reads nothing."""
    server.route("/much", lambda request: HttpResponse(200, bytes(1 << 20)))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    writer.write(get("/much").replace("\n", "\r\n").encode() * 50)
    await writer.drain()
    await asyncio.sleep(0.2)  # until no more fits between the two
    return writer


async def test_stop_does_not_wait_for_a_client_that_does_not_read() -> None:
    """Everything started can be stopped."""
    async with Served() as server:
        writer = await deaf(server)
        async with asyncio.timeout(5):
            await server.stop()
        assert not server._connections
        writer.transport.abort()


async def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server bounds the time that a client can hold a connection."""
    monkeypatch.setattr(server_module, "WRITE_TIMEOUT_S", 0.01)
    async with Served() as server:
        writer = await deaf(server)
        async with asyncio.timeout(5):
            while server._connections:
                await asyncio.sleep(0.01)
        assert not server._connections
        writer.transport.abort()


async def test_an_address_that_is_none_is_a_bad_request() -> None:
    """A target that cannot be parsed is answered, not an error in the log."""
    async with Served() as server:
        assert (await ask(server.port, get("//[")))[0] == 400
