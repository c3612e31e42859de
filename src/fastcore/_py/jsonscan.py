"""Finds its way through JSON text without decoding it, for the twins of frozen, intake and objects.

What it passes it checks (RFC 8259, UTF-8 included), and stops at the first byte that is wrong.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from fastcore.errors import ObjectError

MAX_LEVELS = 256
MAX_DIGITS = 1024

_SPACE = re.compile(rb"[ \n\r\t]*")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_RUN = re.compile(
    rb"(?:[ !#-\[\]-\x7f]|\\[\"\\/bfnrt]|\\u[0-9a-fA-F]{4}|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]"
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*"
)
_CUT_SHORT = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


class Scan:
    """A place in a text: `at` is the next byte."""

    def __init__(self, text: bytes, at: int = 0) -> None:
        self.text = text
        self.at = at
        self.named = 0

    def fail(self, at: int, what: str) -> NoReturn:
        raise ObjectError(f"no JSON at byte {at}: {what if at < len(self.text) else 'the text ends too early'}")

    def next(self) -> bytes:
        """The next byte that is no white space, b"" at the end."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return self.text[self.at : self.at + 1]

    def string(self) -> None:
        found = _RUN.match(self.text, self.at + 1)
        assert found is not None
        at = found.end()
        c = self.text[at : at + 1]
        if c == b'"':
            self.at = at + 1
        elif c == b"\\":
            self.fail(len(self.text) if _CUT_SHORT.match(self.text, at) else at, "an unknown escape")
        elif c < b" ":
            self.fail(at, "a control character in a string")
        else:
            self.fail(at, "this is not UTF-8")

    def number(self) -> None:
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            self.fail(self.at + (self.text[self.at + 1 :] == b""), "a value was expected")
        if found.end() - self.at > MAX_DIGITS:
            self.fail(self.at, "a number of more than 1024 characters")
        self.at = found.end()

    def word(self, word: bytes) -> None:
        if not self.text.startswith(word, self.at):
            self.fail(self.at, "a value was expected")
        self.at += len(word)

    def name(self) -> None:
        """Past a member's name and its colon."""
        if self.next() != b'"':
            self.fail(self.at, "a name was expected")
        self.string()
        self.named = self.at
        if self.next() != b":":
            self.fail(self.at, "':' was expected")
        self.at += 1

    def more(self, close: bytes) -> bool:
        """After a member or an item: whether another follows."""
        c = self.next()
        if c not in (b",", close) or not c:
            self.fail(self.at, f"',' or '{close.decode()}' was expected")
        self.at += 1
        return c == b","

    def value(self, level: int = 0) -> None:
        """Past one value of any kind."""
        c = self.next()
        if c == b'"':
            self.string()
        elif c in (b"{", b"[") and c:
            if level >= MAX_LEVELS:
                self.fail(self.at, "nested deeper than 256 levels")
            close = b"}" if c == b"{" else b"]"
            self.at += 1
            if self.next() == close:
                self.at += 1
                return
            more = True
            while more:
                if c == b"{":
                    self.name()
                self.value(level + 1)
                more = self.more(close)
        elif c == b"-" or c.isdigit():
            self.number()
        elif c in (b"t", b"f", b"n"):
            self.word({b"t": b"true", b"f": b"false", b"n": b"null"}[c])
        else:
            self.fail(self.at, "a value was expected")

    def finish(self) -> None:
        """Check that nothing but white space follows."""
        if self.next():
            self.fail(self.at, "something follows the end")

    def skipped(self) -> bytes:
        """The text of the value here, which is passed."""
        self.next()
        begin = self.at
        self.value()
        return self.text[begin : self.at]


def check(text: Any) -> Scan:
    """A scan of `text` from its beginning, once all of it has been checked."""
    if type(text) is not bytes:
        raise TypeError(f"JSON is given as bytes, not {type(text).__qualname__}")
    scan = Scan(text)
    scan.value()
    scan.finish()
    return Scan(text)


def items(text: bytes) -> Iterator[bytes]:
    """The texts of the items of a list."""
    scan = Scan(text, 1)
    if scan.next() == b"]":
        return
    more = True
    while more:
        yield scan.skipped()
        more = scan.more(b"]")


def member(text: bytes | None, name: str) -> bytes | None:
    """The text of a member's value; None if there is none, or `text` is no object."""
    if text is None or text[:1] != b"{":
        return None
    scan = Scan(text, 1)
    more = scan.next() != b"}"
    while more:
        scan.next()
        begin = scan.at
        scan.name()
        found = json.loads(text[begin : scan.named])
        value = scan.skipped()
        if found == name:
            return value
        more = scan.more(b"}")
    return None


def string(text: bytes | None) -> str:
    """The string that `text` is, "" if it is none."""
    return json.loads(text) if text is not None and text[:1] == b'"' else ""
