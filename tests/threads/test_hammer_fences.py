"""Threads on one loading cache: loads, reloads in the background and invalidations meet, and nothing old comes back."""

import contextlib
import random
import threading
import time
from collections import Counter
from typing import Any

import pytest

from fastcore._loading import LoadingFlight, LoadingMethods
from fastcore.errors import NotFound
from threads.crew import THREADS, Key, crew
from threads.sources import Growing

KEYS = 12


def make(impl: Any, *arguments: Any, **options: Any) -> Any:
    """A LoadingCache on top of either twin."""
    flight = type("CacheLoad", (LoadingFlight, impl.lru.Load), {})
    cls = type("LoadingCache", (LoadingMethods, impl.loading.LoadingCache), {"_flight_type": flight})
    return cls(*arguments, **options)


def tag_of(key: Any) -> str:
    return f"tag-{hash(key) % 3}"


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
@pytest.mark.parametrize("key_of", [str, Key])
def test_nothing_old_comes_back(impl: Any, policy: str, key_of: Any, scale: int) -> None:
    """CA17, CA18, CA21, CA22, CA24: once a key was invalidated, by whatever way, no reader gets what was there before.

    Not from a load that began before, by whomever; not from a reload in the background; not in place of an error.
    """
    keys = [key_of(n) for n in range(KEYS)]
    source = Growing(keys)
    cache = make(
        impl,
        8,
        source.load,
        ttl=0.002,
        refresh_after=0.0005,
        max_stale=0.005,
        negative_ttl=0.001,
        throttle=0.0001,
        policy=policy,
        tags=lambda key, value: [tag_of(key)],
        refresh_threads=2,
    )

    def change(key: Any, way: int) -> None:
        source.values[key] += 1
        value = source.values[key]
        match way:
            case 0:
                cache.invalidate_tag(tag_of(key))
            case 1:
                cache.invalidate_all()
            case 2 if isinstance(key, str):
                cache.invalidate_prefix(key)
            case _:
                cache.invalidate(key)
        source.least[key] = value

    def work(number: int) -> None:
        chance = random.Random(number)
        mine = keys[number::THREADS]
        for step in range(600 * scale):
            if step % 5 == 0:
                change(chance.choice(mine), chance.randrange(4))
            key = chance.choice(keys)
            least = source.least[key]
            with contextlib.suppress(OSError, NotFound):
                match chance.randrange(4):
                    case 0:
                        value = cache[key]
                    case 1:
                        value = cache.get_entry(key).value
                    case 2:
                        value = cache.get_or_load(key, source.load, tags=[tag_of(key)])
                    case _:
                        some = [key, *chance.sample(keys, 3)]
                        found = cache.get_many(some, source.load_many)
                        assert set(found) <= set(some)
                        value = found.get(key, least)
                assert value >= least
            if step % 50 == 0:
                time.sleep(0.0006)  # let entries come of age

    with cache:
        crew(work)
    cache._inside()._check()
    stats = cache.stats()
    assert stats.insertions == stats.entries + stats.removals + stats.evictions + stats.expirations
    assert stats.loads >= stats.load_failures + stats.loads_discarded
    assert stats.refreshes
    assert cache.get_or_load(key_of(99), lambda: 99) == 99  # no load is left behind
    for key in keys:
        with contextlib.suppress(NotFound):
            assert cache.get_or_load(key, lambda: 10**6) >= source.least[key]


def test_listeners_hear_of_each_value_once(impl: Any, scale: int) -> None:
    """CA12, CA25: whatever removes a value, a set, a reload, time or a tag, it is told of once."""
    removed: list[tuple[Any, Any, str]] = []
    evicted: list[tuple[Any, Any, str]] = []
    loaded: list[int] = []
    numbers, one_at_a_time = iter(range(10**9)), threading.Lock()

    def load(key: Any) -> Any:
        with one_at_a_time:  # without a GIL, threads that share an iterator may get the same item
            number = next(numbers)
        if number % 5 == 0:
            raise NotFound(key)
        loaded.append(number)
        return number

    cache = make(
        impl,
        6,
        load,
        ttl=0.001,
        refresh_after=0.0002,
        negative_ttl=0.001,
        on_removal=lambda *heard: removed.append(heard),
        on_eviction=lambda *heard: evicted.append(heard),
        copy="on_read",
        copier=int,
    )

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(1000 * scale):
            key = chance.randrange(10)
            match chance.randrange(8):
                case 0:
                    cache.set(key, -1 - number - THREADS * step, tags=["red"])
                case 1:
                    cache.invalidate(key)
                case 2 if step % 20 == 0:
                    cache.invalidate_tag("red")
                case _:
                    cache.get(key)

    with cache:
        crew(work)
    cache._inside()._check()
    cache.clear()
    values = [value for _, value, _ in removed]
    assert all(type(value) is int for value in values)
    assert max(Counter(values).values()) == 1
    assert set(evicted) == {heard for heard in removed if heard[2] in ("size", "expired")}
    assert len(evicted) == len(set(evicted))
    assert {value for value in values if value >= 0} <= set(loaded)
