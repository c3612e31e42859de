"""Values that somebody changes: shared by default, copied where that was asked for."""

import asyncio
import copy
import pickle
import threading

import pytest

from fastcore.cache import LRUCache, S3FIFOCache, TTLCache, cached

WAIT_S = 20


@pytest.fixture(params=["LRUCache", "TTLCache", "S3FIFOCache"])
def build(request, caches):
    """Makes a cache of any kind with options."""
    if request.param == "TTLCache":
        return lambda maxsize=10, **options: caches.TTLCache(maxsize, 1e6, **options)
    return lambda maxsize=10, **options: getattr(caches, request.param)(maxsize, **options)


READS = {
    "getitem": lambda c: c["a"],
    "get": lambda c: c.get("a"),
    "peek": lambda c: c.peek("a"),
    "get_many": lambda c: c.get_many(["a"])["a"],
    "get_many_loading": lambda c: c.get_many(["a"], lambda keys: {})["a"],
    "setdefault": lambda c: c.setdefault("a", None),
    "values": lambda c: next(iter(c.values())),
    "items": lambda c: next(iter(c.items()))[1],
    "get_or_load": lambda c: c.get_or_load("a", pytest.fail),
    "aget_or_load": lambda c: asyncio.run(c.aget_or_load("a", pytest.fail)),
    "dict": lambda c: dict(c)["a"],
}
STORES = {
    "setitem": lambda c, v: c.__setitem__("a", v),
    "set": lambda c, v: c.set("a", v),
    "set_many": lambda c, v: c.set_many({"a": v}),
    "setdefault": lambda c, v: c.setdefault("a", v),
    "update": lambda c, v: c.update(a=v),
    "get_or_load": lambda c, v: c.get_or_load("a", lambda: v),
    "aget_or_load": lambda c, v: asyncio.run(c.aget_or_load("a", lambda: v)),
    "get_many": lambda c, v: c.get_many(["a"], lambda keys: {"a": v}),
}
LEAVES = {
    "pop": lambda c: c.pop("a"),
    "popitem": lambda c: c.popitem()[1],
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads(build, read):
    """CA28: by reference by default; with `on_read` every reader has a copy of his own."""
    for options, shared in (
        ({}, True),
        ({"copy": None}, True),
        ({"copy": "on_read"}, False),
        ({"copy": "both"}, False),
    ):
        cache = build(**options)
        cache["a"] = {"list": [1]}
        got = read(cache)
        assert got == {"list": [1]}
        got["list"].append(2)
        assert (cache["a"] == {"list": [1, 2]}) is shared
        assert (read(cache) is got) is shared


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_writes(build, store):
    """CA28: by reference by default; with `on_write` a copy is stored, and the writer keeps what he gave."""
    for options, shared in (({}, True), ({"copy": "on_write"}, False), ({"copy": "both"}, False)):
        cache = build(**options)
        value = {"list": [1]}
        store(cache, value)
        value["list"].append(2)
        assert (cache["a"] == {"list": [1, 2]}) is shared


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_what_a_writer_gets_back_is_not_what_others_get(build, store):
    """CA28: those who load, and `setdefault`, return a value too."""
    for how in ("on_read", "both"):
        cache = build(copy=how)
        returned = store(cache, [1])
        if isinstance(returned, list):
            returned.append(2)
        elif isinstance(returned, dict):
            returned["a"].append(2)
        assert cache["a"] == [1]


def test_all_who_wait_for_a_load_get_copies(build):
    """CA15, CA28: with `on_read`, of those who share a load no two share the object."""
    cache = build(copy="on_read")
    running, go_on, got = threading.Event(), threading.Event(), []

    def load():
        running.set()
        assert go_on.wait(WAIT_S)
        return [1]

    threads = [threading.Thread(target=lambda: got.append(cache.get_or_load("a", load))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert running.wait(WAIT_S)
    flight = cache._begin_load("a", type(cache)._flight_type())[1]
    while flight._waiting < 3:
        assert all(thread.is_alive() for thread in threads)
    go_on.set()
    for thread in threads:
        thread.join(WAIT_S)
    got.append(cache["a"])
    assert got == [[1]] * 5
    assert len({id(value) for value in got}) == 5


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
def test_what_leaves_is_handed_over(build, leave):
    """CA28: nobody else can get what was removed, so it is not copied, and a copier cannot fail there."""
    calls = []
    cache = build(copy="on_read", copier=lambda value: calls.append(value) or list(value))
    value = cache["a"] = [1]
    assert leave(cache) is value
    assert calls == []


def test_listeners_get_what_was_stored(build):
    removed = []
    cache = build(copy="both", on_removal=lambda *event: removed.append(event))
    cache["a"] = [1]
    read = cache["a"]
    cache.clear()
    assert removed == [("a", [1], "explicit")]
    assert removed[0][1] is not read


def test_a_copier_of_ones_own(build):
    """CA28: a shallow one, for example."""
    cache = build(copy="both", copier=copy.copy)
    inner = [1]
    value = [inner]
    cache["a"] = value
    assert cache["a"] == value
    assert cache["a"] is not value
    assert cache["a"][0] is inner


def test_a_copier_may_call_the_cache_and_raise(build):
    """CA13, CA28: it runs outside the section; what it raises goes to the caller, and a set has changed nothing."""
    seen = []

    def calling(value):
        seen.append(sorted(cache))
        if value == "bad":
            raise ZeroDivisionError
        return [value]

    cache = build(copy="on_write", copier=calling)
    cache["a"] = "good"
    with pytest.raises(ZeroDivisionError):
        cache["a"] = "bad"
    with pytest.raises(ZeroDivisionError):
        cache.get_or_load("b", lambda: "bad")
    assert dict(cache) == {"a": ["good"]}
    assert seen == [[], ["a"], ["a"]]
    assert cache.get_or_load("b", lambda: "fine") == "fine"


def test_weights_are_of_the_value_given(build):
    cache = build(getsizeof=len, copy="on_write", copier=lambda value: value * 2)
    cache["a"] = "xx"
    assert (cache["a"], cache.currsize) == ("xxxx", 2)


def test_decorated_functions(build):
    """CA28: results too."""
    function = cached(build(copy="on_read"))(lambda n: [n])
    results = [function(1) for _ in range(3)]
    assert results == [[1]] * 3
    assert len({id(result) for result in results}) == 3


async def test_decorated_coroutine_functions(build):
    """CA28: results of coroutines too."""

    @cached(build(copy="on_read"))
    async def function(n):
        return [n]

    results = [await function(1) for _ in range(3)]
    assert len({id(result) for result in results}) == 3


@pytest.mark.parametrize("kind", [LRUCache, lambda n, **o: TTLCache(n, 60, **o), S3FIFOCache])
def test_copies_and_pickles_keep_the_options(kind):
    """Copies of a cache share the values, whatever the cache does with them; a pickled copier is found by its name."""
    cache = kind(5, copy="both", copier=copy.copy)
    cache["a"] = [1]
    for clone in (copy.copy(cache), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert clone._config()[1]["copier"] is copy.copy
        assert clone["a"] == [1]
        assert clone["a"] is not clone["a"]
    assert copy.copy(cache)._entries()[0][1] is cache._entries()[0][1]


def test_options_are_checked(build):
    with pytest.raises(ValueError, match="copy must be 'on_read', 'on_write', 'both' or None, got 'always'"):
        build(copy="always")
    with pytest.raises(TypeError, match="copier must be callable, got 1"):
        build(copier=1)
