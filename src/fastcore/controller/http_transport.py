"""The transport over sockets: a pool of HTTP/1.1 connections to one API server, direct or through a proxy.

It is our own because it halves the cost of a request: benchmarks/test_bench_wire.py holds it against aiohttp.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fastcore.controller.config import ClientConfig, Headers
from fastcore.controller.connection import Connection
from fastcore.controller.errors import ConnectionFailed, RequestTimeout
from fastcore.controller.http1 import AnswerParser, header_lines, request_head
from fastcore.controller.transport import APPLY_PATCH, Answer, Stream

MAX_BODY = 512 * 1024 * 1024
# Sending one of these twice is as good as once, so a kept connection that broke under it is worth another try.
_REPEATABLE = frozenset({"GET", "PUT", "DELETE", APPLY_PATCH})
_KEEP_ALIVE_S = 50.0  # the API server keeps a silent connection for 90 s
_CONNECT_S = 30.0
_CLOSE_S = 2.0


class HttpTransport:
    """Sends requests over kept-alive connections; one for every client of the same server.

    Requests wait for their turn in order. A connection that was idle and turns out to be dead is replaced once, for
    requests that are as good twice as once: GET, PUT, DELETE and apply.

    Args:
        config: address and credentials.
        user_agent: value of the User-Agent header.
        max_connections: requests in flight at most, 1 or more; streams do not count, as each holds a connection for
            minutes.
        max_body: bytes of an answer's body at most, and of one line of a stream.
        connect_timeout: seconds that a connection and its TLS may take, > 0.

    Attributes:
        stats: answers counted by (code, method, host), the code being "<error>" when no answer came.
        connections: opened so far.

    Raises:
        ConfigError: the URL of the server or the proxy is malformed.

    Thread safety: use from one event loop, the one that sends first.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        user_agent: str,
        max_connections: int,
        max_body: int = MAX_BODY,
        connect_timeout: float = _CONNECT_S,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be >= 1, not {max_connections!r}")
        self.config = config
        self.stats: dict[tuple[str, str, str], int] = {}
        self.connections = 0
        self._at = at = config.endpoint
        self._max_body = max_body
        self._connect_timeout = connect_timeout
        # Gzip would cost more CPU on both sides than the bytes are worth inside a cluster.
        fixed = {
            "Host": at.authority,
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._base = at.path
        if at.proxy is not None and not at.tls:  # such a proxy reads the request itself
            self._base = f"http://{at.authority}{at.path}"
            if at.proxy.authorization:
                fixed["Proxy-Authorization"] = at.proxy.authorization
        self._fixed = header_lines(fixed)
        self._credentials: Headers | None = None
        self._lines = b""
        self._slots = asyncio.Semaphore(max_connections)
        self._connecting: set[asyncio.Timeout] = set()
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None,
        content_type: str | None,
        *,
        refused: bool = False,
        fence: Callable[[], None] | None = None,
    ) -> Answer:
        """One request, one answer of any status. The caller sets the deadline.

        Raises:
            ConnectionFailed: no complete answer came.
            ValueError: the request would break the protocol.
        """
        length = None if body is None and method == "GET" else len(body or b"")
        lines = self._lines_now(refused) or await self._header_lines(refused)
        head = request_head(method, self._base + target, lines, content_type, length)
        try:
            async with self._slots:
                parser = await self._exchange(method, content_type, head, body, fence)
        except (ConnectionFailed, OSError) as error:
            raise self._failed(method, error) from error
        self._count(str(parser.status), method)
        return Answer(parser.status, parser.headers, parser.take())

    async def _exchange(
        self,
        method: str,
        content_type: str | None,
        head: bytes,
        body: bytes | None,
        fence: Callable[[], None] | None,
    ) -> AnswerParser:
        connection = self._reusable() or await self._connect()
        self._pass(fence, connection)
        try:
            parser = await connection.ask(head, body, AnswerParser(limit=self._max_body))
        except ConnectionFailed:
            if not connection.stale or not (method in _REPEATABLE or content_type in _REPEATABLE):
                raise
            connection = await self._connect()  # the other idle ones may be as dead
            self._pass(fence, connection)
            parser = await connection.ask(head, body, AnswerParser(limit=self._max_body))
        self._keep(connection)
        return parser

    def _pass(self, fence: Callable[[], None] | None, connection: Connection) -> None:
        """Ask the fence. `ask` writes before it waits, so there is nothing to wait for between this and the bytes."""
        if fence is not None:
            try:
                fence()
            except BaseException:
                self._keep(connection)
                raise

    @asynccontextmanager
    async def stream(self, target: str, *, timeout: float, refused: bool = False) -> AsyncIterator[Stream]:
        """A GET whose body is read while it comes; leaving the context closes the connection, unless all was read.

        Raises:
            RequestTimeout: the answer's head did not come within `timeout` seconds.
            ConnectionFailed: no answer came.
        """
        head = request_head("GET", self._base + target, await self._header_lines(refused), None, None)
        try:
            async with asyncio.timeout(timeout):
                connection, parser = await self._open_stream(head)
        except TimeoutError as error:
            self._count("<error>", "GET")
            raise RequestTimeout(f"GET {target.partition('?')[0]} gave no answer within {timeout} s") from error
        except (ConnectionFailed, OSError) as error:
            raise self._failed("GET", error) from error
        self._count(str(parser.status), "GET")
        try:
            yield HttpStream(connection, parser, self._max_body)
        finally:
            connection.leave()
            self._keep(connection)

    async def _open_stream(self, head: bytes) -> tuple[Connection, AnswerParser]:
        connection = self._reusable() or await self._connect()
        parser = AnswerParser()
        try:
            await connection.open(head, parser)
        except ConnectionFailed:
            if not connection.stale:
                raise
            connection, parser = await self._connect(), AnswerParser()
            await connection.open(head, parser)
        return connection, parser

    async def close(self) -> None:
        """Close every connection and wait until they are; safe to call twice. Requests in flight fail."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        if self._open or self._connecting:
            loop = asyncio.get_running_loop()
            for deadline in self._connecting:
                deadline.reschedule(loop.time())
            self._emptied = self._emptied or loop.create_future()
            await asyncio.wait([self._emptied], timeout=_CLOSE_S)

    def _lines_now(self, refused: bool) -> bytes | None:
        """The header lines of the request before, if nothing has changed since; most requests need no more."""
        current = None if refused else self.config.current()
        return self._lines if current is not None and current is self._credentials else None

    async def _header_lines(self, refused: bool) -> bytes:
        credentials = await self.config.headers(refused=refused)
        if credentials is not self._credentials:
            at = self._at
            own = {"Authorization": at.authorization} if at.authorization else {}
            self._lines = self._fixed + header_lines({**own, **credentials})
            self._credentials = credentials
        return self._lines

    # --- The pool

    def _reusable(self) -> Connection | None:
        if self._closed:
            raise ConnectionFailed("the client is closed")
        context = self.config.ssl_context if self._at.tls else None
        while self._idle:
            connection = self._idle.pop()  # the latest: the others may grow old
            if connection.usable and connection.context is context:
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        if self._closed or not connection.usable:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_KEEP_ALIVE_S, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long, the oldest first."""
        loop = asyncio.get_running_loop()
        limit = loop.time() - _KEEP_ALIVE_S
        kept = [connection for connection in self._idle if connection.idle_since > limit]
        for connection in self._idle:
            if connection.idle_since <= limit:
                connection.abort()
        self._idle = kept
        self._sweeper = loop.call_later(_KEEP_ALIVE_S / 2, self._sweep) if kept else None

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._check_empty()

    def _check_empty(self) -> None:
        if self._emptied is not None and not (self._open or self._connecting or self._emptied.done()):
            self._emptied.set_result(None)

    async def _connect(self) -> Connection:
        if self._closed:
            raise ConnectionFailed("the client is closed")
        loop, at = asyncio.get_running_loop(), self._at
        context = self.config.ssl_context if at.tls else None
        connection = Connection(loop, context, self._lost)
        deadline = asyncio.timeout(self._connect_timeout)
        self._connecting.add(deadline)
        self.connections += 1
        try:
            async with deadline:
                await self._reach(loop, connection, context)
            if self._closed:
                raise ConnectionFailed("the client is closed")
        except BaseException as error:
            connection.abort()
            if isinstance(error, TimeoutError) and error.errno is None:  # ours; the system's has a number
                why = "the client is closed" if self._closed else f"no connection within {self._connect_timeout} s"
                raise ConnectionFailed(why) from error
            raise
        finally:
            self._connecting.discard(deadline)
            self._check_empty()
        return connection

    async def _reach(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, context: ssl.SSLContext | None
    ) -> None:
        at = self._at
        name = self.config.server_hostname or at.host
        if at.proxy is None:
            await loop.create_connection(
                lambda: connection, at.host, at.port, ssl=context, server_hostname=name if context else None
            )
            self._open.add(connection)
            return
        await loop.create_connection(lambda: connection, at.proxy.host, at.proxy.port)
        self._open.add(connection)
        if context is not None:
            await self._tunnel(connection, context, name)

    async def _tunnel(self, connection: Connection, context: ssl.SSLContext, name: str) -> None:
        """Ask the proxy for a connection to the server, and begin TLS in it (RFC 9110, section 9.3.6)."""
        at = self._at
        assert at.proxy is not None
        target = f"[{at.host}]:{at.port}" if ":" in at.host else f"{at.host}:{at.port}"
        headers = {"Host": target}
        if at.proxy.authorization:
            headers["Proxy-Authorization"] = at.proxy.authorization
        head = request_head("CONNECT", target, header_lines(headers), None, None)
        # Only a refusal has a body, and it is the end of the connection.
        parser = await connection.ask(head, None, AnswerParser(tunnel=True))
        if not 200 <= parser.status < 300:
            raise ConnectionFailed(f"the proxy answered {parser.status} to CONNECT")
        await connection.secure(context, name, self._connect_timeout)

    def _failed(self, method: str, error: Exception) -> ConnectionFailed:
        self._count("<error>", method)
        return ConnectionFailed(f"{method} to {self._at.authority} failed: {error or type(error).__name__}")

    def _count(self, code: str, method: str) -> None:
        key = (code, method, self._at.authority)
        self.stats[key] = self.stats.get(key, 0) + 1


class HttpStream:
    """The body of an answer that is still coming; see `transport.Stream`."""

    def __init__(self, connection: Connection, parser: AnswerParser, max_line: int) -> None:
        self._connection = connection
        self._max_line = max_line
        self.status = parser.status
        self.headers: Mapping[str, str] = parser.headers

    async def read(self) -> bytes:
        """The rest of the body, for an answer that is no stream after all; the caller sets the deadline."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self._connection.more(None):
            pieces.append(piece)
            size += len(piece)
            self._check(size)
        return b"".join(pieces)

    async def batches(self, idle_timeout: float) -> AsyncIterator[list[bytes]]:
        """The complete lines that have come, whenever some have; an incomplete last one is dropped."""
        rest: list[bytes] = []  # pieces of a line that is not complete yet: joined once
        size = 0
        while True:
            try:
                data = await self._connection.more(idle_timeout)
            except ConnectionFailed as error:
                raise ConnectionFailed(f"the watch broke: {error}") from error
            if not data:
                return
            lines = data.split(b"\n")
            last = lines.pop()
            if not lines:
                size += len(last)
                self._check(size)
                rest.append(last)
                continue
            if rest:
                lines[0] = b"".join([*rest, lines[0]])
            rest, size = ([last] if last else []), len(last)
            lines = [line for line in lines if line]
            if lines:
                yield lines

    def _check(self, size: int) -> None:
        if size > self._max_line:
            self._connection.abort()
            raise ConnectionFailed(f"the answer has a line of more than the {self._max_line} bytes that are allowed")
