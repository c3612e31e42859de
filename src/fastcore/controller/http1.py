"""HTTP/1.1 as bytes, without sockets: the head of a request, and a parser for the answer.

The parser is strict where leniency lets two readers of the same bytes disagree about where an answer ends (RFC 9112,
sections 6 and 11): a length and a transfer coding together, two lengths, folded or malformed header lines and bare line
ends are refused, and the connection with them.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "CONNECT"})
MAX_HEAD = 64 * 1024  # bytes of an answer's head, or of its trailers
_MAX_INTERIM = 16  # 1xx answers before the real one
_INFLATE_STEP = 256 * 1024

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*)")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\x00\r\n]*)?\r\n")
_TARGET = re.compile(r"[!-~]+")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class Malformed(ValueError):
    """The answer breaks the protocol; the connection cannot be used again."""


def header_lines(headers: Mapping[str, str | tuple[str, ...]]) -> bytes:
    r"""The lines of `headers`, each ended by CRLF; a tuple is one line a value.

    Raises:
        ValueError: a name or value would break out of its line; the value is not shown, it may be a secret.

    Example:
        >>> header_lines({"Accept": "*/*"})
        b'Accept: */*\r\n'
    """
    lines = []
    for name, values in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an HTTP header")
        for value in (values,) if isinstance(values, str) else values:
            if not _VALUE.fullmatch(value):
                raise ValueError(f"the value of the HTTP header {name!r} has control characters in it")
            lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode()


def request_head(method: str, target: str, lines: bytes, content_type: str | None, length: int | None) -> bytes:
    r"""The head of a request.

    Args:
        method: one of METHODS.
        target: what is asked for, quoted: printable ASCII without a space.
        lines: ready header lines, of `header_lines`.
        content_type: of the body.
        length: of the body in bytes; None if there is none.

    Raises:
        ValueError: `method`, `target` or `content_type` would break out of its place.

    Example:
        >>> request_head("GET", "/api", b"Host: x\r\n", None, None)
        b'GET /api HTTP/1.1\r\nHost: x\r\n\r\n'
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(sorted(METHODS))}, not {method!r}")
    if not _TARGET.fullmatch(target):
        raise ValueError(f"the path must be quoted, printable ASCII without spaces, not {target[:200]!r}")
    tail = ""
    if content_type is not None:
        if not _VALUE.fullmatch(content_type):
            raise ValueError(f"content_type must be one line, not {content_type!r}")
        tail = f"Content-Type: {content_type}\r\n"
    if length is not None:
        tail += f"Content-Length: {length}\r\n"
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method.encode(), target.encode(), lines, tail.encode())


class AnswerParser:
    """Takes the bytes of one answer as they come, cut anywhere.

    Args:
        tunnel: the answer is to CONNECT: it has no body, and the connection goes on.
        limit: bytes of the body at most, after decoding; None for a stream, whose reader takes `pieces` away.

    Attributes:
        status: 0 until the head is complete.
        headers: names in lower case; repeated ones joined by ", ".
        pieces: the body so far, in order.
        size: bytes in `pieces`.
        started: at least one byte came.
        complete: the answer has ended; further bytes are Malformed.
        keep_alive: another request may follow on the connection, once complete.

    Complexity: O(bytes), whatever the cuts.
    """

    __slots__ = (
        "_inflate", "_interim", "_left", "_limit", "_rest", "_step", "_total", "_tunnel",
        "complete", "headers", "keep_alive", "pieces", "size", "started", "status",
    )  # fmt: skip

    def __init__(self, *, tunnel: bool = False, limit: int | None = None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.size = 0
        self.started = False
        self.complete = False
        self.keep_alive = False
        self._tunnel = tunnel
        self._limit = limit
        self._rest = b""  # of a head or a chunk's first line that is not complete yet
        self._left = 0  # bytes until the end of the body or chunk
        self._total = 0
        self._interim = 0
        self._inflate: zlib._Decompress | None = None
        self._step: Callable[[AnswerParser, bytes, int], int] = AnswerParser._head  # unbound: a parser is no cycle

    def feed(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
            Malformed: they are no HTTP/1.1 answer, or too large a one.
        """
        self.started = True
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data):
            if self.complete:
                raise Malformed("bytes followed the end of the answer")
            after = self._step(self, data, at)
            if after < 0:
                self._rest = data[at:]
                return
            at = after

    def end(self) -> None:
        """The connection ended: that completes a body without a length.

        Raises:
            Malformed: something was still to come.
        """
        if self.complete:
            return
        if self._step is not AnswerParser._until_end:
            raise Malformed("the connection ended in the middle of the answer" if self.started else "no answer came")
        self._finish()

    def take(self) -> bytes:
        """The body so far, which is then forgotten."""
        pieces = self.pieces
        self.pieces, self.size = [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # Each step takes `data` from `at` and returns where it stopped, or -1 when it needs more.

    def _head(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n\r\n", at)
        if end < 0 or end - at > MAX_HEAD:
            if len(data) - at > MAX_HEAD:
                raise Malformed(f"the head of the answer is larger than {MAX_HEAD} bytes")
            if not data.startswith(b"HTTP/1."[: len(data) - at], at):
                raise Malformed(f"this is no HTTP/1 answer: {data[at : at + 40]!r}")
            return -1
        lines = data[at:end].split(b"\r\n")
        match = _STATUS.fullmatch(lines[0])
        if match is None:
            raise Malformed(f"this is no HTTP/1 answer: {lines[0][:40]!r}")
        version, code = match.groups()
        status = int(code)
        headers = _headers(lines[1:])
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > _MAX_INTERIM:
                raise Malformed(f"status {status} was not asked for")
            return end + 4
        self.status, self.headers = status, headers
        self.keep_alive = version == b"1" and "close" not in _tokens(headers.get("connection", ""))
        self._frame(version)
        return end + 4

    def _frame(self, version: bytes) -> None:
        """Find out how the body ends (RFC 9112, section 6.3)."""
        headers = self.headers
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if self._tunnel or self.status in (204, 304):
            self.complete = True
            self.keep_alive = self.keep_alive or self._tunnel
            return
        content = headers.get("content-encoding", "identity").lower()
        if content in ("gzip", "x-gzip"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif content != "identity":
            raise Malformed(f"the answer is encoded as {content[:40]!r}, which was not asked for")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None or version != b"1":
                raise Malformed("the answer does not say clearly where it ends")
            self._step = AnswerParser._chunk
        elif length is None:
            self.keep_alive = False
            self._step = AnswerParser._until_end
        elif not (length.isascii() and length.isdecimal() and len(length) < 16):
            raise Malformed(f"the answer has the length {length[:40]!r}")
        else:
            self._left = int(length)
            if self._limit is not None and self._left > self._limit:
                raise Malformed(f"the answer has {self._left} bytes, more than the {self._limit} that are allowed")
            self._step = AnswerParser._sized
            if not self._left:
                self._finish()

    def _sized(self, data: bytes, at: int) -> int:
        end = min(at + self._left, len(data))
        self._left -= end - at
        self._add(data[at:end])
        if not self._left:
            self._finish()
        return end

    def _chunk(self, data: bytes, at: int) -> int:
        match = _CHUNK.match(data, at)
        if match is None:
            if len(data) - at > MAX_HEAD or data.find(b"\n", at) >= 0:
                raise Malformed(f"this is no length of a chunk: {data[at : at + 40]!r}")
            return -1
        self._left, at = int(match[1], 16), match.end()
        if self._left:
            end = at + self._left
            if data.startswith(b"\r\n", end):  # the whole chunk is here
                self._add(data[at:end])
                return end + 2
            self._step = AnswerParser._chunk_data
        else:
            self._step = AnswerParser._trailers
        return at

    def _chunk_data(self, data: bytes, at: int) -> int:
        end = min(at + self._left, len(data))
        self._left -= end - at
        self._add(data[at:end])
        if not self._left:
            self._step = AnswerParser._chunk_end
        return end

    def _chunk_end(self, data: bytes, at: int) -> int:
        if not b"\r\n".startswith(data[at : at + 2]):
            raise Malformed("a chunk is longer than it says")
        if len(data) - at < 2:
            return -1
        self._step = AnswerParser._chunk
        return at + 2

    def _trailers(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > MAX_HEAD:
                raise Malformed(f"the trailers of the answer are larger than {MAX_HEAD} bytes")
            return -1
        if end == at:
            self._finish()
        else:  # nobody asked for them; they must be well-formed all the same
            _headers([data[at:end]])
            self._left += end - at
            if self._left > MAX_HEAD:
                raise Malformed(f"the trailers of the answer are larger than {MAX_HEAD} bytes")
        return end + 2

    def _until_end(self, data: bytes, at: int) -> int:
        self._add(data[at:])
        return len(data)

    def _add(self, piece: bytes) -> None:
        if self._inflate is None:
            self._keep(piece)
            return
        try:  # by steps, so that a little input cannot become all of the memory
            while piece:
                self._keep(self._inflate.decompress(piece, _INFLATE_STEP))
                piece = self._inflate.unconsumed_tail
        except zlib.error as error:
            raise Malformed(f"the answer is no gzip: {error}") from error

    def _keep(self, piece: bytes) -> None:
        self._total += len(piece)
        if self._limit is not None and self._total > self._limit:
            raise Malformed(f"the answer has more than the {self._limit} bytes that are allowed")
        if piece:
            self.pieces.append(piece)
            self.size += len(piece)

    def _finish(self) -> None:
        if self._inflate is not None:
            self._keep(self._inflate.flush())
            if not self._inflate.eof:
                raise Malformed("the answer is no complete gzip")
        self.complete = True


def _headers(lines: Iterable[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, value = _header(line)
        if name in found:
            value = f"{found[name]}, {value}"
        found[name] = value
    return found


@lru_cache(256)  # most lines are the same in every answer of a server
def _header(line: bytes) -> tuple[str, str]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise Malformed(f"this is no header line: {line[:20]!r}")
    return match[1].decode("ascii").lower(), match[2].decode("latin-1").rstrip(" \t")


def _tokens(value: str) -> list[str]:
    return [token.strip(" \t") for token in value.lower().split(",")]
