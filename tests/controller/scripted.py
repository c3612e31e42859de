"""An HTTP server that answers by script: one step a request, so that tests choose every byte and every fault."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from fastcore.controller.config import ClientConfig


@dataclass
class Received:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Step = Callable[["Connection", Received], Awaitable[None]]


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def abort(self) -> None:
        self.writer.transport.abort()


@dataclass
class ScriptedServer:
    """Answers the n-th request by the n-th step; the last step also answers all further ones.

    A step that returns keeps the connection; one that aborts it ends it.
    """

    steps: list[Step]
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> ClientConfig:
        return ClientConfig(self.url)

    @property
    def lines(self) -> list[str]:
        return [f"{r.method} {r.path}" for r in self.received]

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        connection = Connection(reader, writer, self.connections)
        try:
            while not writer.transport.is_closing():
                request = await self._read(connection)
                step = self.steps[min(len(self.received), len(self.steps) - 1)]
                self.received.append(request)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    await step(connection, request)
                finally:
                    self.in_flight -= 1
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _read(self, connection: Connection) -> Received:
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
        body = await connection.reader.readexactly(int(headers.get("content-length", 0)))
        url = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        return Received(method, url.path, query, headers, body, connection.number)


def answer(status: int, body: Any = None, **headers: str) -> Step:
    """A complete answer; `body` is JSON, or bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    data = "\r\n".join(lines).encode() + b"\r\n\r\n" + raw

    async def step(connection: Connection, _: Received) -> None:
        await connection.send(data)

    return step


def failure(status: int, reason: str = "", message: str = "", *, causes: Any = None, **headers: str) -> Step:
    """A Status with `status` as its code."""
    details = {"causes": causes} if causes else {}
    body = {"kind": "Status", "code": status, "reason": reason, "message": message, "details": details}
    return answer(status, body, **headers)


def listing(items: list[Any], revision: str, continue_: str = "") -> Step:
    """One page of a list."""
    return answer(200, {"metadata": {"resourceVersion": revision, "continue": continue_}, "items": items})


def stream(*pieces: Any, end: str = "close") -> Step:
    """A watch: dicts become event lines, bytes go out as they are, events wait, and then the stream ends by `end`.

    `end` is "close" (as after timeoutSeconds), "cut" (reset) or "hold" (open and silent).
    """

    async def step(connection: Connection, _: Received) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                await connection.chunk(piece if isinstance(piece, bytes) else json.dumps(piece).encode() + b"\n")
        if end == "close":
            await connection.send(b"0\r\n\r\n")
        elif end == "cut":
            connection.abort()
        else:
            await connection.reader.read()

    return step


async def reset(connection: Connection, _: Received) -> None:
    """Break the connection instead of answering."""
    connection.abort()


async def silence(connection: Connection, _: Received) -> None:
    """Never answer."""
    await connection.reader.read()


def config_map(name: str, revision: int, data: Any = None, *, uid: str | None = None, **meta: Any) -> dict[str, Any]:
    """A ConfigMap as the server shows it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(revision),
            **meta,
        },
        "data": {} if data is None else data,
    }


def event(change: str, obj: dict[str, Any]) -> dict[str, Any]:
    """A watch event."""
    return {"type": change, "object": obj}


def bookmark(revision: int) -> dict[str, Any]:
    """A BOOKMARK event."""
    return event("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": str(revision)}})


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Give the loop turns until `condition` holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.002)


class FakeSleep:
    """Returns at once, but for a turn of the loop, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)
