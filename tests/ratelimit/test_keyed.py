"""KeyedTokenBucket: one bucket a key, bounded memory, bulk admission, keys that misbehave."""

import gc
import math
import threading
import weakref
from typing import Any

import numpy as np
import pytest


class TestAllow:
    def test_each_key_has_its_own_bucket(self, impl, clock):
        """RL14: what one key consumes is not missing from another."""
        keyed = impl.keyed.KeyedTokenBucket(10, 2, max_keys=10, clock=clock)
        assert [keyed.allow("a") for _ in range(3)] == [True, True, False]
        assert keyed.allow("b", 2)
        assert not keyed.allow("b")
        clock.advance(0.1)
        assert [keyed.allow("a"), keyed.allow("a"), keyed.allow("b")] == [True, False, True]

    def test_agrees_with_the_single_bucket(self, impl, clock):
        """RL14: a key behaves as a TokenBucket of its own."""
        keyed = impl.keyed.KeyedTokenBucket(3, 2.5, max_keys=2, clock=clock)
        single = impl.bucket.TokenBucket(3, 2.5, clock=clock)
        for step in range(200):
            clock.advance(0.07 * (step % 5))
            n = step % 4 / 2
            assert keyed.allow("k", n) is single.allow(n)

    def test_default_clock(self, impl):
        """RL14: without a clock the buckets live in real time."""
        keyed = impl.keyed.KeyedTokenBucket(1e-9, 1, max_keys=2)
        assert [keyed.allow("a"), keyed.allow("a")] == [True, False]

    def test_clock_that_goes_back_is_held(self, impl, clock):
        """RL9: jumping back and forth mints nothing."""
        keyed = impl.keyed.KeyedTokenBucket(10, 5, max_keys=2, clock=clock)
        clock.advance(10)
        assert keyed.allow("a", 5)
        for second in (9, 10, 9, 10):
            clock.set(second * 10**9)
            assert not keyed.allow("a")

    def test_edges(self, impl, clock):
        """RL2, RL3, RL5: no burst, no rate, no limit, no tokens asked for; none of the sure answers takes memory."""
        make = impl.keyed.KeyedTokenBucket
        none = make(10, 0, max_keys=1, clock=clock)
        assert (none.allow("a"), none.allow("a", 0), len(none)) == (False, True, 0)
        assert not none.allow_many(["a"]).any()
        infinite = make(math.inf, 0, max_keys=1, clock=clock)
        assert (infinite.allow("a", 10**9), len(infinite)) == (True, 0)
        assert infinite.allow_many(["a", "b"]).all()
        still = make(0, 2, max_keys=1, clock=clock)
        assert [still.allow("a") for _ in range(3)] == [True, True, False]
        clock.advance(1e6)
        assert not still.allow("a")
        assert not still.allow("b", 3)
        assert len(still) == 1

    def test_attributes(self, impl):
        """The limits can be read back."""
        keyed = impl.keyed.KeyedTokenBucket(2, 3, max_keys=4)
        assert (keyed.rate, keyed.burst, keyed.max_keys, keyed.evictions) == (2, 3, 4, 0)
        assert repr(keyed) == "KeyedTokenBucket(rate=2.0, burst=3.0, max_keys=4)"

    @pytest.mark.parametrize(
        ("rate", "burst", "max_keys", "message"),
        [
            (-1, 1, 1, "rate must be >= 0 tokens/s .*, not -1.0"),
            (math.nan, 1, 1, "rate must be .*, not nan"),
            (1, -1, 1, "burst must be a finite number of tokens >= 0, not -1.0"),
            (1, math.inf, 1, "burst must be a finite number of tokens >= 0, not inf"),
            (1, 1, 0, "max_keys must be >= 1, not 0"),
        ],
    )
    def test_bad_construction(self, impl, rate, burst, max_keys, message):
        """RL13, RL14: bad limits are refused by name and value."""
        with pytest.raises(ValueError, match=message):
            impl.keyed.KeyedTokenBucket(rate, burst, max_keys=max_keys)

    def test_bad_requests(self, impl):
        """Unhashable keys and negative n are refused, also where the answer is known beforehand."""
        for rate in (1, math.inf):
            keyed = impl.keyed.KeyedTokenBucket(rate, 1, max_keys=1)
            with pytest.raises(TypeError, match="unhashable"):
                keyed.allow([])
            with pytest.raises(TypeError, match="unhashable"):
                keyed.allow([], 0)
            with pytest.raises(ValueError, match=r"n must be >= 0 tokens, not -1\.0"):
                keyed.allow("a", -1)
            assert len(keyed) == 0


class TestMemory:
    def test_bounded(self, impl, clock):
        """RL14: never more than `max_keys`, and each busy key that had to go is counted."""
        keyed = impl.keyed.KeyedTokenBucket(1, 2, max_keys=50, clock=clock)
        for i in range(500):
            assert keyed.allow(i)
            assert len(keyed) <= 50
        assert (len(keyed), keyed.evictions) == (50, 450)

    def test_idle_keys_go_unnoticed(self, impl, clock):
        """RL14: a key idle for the time to full is dropped, and that is no eviction."""
        keyed = impl.keyed.KeyedTokenBucket(1, 2, max_keys=50, clock=clock)
        for round_ in range(20):
            for i in range(50):
                assert keyed.allow((round_, i), 2)
                assert not keyed.allow((round_, i))
            clock.advance(2)
        assert keyed.evictions == 0
        assert len(keyed) <= 50

    def test_room_is_made_before_it_is_needed(self, impl, clock):
        """RL14: new keys drop idle ones, so memory follows the keys in use and not the most there ever were."""
        keyed = impl.keyed.KeyedTokenBucket(1, 1, max_keys=10_000, clock=clock)
        keyed.allow_many(range(1000))
        clock.advance(1)
        for i in range(1000):
            keyed.allow(("new", i))
        assert len(keyed) == 1000

    def test_the_fullest_goes(self, impl, clock):
        """RL14: a flood of new keys does not give an exhausted key its tokens back while others are fuller."""
        keyed = impl.keyed.KeyedTokenBucket(0, 10, max_keys=8, clock=clock)
        assert keyed.allow("spent", 10)
        for i in range(1000):
            assert keyed.allow(i)
            assert not keyed.allow("spent")
        assert keyed.evictions == 1001 - 8

    def test_a_full_one_goes_first(self, impl, clock):
        """RL14: no busy key is evicted while an idle one is in reach."""
        keyed = impl.keyed.KeyedTokenBucket(1, 10, max_keys=3, clock=clock)
        for key, n in (("a", 10), ("b", 1), ("c", 10)):
            assert keyed.allow(key, n)
        clock.advance(1)
        assert keyed.allow("d", 10)
        assert keyed.evictions == 0
        assert not keyed.allow("a", 2)
        assert not keyed.allow("c", 2)

    def test_one_key(self, impl, clock):
        """RL14: the smallest table works."""
        keyed = impl.keyed.KeyedTokenBucket(1, 1, max_keys=1, clock=clock)
        assert [keyed.allow(k) for k in "aabba"] == [True, False, True, False, True]
        assert (len(keyed), keyed.evictions) == (1, 2)

    def test_keys_are_released(self, impl, clock):
        """RL14: an evicted key is not kept alive."""

        class Key:
            pass

        keyed = impl.keyed.KeyedTokenBucket(1, 1, max_keys=1, clock=clock)
        key = Key()
        ref = weakref.ref(key)
        keyed.allow(key)
        del key
        assert ref() is not None
        keyed.allow("other")
        gc.collect()
        assert ref() is None

    def test_cycle_is_collected(self, impl, clock):
        """A table that holds itself as a key does not leak."""

        class Key:
            def __init__(self) -> None:
                self.keyed = impl.keyed.KeyedTokenBucket(1, 1, max_keys=1, clock=clock)

        key = Key()
        ref = weakref.ref(key)
        key.keyed.allow(key)
        del key
        gc.collect()
        assert ref() is None


class TestMany:
    def test_order_and_type(self, impl, clock):
        """One token of each key in order, at one instant, as numpy bool."""
        keyed = impl.keyed.KeyedTokenBucket(10, 2, max_keys=10, clock=clock)
        verdicts = keyed.allow_many(["a", "b", "a", "a", "b", "b"])
        assert isinstance(verdicts, np.ndarray)
        assert verdicts.dtype == np.bool_
        assert verdicts.tolist() == [True, True, True, False, True, False]
        assert keyed.allow_many([]).shape == (0,)
        assert keyed.allow_many(iter("ac")).tolist() == [False, True]
        verdicts[0] = False

    @pytest.mark.parametrize(
        ("array", "single"),
        [
            (np.array(["a", "b", "a", "a"]), "a"),
            (np.array([7, 8, 7, 7], dtype=np.int32), 7),
            (np.array([7, 8, 7, 7], dtype=np.uint64), 7),
            (np.array([1.5, 2.5, 1.5, 1.5]), 1.5),
            (np.array([b"a", b"b", b"a", b"a"]), b"a"),
            (np.array([Ellipsis, None, Ellipsis, Ellipsis], dtype=object), Ellipsis),
            (np.array(["2026-01-01", "2026-01-02", "2026-01-01", "2026-01-01"], "M8[ns]"), np.datetime64("2026-01-01")),
        ],
        ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
    )
    def test_arrays(self, impl, clock, array, single):
        """RL14: an array's elements are the keys that single calls use; a key that comes again takes another token."""
        keyed = impl.keyed.KeyedTokenBucket(1, 2, max_keys=10, clock=clock)
        assert keyed.allow_many(array).tolist() == [True, True, True, False]
        assert not keyed.allow(single)
        assert len(keyed) == 2
        assert keyed.allow_many(array[:0]).shape == (0,)

    def test_arrays_that_are_no_lists(self, impl):
        """Rows are no keys, and a single value is no batch."""
        keyed = impl.keyed.KeyedTokenBucket(1, 2, max_keys=10)
        for array in (np.zeros((2, 2)), np.array(3)):
            with pytest.raises(TypeError, match=r"unhashable|not iterable"):
                keyed.allow_many(array)
        assert len(keyed) == 0

    def test_same_as_one_by_one(self, impl, clock):
        """RL14: bulk admission decides as single calls do, evictions included."""
        bulk = impl.keyed.KeyedTokenBucket(3, 2, max_keys=7, clock=clock)
        single = impl.keyed.KeyedTokenBucket(3, 2, max_keys=7, clock=clock)
        for step in range(50):
            keys = [(step * step + i * i) % 11 for i in range(13)]
            assert bulk.allow_many(keys).tolist() == [single.allow(k) for k in keys]
            assert (len(bulk), bulk.evictions) == (len(single), single.evictions)
            clock.advance(0.05)

    def test_bad_key_takes_nothing(self, impl, clock):
        """A key that cannot be hashed raises before any token is taken."""
        keyed = impl.keyed.KeyedTokenBucket(1, 1, max_keys=10, clock=clock)
        with pytest.raises(TypeError, match="unhashable"):
            keyed.allow_many(["a", []])
        assert len(keyed) == 0


class TestKeysThatCallBack:
    def make(self, impl: Any, clock: Any, action: Any) -> tuple[Any, type]:
        """A table of at most 4 and a key class, all of one hash, whose comparisons run `action(keyed)`."""
        keyed = impl.keyed.KeyedTokenBucket(0, 5, max_keys=4, clock=clock)
        depth = []

        class Key:
            def __init__(self, name: int) -> None:
                self.name = name

            def __hash__(self) -> int:
                return 1

            def __eq__(self, other: object) -> bool:
                if not depth:
                    depth.append(True)
                    action(keyed)
                    depth.pop()
                return isinstance(other, Key) and self.name == other.name

        return keyed, Key

    def test_equality_inserts(self, impl, clock):
        """RL14: a key whose `__eq__` adds keys does not push the table over its bound."""
        count = iter(range(10**6))
        keyed, key = self.make(impl, clock, lambda keyed: keyed.allow(next(count)))
        for i in range(60):
            keyed.allow(key(i % 6))
            assert len(keyed) <= 4
        for i in range(1000, 1100):
            assert keyed.allow(i)
            assert len(keyed) <= 4

    def test_equality_asks_for_the_same_key(self, impl, clock):
        """RL14: two inserts of one key in one call are one bucket."""
        keyed, key = self.make(impl, clock, lambda keyed: keyed.allow(key(0)))
        keyed.allow(key(1))
        for _ in range(20):
            keyed.allow(key(0))
        assert not keyed.allow(key(0))
        assert len(keyed) <= 4

    def test_equality_raises(self, impl, clock):
        """An exception of `__eq__` is the caller's; the table stays usable."""

        def fail(_: Any) -> None:
            raise RuntimeError("no")

        keyed, key = self.make(impl, clock, fail)
        keyed.allow(key(0))
        with pytest.raises(RuntimeError, match="no"):
            keyed.allow(key(1))
        assert len(keyed) == 1
        for i in range(3):
            assert keyed.allow(f"key {i}")
        assert len(keyed) == 4

    def test_keys_that_change_their_hash(self, impl, clock):
        """RL14: keys that can no longer be found do not let the table grow."""

        class Fickle:
            hash = 0

            def __hash__(self) -> int:
                self.hash += 1
                return self.hash

        keyed = impl.keyed.KeyedTokenBucket(0, 5, max_keys=4, clock=clock)
        for _ in range(50):
            keyed.allow(Fickle())
            assert len(keyed) <= 4
        assert keyed.allow("sane")

    def test_finaliser_of_a_key_calls_back(self, impl, clock):
        """An evicted key's `__del__` finds a consistent table."""
        calls = []

        class Key:
            def __del__(self) -> None:
                calls.append(keyed.allow("from the finaliser"))

        keyed = impl.keyed.KeyedTokenBucket(0, 5, max_keys=2, clock=clock)
        for _ in range(20):
            keyed.allow(Key())
            assert len(keyed) <= 2
        gc.collect()
        assert len(calls) >= 15


def test_threads(impl, switch_often):
    """RL14: threads on shared keys take exactly what the buckets hold."""
    keyed = impl.keyed.KeyedTokenBucket(0, 500, max_keys=10)
    taken = []

    def work() -> None:
        taken.append(sum(keyed.allow(i % 4) for i in range(2000)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 4 * 500


def test_threads_under_eviction(impl, switch_often):
    """RL14: threads that push each other's keys out keep the bound."""
    keyed = impl.keyed.KeyedTokenBucket(0, 5, max_keys=8)
    sizes = []

    def work(me: int) -> None:
        for i in range(1000):
            keyed.allow((me, i % 50))
            sizes.append(len(keyed))

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each thread may be between its insert and its eviction.
    assert max(sizes) <= 8 + 4
    assert keyed.allow("last")
    assert len(keyed) <= 8
