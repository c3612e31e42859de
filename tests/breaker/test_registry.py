"""Breakers by name: one of each, a bounded number, and never one dropped that has something to say."""

import gc
import random
import threading
import weakref
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fastcore._ext import registry as ext
from fastcore._py import registry as py
from fastcore.errors import CircuitOpenError
from fastcore.testing.clock import VirtualClock
from threads.crew import crew


def fail() -> None:
    raise OSError


def trip(breaker: Any) -> None:
    while breaker.state == "closed":
        with pytest.raises(OSError):
            breaker.call(fail)


def names(registry: Any) -> list[str]:
    return sorted(breaker.name for breaker in registry)


def test_one_breaker_a_name(impl):
    """CB18: made when first asked for, with the defaults."""
    registry = impl.registry.BreakerRegistry(failure_threshold=1)
    billing = registry.get("billing")
    assert (billing.name, registry.get("billing") is billing, registry.get("mail") is billing) == (
        "billing", True, False,
    )  # fmt: skip
    trip(billing)
    assert billing.stats().failures == 1
    assert (len(registry), "billing" in registry, "x" in registry, names(registry)) == (
        2, True, False, ["billing", "mail"],
    )  # fmt: skip
    assert repr(registry) == "BreakerRegistry(2 of at most 1000 breakers)"


def test_options_of_a_name(impl, clock):
    registry = impl.registry.BreakerRegistry(failure_threshold=3, open_for=60.0, clock=clock)
    registry.configure("billing", open_for=5.0)
    for name, seconds in (("billing", 5.0), ("mail", 60.0)):
        trip(registry.get(name))
        assert registry.get(name).stats().remaining == seconds
        assert registry.get(name).stats().failures == 3


def test_options_are_checked_at_once(impl):
    registry = impl.registry.BreakerRegistry(max_breakers=1)
    with pytest.raises(ValueError, match=r"open_for must be > 0 seconds, not -1"):
        registry.configure("a", open_for=-1)
    registry.configure("a", open_for=1)
    registry.configure("a", open_for=2)
    with pytest.raises(ValueError, match=r"no more names can have options than max_breakers \(1\)"):
        registry.configure("b", open_for=1)
    registry.get("a")
    with pytest.raises(ValueError, match="the breaker 'a' is made already: configure it before it is asked for"):
        registry.configure("a", open_for=1)
    with pytest.raises(ValueError, match="max_breakers must be >= 1, not 0"):
        impl.registry.BreakerRegistry(max_breakers=0)
    with pytest.raises(ValueError, match="jitter must be"):
        impl.registry.BreakerRegistry(jitter=7)
    with pytest.raises(TypeError, match="initialised once"):
        registry.__init__()


@pytest.mark.parametrize("name", [None, 1, b"a", type("Name", (str,), {})("a")])
def test_names_are_strings(impl, name):
    registry = impl.registry.BreakerRegistry()
    for method in (registry.get, registry.discard, registry.configure, registry.__contains__):
        with pytest.raises(TypeError, match="'name'"):
            method(name)
    assert len(registry) == 0


def test_a_factory(impl, clock):
    """Breakers as the factory makes them; what is none, or not of that name, is refused."""
    made = []

    def factory(name: str, **options: Any) -> Any:
        made.append((name, options))
        breaker = impl.breaker.CircuitBreaker(name, clock=clock)
        breaker.metrics_only()
        return breaker

    registry = impl.registry.BreakerRegistry(factory, tier=1)
    registry.configure("a", tier=2)
    assert registry.get("a").mode == "metrics_only"
    assert made == [("(overflow)", {"tier": 1}), ("a", {"tier": 2}), ("a", {"tier": 2})]
    for wrong in (lambda name: None, lambda name: impl.breaker.CircuitBreaker("other")):
        with pytest.raises(TypeError, match=r"the factory must return a CircuitBreaker named '\(overflow\)', not "):
            impl.registry.BreakerRegistry(wrong)


def test_a_failing_factory_leaves_nothing(impl):
    broken = []

    def factory(name: str) -> Any:
        if broken:
            raise OSError("no")
        return impl.breaker.CircuitBreaker(name)

    registry = impl.registry.BreakerRegistry(factory)
    broken.append(1)
    with pytest.raises(OSError, match="no"):
        registry.get("a")
    assert registry.stats() == (0, 1000, 0, 0, 0)
    broken.clear()
    assert registry.get("a").name == "a"


def test_a_factory_that_asks_the_registry(impl):
    """User code runs without a lock: one that makes the very breaker it is asked for finds it used."""
    asking = []

    def factory(name: str) -> Any:
        if asking:
            asking.pop()
            asked.append(registry.get(name))
        return impl.breaker.CircuitBreaker(name)

    asked: list[Any] = []
    registry = impl.registry.BreakerRegistry(factory)
    asking.append(1)
    assert registry.get("a") is asked[0]
    assert registry.stats().created == 1


def test_the_least_recently_used_goes(impl):
    """CB18: the set is bounded; asking for a name is use, and so are calls of one that somebody holds."""
    registry = impl.registry.BreakerRegistry(max_breakers=3)
    for name in "abc":
        registry.get(name).call(int)
    registry.get("a").call(int)
    registry.get("d")
    assert names(registry) == ["a", "c", "d"]
    held = registry.get("c")
    registry.get("a")
    for _ in range(2):
        held.call(int)
    registry.get("d")
    registry.get("e")
    assert names(registry) == ["c", "d", "e"]
    assert registry.stats() == (3, 3, 5, 2, 0)


def test_what_has_something_to_say_stays(impl, clock):
    """CB18: open, half open, forced, disabled, watched, or with a call in flight."""
    registry = impl.registry.BreakerRegistry(
        max_breakers=7, failure_threshold=1, open_for=10, successes_needed=2, clock=clock
    )
    trip(registry.get("half open"))
    clock.advance(10)
    registry.get("half open").call(int)
    trip(registry.get("open"))
    registry.get("forced").force_open()
    registry.get("disabled").disable()
    registry.get("watched").metrics_only()
    permit = registry.get("busy").acquire()
    registry.get("idle")
    registry.get("new")
    stay = ["busy", "disabled", "forced", "half open", "open", "watched"]
    assert names(registry) == sorted([*stay, "new"])
    permit.success()
    registry.get("busy")
    registry.get("newer")
    assert names(registry) == sorted([*stay, "newer"])


def test_overflow(impl, clock):
    """CB15, CB18: when all are open, further names pass, counted by one breaker that refuses nothing."""
    registry = impl.registry.BreakerRegistry(max_breakers=2, failure_threshold=1, open_for=10, clock=clock)
    told = []
    registry.on_transition(lambda *news: told.append(news))
    for name in "ab":
        trip(registry.get(name))
    told.clear()
    over = registry.get("c")
    assert over is registry.get("d") is registry.overflow is registry.get("(overflow)")
    for _ in range(3):
        with pytest.raises(OSError):
            over.call(fail)
    assert (over.mode, over.stats().failures, told) == (
        "metrics_only",
        3,
        [("(overflow)", "closed", "closed", "failures")],
    )
    assert (names(registry), registry.stats()) == (["a", "b"], (2, 2, 2, 0, 2))
    registry.overflow.reset()
    trip(registry.get("e"))
    with pytest.raises(CircuitOpenError):
        registry.get("f").call(int)
    clock.advance(10)
    registry.get("a").call(int)
    assert registry.get("c").name == "c"
    assert names(registry) == ["b", "c"]


def test_one_that_is_held_is_found_again(impl):
    """CB18: two breakers of one name would each see half of the failures."""
    registry = impl.registry.BreakerRegistry(max_breakers=1, failure_threshold=1)
    held = registry.get("a")
    registry.get("b")
    assert names(registry) == ["b"]
    assert registry.get("a") is held
    assert names(registry) == ["a"]
    trip(held)
    assert registry.get("b") is registry.overflow
    held.reset()
    loose = weakref.ref(registry.get("b"))
    trip(held)
    trip(loose())
    assert registry.get("a") is held, "though nobody can make room for it"
    assert registry.stats().overflowed == 1
    loose().reset()
    assert registry.get("a") is held
    gc.collect()
    assert loose() is None, "nobody held it when it was dropped"
    assert registry.stats().created == 3


def test_discard(impl):
    registry = impl.registry.BreakerRegistry(max_breakers=1, failure_threshold=1)
    first = registry.get("a")
    trip(first)
    assert (registry.discard("a"), registry.discard("a"), len(registry)) == (True, False, 0)
    second = registry.get("a")
    assert second is not first
    assert second.state == "closed"
    registry.get("b")
    assert registry.discard("a"), "though only held by others"
    assert registry.get("a") is not second


def test_listeners_hear_all(impl, clock):
    """CB12: breakers that were there and those to come, once each; one that raises does not silence the next."""
    registry = impl.registry.BreakerRegistry(failure_threshold=1, open_for=10, clock=clock)
    early = registry.get("early")
    told, own = [], []
    early.on_transition(lambda *news: own.append(news))
    assert registry.on_transition(lambda *news: told.append(news)) is not None
    trip(early)
    trip(registry.get("late"))
    assert own == [("early", "closed", "open", "failures")]
    assert told == [*own, ("late", "closed", "open", "failures")]
    with pytest.raises(TypeError, match="a listener must be callable, not 5"):
        registry.on_transition(5)


def test_snapshot(impl):
    """CB18: the state gauge of every name, of a bounded set, and transitions that really happened."""
    registry = impl.registry.BreakerRegistry(max_breakers=10, failure_threshold=1)
    for i in range(50):
        registry.get(f"host-{i}").call(int)
    trip(registry.get("host-49"))
    for _ in range(5):
        with pytest.raises(CircuitOpenError):
            registry.get("host-49").call(int)
    snapshot = registry.snapshot()
    assert sorted(snapshot) == ["(overflow)", *[f"host-{i}" for i in range(40, 50)]]
    assert {name for name, stats in snapshot.items() if stats.state == "open"} == {"host-49"}
    assert snapshot["host-49"].transitions == {("closed", "open"): 1}
    assert registry.stats() == (10, 10, 50, 40, 0)


def test_threads_get_the_same_breaker(impl, switch_often):
    """CB18: get-or-create is atomic: no failure is counted by a breaker that nobody will find again."""
    registry = impl.registry.BreakerRegistry(max_breakers=100)
    barrier = threading.Barrier(4)

    def work(_: int) -> None:
        for i in range(50):
            barrier.wait()
            registry.get(f"host-{i}").call(int)

    with_threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in with_threads:
        thread.start()
    for thread in with_threads:
        thread.join()
    assert {stats.calls for name, stats in registry.snapshot().items() if name != "(overflow)"} == {4}
    assert registry.stats().created == 50


def test_threads_beyond_the_bound(impl, switch_often):
    """CB18: the bound holds while all threads make, drop, trip and discard."""
    registry = impl.registry.BreakerRegistry(max_breakers=5, failure_threshold=1, open_for=0.001)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(300):
            name = f"host-{rng.randrange(12)}"
            breaker = registry.get(name)
            assert breaker.name in (name, "(overflow)")
            try:
                breaker.call(fail if rng.random() < 0.2 else int)
            except (OSError, CircuitOpenError):
                pass
            assert len(registry) <= 5
            if rng.random() < 0.05:
                registry.discard(name)
                assert len(registry.snapshot()) <= 6

    crew(work)
    stats = registry.stats()
    assert stats.breakers == len(list(registry)) <= 5


def test_cycles_are_collected(impl):
    registry = impl.registry.BreakerRegistry()
    registry.on_transition(lambda *_, me=registry: me)
    ref = weakref.ref(registry.get("a"))
    del registry
    gc.collect()
    assert ref() is None


class Machine(RuleBasedStateMachine):
    """Any mix of use leaves both twins with the same breakers: CB18."""

    @initialize(most=st.integers(1, 4))
    def make(self, most: int) -> None:
        self.clock = VirtualClock()
        self.twins = [
            m.BreakerRegistry(max_breakers=most, failure_threshold=2, open_for=5, jitter=0, clock=self.clock)
            for m in (ext, py)
        ]
        self.permits: list[list[Any]] = []

    def each(self, act: Any) -> None:
        def outcome(registry: Any) -> Any:
            try:
                return act(registry)
            except (CircuitOpenError, OSError, ValueError) as error:
                return repr(error)

        ours, theirs = map(outcome, self.twins)
        assert ours == theirs
        assert names(self.twins[0]) == names(self.twins[1])
        assert self.twins[0].stats() == self.twins[1].stats()

    @rule(name=st.sampled_from("abcdef"), fn=st.sampled_from([int, fail]), times=st.integers(1, 3))
    def call(self, name: str, fn: Any, times: int) -> None:
        def act(registry: Any) -> None:
            breaker = registry.get(name)
            for _ in range(times):
                breaker.call(fn)

        self.each(act)

    @rule(name=st.sampled_from("abcdef"), steer=st.sampled_from(["force_open", "disable", "metrics_only", "reset"]))
    def steer(self, name: str, steer: str) -> None:
        self.each(lambda registry: getattr(registry.get(name), steer)())

    @rule(name=st.sampled_from("abcdef"))
    def hold(self, name: str) -> None:
        pair: list[Any] = []
        self.each(lambda registry: pair.append(registry.get(name).acquire()))
        if pair:
            self.permits.append(pair)

    @rule(which=st.integers(0, 100))
    def report(self, which: int) -> None:
        if self.permits:
            ours, theirs = self.permits.pop(which % len(self.permits))
            assert ours.success() == theirs.success()

    @rule(name=st.sampled_from("abcdef"), seconds=st.integers(1, 9))
    def configure(self, name: str, seconds: int) -> None:
        self.each(lambda registry: registry.configure(name, open_for=seconds))

    @rule(name=st.sampled_from("abcdef"))
    def discard(self, name: str) -> None:
        self.each(lambda registry: registry.discard(name))

    @rule(seconds=st.integers(1, 6))
    def tick(self, seconds: int) -> None:
        self.clock.advance(seconds)

    def teardown(self) -> None:
        for pair in getattr(self, "permits", []):
            for permit in pair:
                permit.ignore()


TestMachine = Machine.TestCase
