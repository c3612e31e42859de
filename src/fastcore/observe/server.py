"""A small HTTP/1.1 server for pages about this process, on the event loop that does the work.

It answers as long as that loop runs, which makes it an honest liveness probe. It has its own routes, listens on
loopback unless told otherwise, and bounds what a client can hold: connections, size of a request, time.
"""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from fastcore.errors import FastcoreError

log = logging.getLogger("fastcore.observe")

MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 64
HEAD_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0  # for one answer to be taken
IDLE_TIMEOUT_S = 75.0  # above the usual scrape interval of 15 to 60 s
_LOOK_S = 0.25  # how often a slow page looks whether its client is still there
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_READ = ("GET", "HEAD")
_METHODS = (*_READ, "PUT")


class HttpRequest(NamedTuple):
    """One request without its body.

    Args:
        method: "GET" or "HEAD"; also "PUT", for pages that take it.
        path: decoded path without the query.
        query: the query's parameters; a name without a value maps to [""].
        headers: values by lower-case name; the last one wins.
        peer: the client's address, "" if it has none.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    peer: str = ""


class HttpResponse(NamedTuple):
    """What a page answers."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = NO_HEADERS


Page = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]


class _BadRequest(FastcoreError):
    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)


class _Gone(ConnectionError):
    """Nobody waits for the page any more."""


class HttpServer:
    """Serves pages by exact path.

    A page that raises answers 500 and is logged; its error text is not sent.

    Args:
        host: address to listen on; loopback by default. Pods that are probed from outside need "0.0.0.0" or "::".
        port: 0 to 65535; 0 picks a free one, which `port` tells after `start`.

    Raises:
        ValueError: `port` is out of range.

    Thread safety: belongs to one event loop.

    Example:
        >>> async def main():
        ...     server = HttpServer()
        ...     server.route("/healthz", lambda request: HttpResponse(200, b"ok"))
        ...     await server.start()
        ...     await server.stop()
        >>> asyncio.run(main())
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be 0 to 65535, not {port!r}")
        self.host = host
        self.port = port
        self._pages: dict[str, Page] = {}
        self._written: set[str] = set()
        self._below: dict[str, Page] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def route(self, path: str, page: Page, *, put: bool = False) -> None:
        """Serve `page`, a function or coroutine function of the request, at exactly `path`.

        Args:
            path: begins with "/".
            page: what answers.
            put: whether it takes PUT, too: what it is told is in the query, as there is no body.

        Raises:
            ValueError: the path does not start with "/" or is taken.
        """
        if not path.startswith("/"):
            raise ValueError(f"a path starts with '/', not {path!r}")
        if path in self._pages:
            raise ValueError(f"the path {path!r} is taken")
        self._pages[path] = page
        if put:
            self._written.add(path)

    def route_below(self, prefix: str, page: Page) -> None:
        """Serve `page` at every path below `prefix` that has no page of its own; the longest prefix counts.

        Raises:
            ValueError: the prefix does not start and end with "/", or is taken.
        """
        if not (prefix.startswith("/") and prefix.endswith("/")):
            raise ValueError(f"a prefix starts and ends with '/', not {prefix!r}")
        if prefix in self._below:
            raise ValueError(f"the prefix {prefix!r} is taken")
        self._below[prefix] = page

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had; the message names it.
        """
        try:
            self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=MAX_HEAD_BYTES)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {self.host}:{self.port}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection; safe to call twice."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                _write(writer, _plain(HTTPStatus.SERVICE_UNAVAILABLE), keep=False)
            else:
                await self._serve(reader, writer)
        except (ConnectionError, TimeoutError):
            writer.transport.abort()  # the client went away, said nothing, or does not take its answer
        except asyncio.CancelledError:
            # stop(): this task is the connection, nobody waits for its result. Nor may it wait for a client that does
            # not read, as a close that first sends what is left would.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keep, timeout = True, HEAD_TIMEOUT_S
        address = writer.get_extra_info("peername")
        peer = str(address[0]) if address else ""
        while keep:
            try:
                async with asyncio.timeout(timeout):
                    head = await reader.readuntil(b"\r\n\r\n")
                request, keep = _parse(head, peer)
                response = await self._answer(request, reader)
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                keep, response, request = False, _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), None
            except _BadRequest as error:
                keep, response, request = False, _plain(error.status), None
            _write(writer, response, keep=keep, head_only=request is not None and request.method == "HEAD")
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await writer.drain()
            timeout = IDLE_TIMEOUT_S

    async def _answer(self, request: HttpRequest, reader: asyncio.StreamReader) -> HttpResponse:
        page = self._pages.get(request.path) or self._page_above(request.path)
        if page is None:
            known = sorted([*self._pages, *(f"{prefix}..." for prefix in self._below)])
            return HttpResponse(404, ("not found; here are " + ", ".join(known) + "\n").encode())
        if request.method not in _READ and request.path not in self._written:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            answer = page(request)
            return await _unless_gone(answer, reader) if inspect.isawaitable(answer) else answer
        except _Gone:
            raise
        except Exception:
            log.exception("page %s failed", request.path)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _page_above(self, path: str) -> Page | None:
        prefix = max((prefix for prefix in self._below if path.startswith(prefix)), key=len, default=None)
        return None if prefix is None else self._below[prefix]


async def _unless_gone(answer: Awaitable[HttpResponse], reader: asyncio.StreamReader) -> HttpResponse:
    """Wait for a slow page, and cancel it when the client goes away."""
    work = asyncio.ensure_future(answer)
    try:
        while not (await asyncio.wait([work], timeout=_LOOK_S))[0]:
            if reader.at_eof():
                raise _Gone("the client went away")
        return work.result()
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait([work])


def _parse(head: bytes, peer: str) -> tuple[HttpRequest, bool]:
    """The request and whether the connection stays open after it."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise _BadRequest(HTTPStatus.BAD_REQUEST)
    method, target, version = words
    if method not in _METHODS:
        raise _BadRequest(HTTPStatus.METHOD_NOT_ALLOWED)
    headers = {}
    for line in lines[1:]:
        if line:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise _BadRequest(HTTPStatus.BAD_REQUEST)
            headers[name.lower()] = value.strip()
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        parts = urlsplit(target)
    except ValueError:
        raise _BadRequest(HTTPStatus.BAD_REQUEST) from None
    keep = version != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
    return HttpRequest(method, unquote(parts.path), parse_qs(parts.query, keep_blank_values=True), headers, peer), keep


def _plain(status: HTTPStatus) -> HttpResponse:
    return HttpResponse(status, status.phrase.encode() + b"\n")


def _write(writer: asyncio.StreamWriter, response: HttpResponse, *, keep: bool, head_only: bool = False) -> None:
    head = [
        f"HTTP/1.1 {int(response.status)} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    writer.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
    if not head_only:
        writer.write(response.body)
