"""pprof's file format, written by hand: it has seven small messages, and protobuf's runtime would weigh more than they.

Source: proto/profile.proto of github.com/google/pprof.
"""

import gzip
from collections.abc import Iterable

from fastcore.observe.profiles.model import Line, Profile, ValueType

_LEVEL = 1
_BYTES = 2  # the wire type of strings, messages and packed numbers
_MASK = (1 << 64) - 1


def encode(profile: Profile) -> bytes:
    """The profile as a gzipped message.

    Complexity: O(frames of all stacks).
    """
    table = _Table()
    parts = [_message(1, _value_type(table, one)) for one in profile.types]
    for (stack, labels), values in profile.samples.items():
        body = _packed(1, [table.location(line) for line in stack]) + _packed(2, values)
        for name, value in labels:
            body += _message(3, _number(1, table.text(name)) + _number(2, table.text(value)))
        parts.append(_message(2, body))
    # One mapping that says that all names are known, so that nobody looks for a binary to find them in.
    parts.append(
        _message(3, _number(1, 1) + _number(5, table.text("python")) + b"".join(_number(n, 1) for n in (7, 8, 9)))
    )
    parts += table.locations
    parts += table.functions
    tail = _number(9, profile.began_ns) + _number(10, profile.duration_ns)
    tail += _message(11, _value_type(table, profile.period_type)) + _number(12, profile.period)
    tail += _number(14, table.text(profile.default))
    texts = [_message(6, text.encode("utf-8", "replace")) for text in table.texts]
    return gzip.compress(b"".join([*parts, *texts, tail]), _LEVEL)


class _Table:
    """Strings, functions and locations, each written once and referred to by number."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {"": 0}
        self.functions: list[bytes] = []
        self.locations: list[bytes] = []
        self._functions: dict[tuple[str, str, int], int] = {}
        self._locations: dict[Line, int] = {}

    def text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def location(self, line: Line) -> int:
        known = self._locations.get(line)
        if known is None:
            known = self._locations[line] = len(self._locations) + 1
            where = _number(1, self._function(line)) + _number(2, line.number)
            self.locations.append(_message(4, _number(1, known) + _number(2, 1) + _message(4, where)))
        return known

    def _function(self, line: Line) -> int:
        key = line.function, line.file, line.start
        known = self._functions.get(key)
        if known is None:
            known = self._functions[key] = len(self._functions) + 1
            name = self.text(line.function)
            body = _number(1, known) + _number(2, name) + _number(3, name)
            body += _number(4, self.text(line.file)) + _number(5, line.start)
            self.functions.append(_message(5, body))
        return known


def _value_type(table: _Table, one: ValueType) -> bytes:
    return _number(1, table.text(one.kind)) + _number(2, table.text(one.unit))


def _varint(value: int) -> bytes:
    value &= _MASK  # a negative number is its complement of 64 bits
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(body)) + body


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _message(field, b"".join(map(_varint, values)))
