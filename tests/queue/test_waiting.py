"""Threads and tasks that wait for a key: woken once a key is there, never with a key lost."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic_ns
from typing import Any

import pytest

from fastcore.errors import ShutDown
from fastcore.testing.clock import VirtualClock


class Counted:
    """The monotonic clock, and how often it was read: a consumer reads it once more right before it waits."""

    def __init__(self) -> None:
        self.reads = 0
        self.changed = threading.Condition()

    def __call__(self) -> int:
        with self.changed:
            self.reads += 1
            self.changed.notify_all()
        return monotonic_ns()

    def wait_for(self, reads: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.reads >= reads, 10)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_thread_waits_for_add(impl: Any) -> None:
    """WQ-4."""
    clock = Counted()
    queue = impl.queue.WorkQueue(clock=clock)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(queue.get, 10)
        clock.wait_for(2)
        queue.add("a")
        assert waiting.result(10) == "a"


def test_a_thread_waits_for_done(impl: Any) -> None:
    """WQ-2, WQ-4."""
    clock = Counted()
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add("a")
    queue.get()
    queue.add("a")
    reads = clock.reads
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(queue.get, 10)
        clock.wait_for(reads + 2)
        queue.done("a")
        assert waiting.result(10) == "a"


def test_a_thread_waits_for_a_delay(impl: Any) -> None:
    """WQ-6: a sleeping consumer wakes for an earlier delay than the one it sleeps for."""
    clock = Counted()
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add_after("late", 3600)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(queue.get, 10)
        clock.wait_for(3)
        queue.add_after("early", 0.01)
        assert waiting.result(10) == "early"
    assert queue.stats().delayed == 1


def test_each_waiting_thread_gets_one(impl: Any) -> None:
    clock = Counted()
    queue = impl.queue.WorkQueue(clock=clock)
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(queue.get, 10) for _ in range(8)]
        clock.wait_for(16)
        for i in range(4):
            queue.add(i)
        for i in range(4, 8):
            queue.add_after(i, 0.001 * i)
        assert sorted(w.result(10) for w in waiting) == list(range(8))


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_timeout(impl: Any, timeout: float) -> None:
    """WQ-4."""
    queue = impl.queue.WorkQueue()
    queue.add_after("a", 3600)
    with pytest.raises(TimeoutError, match=f"no key within {timeout} s"):
        queue.get(timeout)


def test_a_timeout_hands_the_lead_on(impl: Any) -> None:
    """WQ-6: who waits for the next delay leaves; another consumer takes over."""
    clock = Counted()
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add_after("a", 0.05)
    with ThreadPoolExecutor() as threads:
        leader = threads.submit(queue.get, 0.02)
        clock.wait_for(3)
        follower = threads.submit(queue.get, 10)
        with pytest.raises(TimeoutError):
            leader.result(10)
        assert follower.result(10) == "a"


async def test_a_task_waits_for_add(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    task = asyncio.create_task(queue.aget())
    await settle()
    assert not task.done()
    queue.add("a")
    assert await asyncio.wait_for(task, 10) == "a"


async def test_a_task_gets_what_is_ready_without_a_turn_of_the_loop(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    queue.add("a")
    coroutine = queue.aget()
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == "a"


async def test_tasks_are_served_in_order_of_arrival(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    tasks = [asyncio.create_task(queue.aget()) for _ in range(5)]
    await settle()
    for i in range(5):
        queue.add(i)
    assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == [0, 1, 2, 3, 4]


async def test_a_task_waits_for_add_from_a_thread(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    task = asyncio.create_task(queue.aget())
    await settle()
    await asyncio.to_thread(queue.add, "a")
    assert await asyncio.wait_for(task, 10) == "a"


async def test_tasks_wait_for_delays(impl: Any) -> None:
    """WQ-6: one timer serves all; an earlier delay replaces it."""
    queue = impl.queue.WorkQueue()
    order = []

    async def consume() -> None:
        order.append(await queue.aget())

    tasks = [asyncio.create_task(consume()) for _ in range(4)]
    await settle()
    queue.add_after("d", 3600)
    queue.add_after("c", 0.02)
    await settle()
    queue.add_after("b", 0.01)
    queue.add_after("a", 0.005)
    while len(order) < 3:
        await asyncio.sleep(0.001)
    queue.add("d")
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert order == ["a", "b", "c", "d"]


async def test_cancelling_loses_no_key(impl: Any) -> None:
    """A task that was chosen for a key and cancelled before it ran leaves the key to another."""
    queue = impl.queue.WorkQueue()
    first, second = asyncio.create_task(queue.aget()), asyncio.create_task(queue.aget())
    await settle()
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 10) == "a"
    assert first.cancelled()
    assert queue.stats().processing == 1


async def test_cancelling_the_leader_hands_the_lead_on(impl: Any) -> None:
    """WQ-6."""
    queue = impl.queue.WorkQueue()
    queue.add_after("a", 0.02)
    first, second = asyncio.create_task(queue.aget()), asyncio.create_task(queue.aget())
    await settle()
    first.cancel()
    assert await asyncio.wait_for(second, 10) == "a"


async def test_a_cancelled_task_leaves_nothing(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.aget(), 0.001)
    queue.add("a")
    assert queue.get(timeout=0) == "a"


async def test_a_key_goes_to_a_thread_when_the_task_goes(impl: Any) -> None:
    clock = Counted()
    queue = impl.queue.WorkQueue(clock=clock)
    task = asyncio.create_task(queue.aget())
    await settle()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(queue.get, 10)
        clock.wait_for(4)
        queue.add("a")  # wakes the task, which came first
        task.cancel()
        await settle()
        assert waiting.result(10) == "a"


def test_a_closed_loop_is_passed_over(impl: Any) -> None:
    """A task that its loop abandoned does not swallow the wake-up for a key."""
    clock = Counted()
    queue = impl.queue.WorkQueue(clock=clock)
    loop = asyncio.new_event_loop()
    coroutine = queue.aget()
    task = loop.create_task(coroutine)
    loop.run_until_complete(settle())
    loop.close()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(queue.get, 10)
        clock.wait_for(4)
        queue.add("a")
        assert waiting.result(5)  # sooner than the recheck of a waiting thread == "a"
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine.close()


def test_a_virtual_clock_wakes_by_any_call(impl: Any, clock: VirtualClock) -> None:
    """Waiting sleeps in real time; whoever moves the clock touches the queue."""
    reads = threading.Semaphore(0)

    def counted() -> int:
        reads.release()
        return clock()

    queue = impl.queue.WorkQueue(clock=counted)
    queue.add_after("a", 3600)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(queue.get, 10)
        for _ in range(3):
            reads.acquire(timeout=10)
        clock.advance(3600)
        len(queue)
        assert waiting.result(10) == "a"


def loops(queue: Any, tasks: int, work: Callable[[Any], None]) -> threading.Thread:
    """A thread with an event loop on which tasks consume until shutdown."""

    async def consume() -> None:
        while True:
            try:
                key = await queue.aget()
            except ShutDown:
                return
            work(key)
            await asyncio.sleep(0)
            queue.done(key)

    async def main() -> None:
        await asyncio.gather(*(consume() for _ in range(tasks)))

    return threading.Thread(target=lambda: asyncio.run(main()))


def test_threads_and_tasks_side_by_side(impl: Any) -> None:
    """WQ-1, WQ-2, WQ-3: never two consumers on a key, and the last add of each key is seen by a consumer."""
    queue = impl.queue.WorkQueue(fair_by=lambda key: key % 3)
    keys, rounds = 37, 400
    versions, seen, held = [0] * keys, [0] * keys, [0] * keys
    errors: list[str] = []

    def work(key: int) -> None:
        held[key] += 1
        if held[key] != 1:
            errors.append(f"two consumers hold {key}")
        seen[key] = versions[key]
        if seen[key] % 5 == 0:
            queue.add_after(key, 0.0001)
        held[key] -= 1

    def consume() -> None:
        while True:
            try:
                key = queue.get(timeout=20)
            except ShutDown:
                return
            work(key)
            queue.done(key)

    def produce(seed: int) -> None:
        for i in range(rounds):
            key = (i * 7 + seed * 11) % keys
            with lock:
                versions[key] += 1
            if i % 4:
                queue.add(key, priority=i % 3)
            else:
                queue.add_after(key, 0.0005)

    lock = threading.Lock()
    consumers = [threading.Thread(target=consume) for _ in range(3)] + [loops(queue, 3, work) for _ in range(2)]
    producers = [threading.Thread(target=produce, args=(seed,)) for seed in range(3)]
    for thread in consumers + producers:
        thread.start()
    for thread in producers:
        thread.join(30)
    while queue.stats().delayed:  # keys with a due time, which a drain would drop
        pass
    assert queue.shut_down_with_drain(30)
    for thread in consumers:
        thread.join(30)
        assert not thread.is_alive()
    assert errors == []
    assert seen == versions
