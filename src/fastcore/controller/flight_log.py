"""Reads the JSON lines of flight recorders, and takes nothing that one would not have written."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fastcore.controller.model import Request
from fastcore.controller.recorder import FIELDS
from fastcore.errors import FastcoreError

_READS = frozenset({"GET", "HEAD"})
_NUMBERS = {"t", "id", "status", "ns", "events"}
_TEXTS = {"kind", "event", "method", "path", "why", "result", "detail"}


class BadLine(FastcoreError, ValueError):
    """A line is no record of a flight recorder; says which line, and what is wrong with it."""


class Record(NamedTuple):
    """One line.

    Args:
        line: its number in the file, from 1.
        controller: whose recorder.
        what: a key of `recorder.FIELDS`.
        t: nanoseconds of that process's monotonic clock.
        request: the key; None is an event that a predicate dropped.
        says: all of its fields.
    """

    line: int
    controller: str
    what: str
    t: int
    request: Request | None
    says: dict[str, Any]

    @property
    def is_write(self) -> bool:
        """Whether it is a request that is to change something."""
        return self.what == "request" and self.says["method"] not in _READS


def read(lines: Iterable[str]) -> Iterator[Record]:
    """The records of a dump; blank lines are skipped.

    Raises:
        BadLine: a line is no record.

    Complexity: O(size).
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _record(number, line)


def _record(number: int, line: str) -> Record:
    try:
        says = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"line {number}: no JSON: {error}; was the dump cut short?") from error
    if not isinstance(says, dict) or says.get("what") not in FIELDS or not isinstance(says.get("controller"), str):
        raise BadLine(
            f'line {number}: no record: "controller" and a "what" of {", ".join(FIELDS)} are needed; '
            "is this the answer of /debug/flight?"
        )
    for name in FIELDS[says["what"]]:
        if name not in says:
            raise BadLine(f"line {number}: a record of {says['what']!r} needs {name!r}")
        if not _fits(name, says[name], says["what"]):
            raise BadLine(f"line {number}: {name!r} cannot be {says[name]!r:.80}")
    request = says["request"]
    return Record(
        number, says["controller"], says["what"], says["t"], None if request is None else Request(*request), says
    )


def _fits(name: str, value: Any, what: str) -> bool:
    if name in _NUMBERS:
        return type(value) is int and value >= 0
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "request":
        return (value is None and what == "event") or _texts(value, 3)
    if name == "object":
        return _texts(value, 2)
    if name == "causes":
        return _texts(value, None)
    if name == "delay":
        return (value is None and what == "end") or (isinstance(value, int | float) and 0 <= value < 1e9)
    if name in ("from", "to"):
        return value is None or isinstance(value, str)
    return isinstance(value, bool) if name == "passed" else True


def _texts(value: Any, count: int | None) -> bool:
    return isinstance(value, list) and count in (None, len(value)) and all(isinstance(part, str) for part in value)
