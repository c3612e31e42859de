"""S3-FIFO: which queue an entry is in, what leaves, and what comes back; with sizes, deadlines, copies."""

import copy
import pickle

import pytest

from fastcore import S3FIFOCache
from fastcore.testing.clock import VirtualClock

YOUNG = 4


def places(cache):
    """The uses of each key, and whether it is in the small queue."""
    return {key: (place & 3, bool(place & YOUNG)) for key, _, _, place in cache._entries()}


def full(caches, size=20):
    """A cache whose small queue holds 0 and 1, whose main queue the rest."""
    cache = caches.S3FIFOCache(size)
    cache.update((key, key) for key in range(size))
    return cache


def test_the_first_entries_fill_the_small_queue_then_main(caches):
    """CA26: small is 10 % of the size, main 90 %."""
    assert places(full(caches)) == {key: (0, key < 2) for key in range(20)}


def test_uses_are_counted_up_to_three(caches):
    """CA26: frequency capped at 3; reading and setting count, looking does not."""
    cache = full(caches)
    cache.peek(5)
    assert 5 in cache
    assert places(cache)[5] == (0, False)
    assert cache[5] == cache.get(5) == 5
    cache[5] = "new"
    assert places(cache)[5] == (3, False)
    cache.get_many([5, 5])
    assert places(cache)[5] == (3, False)


def test_the_small_queue_promotes_what_was_used_twice(caches):
    """CA26: promote from small to main when frequency >= 2 at the small tail; it starts there without uses."""
    cache = full(caches)
    cache.get_many([0, 1, 0])
    cache["new"] = 1
    assert places(cache)[0] == (0, False)
    assert 1 not in cache
    assert places(cache)["new"] == (0, True)


def test_a_ghost_goes_to_main(caches):
    """CA26: a ghost hit inserts into main; a ghost that was found is one no more."""
    cache = full(caches)
    cache["new"] = 1
    assert 0 not in cache
    assert len(cache._ghosts()) == 1
    cache[0] = "again"
    assert places(cache)[0] == (0, False)
    assert len(cache._ghosts()) == 1
    assert 1 not in cache


def test_ghosts_are_forgotten_in_order(caches):
    """CA26: the ghost queue holds 90 % of the size, first in, first out; what was found is taken out of the middle."""
    cache = full(caches)
    for key in range(100, 100 + 40):
        cache[key] = key
    ghosts = cache._ghosts()
    assert len(ghosts) == 18
    cache[100 + 25] = "from the middle, the sixth of them"
    assert cache._ghosts()[:-1] == ghosts[:5] + ghosts[6:]
    cache._check()
    for key in range(200, 205):
        cache[key] = key
    assert ghosts[0] not in cache._ghosts()
    assert cache._ghosts()[:5] == ghosts[4:5] + ghosts[6:10]
    cache._check()


def test_main_gives_what_was_used_another_round(caches):
    """CA26: evict from main while main is over its size; a reinserted main entry loses one from its frequency."""
    cache = full(caches)
    for key in (0, 1):
        cache.get_many([key])
        cache.get(key)
    cache.get(2)
    cache.get(2)
    cache.get(2)
    cache["new"] = 1  # small is empty after two promotions, so main gives way: not 2, but 3
    assert 3 not in cache
    assert places(cache)[2] == (2, False)
    assert len(cache) == 20


def test_a_scan_leaves_what_is_in_use(caches):
    """CA26: a hundred scanned keys for each cached one displace none of those in use."""
    cache = caches.S3FIFOCache(100)
    used = range(50)
    for _ in range(3):
        for key in used:
            cache.get_or_load(key, lambda: "used")
    for key in range(1000, 11_000):
        cache.get_or_load(key, lambda: "scanned")
    assert all(key in cache for key in used)


def test_popitem_takes_what_would_be_evicted(caches):
    cache = full(caches, 10)
    cache.get(0)
    cache.get(0)
    assert [cache.popitem()[0] for _ in range(10)] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    with pytest.raises(KeyError, match="S3FIFOCache is empty"):
        cache.popitem()


@pytest.mark.parametrize("size", [0, 1, 2, 9, 10, 11, 2.5])
def test_small_sizes(caches, size):
    """CA1: after any operation len <= maxsize, where a tenth is less than one too."""
    cache = caches.S3FIFOCache(size)
    for key in [*range(30), *range(30), 1, 1, 1, 2, 2, *range(40)]:
        cache.get(key)
        if size >= 1:
            cache[key] = key
            assert cache.peek(key) == key
        else:
            assert not cache.set(key, key)
        assert len(cache) <= size
        cache._check()


def test_an_entry_larger_than_the_small_queue_is_stored(caches):
    """CA10: what fits into the cache is stored, however large; what does not is not."""
    cache = caches.S3FIFOCache(100, getsizeof=lambda value: value)
    cache.update((key, 1) for key in range(100))
    assert cache.set("large", 60)
    assert cache["large"] == 60
    assert cache.currsize == 100
    assert not cache.set("too large", 101)
    assert cache.set("all", 100)
    assert dict(cache) == {"all": 100}
    cache._check()


def test_an_entry_that_grows_stays(caches):
    """CA2: setting a larger value makes room among the others."""
    cache = caches.S3FIFOCache(20, getsizeof=lambda value: value)
    cache.update((key, 1) for key in range(20))
    for key in (0, 19):  # of the small queue, and of main
        cache[key] = 15
        assert cache[key] == 15
        assert cache.currsize <= 20
        cache[key] = 0
        assert cache[key] == 0
        cache[key] = 2
        cache._check()
    assert cache.peek(0) == cache.peek(19) == 2


def test_resize_divides_anew(caches):
    """CA11: evicts at once, by the policy; and the ghost queue shrinks with the cache."""
    cache = full(caches, 100)
    cache.update((key, key) for key in range(100, 300))
    for key in range(20, 30):
        cache.get(key)
        cache.get(key)
    assert len(cache._ghosts()) == 90
    cache.resize(20)
    assert len(cache) == 20
    assert len(cache._ghosts()) == 18
    assert all(key in cache for key in range(20, 30))
    cache.resize(1000)
    cache.update((key, key) for key in range(5000, 7000))
    assert len(cache) == 1000
    assert len(cache._ghosts()) == 900
    cache._check()


def test_clear_forgets_ghosts(caches):
    cache = full(caches)
    cache["new"] = 1
    cache.clear()
    assert cache._ghosts() == []
    cache.update((key, key) for key in range(20))
    assert places(cache) == {key: (0, key < 2) for key in range(20)}


def test_the_dead_go_before_the_living(caches):
    """CA3, CA5: an entry's own time to live; the dead make room, and leave no ghost."""
    clock = VirtualClock()
    cache = caches.S3FIFOCache(20, ttl=10, timer=lambda: clock() // 10**9)
    cache.update((key, key) for key in range(20))
    cache.set(7, "short", ttl=5)
    clock.advance(5)
    assert cache.get(7) is None
    assert cache.stats().expired == 1
    cache["new"] = 1
    assert cache.stats()[6:8] == (0, 1)
    assert 0 in cache
    assert cache._ghosts() == []
    clock.advance(5)
    assert list(cache) == ["new"]


def test_access_may_prolong(caches):
    """CA6: reads of an 'after access' ttl extend it, `peek` does not."""
    clock = VirtualClock()
    cache = caches.S3FIFOCache(5, None, 10, lambda: clock() // 10**9, touch="access")
    cache["read"] = cache["peeked"] = 1
    clock.advance(6)
    cache.get("read")
    cache.peek("peeked")
    clock.advance(6)
    assert list(cache) == ["read"]


def test_no_time_is_asked_for_without_deadlines(caches):
    """Reads ask a timer only about entries that can die."""
    asked = []

    def timer():
        asked.append(1)
        return 0

    cache = caches.S3FIFOCache(5, timer=timer)
    cache["for ever"] = 1
    del asked[:]
    assert cache["for ever"] == cache.get("for ever")
    assert cache.get("absent") is None
    assert not asked
    cache.set("mortal", 1, ttl=3)
    del asked[:]
    cache.get("mortal")
    assert len(asked) == 1


@pytest.mark.parametrize("duplicate", [copy.copy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_copies_keep_places_and_uses(duplicate):
    """A copy has each entry in its queue, with its uses; ghosts stay behind."""
    cache = S3FIFOCache(20, ttl=1000)
    cache.update((key, key) for key in range(30))
    cache.get_many([3, 3, 25, 29, 29])
    twin = duplicate(cache)
    assert [(*entry[:2], entry[3]) for entry in twin._entries()] == [
        (*entry[:2], entry[3]) for entry in cache._entries()
    ]
    assert twin._check() == cache._check()
    assert (twin.maxsize, twin.ttl) == (20, 1000)
    assert twin._ghosts() == []
    twin.update((key, key) for key in range(100))
    twin._check()


def test_bad_arguments(caches):
    with pytest.raises(ValueError, match="maxsize must be non-negative, got -1"):
        caches.S3FIFOCache(-1)
    with pytest.raises(ValueError, match="ttl must be non-negative or None, got -2"):
        caches.S3FIFOCache(5, ttl=-2)
    with pytest.raises(ValueError, match="jitter must be at least 0 and less than 1, got 1"):
        caches.S3FIFOCache(5, ttl=3, jitter=1)
    with pytest.raises(ValueError, match="touch must be"):
        caches.S3FIFOCache(5, touch="never")


def test_a_subclass_that_overrides_popitem_is_asked(caches):
    """As in cachetools: evictions go through an overridden `popitem`."""
    gone = []

    class Noting(caches.S3FIFOCache):
        def popitem(self):
            item = super().popitem()
            gone.append(item[0])
            return item

    cache = Noting(10)
    cache.update((key, key) for key in range(12))
    assert gone == [0, 10]
    cache._check()
