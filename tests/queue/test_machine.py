"""The compiled queue against its twin, over every order of calls that hypothesis can think of."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastcore._ext import queue as ext
from fastcore._py import queue as py
from fastcore.errors import FastcoreError
from fastcore.testing.clock import VirtualClock

KEYS = st.integers(0, 12)
PRIORITIES = st.sampled_from([-100, 0, 0, 1, 7])
DELAYS = st.sampled_from([-1.0, 0.0, 1e-9, 0.3, 1.0, 1.0, 2.5, 40.0])


class Twins(RuleBasedStateMachine):
    @initialize(aging=st.sampled_from([None, 0.5, 3.0]), fair=st.booleans())
    def begin(self, aging: float | None, fair: bool) -> None:
        self.clock = VirtualClock()
        fair_by = (lambda key: key % 3) if fair else None
        self.twins = [m.WorkQueue(aging=aging, fair_by=fair_by, clock=self.clock) for m in (ext, py)]

    def both(self, method: str, *arguments: Any) -> None:
        results = []
        for queue in self.twins:
            try:
                results.append(getattr(queue, method)(*arguments))
            except (FastcoreError, ValueError) as error:
                results.append((type(error), str(error)))
        assert results[0] == results[1], (method, arguments)

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: int, priority: int) -> None:
        self.both("add", key, priority)

    @rule(key=KEYS, delay=DELAYS, priority=st.none() | PRIORITIES)
    def add_after(self, key: int, delay: float, priority: int | None) -> None:
        self.both("add_after", key, delay, priority)

    @rule(key=KEYS, priority=st.none() | PRIORITIES)
    def add_rate_limited(self, key: int, priority: int | None) -> None:
        self.both("add_rate_limited", key, priority)

    @rule(key=KEYS)
    def forget(self, key: int) -> None:
        self.both("forget", key)
        self.both("retries", key)

    @rule(group=st.integers(0, 3))
    def discard(self, group: int) -> None:
        self.both("discard", group)
        for key in range(13):
            self.both("state", key)
            self.both("retries", key)

    @rule()
    def get(self) -> None:
        self.both("get", 0)

    @rule(key=KEYS)
    def done(self, key: int) -> None:
        self.both("done", key)

    @rule(seconds=st.sampled_from([-3.0, 1e-9, 0.3, 1.0, 5.0, 100.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(often=st.integers(0, 20))
    def shut_down(self, often: int) -> None:
        if often == 0:
            self.both("shut_down_with_drain", 0)

    @invariant()
    def same(self) -> None:
        if hasattr(self, "twins"):
            self.both("__len__")
            self.both("stats")


TestTwins = Twins.TestCase
