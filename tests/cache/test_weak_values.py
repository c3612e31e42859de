"""Values that a cache holds only as long as somebody else does."""

import copy
import gc
import pickle

import pytest


class Value:
    pass


@pytest.fixture(params=["LRUCache", "TTLCache", "S3FIFOCache"])
def build(request, caches):
    """Makes a cache of any kind with weak values."""
    if request.param == "TTLCache":
        return lambda maxsize=10, **options: caches.TTLCache(maxsize, 1e6, weak_values=True, **options)
    return lambda maxsize=10, **options: getattr(caches, request.param)(maxsize, weak_values=True, **options)


def test_a_value_stays_as_long_as_somebody_holds_it(build):
    cache = build()
    kept = cache["a"] = Value()
    cache["b"] = Value()
    gc.collect()
    assert cache["a"] is cache.get("a") is cache.peek("a") is kept
    assert cache.setdefault("a", None) is kept
    assert cache.get_or_load("a", pytest.fail) is kept
    assert list(cache.items()) == [("a", kept)]
    assert list(cache.values()) == [kept]
    assert "a" in cache
    assert cache.get_many(["a", "b"]) == {"a": kept}
    assert cache.pop("a") is kept
    assert cache._check() == []


READS = {
    "setdefault": lambda c: c.setdefault("a", Value),
    "get": lambda c: c.get("a"),
    "peek": lambda c: c.peek("a"),
    "in": lambda c: "a" in c,
    "iter": list,
    "items": lambda c: list(c.items()),
    "pop": lambda c: c.pop("a", None),
    "invalidate": lambda c: c.invalidate("a"),
    "len": len,
    "entries": lambda c: c._entries(),
    "set": lambda c: c.set("b", Value),
    "get_or_load": lambda c: c.get_or_load("a", lambda: Value),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_is_gone_is_absent_at_once(build, read):
    """CA12: it is never returned; it goes with the cause `collected`, and to both listeners without its value."""
    removed, evicted = [], []
    cache = build(on_removal=lambda *e: removed.append(e), on_eviction=lambda *e: evicted.append(e))
    cache.set("a", Value(), tags=["red"])
    gc.collect()
    answer = read(cache)
    assert answer in (Value, True) or not answer
    assert cache.peek("a") in (None, Value)
    len(cache)
    assert removed == evicted == [("a", None, "collected")]
    assert cache.invalidate_tag("red") == 0
    cache._check()
    stats = cache.stats()
    assert stats.insertions == stats.entries + stats.removals + stats.evictions + stats.expirations


def test_a_read_of_what_is_gone_is_a_miss(build):
    cache = build()
    cache["a"] = Value()
    gc.collect()
    assert cache.get("a") is None
    assert cache.stats()[:3] == (0, 1, 1)
    with pytest.raises(KeyError):
        cache["a"]
    with pytest.raises(KeyError):
        cache.popitem()


def test_other_causes_have_the_value_if_it_lives(build):
    """CA12: explicit, replaced and size."""
    removed = []
    cache = build(1, on_removal=lambda *e: removed.append(e))
    one, two = Value(), Value()
    cache["a"] = one
    cache["a"] = two
    cache["b"] = one
    del cache["b"]
    assert removed == [("a", one, "replaced"), ("a", two, "size"), ("b", one, "explicit")]


def test_a_slot_used_again_is_not_mistaken(build):
    """The death of a value that was replaced, or evicted, removes nothing."""
    cache = build(2)
    kept = Value()
    for i in range(20):
        cache[i % 3] = Value()
        cache[i % 3] = kept
    gc.collect()
    assert len(cache) == 2
    assert set(cache.values()) == {kept}


def test_the_dead_make_room_first(build):
    kept = Value()
    cache = build(2)
    cache["a"] = kept
    cache["b"] = Value()
    gc.collect()
    cache["c"] = kept
    assert sorted(cache) == ["a", "c"]
    assert cache.stats().evictions == 0


def test_values_that_cannot_be_held_weakly(build):
    cache = build()
    with pytest.raises(TypeError, match="weak reference to 'int'"):
        cache["a"] = 1
    with pytest.raises(TypeError, match="weak reference to 'str'"):
        cache.set("a", "text")
    assert cache._check() == []
    with pytest.raises(ValueError, match="weak_values and copy exclude each other"):
        build(copy="on_read")


def test_weights_are_of_the_values(build):
    cache = build(10, getsizeof=lambda value: value.size)
    kept = Value()
    kept.size = 7
    cache["a"] = kept
    assert cache.currsize == 7
    del kept
    gc.collect()
    assert cache.currsize == 0


def test_copies():
    from fastcore.cache import LRUCache

    cache = LRUCache(5, weak_values=True)
    kept = cache["a"] = Value()
    cache["b"] = Value()
    clone = copy.copy(cache)
    assert dict(clone) == {"a": kept}
    del kept
    gc.collect()
    assert len(clone) == 0
    with pytest.raises(TypeError, match="cannot pickle a LRUCache that holds its values weakly"):
        pickle.dumps(cache)
