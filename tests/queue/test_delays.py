"""Delays and back-off: one due time a key, the earliest; nothing is lost."""

from typing import Any

import pytest

from fastcore.testing.clock import VirtualClock


@pytest.fixture
def queue(impl: Any, clock: VirtualClock) -> Any:
    return impl.queue.WorkQueue(clock=clock)


@pytest.mark.parametrize("delay", [0, 0.0, -1, -0.5, float("-inf")])
def test_no_delay_is_add(queue: Any, delay: float) -> None:
    """WQ-6; WQ-13: it is not counted as a retry."""
    queue.add_after("a", delay)
    assert len(queue) == 1
    assert queue.stats().retries == 0


def test_ready_at_the_due_time_and_not_before(queue: Any, clock: VirtualClock) -> None:
    """WQ-6, WQ-13."""
    queue.add_after("a", 0.05)
    clock.set(49_999_999)
    assert len(queue) == 0
    assert queue.stats().delayed == 1
    with pytest.raises(TimeoutError):
        queue.get(timeout=0)
    clock.set(50_000_000)
    assert len(queue) == 1
    assert queue.stats()[1:6] == (1, {0: 1}, 0, 0, 1)
    assert queue.get(timeout=0) == "a"


def test_earliest_delay_counts(queue: Any, clock: VirtualClock) -> None:
    """WQ-6."""
    for delay in (3, 1, 2):
        queue.add_after("a", delay)
    assert queue.stats().delayed == 1
    clock.advance(1)
    queue.done(queue.get(timeout=0))
    clock.advance(10)
    assert len(queue) == 0
    assert queue.stats().retries == 3


def test_immediate_add_removes_the_delay(queue: Any, clock: VirtualClock) -> None:
    """WQ-6: client-go would hand the key out a second time."""
    queue.add_after("a", 1)
    queue.add("a")
    assert queue.stats()[1:6] == (1, {0: 1}, 0, 0, 1)
    queue.done(queue.get(timeout=0))
    clock.advance(2)
    assert len(queue) == 0


def test_delay_of_a_ready_key_has_no_effect(queue: Any, clock: VirtualClock) -> None:
    """WQ-6: it is due earlier already."""
    queue.add("a")
    queue.add_after("a", 1)
    queue.done(queue.get(timeout=0))
    clock.advance(2)
    assert len(queue) == 0


def test_delay_while_processing_outlives_done(queue: Any, clock: VirtualClock) -> None:
    """WQ-6: the usual requeue, add_after before done."""
    queue.add("a")
    queue.get()
    queue.add_after("a", 1)
    queue.done("a")
    assert queue.stats()[1:5] == (0, {}, 0, 1)
    clock.advance(1)
    assert queue.get(timeout=0) == "a"


def test_delay_that_ends_while_processing_waits_for_done(queue: Any, clock: VirtualClock) -> None:
    """WQ-2, WQ-10: a key that is being processed is skipped."""
    queue.add("a")
    queue.get()
    queue.add_after("a", 1)
    queue.add_after("b", 2)
    clock.advance(3)
    assert queue.get(timeout=0) == "b"
    assert len(queue) == 0
    queue.done("a")
    assert queue.get(timeout=0) == "a"


def test_add_while_processing_ends_the_delay(queue: Any, clock: VirtualClock) -> None:
    """WQ-6."""
    queue.add("a")
    queue.get()
    queue.add_after("a", 100)
    queue.add("a")
    assert queue.stats().delayed == 0
    queue.done("a")
    queue.done(queue.get(timeout=0))
    clock.advance(200)
    assert len(queue) == 0


def test_due_keys_take_their_place_by_due_time(queue: Any, clock: VirtualClock) -> None:
    """WQ-10: by ready time, not by insertion, also among keys added at once."""
    queue.add_after("late", 3)
    queue.add_after("early", 1)
    queue.add("now")
    clock.advance(2)
    queue.add("second")
    clock.advance(2)
    assert [queue.get(timeout=0) for _ in range(4)] == ["now", "early", "second", "late"]


def test_many_delays_come_in_order(queue: Any, clock: VirtualClock) -> None:
    delays = [(i * 7919) % 1000 for i in range(1000)]
    for key, delay in enumerate(delays):
        queue.add_after(key, delay + 500)
        queue.add_after(key, delay + 1)
    for key in range(0, 1000, 10):
        queue.add(key)
        queue.done(queue.get(timeout=0))
    clock.advance(1000)
    got = [queue.get(timeout=0) for _ in range(len(queue))]
    assert got == [key for key in sorted(range(1000), key=delays.__getitem__) if key % 10]


@pytest.mark.parametrize("delay", [float("inf"), 1e300, 9.3e9])
def test_delays_saturate(queue: Any, clock: VirtualClock, delay: float) -> None:
    clock.set(2**62)
    queue.add_after("a", delay)
    clock.set(2**63 - 2)
    assert len(queue) == 0
    assert queue.stats().delayed == 1
    queue.add_after("a", 1e-9)
    clock.set(2**63 - 1)
    assert len(queue) == 1


def test_default_backoff(queue: Any, clock: VirtualClock) -> None:
    """WQ-7, WQ-8: 5 ms doubled up to 1000 s; only forget resets, done does not."""
    for n in range(2000):
        assert queue.retries("a") == n
        due_ns = min(5_000_000 * 2 ** min(n, 18), 1000 * 10**9)
        start = clock()
        queue.add_rate_limited("a")
        clock.set(start + due_ns - 1)
        assert len(queue) == 0
        clock.set(start + due_ns)
        queue.done(queue.get(timeout=0))
    queue.forget("a")
    assert queue.retries("a") == 0
    queue.add_rate_limited("a")
    clock.advance(0.005)
    assert len(queue) == 1


class Limiter:
    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.calls: list[tuple[str, Any]] = []

    def when(self, item: Any) -> float:
        self.calls.append(("when", item))
        return self.delay

    def forget(self, item: Any) -> None:
        self.calls.append(("forget", item))

    def retries(self, item: Any) -> int:
        return sum(call == ("when", item) for call in self.calls)


def test_the_limiter_decides(impl: Any, clock: VirtualClock) -> None:
    """WQ-7."""
    limiter = Limiter(2.0)
    queue = impl.queue.WorkQueue(limiter=limiter, clock=clock)
    queue.add_rate_limited("a")
    queue.add_rate_limited("b")
    assert queue.retries("a") == 1
    clock.advance(2)
    queue.done(queue.get(timeout=0))
    assert limiter.calls == [("when", "a"), ("when", "b")]
    queue.forget("a")
    assert limiter.calls[-1] == ("forget", "a")
    queue.shut_down()
    queue.add_rate_limited("c")
    assert ("when", "c") not in limiter.calls


def test_a_failing_limiter_changes_nothing(impl: Any) -> None:
    class Broken(Limiter):
        def when(self, item: Any) -> float:
            raise RuntimeError("no")

    queue = impl.queue.WorkQueue(limiter=Broken(0))
    with pytest.raises(RuntimeError, match="no"):
        queue.add_rate_limited("a")
    assert queue.stats() == impl.queue.WorkQueue().stats()
