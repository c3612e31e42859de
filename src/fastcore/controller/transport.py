"""One pool of HTTP connections to one API server: bytes out, bytes in, typed errors. No policy: no retries."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ConnectionFailed, RequestTimeout

# Gzip would cost more CPU on both sides than the bytes are worth inside a cluster.
_ACCEPT = {"Accept": "application/json", "Accept-Encoding": "identity"}
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_KEEP_ALIVE_S = 50.0
_READ_BUFFER = 256 * 1024


class Answer(NamedTuple):
    """A complete HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream:
    """The body of an answer that is still coming, as lines."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """The rest of the body, for an answer that is no stream after all."""
        return await self._response.read()

    async def lines(self, idle_timeout: float) -> AsyncIterator[bytes]:
        """Each complete line without its newline; an incomplete last one is dropped.

        Raises:
            RequestTimeout: nothing came for `idle_timeout` seconds.
            ConnectionFailed: the connection broke.
        """
        content = self._response.content
        rest: list[bytes] = []  # pieces of a line that is not complete yet: joined once
        while True:
            try:
                async with asyncio.timeout(idle_timeout):
                    chunk = await content.readany()
            except TimeoutError as error:
                raise RequestTimeout(f"the watch was silent for {idle_timeout} s") from error
            except (aiohttp.ClientError, OSError) as error:
                raise ConnectionFailed(f"the watch broke: {error or type(error).__name__}") from error
            if not chunk:
                return
            lines = chunk.split(b"\n")
            if len(lines) == 1:
                rest.append(chunk)
                continue
            if rest:
                lines[0] = b"".join([*rest, lines[0]])
            last = lines.pop()
            rest = [last] if last else []
            for line in lines:
                if line:
                    yield line


class _Connector(aiohttp.TCPConnector):
    """Aborts the connections that cannot be used again, instead of parting from the peer by TLS's rules.

    That parting needs several turns of the loop and an answer, and nobody waits for it: a loop that ends meanwhile
    leaves the socket open.
    """

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if (should_close or protocol.should_close) and protocol.transport is not None:
            protocol.transport.abort()
        super()._release(key, protocol, should_close=should_close)


class Transport:
    """Sends requests over kept-alive connections; one for every client of the same server.

    Args:
        config: address and credentials.
        user_agent: value of the User-Agent header.
        max_connections: requests in flight at most, 1 or more; streams do not count, as each holds a connection for
            minutes.

    Attributes:
        stats: answers counted by (code, method, host), the code being "<error>" when no answer came.

    Thread safety: use from one event loop; the pool is made in the loop that sends first.
    """

    def __init__(self, config: ClientConfig, *, user_agent: str, max_connections: int) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be >= 1, not {max_connections!r}")
        self.config = config
        self.host = urlsplit(config.address).netloc
        self.stats: dict[tuple[str, str, str], int] = {}
        self._headers = {**_ACCEPT, "User-Agent": user_agent}
        self._slots = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(
        self, method: str, target: str, body: bytes | None, content_type: str | None, *, refused: bool = False
    ) -> Answer:
        """One request, one answer of any status. The caller sets the deadline.

        Raises:
            ConnectionFailed: no complete answer came.
        """
        headers = await self._request_headers(content_type, refused)
        try:
            async with self._slots, self._open(method, target, headers, body) as response:
                answer = Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(method, error) from error
        self._count(str(answer.status), method)
        return answer

    @asynccontextmanager
    async def stream(self, target: str, *, timeout: float, refused: bool = False) -> AsyncIterator[Stream]:
        """A GET whose body is read while it comes; leaving the context closes the connection.

        Raises:
            RequestTimeout: the answer's head did not come within `timeout` seconds.
            ConnectionFailed: no answer came.
        """
        headers = await self._request_headers(None, refused)
        try:
            async with asyncio.timeout(timeout):
                response = await self._open("GET", target, headers, None)
        except TimeoutError as error:
            self._count("<error>", "GET")
            raise RequestTimeout(f"GET {target.partition('?')[0]} gave no answer within {timeout} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed("GET", error) from error
        self._count(str(response.status), "GET")
        try:
            yield Stream(response)
        finally:
            response.close()

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _request_headers(self, content_type: str | None, refused: bool) -> dict[str, str]:
        headers = {**self._headers, **await self.config.headers(refused=refused)}
        if content_type is not None:
            headers["Content-Type"] = content_type
        return headers

    def _open(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> "aiohttp.client._RequestContextManager":
        config = self.config
        return self._ready().request(
            method,
            URL(config.server + target, encoded=True),
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=config.ssl_context or True,
            server_hostname=config.server_hostname,
            proxy=config.proxy,
        )

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None:
            if self._closed:
                raise ConnectionFailed("the client is closed")
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
                timeout=_NO_TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
            )
        return self._session

    def _failed(self, method: str, error: Exception) -> Exception:
        self._count("<error>", method)
        if isinstance(error, ConnectionFailed):
            return error
        if isinstance(error, aiohttp.ClientResponseError):  # its text has the URL, a proxy's with its password
            return ConnectionFailed(f"{method} to {self.host} failed: {error.status} {error.message}")
        return ConnectionFailed(f"{method} to {self.host} failed: {error or type(error).__name__}")

    def _count(self, code: str, method: str) -> None:
        key = (code, method, self.host)
        self.stats[key] = self.stats.get(key, 0) + 1
