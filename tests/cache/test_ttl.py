"""Life and death of entries."""

import math
import random
from datetime import timedelta
from fractions import Fraction

import pytest


@pytest.fixture
def timed(caches, clock):
    """Makes a TTLCache on the virtual clock, which counts integer nanoseconds."""
    return lambda maxsize, ttl, **options: caches.TTLCache(maxsize, ttl, timer=clock, **options)


@pytest.mark.parametrize("start", [0, 5, 2**53 + 1, 2**62, -(2**60)])
@pytest.mark.parametrize("ttl", [1, 2, 15, 16, 17, 255, 10**9, 3 * 10**15 + 1])
def test_the_last_instant(timed, clock, start, ttl):
    """CA3: readable at t + d - 1, not at t + d, to the nanosecond, anywhere on the time line."""
    clock.set(start)
    cache = timed(10, ttl)
    cache["a"] = 1
    clock.set(start + ttl - 1)
    assert cache["a"] == 1
    assert "a" in cache
    assert len(cache) == 1
    cache._check()
    clock.set(start + ttl)
    assert "a" not in cache
    assert cache.get("a") is None
    assert cache.peek("a") is None
    with pytest.raises(KeyError):
        cache["a"]
    assert len(cache) == 0
    cache._check()


@pytest.mark.parametrize("convert", [float, Fraction, lambda t: t])
def test_any_number_is_a_time(caches, convert):
    """CA3: the timer may return any comparable number, and may change its mind."""
    now = 0
    cache = caches.TTLCache(10, 2.5, timer=lambda: convert(now))
    cache["a"] = 1
    now = 2
    assert "a" in cache
    now = 3
    assert "a" not in cache
    cache["b"] = 2
    now = 3.25
    cache["c"] = 3
    now = 5.25
    assert dict(cache) == {"b": 2, "c": 3}
    cache._check()
    now = 5.5
    assert dict(cache) == {"c": 3}
    now = 5.75
    assert len(cache) == 0


def test_the_default_clock(caches):
    cache = caches.TTLCache(10, 3600)
    assert cache.set("a", 1)
    assert cache.set("gone", 1, ttl=1e-9)
    while "gone" in cache:
        pass
    assert dict(cache) == {"a": 1}
    assert cache.expire() == [("gone", 1)]
    assert isinstance(cache.timer(), float)
    assert cache.expire(cache.timer() + 3601) == [("a", 1)]


def test_the_dead_are_not_there(timed, clock):
    """CA4: never returned, counted in len, iterated over or a hit; a miss with cause `expired`."""
    cache = timed(10, 10)
    cache.update(a=1, b=2)
    clock.set(5)
    cache.update(b=3, c=4)
    clock.set(10)
    assert {key for key in cache} == {"b", "c"}  # noqa: C416 - set() would ask for the length first
    assert {value for value in cache.values()} == {3, 4}  # noqa: C416
    assert {item for item in cache.items()} == {("b", 3), ("c", 4)}  # noqa: C416
    assert cache.get("a", "gone") == "gone"
    assert cache.get_many(["a", "b"]) == {"b": 3}
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.expired, stats.entries) == (1, 2, 2, 2)
    assert len(cache) == cache.currsize == 2
    assert cache.pop("a", "gone") == "gone"
    assert cache.stats().expirations == 1


def test_deleting_the_dead(timed, clock):
    cache = timed(10, 10)
    cache.update(a=1, b=2, c=3)
    clock.set(10)
    with pytest.raises(KeyError):
        del cache["a"]
    with pytest.raises(KeyError):
        cache.pop("b")
    assert cache.invalidate("c") is False
    with pytest.raises(KeyError, match="empty"):
        cache.popitem()
    assert cache.stats().removals == 0
    assert cache.stats().expirations == 3


def test_iteration_looks_at_the_clock(timed, clock):
    """CA4: an entry that dies while an iterator is under way is not yielded; death is not a change."""
    cache = timed(10, 10)
    cache.update((i, i) for i in range(4))
    iterator = iter(cache)
    next(iterator)
    clock.set(10)
    assert list(iterator) == []
    iterator = iter(cache)
    assert len(cache) == 0
    assert list(iterator) == []


def test_the_dead_go_first(timed, clock):
    """CA5: dead entries make room before live ones, even if these were used less recently."""
    cache = timed(3, 100)
    cache["old"] = 1
    cache.set("short1", 1, ttl=5)
    cache.set("short2", 1, ttl=5)
    clock.set(5)
    cache["new"] = 2
    assert sorted(cache) == ["new", "old"]
    assert cache.stats().evictions == 0
    assert cache.stats().expirations == 2


def test_touch_on_write(timed, clock):
    """CA6: reads do not extend an `after write` life."""
    cache = timed(3, 10)
    cache["a"] = 1
    for now in range(10):
        clock.set(now)
        assert cache["a"] == cache.get("a") == cache.peek("a") == 1
    clock.set(10)
    assert "a" not in cache


def test_touch_on_access(timed, clock):
    """CA6: reads extend an `after access` life by the entry's own ttl; peek, `in` and iteration never do."""
    cache = timed(3, 10, touch="access")
    cache["a"] = 1
    cache.set("b", 2, ttl=4)
    clock.set(3)
    assert cache.get("b") == 2
    clock.set(6)
    assert cache["b"] == 2
    clock.set(9)
    assert cache["a"] == 1
    assert cache.get_many(["b"]) == {"b": 2}
    clock.set(12)
    assert cache.peek("b") == 2
    assert "b" in cache
    assert ("b", 2) in list(cache.items())
    clock.set(13)
    assert "b" not in cache
    clock.set(18)
    assert cache._check()
    assert "a" in cache
    clock.set(19)
    assert "a" not in cache
    with pytest.raises(ValueError, match="touch must be 'write' or 'access', got 'never'"):
        timed(3, 10, touch="never")


def test_setting_again_starts_life_again(timed, clock):
    """CA2: setting an existing key renews its time to live."""
    cache = timed(3, 10)
    cache["a"] = 1
    clock.set(9)
    cache["a"] = 2
    clock.set(18)
    assert cache["a"] == 2
    cache.set("a", 3, ttl=1)
    clock.set(19)
    assert "a" not in cache


def test_extreme_lives(timed, clock):
    """CA7: None never expires, 0 stores nothing and removes, negative raises, infinity and overflow saturate."""
    cache = timed(10, 10)
    cache.update(a=1, b=1)
    assert cache.set("a", 2, ttl=0) is False
    assert "a" not in cache
    for bad in (-1, -0.5, float("nan"), float("-inf")):
        with pytest.raises(ValueError, match="ttl must be non-negative or None, got"):
            cache.set("b", 2, ttl=bad)
        with pytest.raises(ValueError, match="ttl must be non-negative or None, got"):
            timed(10, bad)
    assert cache["b"] == 1
    for i, endless in enumerate((None, math.inf, 10**30, 2**63, 1e300)):
        assert cache.set(i, i, ttl=endless) is True
    clock.set(2**62)
    assert sorted(cache) == [0, 1, 2, 3, 4]
    cache._check()
    assert timed(3, None).set("a", 1)
    assert timed(3, 0).set("a", 1) is False
    with pytest.raises(TypeError):
        cache.set("a", 1, ttl=timedelta(1))


def test_extreme_lives_on_the_default_clock(caches):
    """CA7: as above in seconds, where a lifetime in nanoseconds would overflow."""
    cache = caches.TTLCache(10, 1e300)
    cache["a"] = 1
    assert cache.set("b", 1, ttl=9.3e9)
    assert cache.set("c", 1, ttl=9.1e9)
    assert cache.set("d", 1, ttl=0) is False
    assert sorted(cache._check()) == ["a", "b", "c"]
    assert [lifetime is None for *_, lifetime in cache._entries()] == [True, True, False]


def test_jitter(timed, clock):
    """CA8: lives spread evenly over ttl * (1 ± j), over at least 0.9 of that window, and are never 0."""
    cache = timed(10_000, 1000_000, jitter=0.5, rng=random.Random(7).random)
    cache.update((i, i) for i in range(10_000))
    lives = [lifetime for *_, lifetime in cache._entries()]
    assert min(lives) >= 500_000
    assert max(lives) <= 1_500_000
    assert max(lives) - min(lives) >= 0.9 * 1_000_000
    assert 4_700 < sum(life < 1_000_000 for life in lives) < 5_300
    clock.set(499_999)
    assert len(cache) == 10_000
    clock.set(1_500_000)
    assert len(cache) == 0
    shortest = timed(10, 1, jitter=0.99, rng=lambda: 0.0)
    assert shortest.set("a", 1) is True
    for bad in (-0.1, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="jitter must be at least 0 and less than 1, got"):
            timed(10, 1, jitter=bad)


def test_a_clock_that_goes_back(timed, clock):
    """CA9: no entry outlives its ttl counted from the highest time seen; reads neither fail nor change their minds."""
    cache = timed(10, 10)
    clock.set(100)
    cache["a"] = 1
    clock.set(50)
    cache["b"] = 2
    assert cache["a"] == 1
    clock.set(109)
    assert dict(cache) == {"a": 1, "b": 2}
    clock.set(110)
    assert len(cache) == 0
    clock.set(0)
    assert cache.get("a") is None
    assert len(cache) == 0
    cache._check()


def test_a_timer_that_is_not_a_number(caches):
    now = 0
    cache = caches.TTLCache(10, 5, timer=lambda: now)
    cache["a"] = 1
    now = float("nan")
    with pytest.raises(ValueError, match="timer returned nan"):
        cache["b"] = 1
    now = "soon"
    with pytest.raises((TypeError, ValueError)):
        cache.get("a")
    now = 1
    assert dict(cache) == {"a": 1}


def test_expire(timed, clock):
    """`expire` returns what it removes, now or at a given time, oldest first for a constant ttl."""
    cache = timed(10, 10)
    for i in range(5):
        clock.set(i)
        cache[i] = -i
    assert cache.expire() == []
    assert sorted(cache.expire(11)) == [(0, 0), (1, -1)]
    clock.set(13)
    assert cache.expire() == [(2, -2), (3, -3)]
    clock.set(14)
    assert cache.expire(time=13) == []
    assert cache.expire(None) == [(4, -4)]
    cache._check()


def test_properties(timed, clock):
    cache = timed(10, 7.5)
    assert cache.ttl == 7.5
    assert cache.timer is clock


@pytest.mark.parametrize("seed", range(5))
def test_wheel_against_a_dict(timed, clock, seed):
    """CA3: any mix of lives and leaps of time, against a dict of deadlines."""
    chance = random.Random(seed)
    cache = timed(10**6, 1)
    deadlines = {}
    for _ in range(2000):
        clock.set(clock() + chance.choice([0, 1, 3, 16, 100, 5000]) * chance.choice([0, 0, 0, 1, 17, 10**6]))
        key = chance.randrange(200)
        ttl = chance.choice([1, 2, 15, 16, 17, 300, 4096, 10**6, 10**10])
        cache.set(key, key, ttl=ttl)
        deadlines[key] = clock() + ttl
        if chance.random() < 0.2:
            gone = chance.randrange(200)
            cache.pop(gone, None)
            deadlines.pop(gone, None)
        assert len(cache) == sum(clock() < d for d in deadlines.values())
        cache._check()


def test_setdefault_of_what_does_not_live(caches, clock):
    """CA7: the default is the answer, as with cachetools, even if it is dead at once."""
    cache = caches.TTLCache(4, 0, clock)
    assert cache.setdefault("a", 1) == 1
    assert "a" not in cache
    cache.set("a", 2, ttl=5)
    assert cache.setdefault("a", 3) == 2
    cache._check()
