"""Reloads behind the reader's back: after a time, or drawn for as expiry comes near."""

import asyncio
import logging
import random
import threading

import pytest

from cache.sources import Manual, Source
from fastcore._reloads import MOST_PENDING, Reloads

WAIT_S = 20


@pytest.fixture
def source(clock):
    return Source(clock, {"a": 1, "b": 2})


@pytest.fixture
def manual():
    return Manual()


@pytest.fixture
def cache(loading, clock, source, manual):
    return loading(10, source, ttl=10, refresh_after=5, throttle=2, timer=clock, executor=manual)


async def settle():
    for _ in range(8):
        await asyncio.sleep(0)


def test_the_first_late_read_starts_one_reload(cache, clock, source, manual):
    """CA21: it returns the old value at once; the others do too, and start nothing."""
    assert cache["a"] == 1
    source.values["a"] = 9
    clock.set(4)
    assert cache["a"] == 1
    assert not manual.jobs
    clock.set(5)
    assert [cache["a"], cache.get("a"), cache.get_or_load("a", source), cache.get_many(["a"])["a"]] == [1] * 4
    assert source.calls == ["a"]
    assert manual.work() == 1
    assert source.calls == ["a", "a"]
    assert cache["a"] == 9
    s = cache.stats()
    assert (s.hits, s.misses, s.refreshes, s.early_refreshes, s.refresh_failures, s.loads) == (6, 1, 1, 0, 0, 2)


def test_success_begins_a_new_time_to_live(cache, clock, manual):
    """CA21: from the end of the reload, and so does the time to the next one."""
    cache["a"]
    clock.set(9)
    cache["a"]
    manual.work()
    for now in (10, 13):
        clock.set(now)
        assert cache["a"] == 1
        assert not manual.jobs
    clock.set(14)
    assert cache["a"] == 1
    assert len(manual.jobs) == 1


def test_failure_keeps_the_old_value_until_its_time_is_over(cache, clock, source, manual, caplog):
    """CA21: it is counted and logged, and tried again after the throttle; past the time to live the error shows."""
    cache["a"]
    clock.set(5)
    source.error = OSError("down")
    cache["a"]
    with caplog.at_level(logging.WARNING, "fastcore.cache"):
        manual.work()
    assert [r.getMessage() for r in caplog.records] == ["loading 'a' failed; the old value stays"]
    assert caplog.records[0].exc_info[1] is source.error
    clock.set(6)
    assert cache["a"] == 1
    assert not manual.jobs
    clock.set(7)
    assert cache["a"] == 1
    manual.work()
    assert cache.stats().refresh_failures == 2
    clock.set(9)
    assert cache["a"] == 1
    clock.set(10)
    with pytest.raises(OSError, match="down"):
        cache["a"]
    s = cache.stats()
    assert (s.refreshes, s.refresh_failures, s.load_failures, s.stale_answers) == (3, 2, 3, 0)


def test_what_nobody_reads_is_not_reloaded(cache, clock, source, manual):
    """CA21: time alone starts nothing, nor does looking."""
    cache["a"]
    clock.set(6)
    assert cache.peek("a") == 1
    assert "a" in cache
    assert list(cache) == ["a"]
    assert len(cache) == 1
    cache["b"]
    assert not manual.jobs
    assert source.calls == ["a", "b"]


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (lambda cache: cache.invalidate("a"), None),
        (lambda cache: cache.invalidate_all(), None),
        (lambda cache: cache.invalidate_prefix("a"), None),
        (lambda cache: cache.set("a", "set"), "set"),
        (lambda cache: cache.__setitem__("a", "set"), "set"),
    ],
)
@pytest.mark.parametrize("moment", ["before", "during"])
def test_an_invalidation_discards_the_reload(cache, clock, source, manual, act, left, moment):
    """CA17, CA18, CA19, CA21: before it runs it is not even started, during it the result is dropped."""
    cache["a"]
    clock.set(5)
    cache["a"]
    if moment == "before":
        act(cache)
    else:
        source.meanwhile = lambda: act(cache)
    manual.work()
    assert cache.peek("a") == left
    assert len(source.calls) == (1 if moment == "before" else 2)
    assert cache.stats().loads_discarded == (moment == "during")


def test_an_evicted_entry_is_not_reloaded(cache, clock, source, manual):
    cache["a"]
    clock.set(5)
    cache["a"]
    cache.resize(0)
    manual.work()
    assert source.calls == ["a"]


def test_a_reload_uses_the_loader_of_the_call(cache, clock, manual):
    """CA21: get_or_load reloads with what it was given."""
    assert cache.get_or_load("x", lambda: 1) == 1
    clock.set(5)
    assert cache.get_or_load("x", lambda: 2) == 1
    manual.work()
    assert cache["x"] == 2


def test_a_value_that_was_set_is_reloaded_too(cache, clock, manual):
    cache["a"] = 7
    clock.set(5)
    assert cache["a"] == 7
    manual.work()
    assert cache["a"] == 1


def test_a_set_value_without_a_loader_stays(loading, clock, manual):
    cache = loading(10, ttl=10, refresh_after=5, timer=clock, executor=manual)
    cache["a"] = 7
    clock.set(5)
    assert cache["a"] == 7
    assert not manual.jobs
    assert cache.stats().refreshes == 0


def test_a_read_past_the_time_to_live_joins_the_reload(loading, clock):
    """CA15, CA21: one load, whoever began it; its failure reaches who waits."""
    started, go = threading.Event(), threading.Event()
    answers = iter([1, 2])

    def loader(key):
        answer = next(answers)
        if answer == 2:
            started.set()
            assert go.wait(WAIT_S)
        return answer

    with loading(10, loader, ttl=10, refresh_after=5, timer=clock) as cache:
        cache["a"]
        clock.set(5)
        assert cache["a"] == 1
        assert started.wait(WAIT_S)
        clock.set(10)
        results = []
        thread = threading.Thread(target=lambda: results.append(cache["a"]))
        thread.start()
        flight = cache._begin_load("a", type(cache)._flight_type())[1]
        while flight._waiting < 1:
            assert thread.is_alive()
        go.set()
        thread.join(WAIT_S)
        assert results == [2]
        assert cache.close(WAIT_S)


async def test_a_reload_in_an_event_loop(loading, clock, source):
    """CA21: in a task that is held until it ends; readers see the old value meanwhile."""
    gate = asyncio.Event()

    async def loader(key):
        if source.calls:
            await gate.wait()
        return source(key)

    cache = loading(10, loader, ttl=10, refresh_after=5, timer=clock)
    assert await cache.aget("a") == 1
    source.values["a"] = 2
    clock.set(5)
    assert [await cache.aget("a"), cache["a"], (await cache.aget_many(["a"]))["a"]] == [1, 1, 1]
    await settle()
    assert len(cache._tasks) == 1
    gate.set()
    await settle()
    assert not cache._tasks
    assert await cache.aget("a") == 2
    assert (cache.stats().refreshes, len(source.calls)) == (1, 2)


async def test_nobody_cancels_a_reload_by_leaving(loading, clock, source):
    """CA16, CA21: it runs for nobody in particular; one that joined it and left does not end it."""
    gate = asyncio.Event()

    async def loader(key):
        if source.calls:
            await gate.wait()
        return source(key)

    cache = loading(10, loader, ttl=10, refresh_after=5, timer=clock)
    await cache.aget("a")
    clock.set(5)
    await cache.aget("a")
    clock.set(10)
    late = asyncio.create_task(cache.aget("a"))
    await settle()
    late.cancel()
    await settle()
    gate.set()
    await settle()
    assert late.cancelled()
    assert await cache.aget("a") == 1
    assert len(source.calls) == 2


async def test_plain_loaders_do_not_block_the_event_loop(loading, clock):
    """CA16: they run in threads, foreground and background alike."""
    here = threading.get_ident()
    seen = []

    def loader(key):
        seen.append(threading.get_ident())
        return len(seen)

    cache = loading(10, loader, ttl=10, refresh_after=5, timer=clock)
    assert await cache.aget("a") == 1
    clock.set(5)
    assert await cache.aget("a") == 1
    async with asyncio.timeout(WAIT_S):
        while await cache.aget("a") == 1:
            await asyncio.sleep(0.001)
    assert here not in seen
    assert await cache.aclose()


async def test_a_function_that_makes_a_coroutine(loading, clock, source):
    cache = loading(10, lambda key: source.soon(key), ttl=10, timer=clock)
    assert await cache.aget("a") == 1
    assert await cache.aget_or_load("b", lambda: source.soon("b")) == 2


def test_a_thread_cannot_run_a_coroutine_function(loading, clock, source):
    """CA21: its reads start no reload, and its loads say what to call."""
    cache = loading(10, source.soon, ttl=10, refresh_after=5, throttle=2, timer=clock)
    with pytest.raises(TypeError, match="the loader of 'a' is asynchronous; use aget_or_load"):
        cache["a"]
    cache["a"] = 7
    clock.set(5)
    assert cache["a"] == 7
    assert cache.stats().refreshes == 0
    clock.set(7)

    async def later():
        assert await cache.aget("a") == 7
        await settle()
        assert await cache.aget("a") == 1

    asyncio.run(later())


def test_close_waits_for_what_runs_and_drops_what_waits(loading, clock):
    """CA21: afterwards reads and loads work, reloads do not."""
    started, go = threading.Event(), threading.Event()
    calls = []

    def loader(key):
        calls.append(key)
        if len(calls) > 5:
            started.set()
            assert go.wait(WAIT_S)
        return key

    cache = loading(10, loader, ttl=10, refresh_after=5, throttle=0, timer=clock, refresh_threads=1)
    cache.get_many("abcde")
    clock.set(5)
    cache.get_many("abcde")
    assert started.wait(WAIT_S)
    assert cache.close(0) is False
    go.set()
    assert cache.close(WAIT_S) is True
    assert len(calls) == 6
    assert cache.get_many("abcde") == {key: key for key in "abcde"}
    assert len(calls) == 6
    assert cache["new"] == "new"
    clock.set(10)
    assert cache["e"] == "e"
    assert not [t for t in threading.enumerate() if t.name.startswith("fastcore-reload") and not t.daemon and alive(t)]


def alive(thread):
    thread.join(WAIT_S)
    return thread.is_alive()


async def test_aclose_ends_the_tasks(loading, clock, source):
    """CA21: a cancelled reload stores nothing, is no failure of the loader, and its key is loaded when it has to be."""
    cancelled = []

    async def loader(key):
        if source.calls:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.append(key)
                raise
        return source(key)

    async with loading(10, loader, ttl=10, refresh_after=5, timer=clock) as cache:
        await cache.aget("a")
        clock.set(5)
        await cache.aget("a")
        await settle()
    assert cancelled == ["a"]
    assert len(asyncio.all_tasks()) == 1
    assert await cache.aget("a") == 1
    await settle()
    assert not cache._tasks


def test_a_reload_whose_event_loop_ended(loading, clock, source):
    """CA16, CA21: the loop is closed under the reload; who needs the value then loads it."""
    cache = loading(10, source, ttl=10, refresh_after=5, timer=clock)
    assert cache["a"] == 1

    async def loader(key):
        await asyncio.sleep(1000)

    async def main():
        await cache.aget_or_load("a", loader)
        await settle()
        return list(cache._tasks)

    clock.set(5)
    loop = asyncio.new_event_loop()
    (task,) = loop.run_until_complete(main())
    loop.close()
    clock.set(10)
    source.values["a"] = 3
    assert cache["a"] == 3
    assert asyncio.run(cache.aget("a")) == 3
    task._log_destroy_pending = False
    task.get_coro().close()


def test_a_task_does_not_wait_for_a_loop_that_ended(loading, clock, source):
    """CA16: nor does one of another loop that already waits when it ends."""
    cache = loading(10, source, ttl=10, timer=clock)

    async def hang():
        await asyncio.sleep(1000)

    async def begin():
        task = asyncio.create_task(cache.aget_or_load("a", hang))
        await settle()
        return task, cache._begin_load("a", type(cache)._flight_type())[1]

    loop = asyncio.new_event_loop()
    task, flight = loop.run_until_complete(begin())

    async def join():
        waiting = asyncio.create_task(cache.aget("a"))
        await settle()
        assert flight._waiting == 2
        loop.close()
        async with asyncio.timeout(WAIT_S):
            return await waiting

    assert asyncio.run(join()) == 1
    for left in (task, flight.task):
        left._log_destroy_pending = False
    flight.task.get_coro().close()
    task.get_coro().close()


def test_a_reload_that_cannot_be_started(loading, clock, source, caplog):
    """CA21: a full queue, or an executor that was shut down, does not hurt the reader; it is tried again later."""

    class Broken(Manual):
        def submit(self, function, /, *args, **kwargs):
            raise RuntimeError("cannot schedule new futures after shutdown")

    cache = loading(10, source, ttl=100, refresh_after=5, throttle=2, timer=clock, executor=Broken())
    cache["a"]
    clock.set(5)
    with caplog.at_level(logging.WARNING, "fastcore.cache"):
        assert cache["a"] == 1
        assert cache["a"] == 1
    assert [r.getMessage() for r in caplog.records] == [
        "cannot reload 'a' now: cannot schedule new futures after shutdown"
    ]
    assert cache.stats().refreshes == 0
    cache._reloads = Reloads(Manual(), 1)
    clock.set(7)
    assert cache["a"] == 1
    assert cache._reloads._given.work() == 1
    assert cache.stats().refreshes == 1


def test_the_queue_of_reloads_is_bounded():
    manual = Manual()
    reloads = Reloads(manual, 1)
    assert all(reloads.submit(len, ()) for _ in range(MOST_PENDING))
    assert reloads.submit(len, ()) is False
    manual.work()
    assert reloads.submit(len, ()) is True
    assert reloads.close(0) is False
    assert reloads.submit(len, ()) is False


def test_a_forked_process_reloads_with_threads_of_its_own(monkeypatch):
    """The threads of its parent are not there: it starts others, and does not wait for what the parent left."""
    reloads = Reloads(None, 1)
    done = threading.Event()
    assert reloads.submit(done.set)
    assert done.wait(WAIT_S)
    parents = reloads._own
    monkeypatch.setattr("fastcore._reloads.os.getpid", lambda: -1)
    again = threading.Event()
    assert reloads.submit(again.set)
    assert again.wait(WAIT_S)
    assert reloads._own is not parents
    assert reloads.close(WAIT_S)
    parents.shutdown()


# -- XFetch


@pytest.mark.parametrize("multiple", [0.25, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_the_chance_of_an_early_reload(impl, multiple, beta):
    """CA23: exp(-e / (b * d)), by chi-square over 100,000 draws: 0.7788, 0.3679, 0.1353, 0.0067."""
    expected = {0.25: 0.7788007831, 1.0: 0.3678794412, 2.0: 0.1353352832, 5.0: 0.0067379470}[multiple]
    cost, draws = 7.0, 100_000
    draw = random.Random(20).random
    early = sum(impl.envelope.refreshes_early(multiple * beta * cost, cost, beta, draw()) for _ in range(draws))
    chi_square = (early - draws * expected) ** 2 / (draws * expected)
    chi_square += (draws - early - draws * (1 - expected)) ** 2 / (draws * (1 - expected))
    assert chi_square < 10.83  # one degree of freedom, p = 0.001


def test_no_early_reload_without_beta_or_cost(impl):
    """CA23: b = 0 disables; what cost nothing to load need not be loaded early."""
    assert not impl.envelope.refreshes_early(0.0, 5.0, 0.0, 0.0)
    assert not impl.envelope.refreshes_early(0.0, 0.0, 1.0, 0.0)
    assert impl.envelope.refreshes_early(0.0, 5.0, 1.0, 0.999)


def test_reads_draw_with_what_the_last_load_cost(loading, clock, source, manual):
    """CA23: the cost is measured; the draw decides at exp(-e/(b*d)), and one early reload is under way at a time."""
    draws = []
    source.cost = 10
    cache = loading(10, source, ttl=100, beta=2.0, timer=clock, rng=lambda: draws.pop(), executor=manual)
    cache["a"]  # written at 10, gone at 110, b * d = 20
    clock.set(70)
    draws.append(0.14)  # exp(-40 / 20) = 0.1353
    assert cache["a"] == 1
    assert not manual.jobs
    draws.append(0.13)
    assert cache["a"] == 1
    assert len(manual.jobs) == 1
    assert cache["a"] == 1  # draws no more
    source.cost = 30
    manual.work()  # ends at 100: gone at 200, b * d = 60
    clock.set(140)
    draws.append(0.36)  # exp(-60 / 60) = 0.3679
    assert cache["a"] == 1
    assert len(manual.jobs) == 1
    s = cache.stats()
    assert (s.refreshes, s.early_refreshes) == (2, 2)
    assert not draws


def test_how_often_reads_reload_early(loading, clock, source, manual):
    """CA23: through the cache itself, over 20,000 reads at one cost before expiry."""
    source.cost = 10
    cache = loading(10, source, ttl=100, beta=1.0, timer=clock, rng=random.Random(3).random, executor=manual)
    cache["a"]
    early = 0
    for _ in range(20_000):
        clock.set(round(cache._peek("a")[0].expires) - source.cost)
        cache["a"]
        early += manual.work()
    assert abs(early - 20_000 * 0.36788) < 5 * (20_000 * 0.36788 * 0.63212) ** 0.5


def test_far_from_expiry_nothing_is_drawn(loading, clock, source, manual):
    """CA23: where the chance is below e-40, and where the last reload failed, the generator is not asked."""
    source.cost = 1

    def rng():
        raise AssertionError("drawn")

    cache = loading(10, source, ttl=1000, beta=1.0, timer=clock, rng=rng, executor=manual)
    cache["a"]
    clock.set(1000 - 40)
    assert cache["a"] == 1
    clock.set(1000 - 38)
    with pytest.raises(AssertionError, match="drawn"):
        cache["a"]


def test_an_early_reload_that_fails_is_left_alone_for_the_throttle(loading, clock, source, manual):
    """CA21, CA23: no draws meanwhile; then one more attempt."""
    source.cost = 10
    cache = loading(10, source, ttl=100, beta=1.0, throttle=5, timer=clock, rng=lambda: 0.0, executor=manual)
    cache["a"]
    clock.set(95)
    cache["a"]
    source.error = OSError("down")
    source.cost = 0
    manual.work()
    clock.set(99)
    cache["a"]
    assert not manual.jobs
    clock.set(100)
    cache["a"]
    assert len(manual.jobs) == 1
