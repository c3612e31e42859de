"""W3C trace context: which trace a request belongs to."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED = 1


class Trace(NamedTuple):
    """Where in which trace something is.

    Args:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits, of whoever calls.
        sampled: whether the trace is recorded.
    """

    trace_id: str
    span_id: str
    sampled: bool


def parse(header: str) -> Trace | None:
    """What a `traceparent` header says; None unless it is exactly as the standard wants it (OB5).

    Example:
        >>> parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").sampled
        True
        >>> parse("00-00000000000000000000000000000000-00f067aa0ba902b7-01") is None
        True

    Source: www.w3.org/TR/trace-context, section 3.2.
    """
    match = _TRACEPARENT.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Trace(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def begin(header: str | None, random: Callable[[int], bytes] = os.urandom) -> Trace:
    """The trace of a request: the one that the header names, else a new one that is not sampled.

    Args:
        header: `traceparent`, None if there is none.
        random: gives so many random bytes.
    """
    found = parse(header) if header is not None else None
    return found or Trace(random(16).hex(), random(8).hex(), False)
