"""The miss-ratio view: what it reports against what caches of those sizes do, and what it must leave alone."""

import gc
import math
import random
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.replays import misses, popular_and_scans, trace
from fastcore._ext import s3fifo as ext_s3fifo
from fastcore._py import s3fifo as py_s3fifo
from fastcore.testing.clock import VirtualClock

SIZES = 3


def exact(caches, requests, maxsize, **options):
    """The hit ratios of real caches of half, the same and double size: LRU, then S3-FIFO."""
    return [
        1 - misses(kind(size, **options), requests) / len(requests)
        for kind in (caches.LRUCache, caches.S3FIFOCache)
        for size in (maxsize // 2, maxsize, 2 * maxsize)
    ]


def watched(cache, requests, rate=None):
    with cache.shadow(rate) as shadow:
        misses(cache, requests)
        return shadow.report()


@pytest.mark.parametrize("size", [40, 400])
@pytest.mark.parametrize("kind", ["LRUCache", "S3FIFOCache"])
def test_a_small_cache_is_watched_in_whole(caches, kind, size):
    """Up to 512 entries every key is in the sample, and the view is exact, whatever the policy of the cache itself."""
    requests = trace("glimpse")
    rows = watched(getattr(caches, kind)(size), requests)
    assert [row.hit_ratio for row in rows] == pytest.approx(exact(caches, requests, size), abs=1e-12)
    assert [row.policy for row in rows] == ["LRU"] * SIZES + ["S3-FIFO"] * SIZES
    assert [row.maxsize for row in rows] == [size // 2, size, size * 2] * 2
    assert {row.requests for row in rows} == {len(requests)}


def test_a_sample_is_right_to_two_points(caches):
    """Error against exact replays, 512 keys in the sample of the size: docs/cache.md promises 2 points."""
    requests, size = popular_and_scans()[:60_000], 5000
    cache = caches.LRUCache(size)
    shadow = cache.shadow()
    assert shadow.rate == 512 / size
    misses(cache, requests)
    for row, ratio in zip(shadow.report(), exact(caches, requests, size), strict=True):
        assert row.hit_ratio == pytest.approx(ratio, abs=0.02), row


def test_a_popular_few_do_not_tip_the_scales(caches):
    """Zipf: the most popular key, in the sample or not, would move the ratio by points without the correction."""
    rng = random.Random(7)
    weights = [1 / rank for rank in range(1, 20_001)]
    requests = rng.choices(range(0, 20_000 * 7919, 7919), weights, k=40_000)
    rows = watched(caches.S3FIFOCache(4000), requests, 1 / 16)
    for row, ratio in zip(rows, exact(caches, requests, 4000), strict=True):
        assert row.hit_ratio == pytest.approx(ratio, abs=0.02), row


def test_one_key_in_64(caches):
    """The sample is what it says, for keys in a row too."""
    cache = caches.LRUCache(1_000_000)
    shadow = cache.shadow()
    assert shadow.rate == 1 / 64
    for key in range(64_000):
        cache.get(key)
    assert shadow.report()[0].requests == pytest.approx(1000, rel=0.1)


STEPS = st.lists(
    st.tuples(st.sampled_from(["read", "load", "load", "set", "pop", "clear"]), st.integers(0, 60), st.integers(0, 6)),
    max_size=200,
)


@settings(max_examples=80)
@given(steps=STEPS, weighted=st.booleans(), rate=st.sampled_from([1, 0.5]), size=st.sampled_from([3, 20, 45]))
def test_twins_watch_the_same(steps, weighted, rate, size):
    """Both twins sample the same keys, and report the same numbers."""
    reports = []
    for module in (ext_s3fifo, py_s3fifo):
        cache = module.S3FIFOCache(size, float if weighted else None)
        shadow = cache.shadow(rate)
        for step, key, value in steps:
            if step == "set" or (step == "load" and cache.get(key) is None):
                cache.set(key, value)
            elif step == "read":
                cache.get(key)
            elif step == "pop":
                cache.pop(key, None)
            elif step == "clear" and value == 0:
                cache.clear()
        reports.append([tuple(row) for row in shadow.report()])
    assert repr(reports[0]) == repr(reports[1])


def test_sizes_of_values_count(caches):
    """With `getsizeof`, simulated caches are as large as the sample, in sizes."""
    requests = trace("glimpse")

    def replay(cache):
        count = 0
        for key in requests:
            if cache.get(key) is None:
                cache[key] = key % 5 + 1
                count += 1
        return 1 - count / len(requests)

    cache = caches.LRUCache(1500, getsizeof=lambda value: value)
    with cache.shadow(1) as shadow:
        replay(cache)
        rows = shadow.report()
    ratios = [
        replay(kind(size, getsizeof=lambda value: value))
        for kind in (caches.LRUCache, caches.S3FIFOCache)
        for size in (750, 1500, 3000)
    ]
    assert [row.hit_ratio for row in rows] == pytest.approx(ratios, abs=1e-12)


def test_what_is_removed_is_removed_everywhere(make):
    """Deleting, invalidating, clearing: no simulated cache answers then."""
    cache = make(10)
    removals = [
        lambda: cache.__delitem__("key"),
        lambda: cache.pop("key"),
        lambda: cache.invalidate("key"),
        lambda: cache.invalidate_prefix("k"),
        lambda: cache.popitem(),
        lambda: cache.clear(),
        lambda: cache.invalidate_all(),
    ]
    with cache.shadow() as shadow:
        for remove in removals:
            cache["key"] = 1
            remove()
            assert cache.get("key") is None
        assert {row.hit_ratio for row in shadow.report()} == {0}
        cache["key"] = 1
        assert cache.get("key") == 1
        assert {row.hit_ratio for row in shadow.report()} == {1 / 8}


def test_what_has_died_is_a_miss_everywhere(caches):
    clock = VirtualClock()
    for cache in (
        caches.TTLCache(10, 5, lambda: clock() // 10**9),
        caches.S3FIFOCache(10, ttl=5, timer=lambda: clock() // 10**9),
    ):
        with cache.shadow() as shadow:
            cache["key"] = 1
            cache.get("key")
            clock.advance(5)
            cache.get("key")
            assert {row.hit_ratio for row in shadow.report()} == {1 / 2}


def test_looking_is_not_reading(make):
    cache = make(10)
    cache["key"] = 1
    with cache.shadow() as shadow:
        cache.peek("key")
        assert "key" in cache
        list(cache.items())
        assert shadow.report()[0].requests == 0
        assert math.isnan(shadow.report()[0].hit_ratio)


def test_it_begins_with_what_the_cache_holds(make):
    """A cache that is full when the watching starts need not be filled again by it."""
    cache = make(10)
    cache.update((key, key) for key in range(10))
    with cache.shadow() as shadow:
        cache.get_many(range(10))
        ratios = [row.hit_ratio for row in shadow.report()]
    assert ratios[1] == ratios[2] == 1
    assert ratios[0] < 1


def test_closed_it_watches_no_more(make):
    """Closing keeps the numbers; a cache has one shadow at a time."""
    cache = make(10)
    shadow = cache.shadow()
    cache.get("absent")
    with pytest.raises(RuntimeError, match="has a shadow already: close that first"):
        cache.shadow()
    shadow.close()
    shadow.close()
    cache.get("absent")
    assert shadow.report()[0].requests == 1
    with cache.shadow() as second:
        shadow.close()
        cache.get("absent")
        assert second.report()[0].requests == 1


def test_dropped_it_watches_no_more(make):
    """A shadow that nobody holds closes itself; one does not keep its cache, nor the cache it, from being collected."""
    cache = make(10)
    cache.shadow()
    gc.collect()
    shadow = cache.shadow()
    cache["shadow"] = shadow
    reference = weakref.ref(cache)
    del cache, shadow
    gc.collect()
    assert reference() is None


def test_no_key_is_held(make):
    """Simulated caches know hashes: an object that was a key goes when the cache lets go of it."""

    class Key:
        pass

    cache = make(2)
    with cache.shadow() as shadow:
        key = Key()
        reference = weakref.ref(key)
        cache[key] = 1
        del key
        cache.clear()
        gc.collect()
        assert reference() is None
        assert shadow.report()


def test_a_cache_that_is_set_up_again_has_no_shadow(caches):
    cache = caches.LRUCache(10)
    shadow = cache.shadow()
    cache.__init__(20)
    cache.get("absent")
    assert shadow.report()[0].requests == 0
    assert cache.shadow().report()[1].maxsize == 20


def test_bad_arguments(make):
    for rate in (0, -1, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"rate must be more than 0 and at most 1, got {rate!r}"):
            make(10).shadow(rate)
    for size in (0, math.inf):
        with pytest.raises(ValueError, match=f"a shadow needs a positive, finite maxsize, got {size!r}"):
            make(size).shadow()


def test_only_caches_have_one(impl):
    with pytest.raises(TypeError, match="cache must be a cache of fastcore, got dict"):
        impl.shadow.Shadow({})


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_loading_cache_has_one(loading, policy):
    """A read that answers is one of the cache within; an old entry that is loaded anew is a miss."""
    clock = VirtualClock()
    cache = loading(10, lambda key: key, ttl=5, timer=lambda: clock() / 1e9, policy=policy)
    with cache.shadow() as shadow:
        assert [cache.get(1), cache.get(1)] == [1, 1]
        clock.advance(6)
        assert cache.get(1) == 1
        assert {row.hit_ratio for row in shadow.report()} == {1 / 3}
