"""The end of a queue: consumers are woken, a drain waits for everything or for its deadline."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fastcore.errors import ShutDown
from fastcore.testing.clock import VirtualClock


def test_remaining_keys_are_handed_out(impl: Any) -> None:
    """WQ-4."""
    queue = impl.queue.WorkQueue(name="webapps")
    queue.add("a")
    queue.add("b")
    queue.shut_down()
    queue.shut_down()
    assert queue.shutting_down
    assert [queue.get(), queue.get()] == ["a", "b"]
    for timeout in (None, 0, 5):
        with pytest.raises(ShutDown, match="the queue 'webapps' is shut down and holds no more keys"):
            queue.get(timeout)
    queue.done("a")


def test_adds_after_shutdown_are_ignored(impl: Any, clock: VirtualClock) -> None:
    """WQ-4."""
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add("a")
    queue.get()
    queue.shut_down()
    queue.add("a")
    queue.add("b")
    queue.add_after("c", 1)
    queue.add_rate_limited("d")
    queue.done("a")
    clock.advance(10)
    assert queue.stats()[1:7] == (0, {}, 0, 0, 1, 0)
    assert queue.retries("d") == 0


def test_delayed_keys_are_dropped(impl: Any, clock: VirtualClock) -> None:
    queue = impl.queue.WorkQueue(clock=clock)
    for key in "ab":
        queue.add(key)
        queue.get()
    queue.add_after("a", 1)
    queue.add_after("c", 1)
    queue.shut_down()
    queue.done("a")
    clock.advance(5)
    queue.done("b")
    assert queue.stats()[1:5] == (0, {}, 0, 0)
    with pytest.raises(ValueError, match="not being processed"):
        queue.done("c")


def test_a_dirty_key_is_handed_out_again(impl: Any) -> None:
    """WQ-4: what was added before the shutdown is processed."""
    queue = impl.queue.WorkQueue()
    queue.add("a")
    queue.get()
    queue.add("a")
    queue.shut_down()
    with pytest.raises(ShutDown):
        queue.get()
    queue.done("a")
    assert queue.get() == "a"


def test_waiting_threads_are_woken(impl: Any) -> None:
    """WQ-4."""
    queue = impl.queue.WorkQueue()
    queue.add_after("late", 3600)
    started = threading.Barrier(5)

    def consume() -> Any:
        started.wait(10)
        return queue.get()

    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(consume) for _ in range(4)]
        started.wait(10)
        queue.shut_down()
        for future in waiting:
            with pytest.raises(ShutDown):
                future.result(10)


async def test_waiting_tasks_are_woken(impl: Any) -> None:
    """WQ-4."""
    queue = impl.queue.WorkQueue()
    queue.add_after("late", 3600)
    tasks = [asyncio.create_task(queue.aget()) for _ in range(4)]
    await asyncio.sleep(0)
    queue.shut_down()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(r) for r in results] == [ShutDown] * 4
    with pytest.raises(ShutDown):
        await queue.aget()


def test_drain_of_an_idle_queue(impl: Any) -> None:
    """WQ-5."""
    queue = impl.queue.WorkQueue()
    queue.add_after("a", 3600)
    assert queue.shut_down_with_drain(0) is True
    assert queue.shutting_down


def test_drain_waits_for_ready_and_processing(impl: Any) -> None:
    """WQ-5: client-go's returns with keys still queued."""
    queue = impl.queue.WorkQueue()
    for key in "abc":
        queue.add(key)
    queue.get()
    queue.add("a")
    order = []
    with ThreadPoolExecutor() as threads:
        draining = threads.submit(queue.shut_down_with_drain, 30)
        while not queue.shutting_down:
            pass
        queue.done("a")
        for _ in range(3):
            key = queue.get(timeout=10)
            assert not draining.done()
            order.append(key)
            queue.done(key)
        assert draining.result(10) is True
    assert order == ["b", "c", "a"]


def test_drain_ends_at_its_deadline(impl: Any) -> None:
    """WQ-5: a missing done does not hang it; a later done allows it."""
    queue = impl.queue.WorkQueue()
    queue.add("a")
    assert queue.shut_down_with_drain(0) is False
    queue.get()
    assert queue.shut_down_with_drain(0.01) is False
    queue.done("a")
    assert queue.shut_down_with_drain(0) is True


def test_shut_down_ends_a_drain(impl: Any) -> None:
    """WQ-5."""
    queue = impl.queue.WorkQueue()
    queue.add("a")
    queue.get()
    with ThreadPoolExecutor() as threads:
        draining = threads.submit(queue.shut_down_with_drain, 60)
        while not queue.shutting_down:
            pass
        while not draining.done():
            queue.shut_down()
        assert draining.result(10) is False


async def test_drain_on_an_event_loop(impl: Any) -> None:
    """WQ-5."""
    queue = impl.queue.WorkQueue()
    assert await impl.queue.WorkQueue().ashut_down_with_drain(0) is True
    queue.add("a")
    assert await queue.ashut_down_with_drain(0.001) is False
    draining = asyncio.create_task(queue.ashut_down_with_drain(30))
    ended = asyncio.create_task(queue.ashut_down_with_drain(float("inf")))
    await asyncio.sleep(0)
    key = await queue.aget()
    assert not draining.done()
    await asyncio.to_thread(queue.done, key)
    assert await asyncio.wait_for(draining, 10) is True
    assert await asyncio.wait_for(ended, 10) is True


async def test_a_cancelled_drain_leaves_the_queue_shut(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    queue.add("a")
    draining = asyncio.create_task(queue.ashut_down_with_drain(30))
    await asyncio.sleep(0)
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    assert queue.shutting_down
    queue.done(queue.get())
