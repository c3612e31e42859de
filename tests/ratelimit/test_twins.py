"""The compiled classes and their twins: the same names, and the same answers to any sequence of calls."""

import doctest
import inspect
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastcore import ratelimit
from fastcore.testing.clock import VirtualClock

CLASSES = [
    ("bucket", "TokenBucket"),
    ("bucket", "Reservation"),
    ("keyed", "KeyedTokenBucket"),
    ("backoff", "ItemBackoff"),
    ("backoff", "FastSlow"),
    ("backoff", "MaxOf"),
    ("backoff", "WithMaxWait"),
    ("quota", "Quota"),
]


def both(module: str, name: str) -> tuple[Any, Any]:
    return tuple(getattr(import_module(f"fastcore._{kind}.{module}"), name) for kind in ("ext", "py"))  # type: ignore[return-value]


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    """What a caller can pass; `self` is positional-only in C and not in Python."""
    own = list(inspect.signature(method).parameters.values())[1:]
    return [(p.name, p.kind, p.default) for p in own]


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_same_face(module, name):
    """Same public names, signatures and first docstring lines."""
    ext, py = both(module, name)
    names = {n for n in dir(ext) if not n.startswith("_")}
    assert names == {n for n in dir(py) if not n.startswith("_")}
    assert list(inspect.signature(ext).parameters) == list(inspect.signature(py).parameters)
    assert inspect.getdoc(ext).splitlines()[0] == inspect.getdoc(py).splitlines()[0]
    for n in sorted(names):
        mine, twin = getattr(ext, n), getattr(py, n)
        if callable(mine):
            assert parameters(mine) == parameters(twin), n
            assert mine.__doc__.splitlines()[0] == twin.__doc__.splitlines()[0], n


@pytest.mark.parametrize("name", ratelimit.__all__)
def test_examples(name):
    """The examples in the docstrings run, but for that which needs a server."""
    test = doctest.DocTestParser().get_doctest(getattr(ratelimit, name).__doc__, {}, name, None, None)
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0
    assert result.attempted or name in ("Reservation", "RedisTokenBucket")


times = st.integers(-(10**10), 10**10)
tokens = st.one_of(st.integers(0, 12), st.floats(0, 12))
rates = st.one_of(st.sampled_from([0, 1, 3, 10, 1e-10, 1e9, float("inf")]), st.floats(0, 1e6))
delays = st.one_of(st.none(), st.floats(-1, 10))


def view(quota: Any) -> list[float]:
    """A quota as numbers; -1: never."""
    later = -1.0 if quota.retry_after is None else quota.retry_after
    return [quota.limited, quota.limit, quota.remaining, quota.reset_after, later]


class BucketMachine(RuleBasedStateMachine):
    """Explicit time and clock mixed at random: RL1 to RL11 hold for one exactly as for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.buckets = [cls(10, 5, clock=self.clock, sleep=lambda _: None) for cls in both("bucket", "TokenBucket")]
        self.reservations: list[list[Any]] = []

    def each(self, call: Any) -> Any:
        ext, py = (call(b) for b in self.buckets)
        assert ext == pytest.approx(py, rel=1e-12, abs=1e-9, nan_ok=True)
        return ext

    @rule(seconds=st.floats(-1, 5))
    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(n=tokens)
    def allow(self, n: float) -> None:
        before = self.buckets[0].tokens
        if self.each(lambda b: b.allow(n)) and before >= 0:
            assert self.buckets[0].tokens >= 0

    @rule(n=tokens, method=st.sampled_from(["request", "peek"]))
    def quota(self, n: float, method: str) -> None:
        """RL12: the same view, and one that agrees with what `allow` would say."""
        before = self.buckets[0].tokens
        ext, py = (view(getattr(b, method)(n)) for b in self.buckets)
        assert ext == pytest.approx(py, rel=1e-9, abs=1e-8)
        if method == "peek":
            assert self.buckets[0].tokens == before

    @rule(t=times, n=tokens)
    def quota_at(self, t: int, n: float) -> None:
        ext, py = (view(b.request_at(t, n)) for b in self.buckets)
        assert ext == pytest.approx(py, rel=1e-9, abs=1e-8)

    @rule(t=times, n=tokens)
    def allow_at(self, t: int, n: float) -> None:
        self.each(lambda b: b.allow_at(t, n))

    @rule(n=tokens, delay=delays)
    def reserve(self, n: float, delay: float | None) -> None:
        before = self.buckets[0].tokens
        pair = [b.reserve(n, max_delay=delay) for b in self.buckets]
        assert (pair[0].ok, pair[0].delay) == (pair[1].ok, pair[1].delay)
        if pair[0].ok:
            self.reservations.append(pair)
        else:
            assert self.buckets[0].tokens == before

    @rule(t=times, n=tokens)
    def reserve_at(self, t: int, n: float) -> None:
        pair = [b.reserve_at(t, n) for b in self.buckets]
        assert (pair[0].ok, pair[0].delay) == (pair[1].ok, pair[1].delay)
        self.reservations.append(pair)

    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        if self.reservations:
            for r in self.reservations[which % len(self.reservations)]:
                r.cancel()

    @rule(which=st.integers(0, 1000), t=times)
    def cancel_at(self, which: int, t: int) -> None:
        if self.reservations:
            for r in self.reservations[which % len(self.reservations)]:
                r.cancel_at(t)

    @rule(n=tokens, timeout=delays)
    def wait(self, n: float, timeout: float | None) -> None:
        def outcome(bucket: Any) -> str:
            try:
                bucket.wait(n, timeout)
            except Exception as error:
                return repr(error)
            return "waited"

        outcomes = [outcome(b) for b in self.buckets]
        assert outcomes[0] == outcomes[1]

    @rule()
    def when(self) -> None:
        self.each(lambda b: b.when("item"))

    @rule(rate=rates)
    def set_rate(self, rate: float) -> None:
        for b in self.buckets:
            b.rate = rate

    @rule(burst=st.floats(0, 20))
    def set_burst(self, burst: float) -> None:
        for b in self.buckets:
            b.burst = burst

    @rule(t=times, rate=rates, burst=st.floats(0, 20))
    def set_at(self, t: int, rate: float, burst: float) -> None:
        for b in self.buckets:
            b.set_rate_at(t, rate)
            b.set_burst_at(t, burst)

    @invariant()
    def equal(self) -> None:
        self.each(lambda b: b.tokens)
        self.each(lambda b: b.tokens_at(0))
        assert self.buckets[0].tokens <= self.buckets[0].burst
        assert repr(self.buckets[0]) == repr(self.buckets[1])


TestBucketMachine = BucketMachine.TestCase


class KeyedMachine(RuleBasedStateMachine):
    """RL14: the same keys are admitted, dropped and evicted."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.twins = [cls(3, 4, max_keys=6, clock=self.clock) for cls in both("keyed", "KeyedTokenBucket")]

    @rule(seconds=st.floats(-1, 3))
    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(key=st.integers(0, 12), n=tokens)
    def allow(self, key: int, n: float) -> None:
        ext, py = (k.allow(key, n) for k in self.twins)
        assert ext == py

    @rule(key=st.integers(0, 12), n=tokens, method=st.sampled_from(["request", "peek"]))
    def quota(self, key: int, n: float, method: str) -> None:
        ext, py = (view(getattr(k, method)(key, n)) for k in self.twins)
        assert ext == pytest.approx(py, rel=1e-9, abs=1e-8)

    @rule(keys=st.lists(st.integers(0, 12), max_size=30))
    def allow_many(self, keys: list[int]) -> None:
        ext, py = (k.allow_many(keys).tolist() for k in self.twins)
        assert ext == py

    @invariant()
    def equal(self) -> None:
        ext, py = self.twins
        assert (len(ext), ext.evictions) == (len(py), py.evictions)
        assert len(ext) <= 6


TestKeyedMachine = KeyedMachine.TestCase


@given(
    base=st.floats(1e-9, 100),
    factor=st.floats(1, 1e12),
    calls=st.lists(st.tuples(st.sampled_from(["when", "retries", "forget"]), st.integers(0, 3)), max_size=80),
)
def test_backoff(base, factor, calls):
    """WQ-8: the same waits, counts and memory."""
    twins = [cls(base, base * factor) for cls in both("backoff", "ItemBackoff")]
    for method, item in calls:
        ext, py = (getattr(twin, method)(item) for twin in twins)
        assert ext == py
    assert len(twins[0]) == len(twins[1])
