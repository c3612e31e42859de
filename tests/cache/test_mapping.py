"""A cache as a mapping: what users of cachetools and of dict expect, on both kinds and both twins."""

from collections.abc import Mapping, MutableMapping

import pytest


def test_is_a_mutable_mapping(make):
    cache = make(3)
    assert isinstance(cache, MutableMapping)
    match cache:
        case Mapping():
            pass
        case _:
            pytest.fail("not matched as a mapping")


def test_get_set_delete(make):
    cache = make(3)
    cache["a"] = 1
    assert cache["a"] == 1
    assert cache.get("a") == 1
    assert cache.get("b") is None
    assert cache.get("b", 7) == 7
    assert cache.get(key="b", default=8) == 8
    assert "a" in cache
    assert "b" not in cache
    del cache["a"]
    assert len(cache) == 0
    with pytest.raises(KeyError) as error:
        cache["a"]
    assert error.value.args == ("a",)
    with pytest.raises(KeyError) as error:
        del cache["a"]
    assert error.value.args == ("a",)


def test_none_is_a_value_like_any_other(make):
    cache = make(3)
    cache[None] = None
    assert None in cache
    assert cache.get(None, 1) is None
    assert cache.setdefault(None, 1) is None
    assert cache.pop(None, 1) is None


def test_pop(make):
    cache = make(3)
    cache.update(a=1, b=2)
    assert cache.pop("a") == 1
    assert cache.pop("a", 5) == 5
    assert cache.pop("a", None) is None
    with pytest.raises(KeyError):
        cache.pop("a")
    with pytest.raises(TypeError, match="at most 2"):
        cache.pop("a", 1, 2)
    assert cache._check() == ["b"]


def test_popitem_takes_the_least_recently_used(recent):
    cache = recent(3)
    cache.update(a=1, b=2, c=3)
    assert cache["a"] == 1
    assert [cache.popitem() for _ in range(3)] == [("b", 2), ("c", 3), ("a", 1)]
    with pytest.raises(KeyError, match="Cache is empty"):
        cache.popitem()


def test_setdefault(make):
    cache = make(3)
    assert cache.setdefault("a", 1) == 1
    assert cache.setdefault("a", 2) == 1
    assert cache.setdefault("b") is None
    assert dict(cache) == {"a": 1, "b": None}


def test_update_views_and_equality(make):
    cache = make(5)
    cache.update({"a": 1}, b=2)
    cache.update([("c", 3)])
    assert sorted(cache) == sorted(cache.keys()) == ["a", "b", "c"]
    assert sorted(cache.values()) == [1, 2, 3]
    assert sorted(cache.items()) == [("a", 1), ("b", 2), ("c", 3)]
    assert len(cache.items()) == len(cache.values()) == 3
    assert 2 in cache.values()
    assert 9 not in cache.values()
    assert ("a", 1) in cache.items()
    assert ("a", 2) not in cache.items()
    assert ("z", 2) not in cache.items()
    assert "a" not in cache.items()
    assert cache.keys() & {"a", "z"} == {"a"}
    assert cache == {"a": 1, "b": 2, "c": 3}
    assert cache != {"a": 1}
    with pytest.raises(TypeError, match="unhashable"):
        hash(cache)


def test_clear(make):
    cache = make(100)
    cache.update((i, i) for i in range(100))
    cache.clear()
    assert len(cache) == cache.currsize == 0
    assert list(cache) == cache._check() == []
    cache["a"] = 1
    assert cache._check() == ["a"]


def test_repr(make):
    cache = make(3)
    cache.update(a=1)
    assert repr(cache) == f"{type(cache).__name__}({{'a': 1}}, maxsize=3, currsize=1)"
    cache["self"] = cache
    assert "..." in repr(cache)


def test_iteration_refuses_a_cache_that_changed(make):
    """Adding and removing is noticed; setting an existing key, and reading, are not changes."""
    cache = make(10)
    cache.update((i, i) for i in range(5))
    for key in cache:
        assert cache[key] == key
        cache[key] = key
    for change in (lambda: cache.update(x=1), lambda: cache.pop(0), lambda: cache.clear()):
        iterator = iter(cache)
        next(iterator)
        change()
        with pytest.raises(RuntimeError, match="cache changed during iteration"):
            list(iterator)


def test_eviction_during_iteration_is_a_change(make):
    cache = make(3)
    cache.update(a=1, b=2, c=3)
    iterator = iter(cache)
    next(iterator)
    cache["d"] = 4
    with pytest.raises(RuntimeError, match="cache changed during iteration"):
        next(iterator)


def test_bulk_calls(make):
    cache = make(5)
    assert cache.set_many({"a": 1, "b": 2}) == 2
    assert cache.set_many([("c", 3)]) == 1
    assert cache.get_many(["a", "x", "c", "a"]) == {"a": 1, "c": 3}
    assert cache._check() == ["b", "c", "a"]


def test_invalidate_prefix(make):
    cache = make(10)
    cache.update({"ab": 1, "abc": 2, "b": 3, b"ab": 4, 5: 5, ("ab",): 6})
    assert cache.invalidate_prefix("ab") == 2
    assert cache.invalidate_prefix("ab") == 0
    assert cache.invalidate_prefix(b"a") == 1
    assert set(cache) == {"b", 5, ("ab",)}
    assert cache.invalidate("b") is True
    assert cache.invalidate("b") is False
    cache.invalidate_all()
    assert len(cache) == 0
    with pytest.raises(TypeError, match="prefix must be str or bytes, got int"):
        cache.invalidate_prefix(1)


def test_keys_that_are_equal_without_being_identical(make):
    cache = make(5)
    cache[1] = "int"
    assert cache[1.0] == cache[True] == "int"
    cache["".join(["a", "b"])] = 1
    assert cache["ab"] == 1
    cache[(1, 2)] = 2
    assert cache[(1, 2.0)] == 2


def test_many_keys_with_few_hashes(make):
    """Long probe chains, deletions in their middle: the index must find every key again."""

    class Key:
        def __init__(self, n):
            self.n = n

        def __hash__(self):
            return self.n % 7

        def __eq__(self, other):
            return self.n == other.n

    cache = make(60)
    for n in range(200):
        cache[Key(n)] = n
        if n % 3 == 0:
            cache.pop(Key(n - 5), None)
        cache._check()
    for n in range(200):
        assert cache.get(Key(n), n) == n


@pytest.mark.parametrize("maxsize", [-1, float("nan"), -0.5])
def test_maxsize_is_checked(make, maxsize):
    with pytest.raises(ValueError, match="maxsize must be non-negative, got"):
        make(maxsize)
    with pytest.raises(ValueError, match="maxsize must be non-negative, got"):
        make(1).resize(maxsize)
    with pytest.raises(TypeError):
        make("10")


def test_a_cache_of_size_zero_stores_nothing(make):
    cache = make(0)
    assert cache.set("a", 1) is False
    with pytest.raises(ValueError, match="value too large: size 1, maxsize 0"):
        cache["a"] = 1
    assert len(cache) == 0


def test_a_cache_without_bound(make):
    cache = make(float("inf"))
    cache.update((i, i) for i in range(5000))
    assert len(cache) == 5000
    assert cache.maxsize == float("inf")
    cache._check()


def test_ttl_argument_of_an_lru_cache(caches):
    cache = caches.LRUCache(2)
    assert cache.set("a", 1, ttl=None) is True
    with pytest.raises(ValueError, match="do not expire, got 5"):
        cache.set("a", 2, ttl=5)
    assert cache["a"] == 1


def test_init_again_starts_over(recent):
    cache = recent(5)
    cache.update(a=1, b=2)
    if hasattr(cache, "ttl"):
        cache.__init__(2, 10)
    else:
        cache.__init__(2)
    assert len(cache) == 0
    assert cache.maxsize == 2
    cache.update(a=1, b=2, c=3)
    assert len(cache._check()) == 2
