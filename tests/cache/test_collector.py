"""Which caches the garbage collector walks: those with a key or a value that a cycle may lead through."""

import gc
import weakref

import pytest

from fastcore._ext import lru as ext_lru
from fastcore._ext import ttl as ext_ttl


class Witness:
    pass


class Quiet(int):
    """An integer of a class of its own: the collector takes part in the lives of its instances."""


@pytest.fixture(params=[lambda: ext_lru.LRUCache(50), lambda: ext_ttl.TTLCache(50, 1e6)], ids=["lru", "ttl"])
def make(request):
    return request.param


@pytest.fixture
def cache(make):
    return make()


def is_walked(cache):
    cache._check()
    lists = [x for x in gc.get_referents(cache) if isinstance(x, list)]
    return gc.is_tracked(max(lists, key=len))


def test_what_cannot_be_in_a_cycle_is_not_walked(cache):
    """A full pass does not look at the entries of such a cache, however often they change."""
    assert not is_walked(cache)
    for i in range(500):
        cache[f"key-{i}"] = i * 1.5
        cache[i, "of a call", None, b"x"] = "text"
        cache.setdefault(i, ())
        cache.pop(f"key-{i - 20}", None)
    cache.resize(10)
    cache.expire() if isinstance(cache, ext_ttl.TTLCache) else cache.popitem()
    assert not is_walked(cache)


def store(cache, way, key, value):
    match way:
        case "new":
            cache[key] = value
        case "existing":
            cache[key] = 1
            cache.set(key, value)
        case "setdefault":
            cache.setdefault(key, value)
        case "load":
            load = ext_lru.Load()
            assert cache._begin_load(key, load) == (False, load)
            assert cache._end_load(key, load, value)
        case "restore":
            cache._restore([(key, value, None)])


@pytest.mark.parametrize("value", [[], {}, Witness(), Quiet(1), Witness, len, ((),), (1, [])])
@pytest.mark.parametrize("way", ["new", "existing", "setdefault", "load", "restore"])
def test_the_first_value_that_may_be_in_a_cycle_is_walked(cache, value, way):
    """However it comes into the cache; and the cache is walked until it is cleared."""
    cache["other"] = 1
    store(cache, way, "key", value)
    assert is_walked(cache)
    del cache["key"]
    assert is_walked(cache)
    for i in range(200):
        cache[i] = i
    assert is_walked(cache)
    cache.clear()
    assert not is_walked(cache)
    store(cache, way, "key", value)
    assert is_walked(cache)


def test_keys_count_as_values_do(cache):
    cache[1, 2] = 3
    assert not is_walked(cache)
    cache[frozenset((1, 2))] = 3
    assert is_walked(cache)


def test_a_pass_before_the_first_such_value_hides_nothing(make):
    """The collector met the list while it was hidden; a cycle made later is found all the same."""
    cache = make()
    for i in range(100):
        cache[i] = i
    gc.collect()
    witness = Witness()
    witness.cache = cache
    cache["witness"] = witness
    reference = weakref.ref(witness)
    gc.collect(0)
    assert reference() is witness
    del cache, witness
    gc.collect()
    assert reference() is None


def test_cycles_after_a_clear(make):
    """The list that took the place of a walked one is hidden, until it holds something to walk."""
    cache = make()
    cache["a"] = []
    cache.clear()
    gc.collect()
    witness = Witness()
    witness.cache = cache
    cache["witness"] = witness
    reference = weakref.ref(witness)
    del cache, witness
    gc.collect()
    assert reference() is None


def test_growth_while_hidden_and_while_walked(cache):
    """The list is moved to a larger block of memory both ways."""
    cache.resize(100_000)
    for i in range(1000):
        cache[i] = i
        if i % 100 == 0:
            gc.collect(0)
    assert not is_walked(cache)
    for i in range(1000, 3000):
        cache[i] = [i]
        if i % 100 == 0:
            gc.collect(0)
    gc.collect()
    assert is_walked(cache)
    assert [cache[i] for i in (5, 1500, 2999)] == [5, [1500], [2999]]
