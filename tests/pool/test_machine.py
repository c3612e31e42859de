"""The compiled pools against their twins, over every order of calls that hypothesis can think of."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fastcore._ext import pool as ext
from fastcore._py import pool as py
from fastcore.errors import PoolError
from fastcore.testing.clock import VirtualClock


class Twins(RuleBasedStateMachine):
    """PO1 to PO4."""

    @initialize(debug=st.booleans(), max_idle=st.integers(0, 4), max_idle_time=st.sampled_from([None, 1e-9, 4.0]))
    def begin(self, debug: bool, max_idle: int, max_idle_time: float | None) -> None:
        self.clock = VirtualClock()
        self.pools = [
            m.ObjectPool(
                list, reset=list.clear, sizeof=len, max_bytes=3, max_idle=max_idle, debug=debug,
                max_idle_time=max_idle_time, clock=self.clock,
            )
            for m in (ext, py)
        ]  # fmt: skip
        self.lent: list[Any] = []
        self.seen: list[tuple[Any, Any]] = []

    def known(self, pair: Any) -> None:
        """The same objects come out of both, in the sense that they did before."""
        a, b = (lent.append.__self__ for lent in pair)
        for ours, theirs in self.seen:
            assert (ours is a) == (theirs is b)
        self.seen.append((a, b))

    def same(self) -> None:
        a, b = (pool.stats() for pool in self.pools)
        assert a == b

    @rule(grow=st.integers(0, 4))
    def acquire(self, grow: int) -> None:
        pair = [pool.acquire() for pool in self.pools]
        assert pair == [[], []]
        self.known(pair)
        self.lent.append(pair)
        for obj in pair:
            obj.extend([0] * grow)
        self.same()

    @precondition(lambda self: self.lent)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        pair = self.lent[data.draw(st.integers(0, len(self.lent) - 1))]
        results = []
        for pool, obj in zip(self.pools, pair, strict=True):
            try:
                results.append(pool.release(obj))
            except PoolError as error:
                results.append(str(error).split(" at ")[0])
        assert results[0] == results[1]
        self.same()

    @rule(seconds=st.integers(0, 5))
    def tick(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(how=st.sampled_from(["age", "trim", "drain"]))
    def drop(self, how: str) -> None:
        assert len({getattr(pool, how)() for pool in self.pools}) == 1
        self.same()


TestTwins = Twins.TestCase
