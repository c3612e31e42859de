"""Bulk loads: one call for what is neither there nor being loaded; in every cache, in threads and event loops."""

import asyncio
import threading

import pytest

from cache.sources import Source
from fastcore.errors import NotFound, ReentrancyError

WAIT_S = 20


@pytest.fixture(params=["LRUCache", "TTLCache", "LoadingCache"])
def cache(request, caches, loading):
    """Each kind of cache, without a loader of its own."""
    if request.param == "LoadingCache":
        return loading(20, ttl=1e6)
    return caches.LRUCache(20) if request.param == "LRUCache" else caches.TTLCache(20, 1e6)


@pytest.fixture
def source(clock):
    return Source(clock, {key: key * 2 for key in "abcdef"})


async def settle():
    for _ in range(8):
        await asyncio.sleep(0)


def test_one_call_for_the_missing(cache, source):
    """CA24: keys are deduplicated; those that are there are not asked for; absent ones are left out."""
    cache["b"] = 1
    keys = (key for key in ["a", "b", "x", "a", "c"])
    assert cache.get_many(keys, source.many) == {"a": "aa", "b": 1, "c": "cc"}
    assert source.calls == [["a", "x", "c"]]
    assert cache.get_many("abc", source.many) == {"a": "aa", "b": 1, "c": "cc"}
    assert cache.get_many("", source.many) == {}
    assert len(source.calls) == 1
    assert "x" not in cache
    assert list(cache.get_many("cba")) == ["c", "b", "a"]


def test_what_is_returned_besides_is_ignored(cache):
    assert cache.get_many("a", lambda keys: {"a": 1, "b": 2}) == {"a": 1}
    assert "b" not in cache


async def test_one_call_of_a_coroutine_function(cache, source):
    """CA24: the same in an event loop."""
    cache["b"] = 1
    assert await cache.aget_many(iter("abxac"), source.many_soon) == {"a": "aa", "b": 1, "c": "cc"}
    assert source.calls == [["a", "x", "c"]]
    assert await cache.aget_many("ad", source.many) == {"a": "aa", "d": "dd"}
    assert source.calls == [["a", "x", "c"], ["d"]]


def test_loads_in_flight_are_joined(cache, source):
    """CA15, CA24: by bulk calls, and by those who want one key of them."""
    started, go = threading.Event(), threading.Event()
    results = []

    def slow(key):
        started.set()
        assert go.wait(WAIT_S)
        return "slow"

    first = threading.Thread(target=lambda: results.append(cache.get_or_load("a", slow)))
    first.start()
    assert started.wait(WAIT_S)
    second = threading.Thread(target=lambda: results.append(cache.get_many("ab", source.many)))
    second.start()
    flight = cache._begin_load("a", type(cache)._flight_type())[1]
    while flight._waiting < 1 or "b" not in cache:
        assert second.is_alive()
    go.set()
    first.join(WAIT_S)
    second.join(WAIT_S)
    assert results == ["slow", {"a": "slow", "b": "bb"}] or results == [{"a": "slow", "b": "bb"}, "slow"]
    assert source.calls == [["b"]]


def test_overlapping_bulk_calls_share(cache):
    """CA24: of two calls in threads, each loads what the other does not, and waits for the rest."""
    started, go = threading.Event(), threading.Event()
    calls, results = [], {}

    def bulk(keys):
        calls.append(sorted(keys))
        if len(calls) == 1:
            started.set()
            assert go.wait(WAIT_S)
        return {key: len(calls) for key in keys}

    def run(keys):
        results[keys] = cache.get_many(keys, bulk)

    threads = [threading.Thread(target=run, args=(keys,)) for keys in ("abc", "bcd")]
    threads[0].start()
    assert started.wait(WAIT_S)
    threads[1].start()
    flight = cache._begin_load("b", type(cache)._flight_type())[1]
    while flight._waiting < 1 or "d" not in cache:
        assert threads[1].is_alive()
    go.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert calls == [["a", "b", "c"], ["d"]]
    assert results["abc"] | results["bcd"] == dict.fromkeys("abcd", 2)


def test_a_key_that_does_not_exist_for_who_waits(cache):
    """CA20, CA24: whoever joined the bulk call for a key that it does not find is told NotFound."""
    started, go = threading.Event(), threading.Event()
    errors = []

    def bulk(keys):
        started.set()
        assert go.wait(WAIT_S)
        return {}

    def wait():
        try:
            cache.get_or_load("a", len)
        except KeyError as error:
            errors.append(error)

    first = threading.Thread(target=cache.get_many, args=("ab", bulk))
    first.start()
    assert started.wait(WAIT_S)
    second = threading.Thread(target=wait)
    second.start()
    flight = cache._begin_load("a", type(cache)._flight_type())[1]
    while flight._waiting < 1:
        assert second.is_alive()
    go.set()
    first.join(WAIT_S)
    second.join(WAIT_S)
    (error,) = errors
    assert isinstance(error, NotFound)
    assert error.args == ("a",)


def test_fences(cache, source):
    """CA17, CA18, CA19, CA24: each key of a bulk load is fenced by itself."""

    def bulk(keys):
        cache.invalidate("a")
        cache["b"] = "set"
        return dict.fromkeys(keys, "loaded")

    assert cache.get_many("abc", bulk) == dict.fromkeys("abc", "loaded")
    assert (cache.peek("a"), cache.peek("b"), cache.peek("c")) == (None, "set", "loaded")
    assert cache.get_many("de", lambda keys: cache.invalidate_all() or dict.fromkeys(keys, 1)) == {"d": 1, "e": 1}
    assert len(cache) == 0


def test_an_error_goes_to_the_caller_and_nothing_is_stored(cache, source):
    """CA15, CA24: the next call tries again."""
    source.error = OSError("down")
    cache["b"] = 1
    with pytest.raises(OSError, match="down") as caught:
        cache.get_many("abc", source.many)
    assert caught.value is source.error
    source.error = None
    assert cache.get_many("abc", source.many) == {"a": "aa", "b": 1, "c": "cc"}


@pytest.mark.parametrize("answer", [None, [1], 5])
def test_only_a_mapping_is_an_answer(cache, answer):
    with pytest.raises(TypeError, match=f"a bulk loader must return a mapping, got {type(answer).__name__}"):
        cache.get_many("ab", lambda keys: answer)
    assert len(cache) == 0
    assert cache.get_many("ab", lambda keys: dict.fromkeys(keys, 1)) == {"a": 1, "b": 1}


def test_a_thread_cannot_run_a_coroutine_function(cache, source):
    with pytest.raises(TypeError, match="is asynchronous"):
        cache.get_many("ab", source.many_soon)


def test_a_loader_that_asks_for_its_own_keys(cache):
    """CA15: raises instead of waiting for itself."""
    with pytest.raises(ReentrancyError, match="asks the cache for"):
        cache.get_many("ab", lambda keys: cache.get_many("b", len))
    with pytest.raises(ReentrancyError, match="asks the cache for"):
        cache.get_many("ab", lambda keys: cache.get_or_load("a", len))
    assert cache.get_many("ab", lambda keys: {key: cache.get_or_load("c", lambda: 1) for key in keys}) == {
        "a": 1,
        "b": 1,
    }


def test_a_key_that_cannot_be_hashed(cache, source):
    """CA14: the loads that were taken up before it are given back."""
    with pytest.raises(TypeError, match="unhashable"):
        cache.get_many(["a", []], source.many)
    assert cache.get_many("a", source.many) == {"a": "aa"}


def test_a_key_whose_comparison_raises(cache, source):
    """CA14: the same, when that shows only half-way."""

    class Bad:
        armed = False

        def __hash__(self):
            return hash("a")

        def __eq__(self, other):
            if Bad.armed:
                raise ArithmeticError("compared")
            return self is other

    bad = Bad()

    class Keys(dict):
        """Lets the keys be told apart, and raises from then on."""

    Bad.armed = False
    cache["a"] = 1
    keys = ["b", bad]

    def armed():
        yield from keys
        Bad.armed = True

    with pytest.raises(ArithmeticError, match="compared"):
        cache.get_many(armed(), source.many)
    Bad.armed = False
    assert cache.get_many("b", source.many) == {"b": "bb"}


def test_what_is_too_large_is_returned_all_the_same(caches, loading):
    """CA10, CA24: and a weigher that raises fails its own key; the others are stored."""
    for cache in (caches.LRUCache(5, len), loading(5, getsizeof=len)):
        assert cache.get_many("ab", lambda keys: {"a": "x" * 9, "b": "y"}) == {"a": "x" * 9, "b": "y"}
        assert ("a" in cache, "b" in cache) == (False, True)
        with pytest.raises(TypeError, match="len"):
            cache.get_many("cde", lambda keys: {"c": "1", "d": 2, "e": "3"})
        assert ("c" in cache, "d" in cache, "e" in cache) == (True, False, True)
        assert cache.get_or_load("d", lambda: "now") == "now"


async def test_cancelling_the_caller(cache):
    """CA16, CA24: the call goes on as long as anybody waits for one of its keys, and ends with the last."""
    gate = asyncio.Event()
    calls, cancelled = [], []

    async def bulk(keys):
        calls.append(keys)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(keys)
            raise
        return dict.fromkeys(keys, "value")

    first = asyncio.create_task(cache.aget_many("abc", bulk))
    await settle()
    second = asyncio.create_task(cache.aget_or_load("c", bulk))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    gate.set()
    assert await second == "value"
    assert (calls, cancelled) == ([["a", "b", "c"]], [])
    assert cache.get_many("abc") == dict.fromkeys("abc", "value")

    gate.clear()
    tasks = [asyncio.create_task(cache.aget_many("de", bulk)), asyncio.create_task(cache.aget_or_load("e", bulk))]
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert cancelled == [["d", "e"]]
    assert "d" not in cache
    gate.set()
    assert await cache.aget_many("de", bulk) == {"d": "value", "e": "value"}


async def test_whoever_waits_for_a_key_holds_on_to_its_load(cache):
    """CA16, CA24: also while a bulk call of its own still runs."""
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}
    calls = []

    async def one(key):
        calls.append(key)
        await gates["a"].wait()
        return "one"

    async def bulk(keys):
        await gates["b"].wait()
        return dict.fromkeys(keys, "bulk")

    first = asyncio.create_task(cache.aget_or_load("a", one))
    await settle()
    second = asyncio.create_task(cache.aget_many("ab", bulk))
    await settle()
    first.cancel()
    await settle()
    gates["a"].set()
    await settle()
    gates["b"].set()
    assert await second == {"a": "one", "b": "bulk"}
    assert calls == ["a"]


async def test_an_abandoned_load_is_taken_over(cache, source):
    """CA16, CA24: a bulk call that waited for a load which was cancelled asks for its key itself."""

    async def suicidal(key):
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    first = asyncio.create_task(cache.aget_or_load("a", suicidal))
    await asyncio.sleep(0)
    assert await cache.aget_many("ab", source.many_soon) == {"a": "aa", "b": "bb"}
    assert source.calls == [["b"], ["a"]]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_asynchronous_error(cache, source):
    """CA15, CA24: it goes to the caller, as it is, and to those who joined as a copy."""
    gate = asyncio.Event()

    async def bulk(keys):
        await gate.wait()
        raise OSError("down")

    tasks = [asyncio.create_task(cache.aget_many("ab", bulk)), asyncio.create_task(cache.aget_or_load("b", bulk))]
    await settle()
    gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(e) for e in errors] == ["down", "down"]
    assert errors[0] is not errors[1]
    assert await cache.aget_many("ab", source.many_soon) == {"a": "aa", "b": "bb"}


async def test_threads_and_tasks_share_a_bulk_load(cache):
    """CA15, CA24: started by a task, joined by threads."""
    gate = asyncio.Event()
    calls = []

    async def bulk(keys):
        calls.append(keys)
        await gate.wait()
        return dict.fromkeys(keys, "value")

    task = asyncio.create_task(cache.aget_many("abc", bulk))
    await settle()
    threads = [asyncio.create_task(asyncio.to_thread(cache.get_many, keys, len)) for keys in ("ab", "bc", "c")]
    flights = [cache._begin_load(key, type(cache)._flight_type())[1] for key in "abc"]
    async with asyncio.timeout(WAIT_S):
        while any(f._waiting < least for f, least in zip(flights, (1, 2, 2), strict=True)):
            await asyncio.sleep(0.001)
    gate.set()
    assert await task == dict.fromkeys("abc", "value")
    assert await asyncio.gather(*threads) == [dict.fromkeys(keys, "value") for keys in ("ab", "bc", "c")]
    assert calls == [["a", "b", "c"]]


def test_a_loading_cache_remembers_what_a_bulk_load_did_not_find(loading, clock, source):
    """CA20, CA24: absent keys become negative entries; its own bulk loader needs not be given."""
    cache = loading(20, bulk_loader=source.many, ttl=10, negative_ttl=5, timer=clock)
    assert cache.get_many("axby") == {"a": "aa", "b": "bb"}
    assert cache.get_many("axby") == {"a": "aa", "b": "bb"}
    assert cache.get("x") is None
    assert source.calls == [["a", "x", "b", "y"]]
    clock.set(5)
    assert cache.get_many("ax") == {"a": "aa"}
    assert source.calls[1:] == [["x"]]
    source.values["c"] = None
    assert cache.get_many("c") == {"c": None}
    assert "c" not in cache


async def test_a_loading_cache_without_a_bulk_loader(loading, clock, source):
    """CA24: keys are loaded one by one, in an event loop side by side; the first error ends the others."""
    running = []

    async def loader(key):
        running.append(key)
        await settle()
        return source(key)

    cache = loading(20, loader, ttl=10, timer=clock)
    task = asyncio.create_task(cache.aget_many("abc"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert running == ["a", "b", "c"]
    assert await task == {"a": "aa", "b": "bb", "c": "cc"}
    source.values["d"] = OSError("down")
    with pytest.raises(OSError, match="down"):
        await cache.aget_many("adz")
    await settle()
    assert len(asyncio.all_tasks()) == 1
    sync = loading(20, source, timer=clock)
    assert sync.get_many("ab") == {"a": "aa", "b": "bb"}


async def test_a_plain_bulk_loader_does_not_block_the_event_loop(loading):
    """CA24: a loading cache runs it in a thread."""
    here = threading.get_ident()
    cache = loading(20, bulk_loader=lambda keys: dict.fromkeys(keys, threading.get_ident()))
    assert here not in (await cache.aget_many("ab")).values()
    assert await cache.aget("c") != here


async def test_an_asynchronous_bulk_loader_alone(loading, source, clock):
    cache = loading(20, bulk_loader=source.many_soon, negative_ttl=9, timer=clock)
    assert await cache.aget("a") == "aa"
    assert await cache.aget("x", 5) == 5
    with pytest.raises(NotFound):
        await cache.aget("x")
    with pytest.raises(TypeError, match="is asynchronous"):
        cache["b"]
