"""Recorded requests, and how to play them to a cache."""

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
