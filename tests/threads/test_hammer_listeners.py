"""Threads on a cache with listeners and tags: each entry is told of once, each tag reaches its entries."""

import contextlib
import random
from collections import Counter
from typing import Any

import pytest

from cache.conftest import public
from fastcore.errors import NotFound, ReentrancyError
from threads.crew import THREADS, Key, crew
from threads.sources import Growing

AUTOMATIC = ("size", "expired", "collected")


def lru(caches: Any, **options: Any) -> Any:
    return caches.LRUCache(8, **options)


def weighed(caches: Any, **options: Any) -> Any:
    return caches.LRUCache(20, getsizeof=lambda value: value[1] % 4 + 0.5, **options)


def ttl(caches: Any, **options: Any) -> Any:
    return caches.TTLCache(8, 0.0005, **options)


def queues(caches: Any, **options: Any) -> Any:
    return caches.S3FIFOCache(8, ttl=0.0005, **options)


@pytest.mark.parametrize("make", [lru, weighed, ttl, queues])
@pytest.mark.parametrize("key_of", [int, Key])
def test_listeners(impl: Any, make: Any, key_of: Any, scale: int) -> None:
    """CA12, CA25: both listeners hear of each entry once, and while on_eviction runs nobody gets through.

    on_eviction finds the cache closed to its own thread; others wait for it, and none of them for ever.
    """
    removed: list[tuple[Any, Any, str]] = []
    evicted: list[tuple[Any, Any, str]] = []
    inside: list[int] = []
    met: list[int] = []

    def hear_eviction(key: Any, value: Any, cause: str) -> None:
        inside.append(1)
        met.append(len(inside))
        evicted.append((key, value, cause))
        if len(evicted) % 10 == 0:
            with contextlib.suppress(ReentrancyError):
                cache.get(key)
                raise AssertionError("on_eviction got into the cache")
        inside.pop()

    def hear_removal(key: Any, value: Any, cause: str) -> None:
        removed.append((key, value, cause))
        if len(removed) % 10 == 0:
            cache.get(key)

    cache = make(public(impl), on_removal=hear_removal, on_eviction=hear_eviction)

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range((400 if key_of is Key else 1500) * scale):
            key, value = key_of(chance.randrange(20)), (number, step)
            match chance.randrange(9):
                case 0 | 1 | 2:
                    cache[key] = value
                case 3:
                    cache.set(key, value, tags=[f"tag-{step % 3}"])
                case 4:
                    cache.get_or_load(key, lambda value=value: value)
                case 5:
                    cache.pop(key, None)
                case 6 if step % 10 == 0:
                    cache.invalidate_tag(f"tag-{step % 3}")
                case 7 if step % 50 == 0:
                    cache.clear()
                case 8 if step % 20 == 0:
                    assert len(cache) <= 40
                case _:
                    cache.get(key)

    crew(work)
    cache._check()
    before = cache.stats()
    cache.clear()
    stats = cache.stats()
    assert before.insertions == before.entries + before.removals + before.evictions + before.expirations
    causes = Counter(cause for _, _, cause in removed)
    assert (causes["explicit"], causes["replaced"]) == (stats.removals, stats.updates)
    assert (causes["size"], causes["expired"]) == (stats.evictions, stats.expirations)
    assert max(Counter(value for _, value, _ in removed).values()) == 1
    assert sorted(value for _, value, _ in evicted) == sorted(
        value for _, value, cause in removed if cause in AUTOMATIC
    )
    assert set(met) == {1}, "two on_eviction of one cache at a time"


@pytest.mark.parametrize("make", [lru, ttl, queues])
@pytest.mark.parametrize("key_of", [str, Key])
def test_tags(impl: Any, make: Any, key_of: Any, scale: int) -> None:
    """CA17, CA18, CA24: once a tag was invalidated, no reader gets what was there with it or being loaded."""
    keys = [key_of(n) for n in range(12)]
    source = Growing(keys)
    cache = make(public(impl))

    def work(number: int) -> None:
        chance = random.Random(number)
        mine = keys[number::THREADS]
        for step in range(600 * scale):
            if step % 4 == 0:
                key = chance.choice(mine)
                source.values[key] += 1
                value = source.values[key]
                if chance.randrange(3):
                    cache.invalidate_tag(f"tag-{hash(key) % 3}")
                else:
                    cache.invalidate(key)
                source.least[key] = value
            key = chance.choice(keys)
            least = source.least[key]
            with contextlib.suppress(OSError, NotFound):
                if step % 3:
                    value = cache.get_or_load(key, source.load, tags=[f"tag-{hash(key) % 3}", "all"])
                else:
                    value = cache.get(key, least)
                assert value >= least
            if step % 100 == 0:
                cache.invalidate_tag("all")

    crew(work)
    cache._check()
    tagged = cache._tagged()
    assert {key for key, _ in tagged} == set(cache._check())
    assert all(tags == (f"tag-{hash(key) % 3}", "all") for key, tags in tagged)
    assert cache.invalidate_tag("all") <= len(tagged)
    assert len(cache) == 0


@pytest.mark.parametrize("make", [lru, ttl, queues])
def test_bulk_loads(impl: Any, make: Any, scale: int) -> None:
    """CA17, CA24: calls of bulk loaders that overlap share loads, and store nothing that was invalidated meanwhile."""
    keys = [str(n) for n in range(16)]
    source = Growing(keys)
    cache = make(public(impl))

    def work(number: int) -> None:
        chance = random.Random(number)
        mine = keys[number::THREADS]
        for step in range(250 * scale):
            if step % 3 == 0:
                key = chance.choice(mine)
                source.values[key] += 1
                value = source.values[key]
                if step % 2:
                    cache.invalidate(key)
                else:
                    cache.invalidate_prefix(key)
                source.least[key] = value
            some = chance.sample(keys, 5)
            least = {key: source.least[key] for key in some}
            with contextlib.suppress(OSError, NotFound):  # of a load that was joined
                found = cache.get_many(some, source.load_many)
                assert set(found) <= set(some)
                assert all(least[key] <= value for key, value in found.items())
            with contextlib.suppress(OSError, NotFound):
                assert cache.get_or_load(some[0], source.load) >= least[some[0]]

    crew(work)
    cache._check()
    assert cache.get_many(["new"], lambda keys: dict.fromkeys(keys, 1)) == {"new": 1}  # no load is left behind
