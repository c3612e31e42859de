"""When a breaker changes its state, and when it does not."""

import random
from datetime import timedelta
from typing import Any

import pytest

from fastcore.errors import CircuitOpenError
from fastcore.testing.clock import VirtualClock


class Down(Exception):
    """What a failing callee raises."""


def succeed() -> str:
    return "fine"


def fail() -> None:
    raise Down("down")


class Guarded:
    """A breaker with a short hand for calls: "s" succeeds, "f" fails, "r" is refused."""

    def __init__(self, impl: Any, clock: VirtualClock, **settings: Any) -> None:
        self.clock = clock
        settings.setdefault("jitter", 0)
        self.breaker = impl.breaker.CircuitBreaker("b", clock=clock, **settings)
        self.told: list[tuple[str, str, str, str]] = []
        self.breaker.on_transition(lambda *news: self.told.append(news))

    def call(self, fn: Any) -> str:
        try:
            self.breaker.call(fn)
        except CircuitOpenError:
            return "r"
        except Down:
            return "f"
        return "s"

    def slowly(self, fn: Any, seconds: float) -> str:
        def slow() -> None:
            self.clock.advance(seconds)
            fn()

        return self.call(slow)

    def __call__(self, outcomes: str) -> str:
        """Make the calls and say how they really ended."""
        return "".join(self.call({"s": succeed, "f": fail}[o]) for o in outcomes)

    @property
    def state(self) -> str:
        return self.breaker.state

    def news(self) -> list[tuple[str, str, str]]:
        news = [n[1:] for n in self.told]
        self.told.clear()
        return news


class TestConsecutive:
    def test_trips_at_the_threshold(self, impl, clock):
        """CB1: the n-th failure in a row opens, not the one before."""
        b = Guarded(impl, clock, failure_threshold=3)
        assert b("ff") == "ff"
        assert (b.state, b.news()) == ("closed", [])
        assert b("fs") == "fr"
        assert (b.state, b.news()) == ("open", [("closed", "open", "failures")])

    def test_default_threshold(self, impl, clock):
        """CB1: ten failures in a row."""
        b = Guarded(impl, clock)
        assert b("f" * 9) == "f" * 9
        assert b.state == "closed"
        b("f")
        assert b.state == "open"

    def test_a_success_starts_the_count_over(self, impl, clock):
        """CB2: failures that are not in a row do not add up."""
        b = Guarded(impl, clock, failure_threshold=3)
        assert b("ffs" * 20 + "ff") == "ffs" * 20 + "ff"
        assert b.state == "closed"
        assert b.breaker.stats().consecutive_failures == 2


class TestOpen:
    def test_refuses_without_calling(self, impl, clock):
        """CB4: the callee is left alone; the error says name, remaining time and what opened the breaker."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=5)
        b("f")
        clock.advance(2)
        called = []
        with pytest.raises(CircuitOpenError) as refusal:
            b.breaker.call(called.append, 1)
        assert called == []
        error = refusal.value
        assert (error.name, error.remaining, error.reason) == ("b", 3.0, "open")
        assert isinstance(error.__cause__, Down)
        assert str(error) == "circuit breaker 'b' is open for another 3.000 s"

    def test_waits_exactly(self, impl, clock):
        """CB4: not a nanosecond less than `open_for`, nor more."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=0.1)
        clock.set(12345)
        b("f")
        clock.set(12345 + 100_000_000 - 1)
        assert b("s") == "r"
        clock.set(12345 + 100_000_000)
        assert b("s") == "s"

    def test_clock_that_goes_back(self, impl, clock):
        """CB4: a clock that jumps back is held, so it neither shortens nor restarts the wait."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=10)
        clock.set(100 * 10**9)
        b("f")
        clock.set(105 * 10**9)
        assert b("s") == "r"
        clock.set(0)
        with pytest.raises(CircuitOpenError) as refusal:
            b.breaker.call(succeed)
        assert refusal.value.remaining == 5.0
        clock.set(110 * 10**9)
        assert b("s") == "s"

    def test_looking_changes_nothing(self, impl, clock):
        """CB13: after the wait `state` still says open, until a call comes; it takes no permit."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=1)
        b("f")
        clock.advance(2)
        assert [b.state for _ in range(3)] == ["open"] * 3
        assert b.breaker.stats().remaining == 0
        assert b.news() == [("closed", "open", "failures")]
        assert b("s") == "s"

    def test_failures_while_open_are_no_transitions(self, impl, clock):
        """CB18: late failures and refusals while open count no transition."""
        b = Guarded(impl, clock, failure_threshold=1)
        permits = [b.breaker.acquire() for _ in range(5)]
        b("f")
        for permit in permits:
            assert permit.failure() is False
        b("fffff")
        stats = b.breaker.stats()
        assert stats.transitions == {("closed", "open"): 1}
        assert (stats.late_total, stats.rejected, stats.failures) == (5, 5, 1)


class TestHalfOpen:
    def open(self, impl: Any, clock: VirtualClock, **settings: Any) -> Guarded:
        """A breaker whose first wait of 10 s is just over."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=10, **settings)
        b("f")
        clock.advance(10)
        return b

    def test_a_success_closes(self, impl, clock):
        """CB5, CB7: one call through, and the circuit is closed and clean."""
        b = self.open(impl, clock)
        assert b("s") == "s"
        assert b.news() == [
            ("closed", "open", "failures"),
            ("open", "half_open", "open_time_over"),
            ("half_open", "closed", "recovered"),
        ]
        assert b.state == "closed"

    def test_state_during_the_trial(self, impl, clock):
        """CB5: the first call after the wait moves to half-open before it runs."""
        b = self.open(impl, clock)
        assert b.breaker.call(lambda: b.state) == "half_open"

    def test_a_failure_reopens(self, impl, clock):
        """CB7: the first failure reopens, for the whole wait."""
        b = self.open(impl, clock, open_growth=1)
        assert b("f") == "f"
        assert b.news()[1:] == [
            ("open", "half_open", "open_time_over"),
            ("half_open", "open", "trial_failed"),
        ]
        clock.advance(9.999)
        assert b("s") == "r"
        clock.advance(0.001)
        assert b("s") == "s"

    def test_the_last_error_is_the_cause(self, impl, clock):
        """CB4: after a failed trial the cause is the trial's error."""
        b = self.open(impl, clock)
        with pytest.raises(ValueError, match="trial"):
            b.breaker.call(int, "trial")
        with pytest.raises(CircuitOpenError) as refusal:
            b.breaker.call(succeed)
        assert isinstance(refusal.value.__cause__, ValueError)

    def test_successes_needed(self, impl, clock):
        """CB7: as many successes as configured, whatever the number of permits."""
        b = self.open(impl, clock, successes_needed=3)
        b("ss")
        assert b.state == "half_open"
        b("s")
        assert b.state == "closed"

    def test_one_failure_spoils_all_successes(self, impl, clock):
        """CB7: the next half-open phase starts from nothing."""
        b = self.open(impl, clock, successes_needed=3, open_growth=1)
        assert b("ssf") == "ssf"
        clock.advance(10)
        b("ss")
        assert b.state == "half_open"

    def test_permits(self, impl, clock):
        """CB5: exactly `permits` calls run at once; the rest is refused for a reason of its own."""
        b = self.open(impl, clock, half_open_permits=2, successes_needed=5)
        permits = [b.breaker.acquire(), b.breaker.acquire()]
        with pytest.raises(CircuitOpenError) as refusal:
            b.breaker.acquire()
        assert (refusal.value.reason, refusal.value.remaining) == ("half_open_full", 0.0)
        assert isinstance(refusal.value.__cause__, Down)
        assert b.breaker.stats().trials == 2
        assert permits[0].success()
        assert b("s") == "s"
        permits.append(b.breaker.acquire())
        assert b("s") == "r"

    def test_results_after_the_decision_are_late(self, impl, clock):
        """CB8: trial calls that end after the breaker closed or reopened change nothing."""
        b = self.open(impl, clock, half_open_permits=3)
        first, second, third = (b.breaker.acquire() for _ in range(3))
        assert first.success()
        assert not second.failure(Down())
        assert not third.success()
        stats = b.breaker.stats()
        assert (stats.state, stats.late_total, stats.consecutive_failures) == ("closed", 2, 0)

    def test_results_of_an_earlier_closed_state_are_late(self, impl, clock):
        """CB8: a call that began before the breaker opened neither closes nor reopens it."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=10, successes_needed=2)
        old = [b.breaker.acquire() for _ in range(3)]
        b("f")
        assert not old[0].success()
        clock.advance(10)
        b("s")
        assert not old[1].success()
        assert not old[2].failure(Down())
        stats = b.breaker.stats()
        assert (stats.state, stats.late_total) == ("half_open", 3)

    def test_lost_trial(self, impl, clock):
        """CB6: a holder that never reports counts as failed after `half_open_timeout`, and its report is late."""
        b = self.open(impl, clock, half_open_timeout=3)
        b.news()
        lost = b.breaker.acquire()
        clock.advance(2.999)
        assert b("s") == "r"
        assert b.state == "half_open"
        clock.advance(0.001)
        with pytest.raises(CircuitOpenError) as refusal:
            b.breaker.call(succeed)
        assert (refusal.value.reason, refusal.value.remaining) == ("open", 20.0)
        assert b.news() == [("open", "half_open", "open_time_over"), ("half_open", "open", "trial_lost")]
        assert not lost.success()
        stats = b.breaker.stats()
        assert (stats.state, stats.failures, stats.late_total) == ("open", 2, 1)

    def test_lost_trial_among_others(self, impl, clock):
        """CB6: each lease has its own time; the first to run out decides."""
        b = self.open(impl, clock, half_open_timeout=3, half_open_permits=3, successes_needed=9)
        first = b.breaker.acquire()
        clock.advance(2)
        second, third = b.breaker.acquire(), b.breaker.acquire()
        first.success()
        clock.advance(2.5)
        assert b("s") == "s"
        clock.advance(0.5)
        assert b("s") == "r"
        assert b.state == "open"
        assert not second.ignore()
        assert not third.ignore()

    def test_default_timeout(self, impl, clock):
        """CB6: no trial is waited for longer than `open_for`."""
        b = self.open(impl, clock)
        permit = b.breaker.acquire()
        clock.advance(10)
        assert b("s") == "r"
        assert b.state == "open"
        assert not permit.success()


class TestOpenTime:
    def reopenings(self, b: Guarded, count: int) -> list[float]:
        times = []
        for _ in range(count):
            b("f")
            times.append(b.breaker.stats().remaining)
            b.clock.advance(times[-1])
        return times

    def test_grows_to_the_maximum(self, impl, clock):
        """CB7: the wait doubles with each failed trial, up to `open_max`."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=10)
        assert self.reopenings(b, 6) == [10, 20, 40, 80, 100, 100]

    def test_closing_resets_it(self, impl, clock):
        """CB7: after a recovery the next wait is `open_for` again, exactly."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=10, open_growth=3, open_max=50)
        assert self.reopenings(b, 3) == [10, 30, 50]
        assert b("s") == "s"
        assert self.reopenings(b, 3) == [10, 30, 50]

    def test_jitter(self, impl, clock):
        """CB7: grown waits spread over the whole share, and the first one not at all."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=10, open_growth=1, jitter=0.2, rng=random.Random(1))
        first, *grown = self.reopenings(b, 400)
        assert first == 10
        assert 8 <= min(grown) < 8.1
        assert 11.9 < max(grown) <= 12

    def test_never(self, impl, clock):
        """CB4: an open time without end does not overflow."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=1e300)
        clock.set(2**62)
        b("f")
        clock.set(2**63 - 2)
        assert b("s") == "r"


class TestCountWindow:
    def test_rate_at_equality(self, impl, clock):
        """CB1: a share equal to the rate trips."""
        b = Guarded(impl, clock, window=10, failure_rate=0.5)
        assert b("sssssffff") == "sssssffff"
        assert b.state == "closed"
        b("f")
        assert (b.state, b.news()) == ("open", [("closed", "open", "failure_rate")])

    @pytest.mark.parametrize("percent", [7, 14, 28, 29, 55, 56, 57, 58])
    def test_equality_of_shares_that_binary_cannot_hold(self, impl, clock, percent):
        """CB1: 7 of 100 is 0.07, although 0.07 * 100 is more than 7."""
        b = Guarded(impl, clock, window=100, failure_rate=percent / 100, min_calls=100)
        b("s" * (100 - percent) + "f" * (percent - 1))
        assert b.state == "closed"
        b("f")
        assert b.state == "open"

    def test_only_a_failure_trips(self, impl, clock):
        """CB1: a success does not open, even if it completes the minimum of calls."""
        b = Guarded(impl, clock, window=10, failure_rate=0.5, min_calls=10)
        b("f" * 5 + "s" * 5)
        assert b.state == "closed"
        assert b("s") == "s"

    def test_only_the_last_n(self, impl, clock):
        """CB3: an outcome is forgotten when n others came after it."""
        b = Guarded(impl, clock, window=4, failure_rate=0.75, min_calls=1)
        b("sfsf" * 10)
        stats = b.breaker.stats()
        assert (b.state, stats.window_calls, stats.window_failures) == ("closed", 4, 2)
        b("ss")
        assert b.breaker.stats().window_failures == 1
        b("ff")
        assert b.state == "closed"
        b("f")
        assert b.state == "open"

    def test_minimum_is_capped_by_the_window(self, impl, clock):
        """CB3: a minimum that the window can never hold counts as the window's size."""
        b = Guarded(impl, clock, window=3, failure_rate=1, min_calls=100)
        b("ff")
        assert b.state == "closed"
        b("f")
        assert b.state == "open"

    def test_window_alone(self, impl, clock):
        """CB1: half of the calls, once there are ten."""
        b = Guarded(impl, clock, window=20)
        b("fffffffff")
        assert b.state == "closed"
        b("f")
        assert b.state == "open"

    def test_rate_alone(self, impl, clock):
        """CB1: among the last 100 calls."""
        b = Guarded(impl, clock, failure_rate=0.99)
        b("s" * 2 + "f" * 150)
        stats = b.breaker.stats()
        assert (stats.state, stats.failures) == ("open", 99)

    def test_both_rules(self, impl, clock):
        """CB1: with a window the consecutive rule holds too if it is asked for, and not otherwise."""
        both = Guarded(impl, clock, window=100, failure_rate=0.5, min_calls=50, failure_threshold=3)
        both("fff")
        assert both.news() == [("closed", "open", "failures")]
        one = Guarded(impl, clock, window=100, failure_rate=0.5, min_calls=50)
        one("f" * 49)
        assert one.state == "closed"

    def test_recovery_starts_with_an_empty_window(self, impl, clock):
        """CB7: old outcomes do not open a closed breaker again."""
        b = Guarded(impl, clock, window=4, min_calls=2, open_for=1)
        b("ff")
        clock.advance(1)
        b("s")
        assert b.breaker.stats().window_calls == 0
        b("f")
        assert b.state == "closed"
        b("f")
        assert b.state == "open"


class TestTimeWindow:
    @pytest.mark.parametrize("window", [10.0, timedelta(seconds=10)])
    def test_forgets_after_the_window(self, impl, clock, window):
        """CB3: an outcome counts for W and is gone after W + W/B."""
        for offset in (0, 1, 499_999_999, 999_999_999):
            b = Guarded(impl, clock, window=window, failure_rate=1, min_calls=100)
            clock.set((clock() // 10**9 + 100) * 10**9 + offset)
            start = clock()
            b("f")
            clock.set(start + 10 * 10**9)
            assert b.breaker.stats().window_failures == 1
            clock.set(start + 11 * 10**9)
            stats = b.breaker.stats()
            assert (stats.window_calls, stats.window_failures) == (0, 0)

    def test_slices(self, impl, clock):
        """CB3: slices leave one by one."""
        b = Guarded(impl, clock, window=4.0, buckets=4, failure_rate=1, min_calls=1000)
        for _ in range(8):
            b("sf")
            clock.advance(1)
        seen = []
        for _ in range(6):
            stats = b.breaker.stats()
            seen.append((stats.window_calls, stats.window_failures))
            clock.advance(1)
        assert seen == [(8, 4), (6, 3), (4, 2), (2, 1), (0, 0), (0, 0)]

    def test_trips_on_what_is_in_the_window(self, impl, clock):
        """CB1, CB3: failures long ago do not count, nor do successes."""
        b = Guarded(impl, clock, window=10.0, failure_rate=0.5, min_calls=4)
        b("sss")
        clock.advance(60)
        b("fff")
        assert b.state == "closed"
        b("f")
        assert b.state == "open"
        assert b.news() == [("closed", "open", "failure_rate")]

    def test_negative_times(self, impl):
        """CB3: a clock that starts below zero is a clock."""
        clock = VirtualClock(-5_500_000_000)
        b = Guarded(impl, clock, window=2.0, buckets=2, failure_rate=1, min_calls=100)
        counts = []
        for _ in range(12):
            b("f")
            counts.append(b.breaker.stats().window_failures)
            clock.advance(1)
        assert counts == [1, 2] + [3] * 10


class TestSlowCalls:
    def test_slow_whether_it_fails_or_not(self, impl, clock):
        """CB17: beyond the limit, not at it."""
        b = Guarded(impl, clock, slow_call=1, window=10, failure_rate=1)
        b.slowly(succeed, 1)
        b.slowly(succeed, 1.000000001)
        b.slowly(fail, 2)
        b.slowly(fail, 0.5)
        stats = b.breaker.stats()
        assert (stats.slow, stats.window_slow, stats.window_failures) == (2, 2, 2)

    def test_slow_rate_trips(self, impl, clock):
        """CB17: like the failure rate, on a slow success too."""
        b = Guarded(impl, clock, slow_call=1, slow_rate=0.5, min_calls=4)
        b("ss")
        b.slowly(succeed, 2)
        assert b.state == "closed"
        b.slowly(succeed, 2)
        assert b.news() == [("closed", "open", "slow_rate")]
        with pytest.raises(CircuitOpenError) as refusal:
            b.breaker.call(succeed)
        assert refusal.value.__cause__ is None

    def test_slow_trial(self, impl, clock):
        """CB7, CB17: a trial that succeeds too slowly reopens if there is a slow rate."""
        b = Guarded(impl, clock, slow_call=1, slow_rate=1, min_calls=1, open_for=10, half_open_timeout=60)
        b.slowly(succeed, 2)
        clock.advance(10)
        assert b.slowly(succeed, 2) == "s"
        assert b.news()[-1] == ("half_open", "open", "trial_slow")

    def test_without_a_rate_slow_calls_are_only_counted(self, impl, clock):
        """CB17: no rate, no rule."""
        b = Guarded(impl, clock, slow_call=1, failure_threshold=1, open_for=10)
        b.slowly(succeed, 5)
        b("f")
        clock.advance(10)
        b.slowly(succeed, 5)
        assert (b.state, b.breaker.stats().slow) == ("closed", 2)


class TestSteering:
    def test_force_open(self, impl, clock):
        """CB15: open until reset, however long."""
        b = Guarded(impl, clock)
        b.breaker.force_open()
        clock.advance(1e6)
        with pytest.raises(CircuitOpenError) as refusal:
            b.breaker.call(succeed)
        error = refusal.value
        assert (error.reason, error.remaining, error.__cause__) == ("forced_open", float("inf"), None)
        assert b.breaker.stats().remaining == float("inf")
        assert b.news() == [("closed", "open", "forced")]
        b.breaker.reset()
        assert b("s") == "s"
        assert b.news() == [("open", "closed", "reset")]

    def test_force_open_of_an_open_one(self, impl, clock):
        """CB12, CB18: nobody sees a difference, so nobody is told."""
        b = Guarded(impl, clock, failure_threshold=1)
        b("f")
        b.breaker.force_open()
        b.breaker.force_open()
        clock.advance(1e6)
        assert b("s") == "r"
        assert b.news() == [("closed", "open", "failures")]
        assert b.breaker.stats().transitions == {("closed", "open"): 1}

    def test_reset_forgets(self, impl, clock):
        """CB8: a reset starts over: counts, window, open time and calls in flight."""
        b = Guarded(impl, clock, failure_threshold=2, window=10, failure_rate=1, open_for=10)
        b("f")
        in_flight = b.breaker.acquire()
        b.breaker.reset()
        assert not in_flight.failure()
        assert b("f") == "f"
        stats = b.breaker.stats()
        assert (stats.state, stats.window_calls, stats.late_total) == ("closed", 1, 1)
        assert b.news() == []

    def test_reset_from_half_open(self, impl, clock):
        """CB7: the open time starts over too."""
        b = Guarded(impl, clock, failure_threshold=1, open_for=10)
        b("f")
        clock.advance(10)
        b("f")
        b.breaker.reset()
        b("f")
        assert b.breaker.stats().remaining == 10
        clock.advance(10)
        b("f")
        assert b.breaker.stats().remaining == 20


def test_stats(impl, clock):
    """CB18: counters and transitions, by pair."""
    b = Guarded(impl, clock, failure_threshold=2, open_for=1, exclude=KeyError)
    b("sff")
    b("s")
    clock.advance(1)
    b("s")
    with pytest.raises(KeyError):
        b.breaker.call({}.__getitem__, 1)
    b("f")
    stats = b.breaker.stats()
    assert stats._asdict() == {
        "state": "closed",
        "calls": 6,
        "successes": 2,
        "failures": 3,
        "excluded": 1,
        "slow": 0,
        "rejected": 1,
        "late_total": 0,
        "dropped": 0,
        "consecutive_failures": 1,
        "window_calls": 0,
        "window_failures": 0,
        "window_slow": 0,
        "trials": 0,
        "remaining": 0.0,
        "transitions": {("closed", "open"): 1, ("open", "half_open"): 1, ("half_open", "closed"): 1},
        "mode": "normal",
        "would_open": 0,
        "in_flight": 0,
    }
    assert repr(b.breaker) == "CircuitBreaker('b', state='closed')"
    assert b.breaker.name == "b"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"failure_threshold": 0}, "failure_threshold must be >= 1, not 0"),
        ({"open_for": 0}, "open_for must be > 0 seconds, not 0"),
        ({"open_for": float("nan")}, "open_for must be > 0 seconds, not nan"),
        ({"half_open_permits": 0}, "half_open_permits must be >= 1, not 0"),
        ({"successes_needed": 0}, "successes_needed must be >= 1, not 0"),
        ({"window": 0}, "window must be >= 1, not 0"),
        ({"window": 0.5}, "a time window must be >= 1 second and finite, not 0.5"),
        ({"window": float("inf")}, "a time window must be >= 1 second and finite, not inf"),
        ({"window": 5, "failure_rate": 0}, "failure_rate must be > 0 and <= 1, not 0"),
        ({"window": 5, "failure_rate": 50}, "failure_rate must be > 0 and <= 1, not 50"),
        ({"window": 5, "min_calls": 0}, "min_calls must be >= 1, not 0"),
        ({"slow_call": 0}, "slow_call must be > 0 seconds, not 0"),
        ({"slow_rate": 0.5}, "slow_rate=0.5 needs slow_call"),
        ({"slow_call": 1, "slow_rate": 2}, "slow_rate must be > 0 and <= 1, not 2"),
        ({"half_open_timeout": 0}, "half_open_timeout must be > 0 seconds, not 0"),
        ({"open_growth": 0.5}, "open_growth must be >= 1 and finite, not 0.5"),
        ({"open_for": 5, "open_max": 4}, r"open_max must be >= open_for \(5.0 s\), not 4"),
        ({"jitter": 1.5}, "jitter must be >= 0 and <= 1, not 1.5"),
        ({"buckets": 0}, "buckets must be >= 1, not 0"),
    ],
)
def test_bad_settings(impl, settings, message):
    """CB3: a setting out of range is refused by name and value."""
    with pytest.raises(ValueError, match=message):
        impl.breaker.CircuitBreaker("b", **settings)


@pytest.mark.parametrize(
    "settings", [{"name": None}, {"name": 3}, {"exclude": 3}, {"exclude": (int,)}, {"only": ["x"]}, {"window": "10"}]
)
def test_bad_types(impl, settings):
    """A setting of the wrong type is refused."""
    with pytest.raises(TypeError):
        impl.breaker.CircuitBreaker(**{"name": "b"} | settings)


def test_initialised_once(impl):
    """Calling `__init__` again would lose the state of calls in flight."""
    breaker = impl.breaker.CircuitBreaker("b")
    with pytest.raises(TypeError, match="initialised once"):
        breaker.__init__("c")
