"""Threads on one rate limit: never more than was there, and nothing lost."""

import contextlib
import random
from collections import Counter
from typing import Any

import pytest

from fastcore.errors import WaitTimeout
from fastcore.testing.clock import VirtualClock
from threads.crew import THREADS, Key, crew, together


def test_bucket(impl: Any, clock: VirtualClock, scale: int) -> None:
    """RL1, RL7: on a frozen clock exactly the burst is taken, cancelled reservations not counted."""
    bucket = impl.bucket.TokenBucket(rate=1000, burst=500, clock=clock)
    taken = Counter[int]()

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(10_000 * scale):
            n = chance.randrange(3)
            if chance.random() < 0.5:
                taken[number] += n * bucket.allow(n)
                continue
            reservation = bucket.reserve(n, max_delay=0)
            if reservation.ok and chance.random() < 0.9:
                reservation.cancel()
                reservation.cancel()
            elif reservation.ok:
                taken[number] += n

    crew(work)
    while bucket.allow():
        taken[-1] += 1
    assert sum(taken.values()) == 500


def test_bucket_while_time_passes(impl: Any, clock: VirtualClock, scale: int) -> None:
    """RL10: never more than the burst and what accrued since, however rate and burst are read and set meanwhile."""
    bucket = impl.bucket.TokenBucket(rate=1000, burst=50, clock=clock)
    rounds = 10_000 * scale
    taken = Counter[int]()

    def work(number: int) -> None:
        for step in range(rounds):
            taken[number] += bucket.allow()
            with contextlib.suppress(WaitTimeout):
                bucket.wait(timeout=0)
                taken[number] += 1
            if step % 50 == 0:
                bucket.rate, bucket.burst = 1000, 50
                assert bucket.tokens <= bucket.burst

    def pass_time() -> None:
        for _ in range(rounds):
            clock.advance(0.001)

    together(pass_time, *(lambda number=number: work(number) for number in range(THREADS)))
    assert 50 <= sum(taken.values()) <= 50 + rounds


@pytest.mark.parametrize("key_of", [int, Key])
def test_keyed_bucket(impl: Any, clock: VirtualClock, key_of: Any, scale: int) -> None:
    """RL14: on a frozen clock each key gets its burst exactly."""
    keyed = impl.keyed.KeyedTokenBucket(1, 20, max_keys=30, clock=clock)
    taken = [Counter[int]() for _ in range(THREADS)]

    def work(number: int) -> None:
        for step in range(2000 * scale):
            n = (step * 7 + number) % 30
            taken[number][n] += keyed.allow(key_of(n))
            if step % 20 == 0:
                for n, allowed in enumerate(keyed.allow_many([key_of(n) for n in range(30)])):
                    taken[number][n] += int(allowed)

    crew(work)
    assert sum(taken, Counter()) == dict.fromkeys(range(30), 20)
    assert (len(keyed), keyed.evictions) == (30, 0)


@pytest.mark.parametrize("key_of", [int, Key])
def test_keyed_bucket_with_too_many_keys(impl: Any, clock: VirtualClock, key_of: Any, scale: int) -> None:
    """RL14: memory stays bounded, and a key that starts over is one that was counted as evicted."""
    keyed = impl.keyed.KeyedTokenBucket(1, 3, max_keys=8, clock=clock)
    taken = Counter[int]()

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(2000 * scale):
            taken[number] += keyed.allow(key_of(chance.randrange(20)))
            assert len(keyed) <= 8 + THREADS  # each thread may be about to evict

    crew(work)
    assert len(keyed) <= 8
    assert 60 <= sum(taken.values()) <= 3 * (20 + keyed.evictions)


@pytest.mark.parametrize("key_of", [int, Key])
def test_backoff(impl: Any, key_of: Any, scale: int) -> None:
    """WQ-8: no failure is lost."""
    backoff = impl.backoff.ItemBackoff(1, 60)
    rounds = 2000 * scale

    def work(number: int) -> None:
        for step in range(rounds):
            backoff.when(key_of(step % 5))
            backoff.when(key_of(100 + number))
            backoff.forget(key_of(100 + number))
            assert backoff.retries(key_of(100 + number)) == 0

    crew(work)
    assert sum(backoff.retries(key_of(n)) for n in range(5)) == THREADS * rounds
    assert len(backoff) == 5
