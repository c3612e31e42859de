"""What the garbage collector sees and does."""

import gc
import sys
import weakref

import pytest

from fastcore._ext import lru as ext_lru
from fastcore._ext import ttl as ext_ttl


class Witness:
    pass


def cyclic(make):
    """Ways to tie a cache into a cycle; each returns a weak reference to something in it."""

    def through_value():
        cache, witness = make(5), Witness()
        cache["self"] = cache
        cache["witness"] = witness
        return weakref.ref(witness)

    def through_key():
        cache, witness = make(5), Witness()
        witness.cache = cache
        cache[witness] = 1
        return weakref.ref(witness)

    def through_getsizeof():
        witness = Witness()
        witness.weigh = lambda value, me=witness: 1
        witness.cache = make(5, getsizeof=witness.weigh)
        witness.cache["a"] = 1
        return weakref.ref(witness)

    def through_bound_method():
        class Owner:
            def weigh(self, value):
                return 1

        owner = Owner()
        owner.cache = make(5, getsizeof=owner.weigh)
        return weakref.ref(owner)

    def through_iterator():
        cache, witness = make(5), Witness()
        cache["a"] = 1
        iterator = iter(cache)
        next(iterator)
        cache[("iterator",)] = (iterator, witness)
        return weakref.ref(witness)

    return [through_value, through_key, through_getsizeof, through_bound_method, through_iterator]


@pytest.mark.parametrize("way", range(5))
def test_cycles_are_collected(make, way):
    reference = cyclic(make)[way]()
    gc.collect()
    assert reference() is None


def test_a_timer_that_holds_its_cache_is_collected(caches):
    witness = Witness()
    witness.cache = caches.TTLCache(5, 5, timer=lambda me=witness: 0, rng=lambda me=witness: 0.5, jitter=0.5)
    witness.cache["a"] = witness
    reference = weakref.ref(witness)
    del witness
    gc.collect()
    assert reference() is None


def test_a_subclass_weighing_with_itself_is_collected(caches):
    class Own(caches.LRUCache):
        def __init__(self):
            super().__init__(5, self.weigh)

        def weigh(self, value):
            return 1

    cache = Own()
    cache["a"] = cache
    reference = weakref.ref(cache)
    del cache
    gc.collect()
    assert reference() is None


def test_finalisers_in_a_collected_cycle_may_use_the_cache(make):
    """Values with finalisers, in a cycle with the cache that they call while all of it is being collected."""
    seen = []

    class Value:
        def __init__(self, cache):
            self.cache = cache

        def __del__(self):
            try:
                seen.append((len(self.cache), self.cache.get("x"), self.cache.pop("y", None)))
            except RuntimeError as error:
                seen.append(str(error))

    def build():
        cache = make(10)
        for i in range(5):
            cache[i] = Value(cache)

    build()
    gc.collect()
    assert len(seen) == 5


@pytest.mark.parametrize("kind", [ext_lru.LRUCache, ext_ttl.TTLCache])
def test_a_cache_whose_list_was_emptied_refuses(kind):
    """The collector may empty the list of entries before the cache itself is gone: every method must notice."""
    cache = kind(10) if kind is ext_lru.LRUCache else kind(10, 100)
    for i in range(5):
        cache[i] = i
    iterator = iter(cache)
    items = next(x for x in gc.get_referents(cache) if isinstance(x, list) and len(x) > 5)
    items.clear()
    for operation in (
        lambda: cache[1],
        lambda: cache.get(1),
        lambda: cache.set(1, 1),
        lambda: cache.set(99, 1),
        lambda: cache.pop(1, None),
        lambda: cache.popitem(),
        lambda: cache.peek(1),
        lambda: 1 in cache,
        lambda: cache.clear(),
        lambda: cache.resize(1),
        lambda: cache.invalidate_prefix("a"),
        lambda: list(iterator),
        lambda: cache._entries(),
        lambda: cache._check(),
    ):
        with pytest.raises(RuntimeError, match="being collected"):
            operation()


def test_long_chains_do_not_recurse(make):
    """A cache in a cache in a cache ...: dropping the outermost must not exhaust the C stack."""
    cache = make(1)
    for _ in range(40_000):  # of some 300 bytes of stack each, if it did recurse
        outer = make(1)
        outer["inner"] = cache
        cache = outer
    assert len(cache) == 1
    del cache, outer


def test_references_are_given_back(make):
    value, key = Witness(), Witness()
    before = sys.getrefcount(value), sys.getrefcount(key)
    cache = make(3)
    for _ in range(50):
        cache[key] = value
        cache.get(key)
        cache.set(key, value)
        cache.setdefault(key, value)
        list(cache.items())
        cache.pop(key)
        cache[key] = value
        del cache[key]
        cache[key] = value
        cache.update((i, value) for i in range(5))
        cache.get_many([key, 3, 4])
        cache.invalidate(3)
        cache[key] = value
        cache.popitem()
        cache.resize(1)
        cache.resize(3)
        cache.clear()
    assert (sys.getrefcount(value), sys.getrefcount(key)) == before


def test_weak_references_to_a_cache(make):
    cache = make(3)
    assert weakref.ref(cache)() is cache
