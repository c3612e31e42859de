"""The tables of golang.org/x/time/rate with explicit time: every step is one tick of 100 ms."""

import math
from typing import Any

import pytest

TICK = 100_000_000
ORIGINS = [0, -5 * TICK, 1_700_000_000 * 10**9]


@pytest.fixture(params=ORIGINS, ids=lambda t: f"t0={t}")
def origin(request: pytest.FixtureRequest) -> int:
    return request.param


class Bucket:
    """A bucket whose times are ticks after `origin`."""

    def __init__(self, impl: Any, origin: int, rate: float, burst: float) -> None:
        self.origin = origin
        self.bucket = impl.bucket.TokenBucket(rate, burst)

    def at(self, tick: float) -> int:
        return self.origin + round(tick * TICK)

    def check_allow(self, *steps: tuple[int, int, bool]) -> None:
        for number, (tick, n, ok) in enumerate(steps):
            assert self.bucket.allow_at(self.at(tick), n) is ok, f"step {number}"

    def check_reserve(self, tick: int, n: int, act: int | None, max_delay: float | None = None) -> Any:
        """Reserve at `tick` and check that it may act at tick `act`; None: that it is refused."""
        reservation = self.bucket.reserve_at(self.at(tick), n, max_delay=max_delay)
        assert reservation.ok is (act is not None)
        assert reservation.delay == (math.inf if act is None else (act - tick) / 10)
        return reservation

    def cancel(self, reservation: Any, tick: int) -> None:
        reservation.cancel_at(self.at(tick))


class TestAllow:
    def test_burst_of_one(self, impl, origin):
        """RL1: AllowN takes what is there and nothing else."""
        Bucket(impl, origin, 10, 1).check_allow(
            (0, 1, True), (0, 1, False), (0, 1, False),
            (1, 1, True), (1, 1, False), (1, 1, False),
            (2, 2, False), (2, 1, True), (2, 1, False),
        )  # fmt: skip

    def test_burst_of_three(self, impl, origin):
        """RL1, RL5: more than the burst never passes, nothing always does."""
        Bucket(impl, origin, 10, 3).check_allow(
            (0, 2, True), (0, 2, False), (0, 1, True), (0, 1, False),
            (1, 4, False), (2, 1, True), (3, 1, True), (4, 1, True), (4, 1, True), (4, 1, False), (4, 1, False),
            (9, 3, True), (9, 0, True),
        )  # fmt: skip

    def test_jump_back(self, impl, origin):
        """RL9: the reference point moves back with `t`."""
        Bucket(impl, origin, 10, 3).check_allow(
            (1, 1, True), (0, 1, True), (0, 1, True), (0, 1, False), (0, 1, False),
            (1, 1, True), (1, 1, False), (1, 1, False),
            (2, 1, True), (2, 1, False), (2, 1, False),
        )  # fmt: skip

    def test_jumping_clock_mints_tokens(self, impl, origin):
        """RL9: 10 s, 9 s, 10 s with rate 10 and burst 5 gives 5 tokens out of nothing."""
        b = Bucket(impl, origin, 10, 5)
        b.check_allow((100, 5, True), (100, 1, False), (90, 0, True))
        assert b.bucket.tokens_at(b.at(100)) == 0
        b.check_reserve(90, 1, 91)
        assert b.bucket.tokens_at(b.at(100)) == 5

    @pytest.mark.parametrize("rate", [0.7692307692307693, 1e-300, 1e300, 3, 1e9, 5e9])
    def test_full_bucket_allows_whatever_the_rate(self, impl, origin, rate):
        """RL1: no rounding of the rate takes the first token (golang/go#34861)."""
        Bucket(impl, origin, rate, 1).check_allow((0, 1, True))

    def test_rate_without_whole_nanoseconds(self, impl):
        """RL1: what a third of a second earns is enough, although it is not a whole number of nanoseconds."""
        bucket = impl.bucket.TokenBucket(3, 1)
        assert bucket.allow_at(0)
        for k in range(1, 1000):
            t = k * 10**9 // 3
            assert not bucket.allow_at(t - 2)
            assert bucket.allow_at(t)
            assert bucket.tokens_at(t) == 0

    def test_forgiven_fractions_do_not_add_up(self, impl):
        """RL1, RL10: asking a third of a nanosecond early each time does not raise the rate."""
        bucket = impl.bucket.TokenBucket(3, 1)
        allowed = sum(bucket.allow_at(t) for t in range(0, 10**12, 333_333_333))
        assert allowed <= 1 + 3 * 1000

    def test_rates_beyond_a_token_a_nanosecond_are_limits(self, impl):
        """RL13: no truncation makes a rate above 1e9 unlimited."""
        bucket = impl.bucket.TokenBucket(5e9, 5)
        assert [bucket.allow_at(0) for _ in range(7)] == [True] * 5 + [False] * 2
        assert [bucket.allow_at(1) for _ in range(7)] == [True] * 5 + [False] * 2


class TestReserve:
    def test_simple(self, impl, origin):
        """RL6: the delay is what the debt takes to be paid."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        b.check_reserve(0, 2, 2)
        b.check_reserve(3, 2, 4)

    def test_mixed_with_allow(self, impl, origin):
        """RL5, RL6: n above the burst is refused; allow never takes part in the debt."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 3, None)
        b.check_reserve(0, 2, 0)
        b.check_allow((1, 2, False))
        b.check_reserve(1, 2, 2)
        b.check_allow((1, 1, False), (3, 1, True))

    def test_jump_back(self, impl, origin):
        """RL9: reservations follow the reference point."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(1, 2, 1)
        b.check_reserve(0, 1, 1)
        b.check_reserve(2, 2, 3)

    def test_set_rate(self, impl, origin):
        """RL11: an outstanding reservation keeps its time."""
        b = Bucket(impl, origin, 5, 2)
        b.check_reserve(0, 2, 0)
        b.check_reserve(0, 2, 4)
        b.bucket.set_rate_at(b.at(2), 10)
        b.check_reserve(2, 1, 4)

    def test_set_burst(self, impl, origin):
        """RL11: a larger burst lets a larger request in."""
        b = Bucket(impl, origin, 5, 2)
        b.check_reserve(0, 2, 0)
        b.check_reserve(0, 2, 4)
        b.bucket.set_burst_at(b.at(3), 4)
        b.check_reserve(0, 4, 9)

    def test_set_smaller_burst(self, impl, origin):
        """RL11: what accrued stays, up to the new burst at the next advance."""
        b = Bucket(impl, origin, 10, 8)
        b.bucket.set_burst_at(b.at(0), 3)
        assert b.bucket.tokens_at(b.at(0)) == 3
        b.bucket.set_burst_at(b.at(0), 8)
        assert b.bucket.tokens_at(b.at(0)) == 3

    def test_max_delay(self, impl, origin):
        """RL6: a reservation beyond the limit is refused and leaves the state untouched."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0, max_delay=0.1)
        b.check_reserve(0, 1, 1, max_delay=0.1)
        before = b.bucket.tokens_at(b.at(0))
        b.check_reserve(0, 1, None, max_delay=0.1)
        b.check_reserve(0, 1, None, max_delay=-1)
        assert b.bucket.tokens_at(b.at(0)) == before == -1
        b.check_reserve(0, 1, 2)

    def test_fairness(self, impl, origin):
        """RL16: a small request behind a large one waits for it."""
        b = Bucket(impl, origin, 10, 5)
        b.check_allow((0, 5, True))
        b.check_reserve(0, 5, 5)
        b.check_reserve(0, 1, 6)
        b.check_reserve(5, 1, 7)


class TestCancel:
    def test_refused(self, impl, origin):
        """RL7: there is nothing to give back."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        b.cancel(b.check_reserve(0, 3, None), 0)
        b.check_reserve(0, 2, 2)

    def test_last(self, impl, origin):
        """RL7: nothing reserved after it, so everything comes back."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        b.cancel(b.check_reserve(0, 2, 2), 1)
        b.check_reserve(1, 2, 2)

    def test_too_late(self, impl, origin):
        """RL7: after the time to act there is no effect."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        b.cancel(b.check_reserve(0, 2, 2), 3)
        b.check_reserve(3, 2, 4)

    def test_twice(self, impl, origin):
        """RL7: the second time has no effect."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        r = b.check_reserve(0, 2, 2)
        b.cancel(r, 1)
        b.cancel(r, 1)
        assert b.bucket.tokens_at(b.at(1)) == 1

    def test_as_much_reserved_after_it(self, impl, origin):
        """RL7: n - reserved after it = 0 tokens come back."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        r = b.check_reserve(0, 1, 1)
        b.check_reserve(0, 1, 2)
        b.cancel(r, 0)
        b.check_reserve(0, 1, 3)

    def test_less_reserved_after_it(self, impl, origin):
        """RL7: n - reserved after it = 1 token comes back."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        r = b.check_reserve(0, 2, 2)
        b.check_reserve(0, 1, 3)
        b.cancel(r, 2)
        b.check_reserve(2, 2, 4)

    def test_two_of_three(self, impl, origin):
        """RL7: a cancelled reservation no longer counts as made after the first."""
        b = Bucket(impl, origin, 10, 4)
        b.check_reserve(0, 4, 0)
        first = b.check_reserve(0, 3, 3)
        b.check_reserve(0, 1, 4)
        third = b.check_reserve(0, 1, 5)
        b.cancel(third, 1)
        b.cancel(first, 1)
        b.check_reserve(1, 3, 5)

    def test_after_a_jump_back(self, impl, origin):
        """RL7, RL9: one token back at a time before the reservation."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(1, 2, 1)
        r = b.check_reserve(1, 2, 3)
        b.check_reserve(1, 1, 4)
        b.cancel(r, 0)
        b.check_reserve(1, 2, 4)

    def test_after_a_change_of_rate(self, impl, origin):
        """RL7, RL11: tokens are counted at the rate of the reservation."""
        b = Bucket(impl, origin, 5, 2)
        b.check_reserve(0, 2, 0)
        r = b.check_reserve(0, 2, 4)
        b.bucket.set_rate_at(b.at(2), 10)
        b.cancel(r, 2)
        b.check_reserve(2, 2, 3)

    def test_never_more_than_was_taken(self, impl, origin):
        """RL7: an event that a jump back made earlier does not turn into tokens."""
        b = Bucket(impl, origin, 10, 20)
        b.check_allow((100, 20, True))
        r = b.check_reserve(100, 2, 102)
        b.check_reserve(0, 1, 3)
        before = b.bucket.tokens_at(b.at(0))
        b.cancel(r, 0)
        assert b.bucket.tokens_at(b.at(0)) == before + 2

    def test_never_more_than_the_bucket_holds(self, impl, origin):
        """RL7: what comes back is capped by the burst."""
        b = Bucket(impl, origin, 10, 2)
        r = b.check_reserve(0, 2, 0)
        b.bucket.set_burst_at(b.at(0), 1)
        b.cancel(r, 0)
        assert b.bucket.tokens_at(b.at(0)) == 1

    def test_without_a_time(self, impl, origin):
        """RL7: `cancel` of a reservation with explicit time happens at the latest time the bucket was shown."""
        b = Bucket(impl, origin, 10, 2)
        b.check_reserve(0, 2, 0)
        r = b.check_reserve(0, 2, 2)
        b.check_reserve(1, 1, 3)
        r.cancel()
        assert b.bucket.tokens_at(b.at(1)) == -1
        late = b.check_reserve(1, 1, 3)
        b.check_reserve(5, 1, 5)
        before = b.bucket.tokens_at(b.at(5))
        late.cancel()
        assert b.bucket.tokens_at(b.at(5)) == before


class TestEdges:
    def test_burst_zero(self, impl, origin):
        """RL2: a burst of 0 refuses everything."""
        b = Bucket(impl, origin, 10, 0)
        b.check_allow((0, 1, False), (1000, 1, False), (1000, 0, True))
        b.check_reserve(1000, 1, None)

    @pytest.mark.parametrize("burst", [0, 1, 5])
    def test_rate_infinite(self, impl, origin, burst):
        """RL2, RL7: no limit, whatever n and burst, and no state to change or to give back."""
        b = Bucket(impl, origin, math.inf, burst)
        b.check_allow(*[(0, 1000, True)] * 3)
        r = b.check_reserve(0, 1000, 0)
        b.cancel(r, 0)
        b.bucket.set_rate_at(b.at(0), 10)
        assert b.bucket.tokens_at(b.at(0)) == burst

    def test_cancel_under_an_infinite_rate(self, impl, origin):
        """RL7: no effect while the rate is infinite."""
        b = Bucket(impl, origin, 10, 2)
        b.check_allow((0, 2, True))
        r = b.check_reserve(0, 2, 2)
        b.bucket.set_rate_at(b.at(0), math.inf)
        b.cancel(r, 0)
        assert b.bucket.tokens_at(b.at(0)) == -2

    def test_rate_zero(self, impl, origin):
        """RL3: exactly `burst` events, and accrual starts when the rate is set."""
        b = Bucket(impl, origin, 0, 3)
        b.check_allow((0, 1, True), (0, 1, True), (50, 1, True), (50, 1, False), (10**6, 1, False))
        b.check_reserve(10**6, 1, None)
        b.bucket.set_rate_at(b.at(2 * 10**6), 10)
        b.check_allow((2 * 10**6, 1, False), (2 * 10**6 + 1, 1, True), (2 * 10**6 + 1, 1, False))

    def test_tiny_rate(self, impl, origin):
        """RL4: the second event is refused and its wait does not overflow (golang/go#71154)."""
        b = Bucket(impl, origin, 1e-10, 1)
        b.check_allow(*[(0, 1, True)] + [(0, 1, False)] * 9)
        r = b.bucket.reserve_at(b.at(0), 1)
        assert r.ok
        assert r.delay == (2**63 - 1) / 1e9
        b.check_allow((0, 1, False))
        r.cancel()

    @pytest.mark.parametrize("t", [-(2**63), 2**63 - 1])
    def test_ends_of_time(self, impl, t):
        """RL1: the first and the last nanosecond are times like any other."""
        bucket = impl.bucket.TokenBucket(10, 1)
        assert bucket.allow_at(t)
        assert not bucket.allow_at(t)
        r = bucket.reserve_at(t, 1)
        assert (r.ok, r.delay) == (True, 0.1)
        r.cancel_at(t)
        assert bucket.tokens_at(t) == 0
        assert bucket.tokens_at(-t - 1) == (1 if t < 0 else 0)

    def test_nothing_is_always_allowed(self, impl, origin):
        """RL5: n = 0 passes without consuming, in debt too."""
        b = Bucket(impl, origin, 10, 1)
        b.check_allow((0, 1, True))
        b.check_reserve(0, 1, 1)
        b.check_allow((0, 0, True))
        b.check_reserve(0, 0, 0)
        assert b.bucket.tokens_at(b.at(0)) == -1

    def test_looking_changes_nothing(self, impl, origin):
        """RL1: `tokens_at` is pure."""
        b = Bucket(impl, origin, 10, 5)
        b.check_allow((0, 5, True))
        assert [b.bucket.tokens_at(b.at(t)) for t in (3, 1, 9, 0, 3)] == [3, 1, 5, 0, 3]

    def test_long_run(self, impl, origin):
        """RL10: rate and burst of 100 for 5 simulated seconds: the ideal, within a thousandth and one."""
        bucket = impl.bucket.TokenBucket(100, 100)
        allowed = sum(bucket.allow_at(origin + ms * 1_000_000) for ms in range(0, 5001, 2))
        ideal = 100 + 100 * 5
        assert 0.999 * ideal <= allowed <= ideal + 1
