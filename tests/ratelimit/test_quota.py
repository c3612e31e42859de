"""The GCRA view: what remains, and when to come back."""

import math
from typing import Any

import pytest


def shown(quota: Any) -> tuple[bool, float, float, float | None]:
    return quota.limited, quota.remaining, quota.reset_after, quota.retry_after


@pytest.fixture(params=["single", "keyed"])
def make(request: pytest.FixtureRequest, impl: Any, clock: Any) -> Any:
    """A bucket, or one key of a keyed one: (rate, burst) -> an object with request, peek, retry_after and allow."""

    class OneKey:
        def __init__(self, rate: float, burst: float) -> None:
            self.keyed = impl.keyed.KeyedTokenBucket(rate, burst, max_keys=10, clock=clock)

        def __getattr__(self, method: str) -> Any:
            return lambda n=1: getattr(self.keyed, method)("key", n)

    if request.param == "keyed":
        return OneKey
    return lambda rate, burst: impl.bucket.TokenBucket(rate, burst, clock=clock)


class TestQuota:
    def test_table(self, make, clock):
        """RL12: period 1 s, limit 5: too much never passes; five singles; then the sixth, and time."""
        bucket = make(1, 5)
        assert shown(bucket.request(6)) == (True, 5, 0, None)
        assert [shown(bucket.request()) for _ in range(6)] == [
            (False, 4, 1, 0), (False, 3, 2, 0), (False, 2, 3, 0), (False, 1, 4, 0), (False, 0, 5, 0), (True, 0, 5, 1),
        ]  # fmt: skip
        clock.advance(3)
        assert shown(bucket.request()) == (False, 2, 3, 0)
        clock.advance(0.1)
        assert shown(bucket.request(0)) == (False, 2, pytest.approx(2.9), 0)
        assert shown(bucket.request(5)) == (True, 2, pytest.approx(2.9), pytest.approx(2.9))
        clock.advance(10)
        assert shown(bucket.request(5)) == (False, 0, 5, 0)

    def test_peek_takes_nothing(self, make, clock):
        """RL12: a peek says what a request would, again and again."""
        bucket = make(1, 5)
        for n, answer in ((0, (False, 5, 0, 0)), (5, (False, 5, 0, 0)), (6, (True, 5, 0, None))):
            assert [shown(bucket.peek(n)) for _ in range(2)] == [answer] * 2
        assert bucket.allow(4)
        for n, answer in ((0, (False, 1, 4, 0)), (1, (False, 1, 4, 0)), (2, (True, 1, 4, 1)), (5, (True, 1, 4, 4))):
            assert shown(bucket.peek(n)) == answer
        assert bucket.allow(1)

    def test_retry_after(self, make, clock):
        """RL12: the seconds until a request passes; then it does, and not before."""
        bucket = make(4, 8)
        assert [bucket.retry_after(n) for n in (0, 8, 9)] == [0, 0, None]
        assert bucket.allow(8)
        assert [bucket.retry_after(n) for n in (0, 1, 8, 9)] == [0, 0.25, 2, None]
        clock.advance(0.24)
        assert not bucket.allow()
        clock.advance(0.01)
        assert bucket.retry_after() == 0
        assert bucket.allow()

    def test_edges(self, make, clock):
        """RL2, RL3, RL12: no limit, no rate, no burst."""
        assert shown(make(math.inf, 3).request(100)) == (False, math.inf, 0, 0)
        still = make(0, 3)
        assert shown(still.request(2)) == (False, 1, math.inf, 0)
        assert shown(still.request(2)) == (True, 1, math.inf, None)
        assert shown(make(1, 0).request()) == (True, 0, 0, None)
        assert shown(make(1, 0).request(0)) == (False, 0, 0, 0)

    def test_fractions(self, make, clock):
        """RL12: what remains is whole tokens; one that only rounding keeps from being whole counts."""
        bucket = make(3, 2.5)
        assert bucket.request(0).remaining == 2
        assert bucket.request(0.6).remaining == 1
        assert bucket.request(1.9).remaining == 0
        clock.set(333_333_333)
        assert bucket.peek().remaining == 1
        assert bucket.allow()

    def test_bad_amount(self, make):
        """RL1: fewer than no tokens are refused."""
        bucket = make(1, 5)
        for call in (bucket.request, bucket.peek, bucket.retry_after):
            with pytest.raises(ValueError, match=r"n must be >= 0 tokens, not -1\.0"):
                call(-1)


class TestHeaders:
    def test_headers(self, make, clock):
        """RL12: seconds rounded up, tokens down, and only what can be said."""
        bucket = make(4, 5)
        assert bucket.request(3).headers() == {
            "RateLimit-Limit": "5", "RateLimit-Remaining": "2", "RateLimit-Reset": "1",
        }  # fmt: skip
        assert bucket.request(3).headers() == {
            "RateLimit-Limit": "5", "RateLimit-Remaining": "2", "RateLimit-Reset": "1", "Retry-After": "1",
        }  # fmt: skip
        assert "Retry-After" not in bucket.request(6).headers()
        assert make(math.inf, 3).request().headers() == {}
        assert make(0, 3).request().headers() == {"RateLimit-Limit": "3", "RateLimit-Remaining": "2"}

    def test_value(self, impl):
        """RL12: a quota can be made by other limiters too, and does not change."""
        quota = impl.quota.Quota(True, 5, 4.0, 0.5, None)
        assert repr(quota) == "Quota(limited=True, limit=5.0, remaining=4.0, reset_after=0.5, retry_after=None)"
        with pytest.raises(AttributeError):
            quota.remaining = 5


class TestDebt:
    def test_reservations_count(self, impl, clock):
        """RL6, RL12: nothing remains while tokens are owed, and the debt is part of the wait."""
        bucket = impl.bucket.TokenBucket(1, 5, clock=clock)
        assert bucket.reserve(5).ok
        assert bucket.reserve(2).delay == 2
        assert shown(bucket.peek()) == (True, 0, 7, 3)
        assert shown(bucket.request(0)) == (False, 0, 7, 0)

    def test_with_explicit_time(self, impl):
        """RL9, RL12: the same at a time of the caller's choosing."""
        bucket = impl.bucket.TokenBucket(1, 5)
        second = 10**9
        assert shown(bucket.request_at(0, 5)) == (False, 0, 5, 0)
        assert shown(bucket.peek_at(second)) == (False, 1, 4, 0)
        assert shown(bucket.request_at(second, 2)) == (True, 1, 4, 1)
        assert shown(bucket.request_at(2 * second, 2)) == (False, 0, 5, 0)
        for call in (bucket.request_at, bucket.peek_at):
            with pytest.raises(TypeError):
                call(1.5)


class TestKeyed:
    def test_peek_remembers_nobody(self, impl, clock):
        """RL14: to look at a key, or to ask for what can never be, takes no memory."""
        keyed = impl.keyed.KeyedTokenBucket(1, 5, max_keys=2, clock=clock)
        for i in range(100):
            assert not keyed.peek(i).limited
            assert keyed.retry_after(i, 6) is None
            assert keyed.request(i, 6).limited
            assert not keyed.request(i, 0).limited
        assert (len(keyed), keyed.evictions) == (0, 0)
        assert keyed.request("a").remaining == 4
        assert (len(keyed), keyed.peek("a").remaining, keyed.peek("b").remaining) == (1, 4, 5)

    def test_unhashable(self, impl):
        """A key that cannot be hashed is refused, also where the answer is known."""
        for rate in (1, math.inf):
            keyed = impl.keyed.KeyedTokenBucket(rate, 5, max_keys=2)
            for call in (keyed.request, keyed.peek, keyed.retry_after):
                with pytest.raises(TypeError, match="unhashable"):
                    call([])
