"""Order, room and weight."""

import gc
import sys

import pytest


def test_exact_lru(recent):
    """CA1: get and set refresh; `in`, iteration, peek and views do not; never more than maxsize entries."""
    cache = recent(4)
    cache.update(a=1, b=2, c=3, d=4)
    assert "a" in cache
    assert cache.peek("a") == 1
    assert cache.peek("zz", 0) == 0
    assert list(cache.keys())
    assert list(cache.values())
    assert list(cache.items())
    assert cache._check() == ["a", "b", "c", "d"]
    assert cache.get("b") == 2
    assert cache["a"] == 1
    cache["c"] = 33
    assert cache._check() == ["d", "b", "a", "c"]
    cache["e"] = 5
    assert cache._check() == ["b", "a", "c", "e"]
    for i in range(100):
        cache[i] = i
        assert len(cache) == 4


def test_setting_an_existing_key(recent):
    """CA2: value and weight change, the entry becomes the newest, nothing is evicted if the weight does not grow."""
    cache = recent(10, getsizeof=lambda value: value)
    cache.update(a=3, b=3, c=4)
    cache["a"] = 2
    assert cache._check() == ["b", "c", "a"]
    assert cache.currsize == 9
    cache["b"] = 5
    assert cache._check() == ["a", "b"]
    assert cache.currsize == 7
    assert cache.stats().evictions == 1


def test_too_heavy(recent):
    """CA10: `set` returns False and removes the old entry; `[]=` raises ValueError and changes nothing."""
    cache = recent(10, getsizeof=lambda value: value)
    cache.update(a=3, b=3)
    with pytest.raises(ValueError, match="value too large: size 11, maxsize 10"):
        cache["a"] = 11
    assert dict(cache) == {"a": 3, "b": 3}
    assert cache._check() == ["a", "b"]
    assert cache.set("a", 11) is False
    assert dict(cache) == {"b": 3}
    assert cache.set("c", 10) is True
    assert dict(cache) == {"c": 10}


def test_weightless_entries_are_pinned(recent):
    """CA10: an entry of weight 0 never makes room for another."""
    cache = recent(3, getsizeof=lambda value: value)
    cache.update(zero=0, a=1, b=1, c=1, d=1)
    assert "zero" in cache
    assert cache._check() == ["b", "c", "d", "zero"]
    cache["b"] = 0
    cache["zero"] = 3
    assert cache._check() == ["zero", "b"]
    cache.resize(0)
    assert cache._check() == ["b"]
    assert cache.popitem() == ("b", 0)
    assert len(cache) == 0


@pytest.mark.parametrize("weight", [-1, float("nan")])
def test_bad_weights(make, weight):
    cache = make(3, getsizeof=lambda value: value)
    cache["a"] = 1
    with pytest.raises(ValueError, match="value size must be non-negative, got"):
        cache["a"] = weight
    assert cache._check() == ["a"]
    assert cache["a"] == 1


def test_a_raising_weigher_changes_nothing(recent):
    """CA10: a raising weigher leaves the cache unchanged."""

    def weigh(value):
        if value == 2:
            raise RuntimeError("weigh")
        return 1

    cache = recent(3, getsizeof=weigh)
    cache.update(a=1, b=1)
    for store in (lambda: cache.set("a", 2), lambda: cache.setdefault("c", 2), lambda: cache.update(d=2)):
        with pytest.raises(RuntimeError, match="weigh"):
            store()
        assert cache._check() == ["a", "b"]
    assert dict(cache) == {"a": 1, "b": 1}


def test_fractions_do_not_drift(make):
    cache = make(1.0, getsizeof=lambda value: value)
    for i in range(1000):
        cache[i % 13] = 0.1
        cache._check()
    assert cache.currsize == pytest.approx(1.0)
    assert isinstance(cache.currsize, float)
    cache.resize(0)
    assert cache.currsize == 0


def test_currsize_is_an_int_for_int_sizes(make):
    cache = make(10, getsizeof=len)
    cache["a"] = "xxx"
    assert cache.currsize == 3
    assert isinstance(cache.currsize, int)
    assert cache.getsizeof("12345") == 5
    assert make(3).getsizeof("12345") == 1


def test_resize(make):
    """CA11: a smaller maximum evicts at once, least recently used first."""
    cache = make(5)
    cache.update(a=1, b=2, c=3, d=4, e=5)
    assert cache["a"] == 1
    cache.resize(2)
    assert cache._check() == ["e", "a"]
    assert cache.maxsize == 2
    assert cache.stats().evictions == 3
    cache.resize(4)
    cache.update(f=6, g=7)
    assert cache._check() == ["e", "a", "f", "g"]


def test_a_million_keys_leave_no_trace(make):
    """Side tables stay as small as the cache, whatever was in it."""
    cache = make(100)
    for i in range(1000):
        cache[i] = i
    before = [sys.getsizeof(x) for x in gc.get_referents(cache)]
    for i in range(20_000):
        cache[i] = i
    assert [sys.getsizeof(x) for x in gc.get_referents(cache)] == before
    assert len(cache._check()) == 100


def test_weightless_entries_in_a_cache_of_size_zero(make):
    """CA10: they fit where nothing else does."""
    cache = make(0, getsizeof=lambda value: value)
    assert cache.setdefault("a", 0) == 0
    assert cache.set("b", 1) is False
    assert cache._check() == ["a"]


def test_fractions_do_not_evict_what_fits(make):
    """CA10: what is as large as the cache fits, though 0.1 + 0.3 - 0.1 is more than 0.3."""
    cache = make(0.3, getsizeof=lambda value: value)
    cache.set("a", 0.1)
    assert cache.set("b", 0.3)
    assert (cache._check(), cache.currsize) == (["b"], 0.3)
    cache["c"] = 0.1
    assert cache._check() == ["c"]
