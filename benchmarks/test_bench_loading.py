"""The loading cache's hit beside the plain caches' and theine's memoised function."""

from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore.cache import LoadingCache, LRUCache, TTLCache

KEYS = [f"key-{i}" for i in range(CALLS)]
TTL_S = 600.0


def identity(key: Any) -> Any:
    return key


def loading() -> Any:
    return LoadingCache(CALLS, identity, ttl=TTL_S, refresh_after=TTL_S / 2, max_stale=TTL_S, negative_ttl=1, beta=1.0)


def theine() -> Any:
    memo = pytest.importorskip("theine").Memoize(CALLS, None)(identity)
    memo.key(identity)
    return memo


CACHES = {
    "fastcore": lambda: loading().get,
    "fastcore LRUCache": lambda: LRUCache(CALLS).get,
    "fastcore TTLCache": lambda: TTLCache(CALLS, TTL_S).get,
    "theine Memoize": theine,
}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            make,
            id=name,
            marks=pytest.mark.subject("loading get hit", name, target="3 x our LRU" if name == "fastcore" else ""),
        )
        for name, make in CACHES.items()
    ],
)
def test_hit(benchmark: Any, make: Any) -> None:
    get = make()
    if hasattr(getattr(get, "__self__", None), "set"):
        for key in KEYS:
            get.__self__.set(key, key)
    for key in KEYS:
        get(key)

    def hits() -> None:
        for key in KEYS:
            get(key)

    per_call(benchmark, hits)


@pytest.mark.subject("loading set existing", "fastcore")
def test_set(benchmark: Any) -> None:
    cache = loading()

    def sets() -> None:
        for key in KEYS:
            cache[key] = 1

    per_call(benchmark, sets)
