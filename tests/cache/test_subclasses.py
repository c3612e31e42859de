"""Overrides that cachetools honours."""

import pytest


def test_missing(make, caches):
    class Squares(caches.LRUCache):
        def __missing__(self, key):
            value = key * key
            if key < 10:
                self[key] = value
            return value

    cache = Squares(3)
    assert cache[3] == 9
    assert cache[3] == 9
    assert cache[20] == 400
    assert cache.get(4) is None
    assert cache.pop(4, "no") == "no"
    assert cache.setdefault(5, 1) == 1
    assert cache._check() == [3, 5]


def test_missing_of_a_dead_entry(caches, clock):
    class Defaulting(caches.TTLCache):
        def __missing__(self, key):
            return "missing"

    cache = Defaulting(3, 5, timer=clock)
    cache["a"] = 1
    clock.set(5)
    assert cache["a"] == "missing"
    assert cache.get("a") is None


@pytest.mark.parametrize("kind", ["LRUCache", "TTLCache"])
def test_popitem_sees_every_eviction(caches, kind):
    evicted = []

    class Told(getattr(caches, kind)):
        def popitem(self):
            item = super().popitem()
            evicted.append(item)
            return item

    cache = Told(2) if kind == "LRUCache" else Told(2, 100)
    cache.update(a=1, b=2, c=3)
    cache["b"] = 22
    cache.setdefault("d", 4)
    cache.set("e", 5)
    assert evicted == [("a", 1), ("c", 3), ("b", 22)]
    assert cache._check() == ["d", "e"]


def test_popitem_with_weights(caches):
    evicted = []

    class Told(caches.LRUCache):
        def popitem(self):
            item = super().popitem()
            evicted.append(item)
            return item

    cache = Told(10, getsizeof=lambda value: value)
    cache.update(a=3, b=3, c=3)
    cache["c"] = 6
    assert evicted == [("a", 3)]
    cache["d"] = 10
    assert evicted == [("a", 3), ("b", 3), ("c", 6)]
    with pytest.raises(ValueError, match="too large"):
        cache["e"] = 11
    assert cache._check() == ["d"]


def test_a_popitem_that_removes_nothing_does_not_overfill(caches):
    class Stubborn(caches.LRUCache):
        rounds = 0

        def popitem(self):
            self.rounds += 1
            if self.rounds > 3:
                return super().popitem()
            return None

    cache = Stubborn(1)
    cache.update(a=1, b=2)
    assert cache._check() == ["b"]


def test_delitem_sees_pops_and_evictions(caches):
    deleted = []

    class Told(caches.LRUCache):
        def __delitem__(self, key):
            deleted.append(key)
            super().__delitem__(key)

    cache = Told(2)
    cache.update(a=1, b=2, c=3)
    assert cache.pop("b") == 2
    assert cache.popitem() == ("c", 3)
    assert cache.pop("zz", None) is None
    assert deleted == ["a", "b", "c"]


def test_getitem_and_setitem_are_used_by_the_rest(caches):
    class Upper(caches.LRUCache):
        def __getitem__(self, key):
            return super().__getitem__(key.upper())

        def __setitem__(self, key, value):
            super().__setitem__(key.upper(), value)

        def __contains__(self, key):
            return super().__contains__(key.upper())

    cache = Upper(5)
    cache.update(a=1)
    assert cache.get("a") == 1
    assert cache.get("x", 2) == 2
    assert cache.setdefault("a", 5) == 1
    assert cache.setdefault("b", 6) == 6
    assert cache._check() == ["A", "B"]


@pytest.mark.parametrize("static", [True, False])
def test_getsizeof(caches, static):
    if static:

        class Sized(caches.LRUCache):
            @staticmethod
            def getsizeof(value):
                return len(value)
    else:

        class Sized(caches.LRUCache):
            def getsizeof(self, value):
                return len(value)

    cache = Sized(5)
    cache.update(a="xx", b="yyy")
    assert cache.currsize == 5
    cache["c"] = "z"
    assert cache._check() == ["b", "c"]
    assert Sized(5, getsizeof=lambda value: 5).set("a", "x")


def test_a_subclass_that_forgets_init(caches):
    class Forgetful(caches.LRUCache):
        def __init__(self):
            pass

    cache = Forgetful()
    with pytest.raises((ValueError, AttributeError)):
        cache["a"] = 1
