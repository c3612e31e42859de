"""Threads on one work queue: no key is with two consumers, and none is lost."""

import contextlib
import operator
import random
import threading
from typing import Any

import pytest

from fastcore.errors import ShutDown
from threads.crew import THREADS, Key, together


@pytest.mark.parametrize("key_of", [int, Key])
@pytest.mark.parametrize("fair", [False, True])
def test_queue(impl: Any, key_of: Any, fair: bool, scale: int) -> None:
    """WQ-1, WQ-2, WQ-3: no key is with two consumers, and the last add of every key is seen by one."""
    keys, rounds = 40, 1000 * scale
    queue = impl.queue.WorkQueue(fair_by=(lambda key: key_of(hash(key) % 4)) if fair else None, aging=0.001)
    held = [threading.Lock() for _ in range(keys)]
    versions, seen = [[0] * THREADS for _ in range(keys)], [[0] * THREADS for _ in range(keys)]

    def produce(number: int) -> None:
        chance = random.Random(number)
        for _ in range(rounds):
            n = chance.randrange(keys)
            versions[n][number] += 1
            match chance.randrange(4):
                case 0:
                    queue.add_after(key_of(n), chance.random() / 1000, priority=chance.randrange(3))
                case 1:
                    queue.add_rate_limited(key_of(n))
                    queue.forget(key_of(n))
                case _:
                    queue.add(key_of(n), priority=chance.randrange(3))
            if n == 0:
                queue.stats()
                len(queue)

    def consume() -> None:
        while True:
            try:
                key = queue.get(timeout=60)
            except ShutDown:
                return
            n = key if key_of is int else key.n
            assert held[n].acquire(blocking=False), f"two consumers hold {key}"
            seen[n] = list(versions[n])
            held[n].release()
            queue.done(key)

    def manage() -> None:
        finished = threading.Barrier(THREADS + 1)

        def work(number: int) -> None:
            produce(number)
            finished.wait(60)

        producers = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for producer in producers:
            producer.start()
        finished.wait(60)
        while queue.stats().delayed:  # a drain would drop them
            len(queue)
        assert queue.shut_down_with_drain(60)

    together(manage, *[consume] * THREADS)
    assert seen == versions
    stats = queue.stats()
    assert (stats.depth, stats.processing, stats.delayed) == (0, 0, 0)


@pytest.mark.parametrize("key_of", [int, Key])
def test_queue_is_empty_once_it_is_drained(impl: Any, key_of: Any, scale: int) -> None:
    """WQ-4, WQ-5: an add that races with the end is served or ignored; none comes in once a drain has ended."""
    for _ in range(60 * scale):
        queue = impl.queue.WorkQueue(fair_by=lambda key: key)

        def produce(number: int, queue: Any = queue) -> None:
            for n in range(10):
                queue.add(key_of(n + number))
                queue.add_after(key_of(n), 1e-6)

        def consume(queue: Any = queue) -> None:
            with contextlib.suppress(ShutDown):
                while True:
                    queue.done(queue.get(timeout=60))

        def end(queue: Any = queue) -> None:
            assert queue.shut_down_with_drain(60)
            assert len(queue) == 0

        together(end, consume, lambda: produce(0), lambda: produce(5))
        assert len(queue) == 0
        with pytest.raises(ShutDown):
            queue.get(timeout=0)


@pytest.mark.parametrize("key_of", [int, Key])
def test_queue_whose_groups_are_discarded(impl: Any, key_of: Any, scale: int) -> None:
    """WQ-1, WQ-3: keys of one group come and go all the time; those of another are all served, one at a time."""
    keys, rounds = 40, 500 * scale
    number_of = int if key_of is int else operator.attrgetter("n")
    queue = impl.queue.WorkQueue(fair_by=lambda key: key_of(number_of(key) % 2), aging=0.001)
    held = [threading.Lock() for _ in range(keys)]
    versions, seen = [[0] * THREADS for _ in range(keys)], [[0] * THREADS for _ in range(keys)]

    def produce(number: int) -> None:
        chance = random.Random(number)
        for _ in range(rounds):
            n = chance.randrange(keys)
            versions[n][number] += 1
            if chance.randrange(3):
                queue.add(key_of(n), priority=chance.randrange(3))
            else:
                queue.add_after(key_of(n), chance.random() / 1000)
            if chance.randrange(10) == 0:
                queue.discard(key_of(1))

    def consume() -> None:
        while True:
            try:
                key = queue.get(timeout=60)
            except ShutDown:
                return
            n = key if key_of is int else key.n
            assert held[n].acquire(blocking=False), f"two consumers hold {key}"
            seen[n] = list(versions[n])
            held[n].release()
            queue.done(key)

    def manage() -> None:
        finished = threading.Barrier(THREADS + 1)

        def work(number: int) -> None:
            produce(number)
            finished.wait(60)

        producers = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for producer in producers:
            producer.start()
        finished.wait(60)
        while queue.stats().delayed:
            len(queue)
        assert queue.shut_down_with_drain(60)

    together(manage, *[consume] * THREADS)
    even = range(0, keys, 2)
    assert [seen[n] for n in even] == [versions[n] for n in even]
    stats = queue.stats()
    assert (stats.depth, stats.processing, stats.delayed) == (0, 0, 0)
