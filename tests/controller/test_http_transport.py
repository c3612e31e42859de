"""The pool and its connections under every fault: at each stage a typed error or the right answer, and nothing left."""

import asyncio
import base64
import ssl
import subprocess

import pytest

from controller.scripted import ScriptedServer, answer, reset, silence, stream, until
from fastcore.controller.config import ClientConfig, tls_context
from fastcore.controller.endpoint import ConfigError, Endpoint, environment_proxy
from fastcore.controller.errors import ConnectionFailed, RequestTimeout
from fastcore.controller.http_transport import HttpTransport
from fastcore.testing.plugin import need

OK = answer(200, b"{}")


def transport(config, **options):
    return HttpTransport(config, user_agent="test", **{"max_connections": 10, **options})


def raw(data, *, cut=True):
    """Answer with these bytes, then reset or close the connection."""

    async def step(connection, _):
        await connection.send(data)
        if cut:
            connection.abort()
        else:
            connection.writer.close()

    return step


async def failure_of(step, method="POST"):
    async with ScriptedServer([OK, step]) as server:
        wire = transport(server.config)
        await wire.send("GET", "/", None, None)
        with pytest.raises(ConnectionFailed) as caught:
            async with asyncio.timeout(10):
                await wire.send(method, "/x", b"{}", "application/json")
        assert len(wire._open) <= 1
        await wire.close()
        assert not wire._open
        assert wire.stats[("<error>", method, wire._at.authority)] == 1
    return str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
    ],
    ids=["before", "head", "body", "between chunks", "in a chunk"],
)
@pytest.mark.parametrize("cut", [True, False], ids=["reset", "closed"])
async def test_a_connection_cut_at_any_stage_is_an_error(data, cut):
    assert "POST to 127.0.0.1:" in await failure_of(raw(data, cut=cut))


@pytest.mark.parametrize("data", [b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000, b"\r\n" * 10])
async def test_garbage_is_an_error_at_once(data):
    async def step(connection, _):
        await connection.send(data)
        await connection.reader.read()

    assert "HTTP/1" in await failure_of(step) or "larger" in await failure_of(step)


async def test_a_stale_connection_is_replaced_once_for_what_may_be_repeated():
    """A reset kept connection costs a GET nothing; a fresh one that is reset is the caller's to judge."""
    async with ScriptedServer([OK, reset, OK, reset, reset]) as server:
        wire = transport(server.config)
        await wire.send("GET", "/", None, None)
        assert (await wire.send("GET", "/", None, None)).status == 200
        with pytest.raises(ConnectionFailed):
            await wire.send("GET", "/", None, None)
        assert len(server.received) == 5
        await wire.close()


async def test_an_answer_that_began_is_not_asked_for_again():
    async with ScriptedServer([OK, raw(b"HTTP/1.1 200"), OK]) as server:
        wire = transport(server.config)
        await wire.send("GET", "/", None, None)
        with pytest.raises(ConnectionFailed):
            await wire.send("GET", "/", None, None)
        assert len(server.received) == 2
        await wire.close()


async def test_a_cancelled_requests_connection_is_not_used_again():
    """The late answer must not pass for that of the next request."""
    async with ScriptedServer([silence, answer(200, b"second")]) as server:
        wire = transport(server.config)
        task = asyncio.create_task(wire.send("GET", "/first", None, None))
        await until(lambda: len(server.received) == 1)
        task.cancel()
        await asyncio.wait([task])
        assert (await wire.send("GET", "/second", None, None)).body == b"second"
        assert server.connections == 2
        await wire.close()


async def test_bytes_that_nobody_asked_for_end_the_connection():
    release = asyncio.Event()

    async def twice(connection, request):
        await OK(connection, request)
        await release.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with ScriptedServer([twice, answer(200, b"good")]) as server:
        wire = transport(server.config)
        await wire.send("GET", "/", None, None)
        release.set()
        await until(lambda: not wire._open)
        assert (await wire.send("GET", "/", None, None)).body == b"good"
        await wire.close()


async def test_connection_close_is_obeyed():
    async with ScriptedServer([answer(200, b"x", Connection="close"), OK]) as server:
        wire = transport(server.config)
        await wire.send("GET", "/", None, None)
        await wire.send("GET", "/", None, None)
        assert server.connections == 2
        await wire.close()


async def test_requests_wait_in_order():
    async with ScriptedServer([OK]) as server:
        wire = transport(server.config, max_connections=1)
        await asyncio.gather(*[wire.send("GET", f"/{n}", None, None) for n in range(20)])
        assert [r.path for r in server.received] == [f"/{n}" for n in range(20)]
        assert (server.connections, wire.connections) == (1, 1)
        await wire.close()


async def test_closing_fails_what_is_in_flight_and_leaves_nothing():
    async with ScriptedServer([silence]) as server:
        wire = transport(server.config)
        tasks = [asyncio.create_task(wire.send("GET", "/", None, None)) for _ in range(3)]
        await until(lambda: len(server.received) == 3)
        await wire.close()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in done] == [ConnectionFailed] * 3
        assert not wire._open


async def test_closing_ends_connecting_too():
    """A server that accepts but never shakes hands."""
    async with ScriptedServer([silence]) as server:
        config = ClientConfig(f"https://127.0.0.1:{server.port}")
        wire = transport(config)
        task = asyncio.create_task(wire.send("GET", "/", None, None))
        await until(lambda: server.connections == 1)
        await wire.close()
        with pytest.raises(ConnectionFailed, match="the client is closed"):
            await task
        slow = transport(config, connect_timeout=0.05)
        with pytest.raises(ConnectionFailed, match=r"no connection within 0\.05 s"):
            await slow.send("GET", "/", None, None)
        await slow.close()


async def test_idle_connections_are_closed_in_time(monkeypatch):
    """After 50 to 75 s: the server gives up on them after 90. One that is used meanwhile stays."""
    loop = asyncio.get_running_loop()
    real, passed = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + passed)
    async with ScriptedServer([OK]) as server:
        wire = transport(server.config)
        await asyncio.gather(*[wire.send("GET", "/", None, None) for _ in range(3)])
        assert (server.connections, len(wire._open)) == (3, 3)
        passed += 40
        await wire.send("GET", "/", None, None)
        assert len(wire._open) == 3
        passed += 11
        await until(lambda: len(wire._open) == 1)
        await until(lambda: len(server._writers) == 1)
        passed += 40
        await until(lambda: not wire._open)
        await until(lambda: not server._writers)
        assert wire._sweeper is None, "nothing is left to look after"
        await wire.send("GET", "/", None, None)
        assert server.connections == 4
        await wire.close()


async def test_a_certificate_does_not_concern_plain_connections():
    async with ScriptedServer([OK]) as server:
        config = server.config
        wire = transport(config)
        await wire.send("GET", "/", None, None)
        config.ssl_context = tls_context()  # as if a plugin had given a new certificate
        await wire.send("GET", "/", None, None)
        await wire.close()
    assert server.connections == 1


async def test_an_answer_may_not_be_larger_than_allowed():
    async with ScriptedServer([answer(200, b"x" * 101)]) as server:
        wire = transport(server.config, max_body=100)
        with pytest.raises(ConnectionFailed, match="101 bytes, more than the 100 that are allowed"):
            await wire.send("GET", "/", None, None)
        await wire.close()
    async with ScriptedServer([stream(b"x" * 101, end="hold")]) as server:
        wire = transport(server.config, max_body=100)
        with pytest.raises(ConnectionFailed, match="a line of more than the 100 bytes"):
            async with wire.stream("/", timeout=5) as watched:
                await anext(watched.batches(5))
        await wire.close()


async def test_a_slow_reader_stops_the_server():
    """Flow control: what nobody takes is not read from the socket without bound."""
    sent = 0

    async def flood(connection, _):
        nonlocal sent
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        line = b"x" * 65_535 + b"\n"
        for _ in range(1000):
            await connection.chunk(line)
            sent += 1

    async with ScriptedServer([flood]) as server:
        wire = transport(server.config)
        async with wire.stream("/", timeout=5) as watched:
            before = -1
            while before != sent or not wire._open:
                before = sent
                await asyncio.sleep(0.05)
            assert 10 < sent < 900
            got = 0
            async for batch in watched.batches(5):
                got += len(batch)
                if got == 1000:
                    break
        await wire.close()


async def test_a_stream_that_was_read_to_its_end_gives_its_connection_back():
    async with ScriptedServer([stream(b"a\nb\n"), OK]) as server:
        wire = transport(server.config)
        async with wire.stream("/", timeout=5) as watched:
            assert [line async for batch in watched.batches(5) for line in batch] == [b"a", b"b"]
        await wire.send("GET", "/", None, None)
        assert server.connections == 1
        server.steps.append(silence)
        with pytest.raises(RequestTimeout, match=r"gave no answer within 0\.05 s"):
            async with wire.stream("/", timeout=0.05):
                pass
        await wire.close()


# --- URLs and proxies


@pytest.mark.parametrize("server", ["https://", "ftp://x", "https://a b/", "https://x:99999", "https://x/?q=1", "x"])
def test_a_malformed_server_is_refused(server):
    with pytest.raises(ConfigError, match="server must be"):
        Endpoint.of(server)


def test_a_malformed_proxy_is_refused_without_its_password():
    with pytest.raises(ConfigError, match="proxy must be a http:// URL") as caught:
        Endpoint.of("https://x", "socks5://me:hidden@y:1")
    assert "hidden" not in str(caught.value)


def test_an_address_may_be_of_version_6():
    at = Endpoint.of("https://[::1]:6443/base/")
    assert (at.host, at.port, at.authority, at.path) == ("::1", 6443, "[::1]:6443", "/base")


@pytest.mark.parametrize(
    ("server", "excluded", "proxied"),
    [
        ("https://api.example", "", True),
        ("https://api.example", "example", False),
        ("https://api.example", ".example", False),
        ("https://api.example", "other,api.example:443", False),
        ("https://api.example", "api.example:80", True),
        ("https://api.example", "*", False),
        ("https://10.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.1.2.4", True),
        ("https://127.0.0.1:6443", "", False),
        ("https://localhost", "", False),
        ("http://api.example", "", False),
    ],
)
def test_the_environment_may_name_a_proxy(monkeypatch, server, excluded, proxied):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", excluded)
    assert environment_proxy(server) == ("http://proxy:3128" if proxied else None)


class Proxy:
    """Forwards CONNECT, and answers anything else by itself."""

    async def __aenter__(self):
        self.heads = []
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.tasks = set()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        upstream = None
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if not head.startswith("CONNECT"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")
                await reader.read()
                return
            host, _, port = head.split(" ")[1].rpartition(":")
            there, upstream = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.0 200 Connection established\r\n\r\n")
            await asyncio.gather(self.pump(reader, upstream), self.pump(there, writer))
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            if upstream is not None:
                upstream.transport.abort()
            self.tasks.discard(asyncio.current_task())

    async def pump(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


async def test_a_proxy_reads_plain_requests():
    async with Proxy() as proxy:
        wire = transport(ClientConfig("http://api.example:81/base", proxy=f"http://me:pw@127.0.0.1:{proxy.port}"))
        assert (await wire.send("GET", "/x", None, None)).body == b"proxy"
        await wire.close()
    assert proxy.heads[0].startswith("GET http://api.example:81/base/x HTTP/1.1\r\nHost: api.example:81\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:pw').decode()}\r\n" in proxy.heads[0]


@pytest.mark.kube
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_real_server_through_a_proxy_and_directly(kube_server, loop):
    """TLS inside a CONNECT tunnel, on both event loops; credentials for the server do not reach the proxy."""

    async def run():
        async with Proxy() as proxy:
            for through in (None, f"http://me:pw@127.0.0.1:{proxy.port}"):
                context = tls_context(ca_data=kube_server.ca)
                config = ClientConfig(kube_server.url, token=kube_server.token, ssl_context=context, proxy=through)
                wire = transport(config)
                for _ in range(3):
                    assert (await wire.send("GET", "/api", None, None)).status == 200
                async with wire.stream("/api/v1/namespaces?watch=1&timeoutSeconds=1", timeout=5) as watched:
                    assert b"Namespace" in (await anext(watched.batches(5)))[0]
                assert wire.connections == 1
                await wire.close()
        assert len(proxy.heads) == 1
        assert kube_server.token not in proxy.heads[0]

    if loop == "asyncio":
        asyncio.run(run())
    else:
        pytest.importorskip("uvloop").run(run())


async def test_tls_failures_are_errors(tmp_path):
    need("openssl", "openssl")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=x", "-addext", "subjectAltName=DNS:x", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(_, writer):
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    trusted = tls_context(ca_data=certificate.read_text())
    for config, message in (
        (ClientConfig(url), "CERTIFICATE_VERIFY_FAILED"),
        (ClientConfig(url, ssl_context=trusted), "certificate is not valid for '127.0.0.1'"),
        (ClientConfig(url, ssl_context=trusted, server_hostname="x"), "GET to 127.0.0.1"),
    ):
        wire = transport(config)
        with pytest.raises(ConnectionFailed, match=message):
            await wire.send("GET", "/", None, None)
        await wire.close()
        assert not wire._open
    server.close()
