"""Threads and event loops on one loading cache: one load a key at a time, nobody left behind."""

import asyncio
import contextlib
import itertools
import random
import threading
from collections import Counter
from typing import Any

import pytest

from fastcore.cache import LoadingCache
from threads.crew import THREADS, Key, crew


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("key_of", [int, Key])
@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_loading_cache(key_of: Any, policy: Any, scale: int) -> None:
    """CA15, CA16, CA21: whatever threads and tasks ask and change, each gets a value of its key; no load stays."""
    loading = Counter[int]()
    counted = threading.Lock()
    steps = itertools.count()

    def load(key: Any) -> Any:
        n = hash(key) if key_of is int else key.n
        with counted:
            loading[n] += 1
        step = next(steps)
        if step % 17 == 0:
            raise OSError(step)
        with counted:
            loading[n] -= 1
        return n, step

    cache = LoadingCache(
        12,
        load,
        bulk_loader=lambda keys: {key: load(key) for key in keys},
        ttl=400,
        refresh_after=100,
        max_stale=50,
        throttle=5,
        beta=0.1,
        timer=itertools.count().__next__,
        policy=policy,
    )
    rounds = 500 * scale

    def number(key: Any) -> int:
        return key if key_of is int else key.n

    def check(key: Any, value: Any) -> None:
        assert value[0] == number(key)

    def work(which: int) -> None:
        chance = random.Random(which)
        for step in range(rounds):
            key = key_of(chance.randrange(30))
            with contextlib.suppress(OSError):
                match chance.randrange(10):
                    case 0 | 1 | 2:
                        check(key, cache[key])
                    case 3:
                        value = cache.get(key)
                        assert value is None or value[0] == number(key)
                    case 4:
                        check(key, cache.get_or_load(key, load))
                    case 5:
                        for found, value in cache.get_many([key, key_of(chance.randrange(30))]).items():
                            check(found, value)
                    case 6:
                        cache.set(key, (number(key), -step))
                    case 7:
                        cache.invalidate(key)
                    case 8 if which == 0:
                        check(key, asyncio.run(cache.aget(key)))
                    case _:
                        cache.stats()

    crew(work)
    assert cache.close(60)
    stats = cache.stats()
    assert stats.entries <= 12
    assert stats.insertions == stats.entries + stats.removals + stats.evictions + stats.expirations
    with contextlib.suppress(OSError):
        assert cache.get_or_load(key_of(99), lambda: (99, 1))[0] == 99  # no load is left behind


def test_one_load_a_key(scale: int) -> None:
    """CA15: of all threads that ask for a key at once, one loads it."""
    loads = Counter[int]()
    cache = LoadingCache(100, lambda key: loads.update([key]) or key)
    for key in range(100 * scale):
        answers: list[int] = []
        crew(lambda _, key=key, answers=answers: answers.append(cache[key]))
        assert answers == [key] * THREADS
    assert loads == dict.fromkeys(range(100 * scale), 1)
    cache.close()
