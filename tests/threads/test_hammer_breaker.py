"""Threads on one circuit breaker: each call is counted once, and permits are never exceeded."""

import contextlib
import itertools
import random
import threading
from collections import Counter
from typing import Any

import pytest

from fastcore.errors import CircuitOpenError
from fastcore.testing.clock import VirtualClock
from threads.crew import THREADS, crew


def fail() -> None:
    raise OSError("down")


def test_breaker_permits(impl: Any, clock: VirtualClock, scale: int) -> None:
    """CB5, CB6: a half-open breaker never has more trial calls in flight than it has permits."""
    breaker = impl.breaker.CircuitBreaker(
        "b", failure_threshold=1, half_open_permits=2, successes_needed=10**9, clock=clock
    )
    with pytest.raises(OSError):
        breaker.call(fail)
    clock.advance(60)
    rounds = 4000 * scale
    counted, flying, most = threading.Lock(), 0, 0
    refusals: set[str] = set()

    def work(_: int) -> None:
        nonlocal flying, most
        for step in range(rounds):
            try:
                permit = breaker.acquire()
            except CircuitOpenError as error:
                refusals.add(error.reason)
                continue
            with counted:
                flying += 1
                most = max(most, flying)
            with counted:
                flying -= 1
            assert permit.ignore() if step % 2 else permit.success()
            assert not permit.failure()

    crew(work)
    stats = breaker.stats()
    assert 1 <= most <= 2
    assert refusals <= {"half_open_full"}
    assert (stats.state, stats.trials, stats.late_total) == ("half_open", 0, 0)
    assert stats.calls + stats.rejected - 1 == THREADS * rounds
    assert stats.transitions == {("closed", "open"): 1, ("open", "half_open"): 1}


def test_breaker_storm(impl: Any, scale: int) -> None:
    """CB8, CB12: calls of every kind, slow calls, transitions and listeners at once: each call is counted once."""
    breaker = impl.breaker.CircuitBreaker(
        "b", failure_threshold=3, open_for=1e-6, window=0.5 + 0.5, slow_call=1e-5, slow_rate=0.9, half_open_timeout=60
    )
    guarded = breaker(lambda failing: fail() if failing else None)
    news: list[Any] = []
    breaker.on_transition(lambda name, *change: news.append(change))
    rounds = 2000 * scale

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(rounds):
            failing = chance.random() < 0.4
            with contextlib.suppress(CircuitOpenError, OSError):
                match step % 4:
                    case 0:
                        guarded(failing)
                    case 1:
                        breaker.call(fail if failing else int)
                    case 2:
                        with breaker:
                            if failing:
                                fail()
                    case 3:
                        permit = breaker.acquire()
                        permit.failure(OSError()) if failing else permit.success()
            if step % 100 == 0:
                breaker.force_open()
                breaker.reset()
                breaker.stats()

    crew(work)
    stats = breaker.stats()
    assert stats.trials == 0
    assert stats.calls == stats.successes + stats.failures + stats.excluded + stats.late_total
    assert stats.calls + stats.rejected == THREADS * rounds
    assert Counter(change[:2] for change in news) == stats.transitions
    assert all(before[1] == after[0] for before, after in itertools.pairwise(news))


def test_breaker_permit_reported_by_all(impl: Any, scale: int) -> None:
    """CB14: of many reports of one permit exactly one counts."""
    breaker = impl.breaker.CircuitBreaker("b")
    for _ in range(100 * scale):
        permit, reports = breaker.acquire(), []
        crew(lambda _, permit=permit, reports=reports: reports.append(permit.success()))
        assert sorted(reports) == [False] * (THREADS - 1) + [True]
    assert breaker.stats().successes == 100 * scale
