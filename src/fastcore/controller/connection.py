"""One connection to an API server: an asyncio protocol that has one request in flight at a time."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import cast

from fastcore.controller.errors import ConnectionFailed, RequestTimeout
from fastcore.controller.http1 import AnswerParser, Malformed

# A stream's reader that is behind by so many bytes stops the connection, and by so few lets it go on.
_HIGH, _LOW = 1024 * 1024, 256 * 1024


class Connection(asyncio.Protocol):
    """Sends a request and waits for its answer; whatever goes wrong, the connection is closed and not used again.

    Args:
        loop: runs it.
        context: of its TLS; None is plain.
        on_lost: told once when it is closed.

    Attributes:
        context: as given: a connection made with other credentials is not for reuse.
        used: requests answered so far.
        idle_since: the loop's time when the last answer was complete.
        usable: another request may be sent.
        stale: the request in flight came to a connection that the server had already left, as far as can be told:
            it had been used before, and not a byte came back.
    """

    __slots__ = (
        "_loop",
        "_lost",
        "_on_lost",
        "_parser",
        "_paused",
        "_streaming",
        "_transport",
        "_waiter",
        "context",
        "idle_since",
        "used",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None, on_lost: Callable[["Connection"], None]
    ) -> None:
        self.context = context
        self.used = 0
        self.idle_since = 0.0
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: AnswerParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._streaming = False
        self._paused = False
        self._lost = ""  # why nothing more will come

    @property
    def usable(self) -> bool:
        """Nothing is in flight, and nothing is wrong."""
        transport = self._transport
        return self._parser is None and not self._lost and transport is not None and not transport.is_closing()

    @property
    def stale(self) -> bool:
        """The request in flight found a connection that the server had left."""
        parser = self._parser
        return self.used > 0 and parser is not None and not parser.started

    def abort(self) -> None:
        """Close at once. TLS's own way to part takes turns of the loop and an answer that nobody waits for."""
        self._lost = self._lost or "the connection was closed"
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, head: bytes, body: bytes | None, parser: AnswerParser) -> AnswerParser:
        """Send a request and wait for all of its answer; the caller sets the deadline.

        Raises:
            ConnectionFailed: no complete answer came. That, or being cancelled, leaves the connection aborted.
        """
        self._begin(head, body, parser, streaming=False)
        try:
            while not parser.complete:
                await self._wait()
        except BaseException:
            self.abort()
            raise
        self._end(parser)
        return parser

    async def open(self, head: bytes, parser: AnswerParser) -> None:
        """Send a request and wait for the head of its answer; then comes `more`, until `leave`.

        Raises:
            ConnectionFailed: no answer came. That, or being cancelled, leaves the connection aborted.
        """
        self._begin(head, None, parser, streaming=True)
        try:
            while not parser.status:
                await self._wait()
        except BaseException:
            self.abort()
            raise

    async def more(self, idle_timeout: float | None) -> bytes:
        """The bytes that have come of a stream, as soon as there are some; b"" is its end.

        Args:
            idle_timeout: seconds; None leaves the deadline to the caller.

        Raises:
            RequestTimeout: nothing came in time.
            ConnectionFailed: the connection broke.
        """
        parser = self._parser
        assert parser is not None
        while not parser.size:
            if parser.complete:
                return b""
            if idle_timeout is None:
                await self._wait()
                continue
            timer = self._loop.call_later(idle_timeout, self._expire, idle_timeout)
            try:
                await self._wait()
            finally:
                timer.cancel()
        data = parser.take()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def leave(self) -> None:
        """Give up a stream: the connection stays usable only if the stream has ended."""
        if self._parser is not None and self._parser.complete and not self._parser.size:
            self._end(self._parser)
        else:
            self.abort()

    async def secure(self, context: ssl.SSLContext, server_hostname: str, timeout: float) -> None:
        """Begin TLS on the connection as it is, through a proxy's tunnel."""
        assert self._transport is not None
        self._transport = await self._loop.start_tls(
            self._transport, self, context, server_hostname=server_hostname, ssl_handshake_timeout=timeout
        )
        self.context = context
        self.used = 0

    # --- What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, TLS and all."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's TLS transport is one in all but its class
        sock = transport.get_extra_info("socket")
        if sock is not None:  # a peer that vanished is noticed although nothing is sent to it
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        parser = self._parser
        if parser is None:  # nobody asked: what came could pass for the answer to the next request
            self.abort()
            return
        try:
            parser.feed(data)
        except Malformed as error:
            self._lost = str(error)
            self.abort()
            self._wake()
            return
        if parser.complete or self._streaming:
            if self._streaming and not self._paused and parser.size > _HIGH and not parser.complete:
                assert self._transport is not None
                self._paused = True
                self._transport.pause_reading()
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed, by whomever."""
        parser = self._parser
        if not self._lost:
            self._lost = (str(error) or type(error).__name__) if error else "the server closed the connection"
            if parser is not None and error is None:
                try:
                    parser.end()
                except Malformed as wrong:
                    self._lost = str(wrong)
        self._transport = None
        self._wake()
        self._on_lost(self)

    # --- Inside

    def _begin(self, head: bytes, body: bytes | None, parser: AnswerParser, *, streaming: bool) -> None:
        self._parser = parser
        self._streaming = streaming
        if not self._lost and self._transport is not None:
            self._transport.write(head + body if body else head)

    def _end(self, parser: AnswerParser) -> None:
        self._parser = None
        self.used += 1
        self.idle_since = self._loop.time()
        transport = self._transport
        # An answer that came before all of the request was sent leaves a rest that nobody will read.
        if not parser.keep_alive or (transport is not None and transport.get_write_buffer_size()):
            self.abort()

    async def _wait(self) -> None:
        if self._lost:
            raise ConnectionFailed(self._lost)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self, idle_timeout: float) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(RequestTimeout(f"the watch was silent for {idle_timeout} s"))
