"""S3-FIFO beside our LRU and theine; and what a shadow costs the cache that it watches."""

from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call
from benchmarks.test_bench_cache import KEYS, LRU, METHODS, TTL_S, evictions, full, get_hits, rows, sets

from fastcore._ext import lru as ext_lru
from fastcore._ext import s3fifo as ext_s3fifo
from fastcore._py import s3fifo as py_s3fifo

OURS = {
    "fastcore": lambda: ext_s3fifo.S3FIFOCache(CALLS),
    "fastcore twin": lambda: py_s3fifo.S3FIFOCache(CALLS),
    "fastcore LRU": LRU["fastcore"],
}
THEINE = {"theine": METHODS["theine"]}


@rows("S3-FIFO c[k] hit", OURS)
def test_s3fifo_getitem(benchmark: Any, make: Any) -> None:
    cache = full(make)

    def hits() -> None:
        for key in KEYS:
            cache[key]

    per_call(benchmark, hits)


@rows("S3-FIFO get hit", OURS | THEINE)
def test_s3fifo_get(benchmark: Any, make: Any) -> None:
    get_hits(benchmark, make)


@rows("S3-FIFO get hit, with deadlines", {"fastcore": lambda: ext_s3fifo.S3FIFOCache(CALLS, ttl=TTL_S)})
def test_s3fifo_get_with_ttl(benchmark: Any, make: Any) -> None:
    get_hits(benchmark, make)


@rows("S3-FIFO set existing", OURS)
def test_s3fifo_set(benchmark: Any, make: Any) -> None:
    sets(benchmark, make)


@rows("S3-FIFO set + evict", OURS)
def test_s3fifo_evict(benchmark: Any, make: Any) -> None:
    evictions(benchmark, make)


@pytest.mark.subject("LRU get hit, watched by a shadow", "fastcore")
def test_watched_get(benchmark: Any) -> None:
    """One key in 64: the cost of the test, spread over all, and of what the sample takes."""
    cache = ext_lru.LRUCache(CALLS)
    with cache.shadow(1 / 64):
        get_hits(benchmark, lambda: cache)
