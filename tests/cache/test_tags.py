"""Tags: what carries one goes with it, and so does what is being loaded."""

import asyncio
import copy
import enum
import gc
import pickle
import threading
import tracemalloc

import pytest

from fastcore.cache import LRUCache, S3FIFOCache, TTLCache

WAIT_S = 20


class Loader:
    """Loads in a thread, and stops in the middle until told to go on."""

    def __init__(self, cache, key, **options):
        self.running, self.go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=lambda: cache.get_or_load(key, self.load, **options), daemon=True)
        self.thread.start()
        assert self.running.wait(WAIT_S)

    def load(self):
        self.running.set()
        assert self.go_on.wait(WAIT_S)
        return "loaded"

    def finish(self):
        self.go_on.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


def test_entries_go_with_their_tag(make):
    cache = make(10)
    cache.set("a", 1, tags=["red"])
    cache.set("b", 2, tags=("red", "round", "red"))
    cache.set("c", 3, tags={"round"})
    cache.set("d", 4)
    assert cache.set_many({"e": 5, "f": 6}, tags=["flat"]) == 2
    assert cache.invalidate_tag("blue") == 0
    assert cache.invalidate_tag("red") == 2
    assert sorted(cache) == ["c", "d", "e", "f"]
    assert cache.invalidate_tag("red") == 0
    assert cache.invalidate_tag("round") == 1
    assert cache.invalidate_tag("flat") == 2
    assert list(cache) == ["d"]
    assert cache.stats().removals == 5
    cache._check()


def test_setting_again_replaces_the_tags(make):
    cache = make(10)
    cache.set("a", 1, tags=["red"])
    cache.set("a", 2, tags=["blue"])
    assert cache.invalidate_tag("red") == 0
    assert cache["a"] == 2
    for plain in (lambda: cache.set("a", 3), lambda: cache.__setitem__("a", 3)):
        cache.set("a", 2, tags=["blue"])
        plain()
        assert cache.invalidate_tag("blue") == 0
        assert cache["a"] == 3


def test_the_index_is_cleaned_however_entries_go(make):
    """Nothing is left of a tag without entries, and `_check` compares the index with the entries."""
    cache = make(3)

    def fill():
        for i in range(3):
            cache.set(i, i, tags=["all", f"one-{i}"])
        cache._check()
        assert len(cache._tagged()) == 3

    def evict():
        for i in range(10, 20):
            cache.set(i, i)

    for leave in (
        evict,
        cache.clear,
        cache.invalidate_all,
        lambda: cache.resize(0),
        lambda: [cache.popitem() for _ in range(3)],
        lambda: [cache.pop(i) for i in range(3)],
        lambda: [cache.invalidate(i) for i in range(3)],
        lambda: [cache.set(i, i) for i in range(3)],
        lambda: cache.invalidate_tag("all"),
    ):
        fill()
        leave()
        cache._check()
        stayed = [i for i in range(3) if i in cache] if leave is evict else []
        assert sorted(key for key, _ in cache._tagged()) == stayed
        assert cache.invalidate_tag("all") == len(stayed)
        cache.resize(3)


def test_expired_entries_leave_the_index(caches):
    now = 0

    def timer():
        return now

    for cache in (caches.TTLCache(5, 10, timer), caches.S3FIFOCache(5, None, 10, timer)):
        now = 0
        cache.set("a", 1, tags=["red"])
        cache.set("b", 2, ttl=20, tags=["red"])
        assert cache.set("c", 2, ttl=0, tags=["red"]) is False
        now = 10
        assert cache.invalidate_tag("red") == 1
        assert cache.stats().expirations == 1
        cache._check()


def test_by_weight(make):
    cache = make(5, getsizeof=lambda value: value)
    cache.set("a", 2, tags=["red"])
    cache.set("b", 2, tags=["red"])
    cache.set("c", 5, tags=["red"])
    assert cache.set("d", 6, tags=["red"]) is False
    cache._check()
    assert cache.invalidate_tag("red") == 1
    assert cache.currsize == 0


@pytest.mark.parametrize("tags", [(), ("red",), ("red", "blue")])
def test_a_load_is_fenced_by_its_tags(make, tags):
    """CA18: also where the key is not present yet; a load without tags may be of anything, and is fenced too."""
    cache = make(5)
    loader = Loader(cache, "k", tags=tags)
    assert cache.invalidate_tag("red") == 0
    loader.finish()
    assert "k" not in cache
    assert cache.stats().loads_discarded == 1
    assert cache.get_or_load("k", lambda: "new", tags=tags) == "new"
    assert cache["k"] == "new"


def test_a_load_with_other_tags_is_not_fenced(make):
    """CA18: it is stored, with its tags."""
    cache = make(5)
    loader = Loader(cache, "k", tags=["red"])
    cache.invalidate_tag("blue")
    loader.finish()
    assert cache["k"] == "loaded"
    assert cache.invalidate_tag("red") == 1
    assert "k" not in cache


def test_one_who_asks_for_other_tags_does_not_join(make):
    """CA17, CA18: or it might get, after an invalidation of its tag, what was loaded before."""
    cache = make(5)
    loader = Loader(cache, "k", tags=["red"])
    assert cache.get_or_load("k", lambda: "own", tags=["blue"]) == "own"
    loader.finish()
    assert cache["k"] == "own"
    assert cache.invalidate_tag("red") == 0
    assert cache.invalidate_tag("blue") == 1


def test_one_who_asks_for_fewer_tags_joins(make):
    cache = make(5)
    loader = Loader(cache, "k", tags=["red", "blue"])
    got = []
    joiner = threading.Thread(target=lambda: got.append(cache.get_or_load("k", pytest.fail, tags=["blue"])))
    joiner.start()
    flight = cache._begin_load("k", type(cache)._flight_type())[1]
    while not flight._waiting:
        assert joiner.is_alive()
    loader.finish()
    joiner.join(WAIT_S)
    assert got == ["loaded"]


async def test_asynchronous_loads(make):
    """CA18: tags of asynchronous loads."""
    cache = make(5)

    async def load():
        await asyncio.sleep(0)
        return "loaded"

    assert await cache.aget_or_load("a", load, tags=(tag for tag in ["red"])) == "loaded"
    assert cache.invalidate_tag("red") == 1
    task = asyncio.ensure_future(cache.aget_or_load("a", load, tags=["red"]))
    await asyncio.sleep(0)
    cache.invalidate_tag("red")
    assert await task == "loaded"
    assert "a" not in cache


class Colour(str, enum.Enum):  # noqa: UP042 - its str() is not its content
    RED = "red"


def test_tags_are_strings(make):
    cache = make(5)
    cache.set("a", 1, tags=[Colour.RED])
    assert type(cache._tagged()[0][1][0]) is str
    assert cache.invalidate_tag("red") == 1
    cache.set("a", 1, tags=["red"])
    assert cache.invalidate_tag(Colour.RED) == 1
    for bad, what in (("red", "an iterable of str, got 'red'"), (b"red", "an iterable of str"), ([1], "str, got int")):
        with pytest.raises(TypeError, match=f"tags must be {what}"):
            cache.set("b", 1, tags=bad)
        with pytest.raises(TypeError, match=f"tags must be {what}"):
            cache.get_or_load("b", lambda: 1, tags=bad)
    with pytest.raises(TypeError, match="tag must be str, got int"):
        cache.invalidate_tag(1)
    assert len(cache) == 0
    assert cache.stats().loads == 0


@pytest.mark.parametrize("kind", [LRUCache, lambda n: TTLCache(n, 60), S3FIFOCache])
def test_copies_keep_tags(kind):
    cache = kind(5)
    cache.set("a", 1, tags=["red"])
    cache.set("b", 1)
    for clone in (copy.copy(cache), pickle.loads(pickle.dumps(cache)), copy.deepcopy(cache)):
        assert clone.invalidate_tag("red") == 1
        assert list(clone) == ["b"]
        clone._check()
    assert sorted(cache) == ["a", "b"]


def test_memory_is_bounded_by_the_entries(make):
    """However many tags there were."""
    cache = make(20)

    def churn(start):
        for i in range(start, start + 1000):
            cache.set(i, i, tags=[f"tag-{i}", "all"])

    churn(0)
    gc.collect()
    tracemalloc.start()
    try:
        churn(1000)
        before = tracemalloc.get_traced_memory()[0]
        churn(2000)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
    cache._check()


def test_listeners_hear_of_it(caches):
    """CA12: what goes with its tag goes with the cause `explicit`."""
    log = []
    cache = caches.LRUCache(5, on_removal=lambda *event: log.append(event))
    cache.set("a", 1, tags=["red"])
    cache.invalidate_tag("red")
    assert log == [("a", 1, "explicit")]
