"""Copies and pickles: same entries in the same order, same configuration, counters at zero, no loads in flight."""

import copy
import pickle

import pytest

from fastcore.cache import LRUCache, TTLCache


def weigh(value):
    return len(value)


class Named(LRUCache):
    def __init__(self, name):
        super().__init__(10, weigh)
        self.name = name


def clones(cache):
    return copy.copy(cache), pickle.loads(pickle.dumps(cache)), copy.deepcopy(cache)


def test_lru():
    cache = LRUCache(10, weigh)
    cache.update(a="1", b="22", c="333", zero="")
    assert cache["a"] == "1"
    for clone in clones(cache):
        assert type(clone) is LRUCache
        assert clone == cache
        assert clone._check() == cache._check()
        assert (clone.maxsize, clone.currsize) == (10, 6)
        assert clone.stats()[:3] == (0, 0, 0)
        clone["d"] = "x" * 6
        assert "b" not in clone
        assert "b" in cache
        assert clone.getsizeof("abc") == 3


def test_copies_are_shallow():
    value = []
    cache = LRUCache(3)
    cache["a"] = value
    assert copy.copy(cache)["a"] is value
    assert copy.deepcopy(cache)["a"] is not value


def test_subclass_with_attributes():
    cache = Named("n")
    cache["a"] = "b"
    for clone in clones(cache):
        assert type(clone) is Named
        assert clone.name == "n"
        assert clone == cache
        assert clone.maxsize == 10


NOW = 0


def timer():
    return NOW


@pytest.fixture
def at():
    def travel(now):
        global NOW
        NOW = now

    travel(0)
    return travel


def test_ttl(at):
    """What is left of each life goes along."""
    cache = TTLCache(10, 100, timer, jitter=0.5, touch="access", rng=timer)
    cache.set("a", 1, ttl=None)
    cache.set("b", 2)
    at(0.5)
    cache.set("c", 3, ttl=10)
    cache.set("dead", 3, ttl=0.25)
    at(1)
    for clone in clones(cache):
        at(1)
        assert clone == cache == {"a": 1, "b": 2, "c": 3}
        assert (clone.ttl, clone.maxsize, clone.timer) == (100, 10, timer)
        assert clone._config() == cache._config()
        assert clone._entries() == cache._entries()
        assert clone._check() == cache._check()


def test_ttl_on_the_default_clock():
    cache = TTLCache(10, 1000)
    cache["a"] = 1
    for clone in clones(cache):
        assert dict(clone) == {"a": 1}
        ((_, _, left),) = clone._entries()
        assert 900 < left <= 1000
