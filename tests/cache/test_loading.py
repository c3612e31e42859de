"""A loading cache while nothing goes wrong: loads, hits, times to live, negative entries, and what surrounds them."""

import copy
import gc
import math
import pickle
import random
import threading
import weakref

import pytest

from cache.sources import Manual, Source
from fastcore.errors import NotFound

KEYS = {"a": 1, "b": 2, "none": None, "no": NotFound("no")}


@pytest.fixture
def source(clock):
    return Source(clock, KEYS)


def test_a_value_is_loaded_once(loading, clock, source):
    """CA15: the first read loads, the others hit, by whatever way they read."""
    cache = loading(10, source, timer=clock)
    assert (cache["a"], cache.get("a"), cache.get("a", 5), cache.get_or_load("a", None), cache.peek("a")) == (1,) * 5
    assert cache.get_many(["a"]) == {"a": 1}
    assert source.calls == ["a"]


@pytest.mark.parametrize("ttl", [5, 5.0])
def test_a_value_lives_as_long_as_its_time_to_live(loading, clock, source, ttl):
    """CA3: fresh at t + d - 1, loaded anew at t + d; `set` gives a time to live of its own."""
    cache = loading(10, source, ttl=ttl, timer=clock)
    assert cache["a"] == 1
    clock.set(4)
    assert cache["a"] == 1
    clock.set(5)
    source.values["a"] = 9
    assert "a" not in cache
    assert cache["a"] == 9
    cache.set("a", 10, ttl=2)
    clock.set(6)
    assert cache["a"] == 10
    clock.set(7)
    assert cache["a"] == 9
    assert cache.set("a", 10, ttl=0) is False
    assert len(cache) == 0
    cache.set("a", 11, ttl=None)
    clock.set(10**12)
    assert cache["a"] == 11
    assert source.calls == ["a"] * 3


def test_what_is_of_no_use_any_more_goes_first(loading, clock, source):
    """CA4, CA5: an entry past its time to live and max_stale neither counts nor takes the place of a live one."""
    cache = loading(2, source, ttl=5, max_stale=3, timer=clock)
    cache["x"] = 1
    clock.set(7)
    cache["y"] = 2
    assert len(cache) == 2
    clock.set(8)
    assert len(cache) == 1
    cache["z"] = 3
    assert sorted(cache) == ["y", "z"]
    assert (cache.stats().evictions, cache.stats().expirations) == (0, 1)


def test_a_clock_that_goes_back(loading, clock, source):
    """CA9: time is held at the highest value seen."""
    cache = loading(10, source, ttl=5, timer=clock)
    clock.set(100)
    cache["x"] = 1
    clock.set(0)
    assert cache["x"] == 1
    cache["y"] = 2
    clock.set(104)
    assert (cache["x"], cache["y"]) == (1, 2)
    clock.set(105)
    assert "x" not in cache
    assert "y" not in cache


def test_jitter(loading, clock):
    """CA8: times to live, and with them the moments of reload, spread over the window."""
    cache = loading(
        math.inf, ttl=1000, refresh_after=500, jitter=0.5, timer=clock, rng=random.Random(1).random, executor=Manual()
    )
    for key in range(2000):
        cache[key] = key
    lives = [cache.get_entry(key).expires_in for key in range(2000)]
    assert 500 <= min(lives) < 510
    assert 1490 < max(lives) <= 1500
    clock.set(500)
    refreshed = [cache.get_entry(key).expires_in > 0 for key in range(2000) if key in cache]
    assert len(refreshed) > 1900
    assert 900 < cache.stats().hits - 2000 <= 2000


def test_the_least_recently_used_goes_first(loading, clock, source):
    """CA1: a hit of any kind refreshes, `peek` and `in` do not."""
    cache = loading(2, source, ttl=10, negative_ttl=10, timer=clock)
    cache["x"] = 1
    assert cache.get("no") is None
    assert cache["x"] == 1
    assert cache.get("no") is None
    assert cache.peek("x") == 1
    assert "x" in cache
    cache["y"] = 2
    assert cache.peek("x") is None
    assert cache.get("no", 3) == 3
    assert source.calls == ["no"]


def test_one_time_keys_displace_nothing_that_is_used(loading, clock):
    """CA26: under S3-FIFO a scan leaves what is read again in its place, an LRU cache loses it."""
    kept = {}
    for policy in ("lru", "s3fifo"):
        cache = loading(20, str, ttl=100, timer=clock, policy=policy)
        for _ in range(3):
            cache.get_many(range(10))
        cache.get_many(range(100, 200))
        kept[policy] = sum(key in cache for key in range(10))
        cache._inside()._check()
    assert kept == {"lru": 0, "s3fifo": 10}


def test_a_negative_hit_calls_no_loader(loading, clock, source):
    """CA20: what the loader says there is not, is not asked for again until negative_ttl is over."""
    cache = loading(10, source, ttl=100, negative_ttl=5, timer=clock)
    for _ in range(3):
        with pytest.raises(NotFound, match="no"):
            cache["no"]
    assert cache.get("no", "default") == "default"
    assert cache.get_many(["no", "a"]) == {"a": 1}
    with pytest.raises(KeyError):
        cache.get_or_load("no", source)
    assert cache.peek("no", "default") == "default"
    assert "no" not in cache
    assert list(cache) == ["a"]
    assert len(cache) == 2
    clock.set(4)
    assert cache.get("no") is None
    clock.set(5)
    assert cache.get("no") is None
    assert source.calls == ["no", "a", "no"]
    assert cache.stats()[:4] == (0, 7 - 1, 0, 3)


def test_a_negative_entry_gives_way(loading, clock, source):
    """CA20: `set`, every way of invalidation, and a loader that finds something remove it."""
    for remove in (
        lambda cache: cache.invalidate("no"),
        lambda cache: cache.invalidate_all(),
        lambda cache: cache.clear(),
        lambda cache: cache.invalidate_prefix("n"),
        lambda cache: cache.__delitem__("no"),
        lambda cache: cache.set("no", 0, ttl=0),
    ):
        cache = loading(10, source, negative_ttl=5, timer=clock)
        assert cache.get("no") is None
        assert len(cache) == 1
        remove(cache)
        assert len(cache) == 0
    cache = loading(10, source, negative_ttl=5, timer=clock)
    assert cache.get("no") is None
    cache["no"] = 7
    assert cache["no"] == 7
    clock.set(1000)
    assert cache["no"] == 7


def test_without_negative_ttl_nothing_is_remembered(loading, clock, source):
    """CA20: negative_ttl=0 disables; and what is found to be gone is forgotten."""
    cache = loading(10, source, ttl=5, max_stale=100, timer=clock)
    for _ in range(2):
        assert cache.get("no") is None
    assert source.calls == ["no", "no"]
    cache["a"]
    source.values["a"] = NotFound("a")
    clock.set(5)
    assert cache.get("a") is None
    assert len(cache) == 0
    assert cache.stats().loads_discarded == 0


@pytest.mark.parametrize("cache_none", [False, True])
def test_a_loader_that_returns_none(loading, clock, source, cache_none):
    """CA20: None goes to the caller, and is remembered for negative_ttl if cache_none says so."""
    cache = loading(10, source, ttl=100, negative_ttl=5, cache_none=cache_none, timer=clock)
    for _ in range(3):
        assert cache["none"] is None
        assert cache.get("none", 7) is None
    assert source.calls == ["none"] * (1 if cache_none else 6)
    assert ("none" in cache) == cache_none
    clock.set(5)
    assert cache.get_many(["none"]) == {"none": None}
    assert len(source.calls) == (2 if cache_none else 7)


def test_a_value_that_is_found_to_be_gone(loading, clock, source):
    """CA20: a negative answer replaces an old value, however much of it may be left to serve."""
    cache = loading(10, source, ttl=5, negative_ttl=50, max_stale=100, timer=clock)
    assert cache["a"] == 1
    source.values["a"] = NotFound("a")
    clock.set(5)
    with pytest.raises(NotFound):
        cache["a"]
    source.values["a"] = 2
    assert cache.get("a") is None
    cache.invalidate("a")
    assert cache["a"] == 2


def test_nested_loading(loading, clock):
    """CA13, CA20: a loader may read the cache; what its own key needs and does not exist makes that not exist."""
    cache = loading(10, lambda key: cache[key - 1] + 1 if key > 0 else missing(key), negative_ttl=5, timer=clock)

    def missing(key):
        if key < 0:
            raise NotFound(key)
        return 0

    assert cache[5] == 5
    assert sorted(cache) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(NotFound) as caught:
        cache[-1]
    assert caught.value.args == (-1,)


def test_without_a_loader(loading, clock):
    """A cache without a loader knows what it was given, and what a call of get_or_load brings."""
    cache = loading(10, negative_ttl=100, timer=clock)
    assert cache.get("x", 5) == 5
    with pytest.raises(NotFound):
        cache["x"]
    assert cache.get_many(["x"]) == {}
    assert len(cache) == 0
    assert cache.get_or_load("x", lambda: 7) == 7
    assert cache["x"] == 7
    assert cache.set_many({"y": 1, "z": 2}) == 2
    assert cache.get_many("xyz") == {"x": 7, "y": 1, "z": 2}


def test_a_bulk_loader_alone_loads_single_keys_too(loading, clock, source):
    """CA24: by a call for one key."""
    cache = loading(10, bulk_loader=source.many, ttl=5, negative_ttl=5, timer=clock)
    assert cache["a"] == 1
    assert cache.get("absent") is None
    assert cache.get("absent") is None
    assert source.calls == [["a"], ["absent"]]


def test_sizes(loading, clock):
    """CA10: values are weighed, negative entries weigh 1; what is too large is returned but not kept."""
    cache = loading(5, lambda key: None if key == "none" else "v" * key, cache_none=True, negative_ttl=9, getsizeof=len)
    assert cache[3] == "vvv"
    assert cache["none"] is None
    assert cache.currsize == 4
    assert cache[9] == "v" * 9
    assert cache.stats().loads_discarded == 1
    assert 9 not in cache
    with pytest.raises(ValueError, match="value too large: size 9, maxsize 5"):
        cache["x"] = "v" * 9
    assert cache.set("x", "v" * 9) is False
    cache.resize(1)
    assert (cache.maxsize, cache.currsize, len(cache)) == (1, 1, 1)


def test_an_entry_tells_how_good_it_is(loading, clock, source):
    """CA22, CA23: age, what is left, and the measured cost of the load."""
    source.cost = 3
    cache = loading(10, source, ttl=10, negative_ttl=5, timer=clock)
    assert cache.get_entry("a") == (1, False, 0, 10, 3)
    clock.advance(4e-9)
    assert cache.get_entry("a") == (1, False, 4, 6, 3)
    cache.set("a", 2, ttl=None)
    assert cache.get_entry("a") == (2, False, 0, math.inf, 0)
    with pytest.raises(NotFound):
        cache.get_entry("no")


def test_deletion(loading, clock, source):
    cache = loading(10, source, timer=clock)
    cache["x"] = 1
    del cache["x"]
    with pytest.raises(KeyError):
        del cache["x"]
    assert cache.invalidate("x") is False
    cache["x"] = 1
    assert cache.invalidate("x") is True
    cache.set_many([("aa", 1), ("ab", 2), ("b", 3)])
    assert cache.invalidate_prefix("a") == 2
    assert list(cache) == ["b"]


@pytest.mark.parametrize("time", [5, 5.5, 2**40])
def test_timers_may_return_integers_and_floats(loading, time):
    now = [time]
    cache = loading(10, lambda key: now[0], ttl=2.5, timer=lambda: now[0])
    assert cache["x"] == time
    now[0] += 2
    assert cache["x"] == time
    now[0] += 1
    assert cache["x"] == time + 3


def test_the_default_timer_counts_seconds(loading):
    cache = loading(10, len, ttl=1e-6)
    assert cache["abc"] == 3
    assert cache.get_entry("abc").expires_in <= 1e-6
    cache.set("abc", 4, ttl=3600)
    assert cache["abc"] == 4
    assert 3590 < cache.get_entry("abc").expires_in <= 3600


def test_the_clock_is_read_once_a_hit(loading, source):
    """One reading a hit or a set, three a load: before and after it, and when the read begins and is registered."""
    readings = []

    def timer():
        readings.append(1)
        return 0.0

    cache = loading(10, source, ttl=5, refresh_after=3, max_stale=9, timer=timer)

    def count(action):
        readings.clear()
        action()
        return len(readings)

    assert count(lambda: cache["a"]) == 4
    assert count(lambda: cache["a"]) == 1
    assert count(lambda: cache.get("a")) == 1
    assert count(lambda: cache.set("a", 2)) == 1
    assert count(lambda: cache.peek("a")) == 1
    assert count(lambda: cache.invalidate("a")) == 1


def test_stats_add_up(loading, clock, source):
    """CA25: reads are hits and misses, loads stored, failed or discarded; a reset starts all of it again."""
    cache = loading(2, source, ttl=5, negative_ttl=5, timer=clock)
    for key in ("a", "a", "no", "no", "b", "a"):
        cache.get(key)
    with pytest.raises(KeyError):
        cache.get("unknown")
    s = cache.stats()
    assert s.hits + s.negative_hits + s.stale_hits + s.misses == 7
    assert (s.hits, s.negative_hits, s.misses) == (1, 1, 5)
    assert (s.loads, s.load_failures, s.loads_discarded) == (5, 1, 0)
    assert s.insertions == s.entries + s.removals + s.evictions + s.expirations
    assert (s.entries, s.currsize, s.maxsize) == (2, 2, 2)
    assert cache.stats(reset=True) == s
    assert cache.stats()._asdict() == dict.fromkeys(s._fields, 0) | {
        "insertions": 2,
        "entries": 2,
        "currsize": 2,
        "maxsize": 2,
    }


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ttl": -1}, ValueError, "ttl must be non-negative or None, got -1"),
        ({"ttl": math.nan}, ValueError, "ttl must be non-negative or None, got nan"),
        ({"negative_ttl": -1}, ValueError, "negative_ttl must be non-negative, got -1"),
        ({"max_stale": -2}, ValueError, "max_stale must be non-negative, got -2"),
        ({"throttle": -3}, ValueError, "throttle must be non-negative, got -3"),
        ({"ttl": 5, "refresh_after": 5}, ValueError, "refresh_after must be more than 0 and less than ttl, got 5"),
        ({"refresh_after": 0}, ValueError, "refresh_after must be more than 0 and less than ttl, got 0"),
        ({"beta": -1}, ValueError, "beta must be finite and non-negative, got -1"),
        ({"beta": math.inf}, ValueError, "beta must be finite and non-negative, got inf"),
        ({"jitter": 1}, ValueError, "jitter must be at least 0 and less than 1, got 1"),
        ({"maxsize": -1}, ValueError, "maxsize must be non-negative, got -1"),
        ({"refresh_threads": 0}, ValueError, "refresh_threads must be at least 1, got 0"),
        ({"policy": "fifo"}, ValueError, "policy must be 'lru' or 's3fifo', got 'fifo'"),
        ({"loader": 5}, TypeError, "loader must be callable, got 5"),
        ({"bulk_loader": 5}, TypeError, "bulk_loader must be callable, got 5"),
    ],
)
def test_arguments_out_of_range(loading, arguments, error, message):
    with pytest.raises(error) as caught:
        loading(**({"maxsize": 10} | arguments))
    assert str(caught.value) == message


def test_times_out_of_range(loading, clock):
    cache = loading(10, timer=clock)
    with pytest.raises(ValueError, match="ttl must be non-negative or None, got -1"):
        cache.set("x", 1, ttl=-1)
    with pytest.raises(TypeError):
        cache.set([], 1)
    with pytest.raises(TypeError):
        cache[[]]
    assert len(cache) == 0
    cache = loading(10, timer=lambda: math.nan)
    with pytest.raises(ValueError, match="timer returned nan"):
        cache["x"] = 1


def test_loads_are_of_the_right_kind(loading, clock):
    """A load that the cache cannot fence is refused, and so is an envelope that is none."""
    cache = loading(10, timer=clock)
    for call in (
        lambda: cache._begin_load("k", object()),
        lambda: cache._end_load("k", object(), cache._wrap(1)),
        lambda: cache._fail_load("k", object(), False, True),
    ):
        with pytest.raises(TypeError, match="load must be a Load, got object"):
            call()


def test_copies_are_refused(loading, clock):
    cache = loading(10, timer=clock)
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot copy or pickle 'LoadingCache'"):
            make(cache)
    assert repr(cache) == "<LoadingCache of 0 keys, maxsize=10>"


def test_cycles_are_collected(loading):
    """CA13: a cache that holds itself, and whose loader does, is found by the collector."""
    made = [loading(10, lambda key: made[0])]
    assert made[0]["self"] is made[0]
    gone = weakref.ref(made[0])
    made.clear()
    gc.collect()
    assert gone() is None
    cache = loading(10, str)
    cache["self"] = cache
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert gone() is None


def test_values_that_call_back_when_they_die(loading, clock):
    """CA13: a value's end, and the comparison of keys, may change the cache."""
    cache = loading(3, lambda key: Value(), ttl=5, max_stale=5, timer=clock)
    deaths = []

    class Value:
        def __del__(self):
            deaths.append(1)
            cache.invalidate_all()
            cache.set(len(deaths), None)

    class Key:
        def __init__(self, n):
            self.n = n

        def __hash__(self):
            return 1

        def __eq__(self, other):
            cache.invalidate(0)
            return isinstance(other, Key) and self.n == other.n

    for n in range(20):
        cache[n]
        cache[Key(n % 4)]
        clock.now_ns += 1
    cache._inside()._check()
    assert deaths


def test_threads_read_load_and_invalidate(loading):
    """CA15, CA17: hammered from threads, no read finds a value older than the last invalidation of its key."""
    version = [0] * 4
    locks = [threading.Lock() for _ in version]
    cache = loading(3, lambda key: version[key], ttl=0.002, refresh_after=0.001, max_stale=1, beta=1.0)
    failures = []

    def read(seed):
        for step in range(600):
            key = (seed + step * 7) % 4
            floor = version[key]
            if cache[key] < floor - 1:
                failures.append(key)

    def write(seed):
        for step in range(300):
            key = (seed + step) % 4
            with locks[key]:
                version[key] += 1
                cache.invalidate(key)
                stored = cache.peek(key)
                if stored is not None and stored < version[key] - 1:
                    failures.append((key, stored))

    threads = [threading.Thread(target=f, args=(n,)) for n in range(3) for f in (read, write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.close(20)
    assert not failures
    cache._inside()._check()
