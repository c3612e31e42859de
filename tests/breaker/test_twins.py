"""The compiled breaker and its twin: the same names, and the same answers to any sequence of calls."""

import doctest
import inspect
import random
from importlib import import_module
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastcore import breaker as public
from fastcore.errors import CircuitOpenError
from fastcore.testing.clock import VirtualClock


def both(name: str) -> tuple[Any, Any]:
    return tuple(getattr(import_module(f"fastcore._{kind}.breaker"), name) for kind in ("ext", "py"))  # type: ignore[return-value]


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    """What a caller can pass; `self` is positional-only in C and not in Python."""
    own = list(inspect.signature(method).parameters.values())[1:]
    return [(p.name, p.kind, p.default) for p in own]


@pytest.mark.parametrize("name", ["CircuitBreaker", "Permit"])
def test_same_face(name):
    """Same public names, signatures and first docstring lines."""
    ext, py = both(name)
    names = {n for n in dir(ext) if not n.startswith("_")} | {"__call__", "__enter__", "__exit__"} & set(dir(ext))
    assert names - {"__call__", "__enter__", "__exit__"} == {n for n in dir(py) if not n.startswith("_")}
    assert [(p.name, p.kind, p.default) for p in inspect.signature(ext).parameters.values()] == [
        (p.name, p.kind, p.default) for p in inspect.signature(py).parameters.values()
    ]
    assert inspect.getdoc(ext).splitlines()[0] == inspect.getdoc(py).splitlines()[0]
    for n in sorted(names):
        mine, twin = getattr(ext, n), getattr(py, n)
        if callable(mine):
            if n != "__call__":
                assert parameters(mine) == parameters(twin), n
            assert mine.__doc__.splitlines()[0] == twin.__doc__.splitlines()[0], n
    assert both("BreakerStats")[0]._fields == both("BreakerStats")[1]._fields


def test_example():
    """The example in the docstring runs."""
    test = doctest.DocTestParser().get_doctest(public.CircuitBreaker.__doc__, {}, "CircuitBreaker", None, None)
    result = doctest.DocTestRunner().run(test)
    assert (result.failed, result.attempted > 0) == (0, True)


class Down(Exception):
    pass


class Mine(Exception):
    pass


ENDS = {"success": None, "failure": Down, "excluded": Mine, "exit": SystemExit, "refused": CircuitOpenError}
settings_ = st.fixed_dictionaries(
    {},
    optional={
        "failure_threshold": st.integers(1, 4),
        "open_for": st.floats(0.5, 5),
        "half_open_permits": st.integers(1, 3),
        "successes_needed": st.integers(1, 3),
        "window": st.one_of(st.integers(1, 8), st.floats(1, 10)),
        "failure_rate": st.sampled_from([0.2, 0.5, 0.75, 1.0]),
        "min_calls": st.integers(1, 6),
        "slow_call": st.floats(0.1, 2),
        "half_open_timeout": st.floats(0.5, 5),
        "open_growth": st.floats(1, 3),
        "jitter": st.floats(0, 1),
        "buckets": st.integers(1, 5),
        "only": st.just((Down, SystemExit)),
    },
)


class BreakerMachine(RuleBasedStateMachine):
    """Any mix of forms, ends, times and steering leaves both in the same state: CB1 to CB18."""

    @initialize(settings=settings_, slow_rate=st.sampled_from([None, 0.5, 1.0]))
    def make(self, settings: dict[str, Any], slow_rate: float | None) -> None:
        if "slow_call" in settings:
            settings["slow_rate"] = slow_rate
        self.clock = VirtualClock()
        self.twins = [
            cls("b", exclude=Mine, clock=self.clock, rng=random.Random(7), **settings) for cls in both("CircuitBreaker")
        ]
        self.told: list[list[Any]] = [[], []]
        for breaker, told in zip(self.twins, self.told, strict=True):
            breaker.on_transition(lambda *news, told=told: told.append(news))
        self.permits: list[list[Any]] = []
        self.blocks = 0

    def each(self, act: Any) -> Any:
        """What `act` does with either twin: a value or an error, and the same for both."""

        def outcome(breaker: Any) -> Any:
            try:
                return act(breaker)
            except BaseException as error:
                return repr(error), repr(error.__cause__)

        ext, py = (outcome(b) for b in self.twins)
        assert ext == py
        return ext

    @rule(seconds=st.floats(-1, 6))
    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(end=st.sampled_from(sorted(ENDS)), seconds=st.floats(0, 2))
    def call(self, end: str, seconds: float) -> None:
        start = self.clock()

        def fn() -> str:
            self.clock.set(start + round(seconds * 1e9))
            error = ENDS[end]
            if error is not None:
                raise error("inner", 1.0, "open") if error is CircuitOpenError else error
            return end

        def act(breaker: Any) -> Any:
            self.clock.set(start)
            return breaker.call(fn)

        self.each(act)

    @rule()
    def acquire(self) -> None:
        pair: list[Any] = []
        self.each(lambda b: pair.append(b.acquire()))
        if pair:
            self.permits.append(pair)

    @rule(which=st.integers(0, 100), end=st.sampled_from(["success", "failure", "ignore"]))
    def report(self, which: int, end: str) -> None:
        if self.permits:
            ext, py = (getattr(p, end)() for p in self.permits[which % len(self.permits)])
            assert ext == py

    @rule()
    def enter(self) -> None:
        entered = self.each(lambda b: b.__enter__() is b)
        if entered is True:
            self.blocks += 1

    @rule(end=st.sampled_from([None, Down(), Mine(), SystemExit()]))
    def leave(self, end: BaseException | None) -> None:
        left = self.each(lambda b: b.__exit__(None if end is None else type(end), end, None))
        assert (left is False) == (self.blocks > 0)
        self.blocks = max(self.blocks - 1, 0)

    @rule(steer=st.sampled_from(["force_open", "disable", "metrics_only", "reset"]))
    def steer(self, steer: str) -> None:
        self.each(lambda b: getattr(b, steer)())

    @invariant()
    def equal(self) -> None:
        stats = self.each(lambda b: tuple(b.stats()))
        state, calls, successes, failures, excluded, _, _, late = stats[:8]
        assert self.told[0] == self.told[1]
        assert state == (self.told[0][-1][2] if self.told[0] else "closed")
        # Lost trials count as failures and, once they report, as late.
        assert successes + excluded <= calls
        assert all(n >= 0 for n in stats[1:15])
        assert failures + late >= 0

    def teardown(self) -> None:
        for pair in getattr(self, "permits", []):
            for permit in pair:
                permit.ignore()


TestBreakerMachine = BreakerMachine.TestCase
