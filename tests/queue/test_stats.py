"""Counters and durations as client-go counts them."""

import math
from typing import Any

import pytest

from fastcore.testing.clock import VirtualClock


def test_durations(impl: Any, clock: VirtualClock) -> None:
    """WQ-13: buckets from 10 ns to 1000 s by powers of ten, bounds inclusive."""
    queue = impl.queue.WorkQueue(clock=clock, name="q")
    waits = [0, 10, 11, 10**3, 10**6 + 1, 10**12, 10**12 + 1, 10**15]
    for ns in waits:
        queue.add("a")
        clock.now_ns += ns
        queue.get(timeout=0)
        clock.now_ns += 2 * ns
        queue.done("a")
    stats = queue.stats()
    bounds = [bound for bound, _ in stats.queue_duration.buckets]
    assert bounds == [pytest.approx(1e-8 * 10**i) for i in range(12)] + [math.inf]
    for durations, factor in ((stats.queue_duration, 1), (stats.work_duration, 2)):
        for i, (_, count) in enumerate(durations.buckets[:-1]):
            assert count == sum(factor * ns <= 10 ** (i + 1) for ns in waits), i
        assert durations.buckets[-1][1] == len(waits)
        assert durations.sum == pytest.approx(factor * sum(waits) / 1e9)
    assert stats.name == "q"


def test_unfinished_work(impl: Any, clock: VirtualClock) -> None:
    """WQ-13: the sum over what is being processed, and the longest of them."""
    queue = impl.queue.WorkQueue(clock=clock)
    for key, seconds in (("a", 3), ("b", 2), ("c", 4)):
        queue.add(key)
        queue.get(timeout=0)
        clock.advance(seconds)
    queue.done("b")
    stats = queue.stats()
    assert (stats.processing, stats.unfinished_work, stats.longest_running) == (2, 13.0, 9.0)
    queue.done("a")
    assert queue.stats().longest_running == 4.0
    queue.done("c")
    assert queue.stats()[3:][0] == 0
    assert (queue.stats().unfinished_work, queue.stats().longest_running) == (0.0, 0.0)


def test_waiting_counts_from_the_add(impl: Any, clock: VirtualClock) -> None:
    """WQ-13: time as a dirty key counts; a delay does not."""
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add("a")
    queue.get(timeout=0)
    queue.add("a")
    clock.advance(2)
    queue.done("a")
    clock.advance(1)
    queue.get(timeout=0)
    assert queue.stats().queue_duration.sum == 3.0
    queue.add_after("b", 5)
    clock.advance(6)
    queue.get(timeout=0)
    assert queue.stats().queue_duration.sum == 4.0


def test_retries_count_positive_delays(impl: Any, clock: VirtualClock) -> None:
    """WQ-13."""
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add_after("a", 1)
    queue.add_after("a", 1)
    queue.add_after("b", 0)
    queue.add_rate_limited("c")
    queue.add("d")
    queue.add_after("d", 5)
    assert queue.stats().retries == 4
    assert queue.stats().adds == 2
    clock.advance(10)
    assert queue.stats().adds == 4


def test_a_snapshot_is_plain(impl: Any) -> None:
    stats = impl.queue.WorkQueue(name="n").stats()
    assert stats._fields == (
        "name", "depth", "depth_by_priority", "processing", "delayed", "adds", "retries", "unfinished_work",
        "longest_running", "queue_duration", "work_duration",
    )  # fmt: skip
    assert stats.queue_duration._fields == ("buckets", "sum")
    assert stats.depth_by_priority == {}
