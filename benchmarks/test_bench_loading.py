"""The loading cache's hits and loads beside the plain caches' and theine's memoised function."""

from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore.cache import LoadingCache, LRUCache, TTLCache

KEYS = [f"key-{i}" for i in range(CALLS)]
TTL_S = 600.0


def identity(key: Any) -> Any:
    return key


def loading(maxsize: int = CALLS, **options: Any) -> Any:
    return LoadingCache(
        maxsize, identity, ttl=TTL_S, refresh_after=TTL_S / 2, max_stale=TTL_S, negative_ttl=1, beta=1.0, **options
    )


def equipped() -> Any:
    """With everything that costs nothing on a hit."""
    return loading(tags=lambda key, value: ["all"], on_removal=print, on_eviction=print, copy="on_write")


def theine(maxsize: int = CALLS) -> Any:
    memo = pytest.importorskip("theine").Memoize(maxsize, None)(identity)
    memo.key(identity)
    return memo


def each(subjects: dict[str, Any], what: str) -> Any:
    """A test for each of `subjects`, a line of the row `what`."""
    return pytest.mark.parametrize(
        "make",
        [pytest.param(make, id=name, marks=pytest.mark.subject(what, name)) for name, make in subjects.items()],
    )


def hits(benchmark: Any, get: Callable[[Any], Any]) -> None:
    def run() -> None:
        for key in KEYS:
            get(key)

    run()
    per_call(benchmark, run)


@each(
    {
        "fastcore": lambda: loading().get,
        "fastcore, with tags and listeners": lambda: equipped().get,
        "fastcore LRUCache": lambda: LRUCache(CALLS).get,
        "fastcore TTLCache": lambda: TTLCache(CALLS, TTL_S).get,
        "theine Memoize": theine,
    },
    "loading get hit",
)
def test_hit(benchmark: Any, make: Any) -> None:
    get = make()
    if hasattr(getattr(get, "__self__", None), "set"):
        get.__self__.set_many(zip(KEYS, KEYS, strict=True))
    hits(benchmark, get)


@each(
    {
        "fastcore": lambda: loading(CALLS // 2).get,
        "fastcore TTLCache": lambda: (
            lambda key, load=TTLCache(CALLS // 2, TTL_S).get_or_load: load(key, identity)  # noqa: B008 - one a subject
        ),
        "theine Memoize": lambda: theine(CALLS // 2),
    },
    "loading an absent key + evict",
)
def test_load(benchmark: Any, make: Any) -> None:
    """Twice as many keys as fit, in turn: an LRU cache never has the next one."""
    hits(benchmark, make())


@each({"fastcore": loading, "fastcore TTLCache": lambda: TTLCache(CALLS, TTL_S)}, "loading set existing")
def test_set(benchmark: Any, make: Any) -> None:
    cache = make()

    def sets() -> None:
        for key in KEYS:
            cache[key] = 1

    per_call(benchmark, sets)
