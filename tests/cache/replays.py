"""Requests, recorded and drawn, and how to play them to a cache."""

import functools
import lzma
from pathlib import Path
from typing import Any


@functools.cache
def trace(name: str) -> list[int]:
    """The objects asked for, as `traces/README.md` says they are stored."""
    requests: list[int] = []
    number = shift = 0
    previous = -1
    for byte in lzma.decompress((Path(__file__).parent / "traces" / f"{name}.xz").read_bytes()):
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            previous += 1 + (-((number + 1) // 2) if number % 2 else number // 2)
            requests.append(previous)
            number = shift = 0
    return requests


@functools.cache
def popular_and_scans(count: int = 120_000) -> list[int]:
    """Keys below 2**17, each asked for in proportion to 1 / key, and after 1,000 of them 300 that never come again.

    Drawn in integers by a generator of its own (Knuth's MMIX), so that it is the same on every machine for ever.
    """
    requests: list[int] = []
    state = fresh = 1 << 32
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        octave = (state >> 59) * 17 >> 5
        requests.append((1 << octave) + ((state >> 20) & ((1 << octave) - 1)))
        if i % 1000 == 999:
            requests.extend(range(fresh, fresh + 300))
            fresh += 300
    return requests


REQUESTS = {"glimpse": lambda: trace("glimpse"), "popular and scans": popular_and_scans}


def misses(cache: Any, requests: list[int]) -> int:
    """Read each key, and store it if it is absent; how many were."""
    get, count = cache.get, 0
    for key in requests:
        if get(key) is None:
            cache[key] = True
            count += 1
    return count


def misses_unread(cache: Any, requests: list[int]) -> int:
    """As `misses`, but reads go unnoticed: an LRU cache then evicts first in, first out."""
    peek, count = cache.peek, 0
    for key in requests:
        if peek(key) is None:
            cache[key] = True
            count += 1
    return count
