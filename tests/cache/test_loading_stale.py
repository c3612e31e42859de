"""Old values that stand in while the loader fails."""

import asyncio
import logging
import threading

import pytest

from cache.sources import Manual, Source
from fastcore.errors import NotFound

WAIT_S = 20


@pytest.fixture
def source(clock):
    return Source(clock, {"a": 1, "b": 2})


@pytest.fixture
def cache(loading, clock, source):
    """Fresh until 10, of use until 30, asked again every 3."""
    return loading(10, source, ttl=10, max_stale=20, throttle=3, timer=clock)


async def settle():
    for _ in range(8):
        await asyncio.sleep(0)


def test_the_old_value_stands_in(cache, clock, source, caplog):
    """CA22: marked stale, and the loader is left alone for the throttle; then it is asked once more."""
    cache["a"]
    source.error = OSError("down")
    clock.set(10)
    with caplog.at_level(logging.WARNING, "fastcore.cache"):
        assert cache.get_entry("a") == (1, True, 10, 0, 0)
    assert [r.getMessage() for r in caplog.records] == ["loading 'a' failed; the old value stays"]
    clock.set(12)
    assert [cache["a"], cache.get("a"), cache.get_many(["a"]), cache.peek("a"), "a" in cache] == [
        1,
        1,
        {"a": 1},
        1,
        True,
    ]
    assert cache.get_entry("a") == (1, True, 12, -2, 0)
    assert source.calls == ["a", "a"]
    clock.set(13)
    assert "a" not in cache
    assert cache["a"] == 1
    assert source.calls == ["a"] * 3
    s = cache.stats()
    assert (s.hits, s.stale_hits, s.misses, s.stale_answers, s.load_failures) == (0, 4, 3, 2, 2)


def test_it_recovers(cache, clock, source):
    """CA22: the first load that succeeds makes it fresh again."""
    cache["a"]
    source.error = OSError("down")
    clock.set(10)
    cache["a"]
    source.error = None
    source.values["a"] = 2
    clock.set(12)
    assert cache["a"] == 1
    clock.set(13)
    assert cache.get_entry("a") == (2, False, 0, 10, 0)


def test_max_stale_is_the_end(cache, clock, source):
    """CA22: at ttl + max_stale the error shows, throttle or not, and nothing is left."""
    cache["a"]
    source.error = OSError("down")
    clock.set(29)
    assert cache["a"] == 1
    clock.set(30)
    with pytest.raises(OSError, match="down"):
        cache["a"]
    assert len(cache) == 0


def test_without_max_stale_the_error_shows(loading, clock, source):
    """CA22: max_stale=0 disables."""
    cache = loading(10, source, ttl=10, timer=clock)
    cache["a"]
    source.error = OSError("down")
    clock.set(10)
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            cache["a"]
    assert len(source.calls) == 3


@pytest.mark.parametrize(
    "act",
    [
        lambda cache: cache.invalidate("a"),
        lambda cache: cache.invalidate_all(),
        lambda cache: cache.invalidate_prefix("a"),
        lambda cache: cache.__delitem__("a"),
    ],
)
@pytest.mark.parametrize("moment", ["before", "during", "throttled"])
def test_no_stale_value_after_an_invalidation(cache, clock, source, act, moment):
    """CA17, CA18, CA22: who asked before an invalidation and whose load fails after it gets the error."""
    cache["a"]
    source.error = OSError("down")
    clock.set(10)
    if moment == "during":
        source.meanwhile = lambda: "a" in cache._inside() and act(cache)
    elif moment == "throttled":
        assert cache["a"] == 1
    if moment != "during":
        act(cache)
    with pytest.raises(OSError, match="down"):
        cache["a"]
    assert len(cache) == 0


def test_a_set_during_a_failing_load_wins(cache, clock, source):
    """CA19, CA22: the caller gets its error, later ones what was set."""
    cache["a"]
    source.error = OSError("down")
    clock.set(10)
    source.meanwhile = lambda: cache.set("a", "set")
    with pytest.raises(OSError, match="down"):
        cache["a"]
    assert cache.get_entry("a") == ("set", False, 0, 10, 0)


def test_an_interruption_is_no_error(cache, clock, source):
    """CA16, CA22: whoever is interrupted is told; the old value is not touched, and the next reader loads."""
    cache["a"]
    clock.set(10)
    source.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        cache["a"]
    source.error = None
    assert cache["a"] == 1
    assert len(source.calls) == 3


def test_negative_entries_do_not_stand_in(loading, clock, source):
    """CA20, CA22: that there was nothing is no answer once its time is over."""
    cache = loading(10, source, ttl=10, negative_ttl=5, max_stale=100, timer=clock)
    source.values["no"] = NotFound("no")
    assert cache.get("no") is None
    source.error = OSError("down")
    clock.set(5)
    with pytest.raises(OSError, match="down"):
        cache.get("no")


def test_a_failed_reload_counts_for_the_throttle(loading, clock, source):
    """CA21, CA22: past its time to live the value is served without a call until the throttle of the reload is over."""
    manual = Manual()
    cache = loading(10, source, ttl=10, refresh_after=5, max_stale=20, throttle=3, timer=clock, executor=manual)
    cache["a"]
    clock.set(9)
    source.error = OSError("down")
    cache["a"]
    manual.work()
    clock.set(11)
    assert cache.get_entry("a").stale
    assert len(source.calls) == 2
    clock.set(12)
    assert cache["a"] == 1
    assert len(source.calls) == 3


def test_a_reload_that_comes_after_a_failed_load(loading, clock, source):
    """CA21, CA22: what waited for a thread while its key's load failed keeps to the throttle too."""
    manual = Manual()
    cache = loading(10, source, ttl=10, refresh_after=5, max_stale=20, throttle=3, timer=clock, executor=manual)
    cache["a"]
    clock.set(6)
    cache["a"]
    clock.set(10)
    source.error = OSError("down")
    assert cache["a"] == 1
    assert manual.work() == 1
    assert source.calls == ["a", "a"]


def test_everybody_who_waits_gets_the_old_value(loading, clock):
    """CA15, CA22: one call of a loader that fails, one old object for all."""
    started, go = threading.Event(), threading.Event()
    old = object()
    calls = []

    def loader(key):
        calls.append(key)
        started.set()
        assert go.wait(WAIT_S)
        raise OSError("down")

    cache = loading(10, loader, ttl=10, max_stale=20, timer=clock)
    cache["a"] = old
    clock.set(10)
    results = []
    threads = [threading.Thread(target=lambda: results.append(cache["a"])) for _ in range(4)]
    threads[0].start()
    assert started.wait(WAIT_S)
    for thread in threads[1:]:
        thread.start()
    flight = cache._begin_load("a", type(cache)._flight_type())[1]
    while flight._waiting < 3:
        assert all(t.is_alive() for t in threads)
    go.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert [r is old for r in results] == [True] * 4
    assert calls == ["a"]


async def test_in_event_loops(loading, clock, source):
    """CA16, CA22: the same for tasks; cancelling the load is not an error."""
    gate = asyncio.Event()

    async def loader(key):
        await gate.wait()
        raise OSError("down")

    cache = loading(10, loader, ttl=10, max_stale=20, timer=clock)
    cache["a"] = 1
    clock.set(10)
    task = asyncio.create_task(cache.aget("a"))
    await settle()
    task.cancel()
    await settle()
    assert (cache.stats().stale_answers, cache.stats().load_failures) == (0, 1)
    tasks = [asyncio.create_task(cache.aget_entry("a")) for _ in range(3)]
    await settle()
    gate.set()
    assert [(e.value, e.stale) for e in await asyncio.gather(*tasks)] == [(1, True)] * 3
    assert await cache.aget("a") == 1
    assert cache.stats().load_failures == 2


def test_bulk_loads(cache, clock, source):
    """CA22, CA24: what has an old value gets it; the error shows if any key has none."""
    cache.get_many(["a"])
    source.error = OSError("down")
    clock.set(10)
    with pytest.raises(OSError, match="down"):
        cache.get_many(["a", "b"], source.many)
    clock.set(13)
    assert cache.get_many(["a"], source.many) == {"a": 1}
    assert cache.get_entry("a").stale
