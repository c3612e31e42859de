"""Disabled and metrics-only breakers: what passes, what counts, and what is told."""

import gc
import weakref
from typing import Any

import pytest

from fastcore.errors import CircuitOpenError
from fastcore.testing.clock import VirtualClock


class Down(Exception):
    """What a failing callee raises."""


def fail() -> None:
    raise Down


def failed(breaker: Any, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Down):
            breaker.call(fail)


@pytest.fixture
def told() -> list[tuple[str, str, str]]:
    return []


@pytest.fixture
def breaker(impl: Any, clock: VirtualClock, told: list[tuple[str, str, str]]) -> Any:
    made = impl.breaker.CircuitBreaker("b", failure_threshold=2, open_for=10, jitter=0, clock=clock)
    made.on_transition(lambda name, *news: told.append(news))
    return made


def test_modes_are_named(breaker):
    """CB15: every mode lasts until reset, and looks like one of the three states."""
    seen = [(breaker.mode, breaker.state)]
    for enter in (breaker.force_open, breaker.disable, breaker.metrics_only, breaker.reset):
        enter()
        assert breaker.stats().mode == breaker.mode
        seen.append((breaker.mode, breaker.state))
    assert seen == [
        ("normal", "closed"), ("forced_open", "open"), ("disabled", "closed"), ("metrics_only", "closed"),
        ("normal", "closed"),
    ]  # fmt: skip


def test_disabled_counts_nothing(breaker, told):
    """CB15: every form of a call passes, whatever its end, and leaves no trace."""
    breaker.disable()
    before = breaker.stats()
    failed(breaker, 20)
    assert breaker.call(len, "abc") == 3
    for end in ("success", "failure", "ignore"):
        assert getattr(breaker.acquire(), end)() is False
    with breaker:
        pass
    with pytest.raises(Down), breaker:
        raise Down
    assert breaker.stats() == before
    assert (breaker.state, told) == ("closed", [])


def test_disabling_an_open_one_is_a_transition(breaker, told):
    """CB12, CB15: those who watch see it close; the calls in flight are late."""
    permit = breaker.acquire()
    failed(breaker, 2)
    breaker.disable()
    assert told == [("closed", "open", "failures"), ("open", "closed", "disabled")]
    assert breaker.call(int) == 0
    assert permit.success() is False
    assert (breaker.stats().late_total, breaker.stats().in_flight, breaker.stats().remaining) == (1, 0, 0.0)


def test_calls_begun_while_disabled_stay_uncounted(breaker):
    """CB8, CB15: also when they end after reset, of which they know nothing."""
    breaker.disable()
    permits = [breaker.acquire() for _ in range(3)]
    with breaker:
        breaker.reset()
    assert [permit.failure() for permit in permits] == [False] * 3
    stats = breaker.stats()
    assert (stats.calls, stats.failures, stats.late_total, stats.state) == (0, 0, 0, "closed")
    failed(breaker, 2)
    assert breaker.state == "open"


def test_metrics_only_never_refuses(breaker, told, clock):
    """CB15: a hundred failures are a hundred calls, told once as a transition that did not happen."""
    breaker.metrics_only()
    for _ in range(100):
        failed(breaker)
        clock.advance(1)
    stats = breaker.stats()
    assert (stats.state, stats.failures, stats.rejected, stats.would_open) == ("closed", 100, 0, 1)
    assert (stats.transitions, stats.remaining) == ({}, 0.0)
    assert told == [("closed", "closed", "failures")]


def test_metrics_only_tells_each_outage_once(breaker, told, clock):
    """CB15: the next one after a success, but not before `open_for` is over: the breaker would have kept still."""
    breaker.metrics_only()
    failed(breaker, 3)
    breaker.call(int)
    clock.advance(9)
    failed(breaker, 3)
    assert len(told) == 1
    clock.advance(1)
    failed(breaker)
    assert len(told) == 2
    clock.advance(100)
    failed(breaker, 50)
    assert (len(told), breaker.stats().would_open) == (2, 2)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"window": 4, "failure_rate": 0.5, "min_calls": 2}, "failure_rate"),
        ({"window": 10.0, "failure_rate": 0.5, "min_calls": 2}, "failure_rate"),
        ({"window": 4, "slow_call": 1.0, "slow_rate": 0.5, "min_calls": 2}, "slow_rate"),
    ],
)
def test_metrics_only_knows_every_rule(impl, clock, settings, reason):
    """CB15, CB17: windows and slow calls too."""
    breaker = impl.breaker.CircuitBreaker("b", clock=clock, **settings)
    told = []
    breaker.on_transition(lambda *news: told.append(news))
    breaker.metrics_only()
    for _ in range(3):
        with pytest.raises(Down):
            breaker.call(lambda: clock.advance(2) or fail())
    assert told == [("b", "closed", "closed", reason)]


def test_metrics_only_keeps_no_error(breaker):
    """CB15: nothing is refused, so no error waits to be the cause of a refusal, with all that its frames hold."""
    breaker.metrics_only()

    def work() -> weakref.ref[Down]:
        try:
            breaker.call(fail)
        except Down as error:
            return weakref.ref(error)
        raise AssertionError

    last = [work() for _ in range(5)]
    gc.collect()
    assert [error() for error in last] == [None] * 5


def test_metrics_only_blocks(breaker):
    """CB15: with statements count, nested and late ones too."""
    with breaker:
        breaker.metrics_only()
        with breaker, pytest.raises(Down), breaker:
            raise Down
    stats = breaker.stats()
    assert (stats.calls, stats.successes, stats.failures, stats.late_total, stats.in_flight) == (3, 1, 1, 1, 0)


def test_reset_ends_metrics_only(breaker, told):
    """CB15: rules open it again, from a fresh start."""
    breaker.metrics_only()
    failed(breaker, 5)
    breaker.reset()
    failed(breaker)
    assert breaker.state == "closed"
    failed(breaker)
    assert breaker.state == "open"
    assert told == [("closed", "closed", "failures"), ("closed", "open", "failures")]


def test_in_flight(breaker, clock):
    """CB6: what was admitted and has not ended, also over transitions and lost trials."""
    permits = [breaker.acquire() for _ in range(3)]
    assert breaker.stats().in_flight == 3
    failed(breaker, 2)
    clock.advance(10)
    trial = breaker.acquire()
    clock.advance(10)
    with pytest.raises(CircuitOpenError):
        breaker.call(int)
    assert (breaker.stats().in_flight, breaker.state) == (4, "open")
    for permit in (*permits, trial):
        permit.ignore()
    assert breaker.stats().in_flight == 0
