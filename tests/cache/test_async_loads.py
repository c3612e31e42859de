"""Single flight in event loops, and in threads and event loops together."""

import asyncio
import threading
import traceback

import pytest

from fastcore import _singleflight
from fastcore.errors import ReentrancyError


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


class Loader:
    """An asynchronous loader that finishes when it is told to."""

    def __init__(self, result=None):
        self.calls = 0
        self.cancelled = False
        self.open = asyncio.Event()
        self.result = result

    async def __call__(self):
        self.calls += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


async def test_many_tasks_one_load(make):
    """CA15: N concurrent callers, one call, the same object."""
    cache = make(5)
    loader = Loader(object())
    tasks = [asyncio.create_task(cache.aget_or_load("k", loader)) for _ in range(10)]
    await settle()
    loader.open.set()
    assert {id(r) for r in await asyncio.gather(*tasks)} == {id(loader.result)}
    assert loader.calls == 1
    assert cache["k"] is loader.result
    assert await cache.aget_or_load("k", loader) is loader.result


async def test_a_failing_load(make):
    """CA15: each waiter gets the error with a traceback of its own; nothing is stored; the next caller tries again."""
    cache = make(5)
    loader = Loader(LookupError("no"))
    tasks = [asyncio.create_task(cache.aget_or_load("k", loader)) for _ in range(4)]
    await settle()
    loader.open.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert errors[0] is loader.result
    assert len({id(e) for e in errors}) == 4
    for error in errors[1:]:
        assert type(error) is LookupError
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert frames.count("aget_or_load") == 1
        assert frames.count("__call__") == 1
    assert await cache.aget_or_load("k", lambda: 3) == 3
    assert cache.stats().load_failures == 1


async def test_cancelling_the_one_who_started(make):
    """CA16: the load goes on as long as anybody waits for it."""
    cache = make(5)
    loader = Loader("value")
    first = asyncio.create_task(cache.aget_or_load("k", loader))
    await settle()
    second = asyncio.create_task(cache.aget_or_load("k", loader))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    loader.open.set()
    assert await second == "value"
    assert (loader.calls, loader.cancelled) == (1, False)
    assert cache["k"] == "value"


async def test_the_last_one_to_leave_cancels(make):
    """CA16: nobody waits any more: the load is cancelled and stores nothing; the next caller starts anew."""
    cache = make(5)
    loader = Loader("value")
    tasks = [asyncio.create_task(cache.aget_or_load("k", loader)) for _ in range(3)]
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert loader.cancelled
    assert "k" not in cache
    assert await cache.aget_or_load("k", lambda: "new") == "new"


async def test_a_caller_between_cancellation_and_its_effect(make):
    """CA16: who comes while a load that nobody wants is being cancelled does not share its fate."""
    cache = make(5)

    async def slow():
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0.01)

    first = asyncio.create_task(cache.aget_or_load("k", slow))
    await settle()
    first.cancel()
    await settle()
    assert await cache.aget_or_load("k", lambda: "new") == "new"


async def test_a_loader_that_cancels_itself(make):
    """CA16: the one who started it is told; the others start over."""
    cache = make(5)

    async def suicidal():
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    async def second():
        return await cache.aget_or_load("k", lambda: "second")

    first = asyncio.create_task(cache.aget_or_load("k", suicidal))
    await asyncio.sleep(0)
    assert await second() == "second"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_timeouts_leave_nothing_behind(make):
    """CA16: a deadline around the call ends the load."""
    cache = make(5)
    loader = Loader()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await cache.aget_or_load("k", loader)
    await settle()
    assert loader.cancelled
    assert len(asyncio.all_tasks()) == 1


async def test_fences(make):
    """CA17, CA18, CA19: as in threads."""
    for act, stored in (
        (lambda cache: cache.invalidate("k"), None),
        (lambda cache: cache.invalidate_all(), None),
        (lambda cache: cache.invalidate_prefix(""), None),
        (lambda cache: cache.set("k", "set"), "set"),
    ):
        cache = make(5)
        loader = Loader("old")
        tasks = [asyncio.create_task(cache.aget_or_load("k", loader)) for _ in range(2)]
        await settle()
        act(cache)
        loader.open.set()
        assert await asyncio.gather(*tasks) == ["old", "old"]
        assert cache.get("k") == stored


async def test_a_new_load_after_an_invalidation(make):
    """CA17: callers after the invalidation start a new load while the old one is still under way."""
    cache = make(5)
    old, new = Loader("old"), Loader("new")
    first = asyncio.create_task(cache.aget_or_load("k", old))
    await settle()
    cache.invalidate("k")
    second = asyncio.create_task(cache.aget_or_load("k", new))
    await settle()
    new.open.set()
    assert await second == "new"
    old.open.set()
    assert await first == "old"
    assert cache["k"] == "new"


async def test_a_loader_that_asks_for_its_own_key(make):
    """CA15: would wait for itself for ever; raises instead."""
    cache = make(5)

    async def loader():
        return await cache.aget_or_load("k", loader)

    with pytest.raises(ReentrancyError, match="asks the cache for 'k' itself"):
        await cache.aget_or_load("k", loader)

    def blocking():
        return cache.get_or_load("k", blocking)

    with pytest.raises(ReentrancyError, match="would block the event loop"):
        await cache.aget_or_load("k", blocking)

    waiting = Loader(1)
    task = asyncio.create_task(cache.aget_or_load("k", waiting))
    await settle()
    with pytest.raises(ReentrancyError, match="would block the event loop"):
        cache.get_or_load("k", lambda: 2)
    waiting.open.set()
    assert await task == 1


async def test_thread_joins_a_load_of_an_event_loop(make):
    """CA15: one load for tasks and threads, started by a task."""
    cache = make(5)
    loader = Loader(object())
    task = asyncio.create_task(cache.aget_or_load("k", loader))
    await settle()
    threads = [asyncio.create_task(asyncio.to_thread(cache.get_or_load, "k", dict)) for _ in range(3)]
    flight = cache._begin_load("k", type(cache)._flight_type())[1]
    await until(lambda: flight._waiting == 4)
    task.cancel()
    await settle()
    loader.open.set()
    assert all(r is loader.result for r in await asyncio.gather(*threads))
    assert (loader.calls, loader.cancelled) == (1, False)


async def test_task_joins_a_load_of_a_thread(make):
    """CA15, CA16: one load for tasks and threads, started by a thread; a task that leaves disturbs nobody."""
    cache = make(5)
    running, gate = threading.Event(), threading.Event()

    def load():
        running.set()
        assert gate.wait(20)
        return "value"

    thread = asyncio.create_task(asyncio.to_thread(cache.get_or_load, "k", load))
    await until(running.is_set)
    tasks = [asyncio.create_task(cache.aget_or_load("k", dict)) for _ in range(3)]
    await settle()
    tasks[0].cancel()
    await settle()
    assert tasks[0].cancelled()
    gate.set()
    assert await asyncio.gather(thread, *tasks[1:]) == ["value"] * 3


def test_two_event_loops_share_a_load(make):
    """CA15: tasks of different loops wait for one load."""
    cache = make(5)
    calls = []
    started, joined = threading.Event(), threading.Event()

    async def loader():
        calls.append(1)
        started.set()
        await asyncio.to_thread(joined.wait, 20)
        return "value"

    async def first():
        return await cache.aget_or_load("k", loader)

    async def second():
        await asyncio.to_thread(started.wait, 20)
        task = asyncio.create_task(cache.aget_or_load("k", dict))
        flight = cache._begin_load("k", type(cache)._flight_type())[1]
        await until(lambda: flight._waiting == 2)
        joined.set()
        return await task

    results = []
    threads = [threading.Thread(target=lambda f=f: results.append(asyncio.run(f()))) for f in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == ["value", "value"]
    assert calls == [1]


def test_a_loop_that_ends_abandons_its_load(make):
    """CA16: the loop of a load is closed: a thread that waits for it loads for itself."""
    cache = make(5)
    results = []
    waiting = threading.Thread(target=lambda: results.append(cache.get_or_load("k", lambda: "own")))

    async def main():
        task = asyncio.create_task(cache.aget_or_load("k", asyncio.Event().wait))
        await settle()
        waiting.start()
        flight = cache._begin_load("k", type(cache)._flight_type())[1]
        await until(lambda: flight._waiting == 2)
        assert not task.done()

    asyncio.run(main())
    waiting.join(20)
    assert results == ["own"]


def test_a_loop_that_is_closed_without_cancelling(make):
    """CA16: the same, when the loop never got to cancel its tasks."""
    cache = make(5)
    results = []
    waiting = threading.Thread(target=lambda: results.append(cache.get_or_load("k", lambda: "own")))
    loop = asyncio.new_event_loop()

    async def main():
        task = asyncio.create_task(cache.aget_or_load("k", asyncio.Event().wait))
        await settle()
        waiting.start()
        flight = cache._begin_load("k", type(cache)._flight_type())[1]
        await until(lambda: flight._waiting == 2)
        return task, flight.task

    tasks = loop.run_until_complete(main())
    for task in tasks:
        task._log_destroy_pending = False
        task.get_coro().close() if task is not tasks[1] else None
    loop.close()
    waiting.join(20)
    assert results == ["own"]
    tasks[1].get_coro().close()


async def test_synchronous_loaders(make):
    cache = make(5)
    assert await cache.aget_or_load("a", lambda: 1) == 1
    assert await cache.aget_or_load("b", lambda key: key * 2) == "bb"
    with pytest.raises(ZeroDivisionError):
        await cache.aget_or_load("c", lambda: 1 / 0)
    assert dict(cache) == {"a": 1, "b": "bb"}


async def test_a_visitor_that_leaves_before_the_owner_waits_cancels_nothing(make, monkeypatch):
    """CA16: whoever joins a load and leaves it before its owner has begun to wait was not the last one."""
    cache = make(5)
    start = _singleflight.start

    def fail(keys):
        assert keys == ["other"]
        raise OSError

    def start_and_be_visited(*args):
        start(*args)
        with pytest.raises(OSError):
            cache.get_many(["k", "other"], bulk_loader=fail)

    monkeypatch.setattr(_singleflight, "start", start_and_be_visited)
    loader = Loader("loaded")
    task = asyncio.create_task(cache.aget_or_load("k", loader))
    await settle()
    loader.open.set()
    assert await task == "loaded"
    assert not loader.cancelled
