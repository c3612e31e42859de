"""Threads on one cache: it stays whole, and its counters add up."""

import contextlib
import itertools
import random
from collections import Counter
from typing import Any

import pytest

from cache.conftest import public
from fastcore import cache as public_face
from threads.crew import THREADS, Key, crew


def lru(caches: Any) -> Any:
    return caches.LRUCache(12)


def weighed(caches: Any) -> Any:
    return caches.LRUCache(40, getsizeof=lambda value: value[1] % 5 + 0.5)


def ttl(caches: Any) -> Any:
    return caches.TTLCache(12, 0.0005, jitter=0.5)


def extended(caches: Any) -> Any:
    return caches.TTLCache(40, 0.0005, getsizeof=lambda value: value[1] % 5, touch="access")


def ticking(caches: Any) -> Any:
    return caches.TTLCache(12, 400, timer=itertools.count().__next__)


def queues(caches: Any) -> Any:
    return caches.S3FIFOCache(12, ttl=0.0005)


def queues_weighed(caches: Any) -> Any:
    return caches.S3FIFOCache(40, getsizeof=lambda value: value[1] % 5 + 0.5)


def shadowed(caches: Any) -> Any:
    cache = caches.LRUCache(12)
    cache.shadow(rate=1.0)
    return cache


@pytest.mark.parametrize("make", [lru, weighed, ttl, extended, ticking, queues, queues_weighed, shadowed])
@pytest.mark.parametrize("key_of", [int, str, Key])
def test_cache(impl: Any, make: Any, key_of: Any, scale: int) -> None:
    """CA1, CA13, CA15, CA25: whatever threads do to one cache, it stays whole, and its counters add up."""
    cache = make(public(impl))
    rounds = (1000 if key_of is Key else 4000) * scale

    def load(key: Any, step: int) -> Any:
        if step % 13 == 0:
            raise OSError(step)
        return key, step

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(rounds):
            key = key_of(chance.randrange(30))
            match chance.randrange(16):
                case 0 | 1:
                    cache.set(key, (key, step))
                case 2:
                    cache.set(key, (key, step), tags=["odd"] if step % 2 else ["even", "all"])
                case 3:
                    if make is ticking and step > rounds // 2:
                        cache.set(key, (key, step), ttl=20.5)  # from now on time is counted in floats
                    else:
                        cache[key] = (key, step)
                case 4 | 5 | 6:
                    value = cache.get(key)
                    assert value is None or value[0] == key
                case 7:
                    value = cache.pop(key, None)
                    assert value is None or value[0] == key
                case 8:
                    with contextlib.suppress(KeyError):
                        found, value = cache.popitem()
                        assert value[0] == found
                case 9 | 10:
                    with contextlib.suppress(OSError):
                        assert cache.get_or_load(key, lambda key=key, step=step: load(key, step))[0] == key
                case 11:
                    assert cache.setdefault(key, (key, step))[0] == key
                case 12:
                    with contextlib.suppress(RuntimeError):
                        assert all(value[0] == found for found, value in cache.items())
                case 13:
                    cache.invalidate(key)
                    cache.invalidate_prefix("1")
                    cache.invalidate_tag("even")
                case 14:
                    cache.resize(chance.choice([5, 12, 40]))
                    assert cache.maxsize in (5, 12, 40)
                case 15:
                    if step % 10 == 0:
                        cache.clear()
                    assert cache.currsize <= 40
                    assert cache.stats().maxsize in (5, 12, 40)

    with cache.shadow(0.5) if make is queues_weighed else contextlib.nullcontext() as shadow:
        crew(work)
        assert shadow is None or all(0 <= row.hit_ratio <= 1 for row in shadow.report())
    cache._check()
    stats = cache.stats()
    assert stats.insertions == stats.entries + stats.removals + stats.evictions + stats.expirations
    assert cache.get_or_load(key_of(99), lambda: ("loaded", 1)) == ("loaded", 1)  # no load is left behind


@pytest.mark.parametrize("make", [lru, ttl])
def test_cache_iterator(make: Any, scale: int) -> None:
    """Threads may pull at one iterator of a compiled cache; each entry comes out once."""
    for _ in range(100 * scale):
        cache = make(public_face)
        cache.resize(200)
        for key in range(100):
            cache.set(key, key, ttl=None)
        iterator, got = iter(cache), [[] for _ in range(THREADS)]

        crew(lambda number, iterator=iterator, got=got: got[number].extend(iterator))
        assert sorted(itertools.chain(*got)) == list(range(100))


def test_cached_functions(scale: int) -> None:
    """Threads that call cached functions and methods get what the function returns, and a load that runs is shared."""
    calls = Counter[int]()

    @public_face.cached(public_face.LRUCache(8), info=True)
    def square(n: int, *, exact: bool = True) -> int:
        if n == 7:
            raise OSError(n)
        return n * n

    @public_face.cached(public_face.LRUCache(1000))
    def once(n: int) -> int:
        calls[n] += 1
        return n

    class Service:
        def __init__(self) -> None:
            self.cache = public_face.TTLCache(8, 0.0005)

        @public_face.cachedmethod(lambda self: self.cache)
        def double(self, n: int) -> int:
            return 2 * n

    service = Service()

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(2000 * scale):
            n = chance.randrange(12)
            with contextlib.suppress(OSError):
                assert square(n) == square(n, exact=False) == n * n
            assert service.double(n) == 2 * n
            assert once(step % 1000) == step % 1000
            if step % 100 == 0:
                square.cache_info()
                square.cache_clear()

    crew(work)
    assert calls == dict.fromkeys(range(1000), 1)
