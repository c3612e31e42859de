"""The bytes of HTTP/1.1: what is accepted, wherever it is cut, and what is refused."""

import gzip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.controller.http1 import MAX_HEAD, AnswerParser, Malformed, header_lines, request_head

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a:2 \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nT: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + SIZED
UNTIL_END = b"HTTP/1.1 200 OK\r\n\r\nhello"
BODY = gzip.compress(b"hello" * 1000)
GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def parsed(*pieces, ended=False, **options):
    parser = AnswerParser(**options)
    for piece in pieces:
        parser.feed(piece)
    if ended:
        parser.end()
    return parser


@pytest.mark.parametrize(
    ("data", "body", "keep_alive"),
    [
        (SIZED, b"hello", True),
        (CHUNKED, b"hello world", True),
        (INTERIM, b"hello", True),
        (UNTIL_END, b"hello", False),
        (GZIP, b"hello" * 1000, True),
        (EMPTY, b"", True),
        (SIZED.replace(b"X-A: 1", b"Connection: Keep, Close"), b"hello", False),
        (SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"), b"hello", False),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"", True),
    ],
)
def test_answers_are_understood(data, body, keep_alive):
    parser = parsed(data, ended=True)
    assert parser.complete
    assert (parser.take(), parser.keep_alive) == (body, keep_alive)


def test_header_names_are_in_lower_case_and_repeated_ones_joined():
    assert parsed(SIZED).headers == {"content-length": "5", "x-a": "1, 2"}


@given(st.sampled_from([SIZED, CHUNKED, INTERIM, UNTIL_END, GZIP, EMPTY]), st.lists(st.integers(0, 200), max_size=40))
def test_an_answer_may_be_cut_anywhere(data, cuts):
    """However the bytes are split, the same answer comes out."""
    points = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[a:b] for a, b in pairwise(points)]
    whole, cut = parsed(data, ended=True), parsed(*pieces, ended=True)
    assert (cut.status, cut.headers, cut.take()) == (whole.status, whole.headers, whole.take())
    assert cut.keep_alive == whole.keep_alive


def test_an_answer_may_come_byte_by_byte():
    for data in (SIZED, CHUNKED, INTERIM, GZIP):
        assert parsed(*[data[i : i + 1] for i in range(len(data))]).complete


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_waited_for(data):
    parser = AnswerParser(limit=1000)
    try:
        parser.feed(b"HTTP/1.1 200 OK\r\n" + data)
        parser.end()
    except Malformed:
        assert not parser.complete or parser.started


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SSH-2.0-OpenSSH", "no HTTP/1 answer"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP/1 answer"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "no HTTP/1 answer"),
        (b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx\r\n\r\n", "no HTTP/1 answer"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "status 101 was not asked for"),
        (b"HTTP/1.1 100 Go\r\n\r\n" * 17, "status 100 was not asked for"),
        (HEAD + b"X" * (MAX_HEAD + 1), "larger than"),
        (HEAD + b"X: " + b"y" * MAX_HEAD + b"\r\n\r\n", "larger than"),
        (HEAD + b"Folded: a\r\n b\r\n\r\n", "no header line"),
        (HEAD + b"Space : a\r\n\r\n", "no header line"),
        (HEAD + b"Nul: \x00\r\n\r\n", "no header line"),
        (HEAD + b"Bare: a\nb: c\r\n\r\n", "no header line"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "has the length '1, 2'"),
        (HEAD + b"Content-Length: -1\r\n\r\n", "has the length '-1'"),
        (HEAD + b"Content-Length: +1\r\n\r\n", "has the length"),
        (HEAD + b"Content-Length: 1001\r\n\r\n", "more than the 1000 that are allowed"),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "clearly where it ends"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "clearly where it ends"),
        (HEAD + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\n", "'br', which was not asked for"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", r"no complete gzip|is no gzip"),
        (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 10**6), "more than the 1000 bytes"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "no length of a chunk"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "no length of a chunk"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1_0\r\n", "no length of a chunk"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "longer than it says"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n", "no header line"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n", "more than the 1000 bytes"),
        (HEAD + b"Content-Length: 1\r\n\r\nxy", "followed the end"),
    ],
)
def test_what_is_malformed_is_refused(data, message):
    with pytest.raises(Malformed, match=message):
        parsed(data, limit=1000)


@pytest.mark.parametrize("data", [b"", b"HTTP", SIZED[:-1], CHUNKED[:-3], GZIP[:-1], HEAD])
def test_an_early_end_is_refused(data):
    with pytest.raises(Malformed, match=r"no answer came|in the middle of the answer"):
        parsed(data, ended=True)


# --- Requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("GET /x", "/y", None), "method must be one of"),
        (("HEAD", "/y", None), "method must be one of"),
        (("GET", "/a b", None), "the path must be quoted"),
        (("GET", "/a\r\nHost: evil", None), "the path must be quoted"),
        (("GET", "/ä", None), "the path must be quoted"),
        (("GET", "", None), "the path must be quoted"),
        (("PUT", "/y", "a\r\nX: y"), "content_type must be one line"),
    ],
)
def test_a_request_cannot_break_out_of_its_line(arguments, message):
    method, target, content_type = arguments
    with pytest.raises(ValueError, match=message):
        request_head(method, target, b"", content_type, None)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_headers_are_one_line_each_or_refused(headers):
    try:
        lines = header_lines(headers)
    except ValueError:
        return
    assert lines.count(b"\r\n") == lines.count(b"\n") == lines.count(b"\r") == len(headers)


def test_a_refused_header_does_not_show_its_value():
    with pytest.raises(ValueError, match="'Authorization' has control characters") as caught:
        header_lines({"Authorization": "Bearer secret\r\nX: y"})
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="no name of an HTTP header"):
        header_lines({"A: b\r\nC": "d"})


def test_several_values_are_several_lines():
    assert header_lines({"G": ("a", "b"), "H": "c"}) == b"G: a\r\nG: b\r\nH: c\r\n"
