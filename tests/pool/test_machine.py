"""The compiled pools against their twins, over every order of calls that hypothesis can think of."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fastcore._ext import pool as ext
from fastcore._py import pool as py
from fastcore.errors import PoolError


class Twins(RuleBasedStateMachine):
    @initialize(debug=st.booleans(), max_idle=st.integers(0, 4))
    def begin(self, debug: bool, max_idle: int) -> None:
        self.pools = [
            m.ObjectPool(list, reset=list.clear, sizeof=len, max_bytes=3, max_idle=max_idle, debug=debug)
            for m in (ext, py)
        ]
        self.seen: list[tuple[Any, Any]] = []

    def number(self, pair: tuple[Any, Any]) -> int:
        """The same objects come out of both, in the sense that they did before."""
        for i, (a, b) in enumerate(self.seen):
            assert (a is pair[0]) == (b is pair[1])
            if a is pair[0]:
                return i
        self.seen.append(pair)
        return len(self.seen) - 1

    def same(self) -> None:
        a, b = (pool.stats() for pool in self.pools)
        assert a == b

    @rule(grow=st.integers(0, 4))
    def acquire(self, grow: int) -> None:
        pair = tuple(pool.acquire() for pool in self.pools)
        assert pair == ([], [])
        self.number(pair)  # type: ignore[arg-type]
        for obj in pair:
            obj.extend([0] * grow)
        self.same()

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        pair = self.seen[data.draw(st.integers(0, len(self.seen) - 1))]
        results = []
        for pool, obj in zip(self.pools, pair, strict=True):
            try:
                results.append(pool.release(obj))
            except PoolError as error:
                results.append(str(error).split(" at ")[0])
        assert results[0] == results[1]
        self.same()

    @rule()
    def drain(self) -> None:
        assert self.pools[0].drain() == self.pools[1].drain()
        self.same()


TestTwins = Twins.TestCase
