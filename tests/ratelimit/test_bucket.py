"""TokenBucket on its clock: held time, setters, threads, misuse."""

import math
import threading
from collections.abc import Callable

import pytest


class TestClock:
    def test_starts_full(self, impl, clock):
        """RL1: a new bucket holds `burst` tokens."""
        bucket = impl.bucket.TokenBucket(10, 5, clock=clock)
        assert bucket.tokens == 5
        assert [bucket.allow() for _ in range(6)] == [True] * 5 + [False]
        clock.advance(0.2)
        assert bucket.tokens == 2
        assert bucket.allow(2)

    def test_default_clock(self, impl):
        """RL1: without a clock the bucket lives in real time."""
        bucket = impl.bucket.TokenBucket(1e-9, 2)
        assert [bucket.allow() for _ in range(3)] == [True, True, False]
        assert bucket.reserve(1).delay == pytest.approx(1e9, rel=1e-3)

    def test_clock_that_goes_back_is_held(self, impl, clock):
        """RL9: 10 s, 9 s, 10 s mints nothing without explicit time."""
        bucket = impl.bucket.TokenBucket(10, 5, clock=clock)
        clock.set(10 * 10**9)
        assert bucket.allow(5)
        for second in (9, 10, 9, 10):
            clock.set(second * 10**9)
            assert bucket.tokens == 0
            assert not bucket.allow()
        assert bucket.reserve(1).ok
        clock.set(9 * 10**9)
        assert bucket.reserve(1).delay == 0.2

    def test_held_at_the_highest_time_that_was_looked_at(self, impl, clock):
        """RL9: a time at which nothing was taken counts too."""
        bucket = impl.bucket.TokenBucket(10, 5, clock=clock)
        assert bucket.allow(5)
        clock.advance(0.3)
        assert bucket.tokens == 3
        clock.advance(-0.2)
        assert bucket.tokens == 3
        assert bucket.allow(3)

    def test_raising_clock(self, impl):
        """RL1: an error of the clock is the caller's, and changes nothing."""
        readings = iter([0, 0])
        bucket = impl.bucket.TokenBucket(10, 2, clock=lambda: next(readings))
        assert bucket.allow()
        assert bucket.tokens == 1
        for call in (bucket.allow, bucket.reserve, bucket.wait, lambda: bucket.when("a")):
            with pytest.raises(StopIteration):
                call()

    def test_clock_may_call_the_bucket(self, impl, clock):
        """No lock is held and nothing is half done while the clock runs."""

        def nosy() -> int:
            if not inner:
                inner.append(True)
                bucket.allow()
            return clock()

        inner: list[bool] = []
        bucket = impl.bucket.TokenBucket(10, 5, clock=nosy)
        assert bucket.allow()
        assert bucket.tokens == 3

    def test_setters(self, impl, clock):
        """RL3, RL11: what accrued stays, up to the new burst; later time counts at the new rate."""
        bucket = impl.bucket.TokenBucket(0, 10, clock=clock)
        assert bucket.allow(10)
        clock.advance(100)
        bucket.rate = 10
        assert (bucket.rate, bucket.tokens) == (10, 0)
        clock.advance(0.5)
        bucket.burst = 3
        assert (bucket.burst, bucket.tokens) == (3, 3)
        bucket.rate = math.inf
        assert bucket.allow(1000)
        bucket.rate = 1
        assert bucket.tokens == 3

    def test_cancel(self, impl, clock):
        """RL7: tokens come back until the time to act, as the clock says."""
        bucket = impl.bucket.TokenBucket(10, 2, clock=clock)
        assert bucket.allow(2)
        in_time, late = bucket.reserve(), bucket.reserve()
        assert (in_time.delay, late.delay) == (0.1, 0.2)
        clock.advance(0.1)
        late.cancel()
        late.cancel()
        assert bucket.tokens == 0
        clock.advance(0.1)
        in_time.cancel()
        assert bucket.tokens == 1


class TestThreads:
    def test_exactly_the_burst(self, impl, clock):
        """RL10: 15 threads, rate 1, burst 5: exactly 5 are allowed."""
        bucket = impl.bucket.TokenBucket(1, 5, clock=clock)
        start = threading.Barrier(15)
        allowed = []

        def work() -> None:
            start.wait()
            allowed.append(bucket.allow())

        threads = [threading.Thread(target=work) for _ in range(15)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(allowed) == [False] * 10 + [True] * 5

    def test_tokens_are_neither_lost_nor_made(self, impl, switch_often):
        """RL10: many threads on a bucket that gains nothing take exactly what it holds."""
        bucket = impl.bucket.TokenBucket(0, 2000)
        taken = []

        def work() -> None:
            taken.append(sum(bucket.allow() for _ in range(1000)))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(taken) == 2000
        assert bucket.tokens == 0


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((-1, 1), r"rate must be >= 0 tokens/s \(math.inf for no limit\), not -1"),
            ((math.nan, 1), "rate must be >= 0 tokens/s .*, not nan"),
            ((1, -1), "burst must be a finite number of tokens >= 0, not -1"),
            ((1, math.inf), "burst must be a finite number of tokens >= 0, not inf"),
            ((1, math.nan), "burst must be a finite number of tokens >= 0, not nan"),
            ((1, 1e300), r"burst must be a finite number of tokens >= 0, not 1e\+300"),
        ],
    )
    def test_construction(self, impl, arguments, message):
        """RL13: a rate or burst that no bucket can have is refused by name and value."""
        with pytest.raises(ValueError, match=message):
            impl.bucket.TokenBucket(*arguments)

    @pytest.mark.parametrize("arguments", [("1", 1), (1, "1"), (None, 1), (1, None), (1j, 1)])
    def test_types(self, impl, arguments):
        """Text is not a number."""
        with pytest.raises(TypeError, match="must be real number, not "):
            impl.bucket.TokenBucket(*arguments)

    @pytest.mark.parametrize("n", [-1, -0.5, math.nan])
    def test_bad_n(self, impl, n):
        """RL1: taking a negative number of tokens is refused, and nothing changes."""
        bucket = impl.bucket.TokenBucket(0, 3)
        message = f"n must be >= 0 tokens, not {float(n)!r}"
        calls: list[Callable[[float], object]] = [
            bucket.allow,
            bucket.reserve,
            bucket.wait,
            lambda n: bucket.allow_at(0, n),
            lambda n: bucket.reserve_at(0, n),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=message):
                call(n)
        assert bucket.tokens == 3

    def test_bad_setters(self, impl):
        """RL11: a refused value leaves the bucket as it was."""
        bucket = impl.bucket.TokenBucket(2, 3)
        for value in (-1, math.nan):
            with pytest.raises(ValueError, match="rate must be"):
                bucket.rate = value
            with pytest.raises(ValueError, match="rate must be"):
                bucket.set_rate_at(0, value)
            with pytest.raises(ValueError, match="burst must be"):
                bucket.burst = value
            with pytest.raises(ValueError, match="burst must be"):
                bucket.set_burst_at(0, value)
        assert repr(bucket) == "TokenBucket(rate=2.0, burst=3.0)"

    def test_bad_times(self, impl):
        """RL9: explicit time is integer nanoseconds of 64 bits."""
        bucket = impl.bucket.TokenBucket(2, 3)
        for call in (bucket.allow_at, bucket.reserve_at, bucket.tokens_at, bucket.reserve().cancel_at):
            with pytest.raises(TypeError):
                call(1.5)
            with pytest.raises(OverflowError):
                call(2**63)
        with pytest.raises(ValueError, match="a time limit must be a number of seconds, not nan"):
            bucket.wait(1, timeout=math.nan)

    def test_reservations_are_not_made_by_hand(self, impl):
        """A reservation without a bucket would be a lie."""
        with pytest.raises(TypeError, match=r"comes from TokenBucket\.reserve"):
            impl.bucket.Reservation()
        reservation = impl.bucket.TokenBucket(1, 1).reserve()
        with pytest.raises(AttributeError):
            reservation.nothing = 1
        assert repr(reservation) == "Reservation(ok=True, delay=0.0)"


class TestAsLimiter:
    def test_reservation_without_cancel(self, impl, clock):
        """WQ-9: after 10,000 calls at 10/s and burst 100 the last delay is (10,000 - 100) / 10 = 990 s."""
        bucket = impl.bucket.TokenBucket(10, 100, clock=clock)
        delays = [bucket.when(i) for i in range(10_000)]
        assert delays[:101] == [0.0] * 100 + [0.1]
        assert delays[-1] == 990.0
        bucket.forget(1)
        assert bucket.retries(1) == 0
        assert bucket.tokens == -9900

    def test_never(self, impl):
        """WQ-9: what can never run waits for ever."""
        assert impl.bucket.TokenBucket(0, 0).when("a") == math.inf
        assert impl.bucket.TokenBucket(math.inf, 0).when("a") == 0.0
