"""ItemBackoff, FastSlow, MaxOf and WithMaxWait."""

import math
import threading
from typing import Any

import pytest


class TestItemBackoff:
    def test_defaults(self, impl):
        """WQ-8: 5 ms doubling to 655.36 s (n=17), 1000 s from n=18."""
        backoff = impl.backoff.ItemBackoff()
        waits = [backoff.when("a") for _ in range(21)]
        assert waits[:4] == [0.005, 0.01, 0.02, 0.04]
        assert waits[17] == pytest.approx(655.36)
        assert waits[18:] == [1000.0] * 3

    def test_each_item_counts_for_itself(self, impl):
        """WQ-8: n is the item's own failures so far."""
        backoff = impl.backoff.ItemBackoff(1, 60)
        assert [backoff.when(k) for k in "aabab"] == [1, 2, 1, 4, 2]
        assert (backoff.retries("a"), backoff.retries("b"), backoff.retries("c")) == (3, 2, 0)
        assert len(backoff) == 2

    def test_only_forget_resets(self, impl):
        """WQ-7: a forgotten item starts over; forgetting an unknown one does nothing."""
        backoff = impl.backoff.ItemBackoff(1, 60)
        backoff.when("a")
        backoff.when("a")
        backoff.forget("a")
        backoff.forget("never seen")
        assert (backoff.retries("a"), len(backoff)) == (0, 0)
        assert backoff.when("a") == 1

    def test_no_overflow(self, impl):
        """WQ-8: a huge number of failures still waits the maximum."""
        backoff = impl.backoff.ItemBackoff(0.005, 1000)
        waits = {backoff.when("a") for _ in range(5000)}
        assert max(waits) == 1000
        assert backoff.retries("a") == 5000
        wide = impl.backoff.ItemBackoff(5e-324, 1.7e308)
        waits_wide = [wide.when("a") for _ in range(2200)]
        assert waits_wide[-1] == 1.7e308
        assert waits_wide == sorted(waits_wide)

    def test_base_and_max_equal(self, impl):
        """WQ-8: a constant delay is a back-off too."""
        backoff = impl.backoff.ItemBackoff(2, 2)
        assert [backoff.when("a") for _ in range(3)] == [2, 2, 2]
        assert (backoff.base, backoff.max, repr(backoff)) == (2, 2, "ItemBackoff(base=2.0, max=2.0)")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0, 1), r"base must be > 0 s and finite, not 0\.0"),
            ((math.nan, 1), "base must be > 0 s and finite, not nan"),
            ((math.inf, math.inf), "base must be > 0 s and finite, not inf"),
            ((2, 1), r"max must be >= base \(2\.0 s\) and finite, not 1\.0"),
            ((1, math.inf), r"max must be >= base \(1\.0 s\) and finite, not inf"),
            ((1, math.nan), r"max must be .*, not nan"),
        ],
    )
    def test_bad_construction(self, impl, arguments, message):
        """WQ-8: limits out of range are refused by name and value."""
        with pytest.raises(ValueError, match=message):
            impl.backoff.ItemBackoff(*arguments)

    def test_unhashable(self, impl):
        """An item that cannot be a key is refused."""
        backoff = impl.backoff.ItemBackoff()
        backoff.when("a")
        for call in (backoff.when, backoff.forget, backoff.retries):
            with pytest.raises(TypeError, match="unhashable"):
                call([])

    def test_items_that_call_back(self, impl):
        """An item whose `__eq__` forgets and fails other items leaves counts in order."""

        class Item:
            def __hash__(self) -> int:
                return 1

            def __eq__(self, other: object) -> bool:
                backoff.forget("x")
                backoff.when("x")
                return self is other

        backoff = impl.backoff.ItemBackoff(1, 60)
        items = [Item() for _ in range(5)]
        for n in range(4):
            for item in items:
                assert backoff.when(item) == 2**n
        for item in items:
            backoff.forget(item)
        assert backoff.retries("x") == 1
        assert len(backoff) == 1

    def test_threads(self, impl, switch_often):
        """WQ-8: no failure is lost."""
        backoff = impl.backoff.ItemBackoff()

        def work() -> None:
            for i in range(2000):
                backoff.when(i % 3)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(backoff.retries(i) for i in range(3)) == 8000


class TestFastSlow:
    def test_fast_then_slow(self, impl):
        """WQ-9: n <= max_fast waits the fast delay, each other failure the slow one; each item for itself."""
        limiter = impl.backoff.FastSlow(0.005, 10, 3)
        assert [limiter.when("a") for _ in range(5)] == [0.005] * 3 + [10.0] * 2
        assert limiter.when("b") == 0.005
        assert (limiter.retries("a"), limiter.retries("b"), limiter.retries("c"), len(limiter)) == (5, 1, 0, 2)
        limiter.forget("a")
        limiter.forget("never seen")
        assert (limiter.retries("a"), limiter.when("a"), len(limiter)) == (0, 0.005, 2)

    def test_edges(self, impl):
        """WQ-9: no fast attempt at all, or no difference."""
        assert impl.backoff.FastSlow(1, 2, 0).when("a") == 2
        limiter = impl.backoff.FastSlow(0, 0, 1)
        assert [limiter.when("a") for _ in range(2)] == [0, 0]
        assert (limiter.fast, limiter.slow, limiter.max_fast) == (0, 0, 1)
        assert repr(impl.backoff.FastSlow(1, 2, 3)) == "FastSlow(fast=1.0, slow=2.0, max_fast=3)"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((-1, 1, 1), r"fast must be >= 0 s and finite, not -1\.0"),
            ((math.nan, 1, 1), "fast must be .*, not nan"),
            ((2, 1, 1), r"slow must be >= fast \(2\.0 s\) and finite, not 1\.0"),
            ((1, math.inf, 1), "slow must be .*, not inf"),
            ((1, 2, -1), "max_fast must be >= 0 attempts, not -1"),
        ],
    )
    def test_bad_construction(self, impl, arguments, message):
        """WQ-9: limits out of range are refused by name and value."""
        with pytest.raises(ValueError, match=message):
            impl.backoff.FastSlow(*arguments)

    def test_unhashable(self, impl):
        """An item that cannot be a key is refused."""
        limiter = impl.backoff.FastSlow(1, 2, 3)
        limiter.when("a")
        for call in (limiter.when, limiter.forget, limiter.retries):
            with pytest.raises(TypeError, match="unhashable"):
                call([])

    def test_threads(self, impl, switch_often):
        """WQ-9: exactly max_fast failures are fast, however many threads fail."""
        limiter = impl.backoff.FastSlow(1, 2, 1000)
        waits: list[float] = []
        threads = [
            threading.Thread(target=lambda: waits.extend([limiter.when("a") for _ in range(500)])) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (waits.count(1), waits.count(2)) == (1000, 1000)


class Fixed:
    """A limiter of somebody else's."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.log: list[tuple[str, Any]] = []

    def when(self, item: Any) -> float:
        self.log.append(("when", item))
        return self.seconds

    def forget(self, item: Any) -> None:
        self.log.append(("forget", item))

    def retries(self, item: Any) -> int:
        self.log.append(("retries", item))
        return 7


class TestMaxOf:
    def test_longest(self, impl, clock):
        """WQ-9: the maximum of the members, all of which count."""
        backoff = impl.backoff.ItemBackoff(0.3, 60)
        bucket = impl.bucket.TokenBucket(1, 2, clock=clock)
        limiter = impl.backoff.MaxOf(backoff, bucket)
        assert [limiter.when("a") for _ in range(5)] == pytest.approx([0.3, 0.6, 1.2, 2.4, 4.8])
        assert limiter.when("b") == 4
        assert (limiter.retries("a"), limiter.retries("b")) == (5, 1)
        limiter.forget("a")
        assert (limiter.retries("a"), backoff.retries("b")) == (0, 1)
        assert bucket.tokens == -4
        assert limiter.limiters == (backoff, bucket)

    def test_own_members(self, impl):
        """WQ-9: anything with the three methods is a member, each asked exactly once."""
        quick, slow = Fixed(1), Fixed(2)
        limiter = impl.backoff.MaxOf(impl.backoff.MaxOf(quick), slow)
        assert limiter.when("a") == 2
        assert limiter.retries("a") == 7
        limiter.forget("a")
        assert quick.log == slow.log == [("when", "a"), ("retries", "a"), ("forget", "a")]

    def test_misuse(self, impl):
        """WQ-9: no members, or one that is no limiter, is refused at once."""
        with pytest.raises(ValueError, match="at least one limiter"):
            impl.backoff.MaxOf()
        with pytest.raises(TypeError, match="a limiter needs a method when, which 3 does not have"):
            impl.backoff.MaxOf(3)

    def test_repr(self, impl):
        """The members show."""
        limiter = impl.backoff.MaxOf(impl.backoff.ItemBackoff(1, 2), impl.bucket.TokenBucket(1, 2))
        assert repr(limiter) == "MaxOf(ItemBackoff(base=1.0, max=2.0), TokenBucket(rate=1.0, burst=2.0))"


class TestWithMaxWait:
    def test_cut(self, impl, clock):
        """WQ-9: the member's wait, at most the maximum; the member counts as ever."""
        bucket = impl.bucket.TokenBucket(10, 100, clock=clock)
        limiter = impl.backoff.WithMaxWait(bucket, 60)
        waits = [limiter.when(i) for i in range(10_000)]
        assert waits[100] == pytest.approx(0.1)
        assert waits[-1] == max(waits) == 60
        assert bucket.tokens == -9900
        assert (limiter.limiter, limiter.max_wait) == (bucket, 60)

    def test_passes_on(self, impl):
        """WQ-9: forget and retries are the member's, also through several layers."""
        member = Fixed(5)
        limiter = impl.backoff.WithMaxWait(impl.backoff.MaxOf(impl.backoff.FastSlow(1, 2, 0), member), 3)
        assert (limiter.when("a"), limiter.retries("a")) == (3, 7)
        limiter.forget("a")
        assert member.log == [("when", "a"), ("retries", "a"), ("forget", "a")]
        assert repr(impl.backoff.WithMaxWait(impl.backoff.ItemBackoff(1, 2), 3)) == (
            "WithMaxWait(ItemBackoff(base=1.0, max=2.0), max_wait=3.0)"
        )

    def test_never(self, impl):
        """WQ-9: what can never run is asked again after the maximum."""
        assert impl.backoff.WithMaxWait(impl.bucket.TokenBucket(0, 0), 30).when("a") == 30

    def test_misuse(self, impl):
        """WQ-9: no limiter, or no number of seconds, is refused at once."""
        with pytest.raises(TypeError, match="a limiter needs a method when, which 3 does not have"):
            impl.backoff.WithMaxWait(3, 1)
        for seconds in (-1, math.inf, math.nan):
            with pytest.raises(ValueError, match=f"max_wait must be >= 0 s and finite, not {float(seconds)!r}"):
                impl.backoff.WithMaxWait(Fixed(1), seconds)
