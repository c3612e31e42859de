"""Reads pprof's format, so that what is written can be checked where there is no Go."""

import gzip
from collections.abc import Iterator
from typing import Any, NamedTuple


class Read(NamedTuple):
    types: list[tuple[str, str]]
    samples: list[tuple[list[str], list[int], dict[str, str]]]  # functions from the innermost, values, labels
    default: str
    duration_ns: int
    period: tuple[str, str, int]


def read(data: bytes) -> Read:
    """The profile in `data`; only what fastcore writes is understood."""
    fields: dict[int, list[Any]] = {}
    for number, value in _fields(gzip.decompress(data)):
        fields.setdefault(number, []).append(value)
    texts = [text.decode() for text in fields[6]]
    functions = {f[1]: texts[f.get(2, 0)] for f in map(_flat, fields.get(5, []))}
    locations = {at[1]: functions[_flat(at[4])[1]] for at in map(_flat, fields.get(4, []))}
    assert all(at[2] == 1 for at in map(_flat, fields.get(4, [])))
    samples = []
    for raw in fields.get(2, []):
        parts = list(_fields(raw))
        stack = [locations[n] for number, packed in parts if number == 1 for n in _numbers(packed)]
        values = [_signed(n) for number, packed in parts if number == 2 for n in _numbers(packed)]
        labels = {texts[f[1]]: texts[f[2]] for f in (_flat(p) for number, p in parts if number == 3)}
        samples.append((stack, values, labels))
    types = [(texts[f[1]], texts[f[2]]) for f in map(_flat, fields[1])]
    period = _flat(fields[11][0])
    return Read(
        types, samples, texts[fields[14][0]], fields.get(10, [0])[0],
        (texts[period[1]], texts[period[2]], fields.get(12, [0])[0]),
    )  # fmt: skip


def _flat(data: bytes) -> dict[int, Any]:
    return dict(_fields(data))


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 2:
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            assert tag & 7 == 0
            yield tag >> 3, value


def _numbers(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
