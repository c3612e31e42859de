"""What one request costs in CPU time: our HTTP/1.1 and aiohttp, on loopback, plain and TLS, on both event loops.

The server is a process of its own, so that `time.process_time` counts the client alone.
"""

import asyncio
import multiprocessing
import ssl
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.conftest import once

from fastcore.controller.config import ClientConfig, tls_context
from fastcore.controller.http_transport import HttpTransport

REQUESTS, WORKERS = 4000, 8
BODY = b'{"data": "' + b"x" * 1100 + b'"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def serve(certificate: str, key: str, ports: Any) -> None:
    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.rest = transport, b""

        def data_received(self, data: bytes) -> None:
            self.rest += data
            while (end := self.rest.find(b"\r\n\r\n")) >= 0:
                if len(self.rest) < end + 4 + len(BODY):
                    return
                self.rest = self.rest[end + 4 + len(BODY) :]
                self.transport.write(ANSWER)

    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Server, "127.0.0.1", 0, ssl=tls) for tls in (None, context)]
        ports.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    asyncio.run(run())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[int], str]]:
    folder: Path = tmp_path_factory.mktemp("wire")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(str(certificate), str(key), theirs), daemon=True
    )
    process.start()
    yield ours.recv(), certificate.read_text()
    process.kill()
    process.join()


async def with_fastcore(url: str, context: ssl.SSLContext | None) -> float:
    wire = HttpTransport(ClientConfig(url, ssl_context=context), user_agent="bench", max_connections=WORKERS)

    async def one() -> None:
        await wire.send("PATCH", "/x", BODY, "application/json")

    try:
        return await measured(one)
    finally:
        await wire.close()


async def with_aiohttp(url: str, context: ssl.SSLContext | None) -> float:
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def one() -> None:
            async with session.patch(url + "/x", data=BODY, ssl=context or True) as response:
                await response.read()

        return await measured(one)


async def measured(one: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Microseconds of CPU time a request, the least of five runs."""

    async def many(count: int) -> None:
        for _ in range(count):
            await one()

    best = float("inf")
    await asyncio.gather(*[many(20) for _ in range(WORKERS)])
    for _ in range(5):
        start = time.process_time()
        await asyncio.gather(*[many(REQUESTS // WORKERS // 5) for _ in range(WORKERS)])
        best = min(best, (time.process_time() - start) / (REQUESTS // 5) * 1e6)
    return best


CASES = [
    pytest.param(client, tls, loop, marks=pytest.mark.subject(f"request, {'TLS' if tls else 'plain'}, {loop}", name))
    for tls in (False, True)
    for loop in ("asyncio", "uvloop")
    for name, client in (("fastcore", with_fastcore), ("aiohttp", with_aiohttp))
]


@pytest.mark.parametrize(("client", "tls", "loop"), CASES)
def test_request(benchmark: Any, server: tuple[list[int], str], client: Any, tls: bool, loop: str) -> None:
    ports, authority = server
    url = f"{'https' if tls else 'http'}://127.0.0.1:{ports[tls]}"
    context = tls_context(ca_data=authority) if tls else None
    run = asyncio.run if loop == "asyncio" else pytest.importorskip("uvloop").run
    once(benchmark, run(client(url, context)), "us CPU")
