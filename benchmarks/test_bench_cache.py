"""Caches beside their twins, dict, functools.lru_cache, cachetools, cachebox, lru-dict, theine and onecache."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore._ext import lru as ext_lru
from fastcore._ext import ttl as ext_ttl
from fastcore._py import lru as py_lru
from fastcore._py import ttl as py_ttl
from fastcore.cache import LRUCache, cached

KEYS = [f"key-{i}" for i in range(CALLS)]
TTL_S = 600.0


def peer(module: str, make: Callable[[Any], Any]) -> Callable[[], Any]:
    """A factory that skips the benchmark if its package is not installed."""
    return lambda: make(pytest.importorskip(module))


LRU = {
    "fastcore": lambda: ext_lru.LRUCache(CALLS),
    "fastcore twin": lambda: py_lru.LRUCache(CALLS),
    "cachetools": peer("cachetools", lambda m: m.LRUCache(CALLS)),
    "cachebox": peer("cachebox", lambda m: m.LRUCache(CALLS)),
    "lru-dict": peer("lru", lambda m: m.LRU(CALLS)),
}
TTL = {
    "fastcore": lambda: ext_ttl.TTLCache(CALLS, TTL_S),
    "fastcore twin": lambda: py_ttl.TTLCache(CALLS, TTL_S),
    "cachetools": peer("cachetools", lambda m: m.TTLCache(CALLS, TTL_S)),
    "cachebox": peer("cachebox", lambda m: m.TTLCache(CALLS, TTL_S)),
}
DICT = {"dict": dict}
# These two have methods only, no `[]`.
METHODS = {
    "onecache": peer("onecache", lambda m: m.LRUCache(CALLS)),
    "theine": peer("theine", lambda m: m.Cache(CALLS)),
}


def rows(what: str, makers: dict[str, Any]) -> Any:
    """One benchmark for each implementation."""
    return pytest.mark.parametrize(
        "make",
        [pytest.param(make, id=name, marks=pytest.mark.subject(what, name)) for name, make in makers.items()],
    )


def full(make: Callable[[], Any]) -> Any:
    """A cache that holds all KEYS."""
    cache = make()
    if not hasattr(cache, "__setitem__"):
        for key in KEYS:
            cache.set(key, key)
        return cache
    for key in KEYS:
        cache[key] = key
    return cache


def get_hits(benchmark: Any, make: Any) -> None:
    get = full(make).get

    def hits() -> None:
        for key in KEYS:
            get(key)

    per_call(benchmark, hits)


def sets(benchmark: Any, make: Any) -> None:
    cache = full(make)

    def overwrite() -> None:
        for key in KEYS:
            cache[key] = 1

    per_call(benchmark, overwrite)


def evictions(benchmark: Any, make: Any) -> None:
    cache = full(make)
    rounds = itertools.count()
    # New keys are made beforehand: their making is not what is measured.
    pool = [[f"new-{n}-{i}" for i in range(CALLS)] for n in range(8)]

    def fill() -> None:
        for key in pool[next(rounds) % 8]:
            cache[key] = 1

    per_call(benchmark, fill)


@rows("LRU c[k] hit", LRU | DICT)
def test_lru_getitem(benchmark: Any, make: Any) -> None:
    cache = full(make)

    def hits() -> None:
        for key in KEYS:
            cache[key]

    per_call(benchmark, hits)


@rows("LRU get hit", LRU | DICT | METHODS)
def test_lru_get(benchmark: Any, make: Any) -> None:
    get_hits(benchmark, make)


@rows("LRU set existing", LRU | DICT)
def test_lru_set(benchmark: Any, make: Any) -> None:
    sets(benchmark, make)


@rows("LRU set + evict", LRU)
def test_lru_evict(benchmark: Any, make: Any) -> None:
    evictions(benchmark, make)


@rows("TTL get hit", TTL)
def test_ttl_get(benchmark: Any, make: Any) -> None:
    get_hits(benchmark, make)


@rows("TTL set existing", TTL)
def test_ttl_set(benchmark: Any, make: Any) -> None:
    sets(benchmark, make)


@rows("TTL set + evict", TTL)
def test_ttl_evict(benchmark: Any, make: Any) -> None:
    evictions(benchmark, make)


def identity(x: object) -> object:
    return x


DECORATORS = {
    "fastcore": lambda: cached(LRUCache(CALLS))(identity),
    "functools.lru_cache": lambda: functools.lru_cache(CALLS)(identity),
    "cachetools": peer("cachetools", lambda m: m.cached(m.LRUCache(CALLS))(identity)),
    "cachebox": peer("cachebox", lambda m: m.cached(m.LRUCache(CALLS))(identity)),
    "onecache": peer("onecache", lambda m: m.CacheDecorator(CALLS)(identity)),
}


@rows("@cached hit", DECORATORS)
def test_decorator(benchmark: Any, make: Any) -> None:
    function = make()
    for key in KEYS:
        function(key)

    def hits() -> None:
        for key in KEYS:
            function(key)

    per_call(benchmark, hits)


@pytest.mark.subject("get_or_load hit", "fastcore")
def test_get_or_load(benchmark: Any) -> None:
    load = full(lambda: LRUCache(CALLS)).get_or_load

    def hits() -> None:
        for key in KEYS:
            load(key, identity)

    per_call(benchmark, hits)
