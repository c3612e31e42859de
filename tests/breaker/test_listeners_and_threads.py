"""Listeners, threads, and the clocks and random numbers that are somebody else's code."""

import itertools
import logging
import threading
from typing import Any

import pytest

from fastcore.errors import CircuitOpenError
from fastcore.testing.clock import VirtualClock


def fail() -> None:
    raise OSError("down")


def opened(impl: Any, clock: VirtualClock, **settings: Any) -> Any:
    """A breaker whose wait is over."""
    breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock, **settings)
    with pytest.raises(OSError):
        breaker.call(fail)
    clock.advance(1)
    return breaker


def run_all(*workers: Any) -> None:
    threads = [threading.Thread(target=w) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestListeners:
    def test_arguments(self, impl, clock):
        """CB12: (name, from, to, reason), once per transition, in order, each listener in turn."""
        told: list[Any] = []
        breaker = impl.breaker.CircuitBreaker("payments", failure_threshold=1, open_for=1, clock=clock)

        @breaker.on_transition
        def first(*news: str) -> None:
            told.append((1, *news))

        breaker.on_transition(lambda *news: told.append((2, *news)))
        assert callable(first)
        with pytest.raises(OSError):
            breaker.call(fail)
        clock.advance(1)
        breaker.call(int)
        assert told == [
            (who, "payments", *news)
            for news in (
                ("closed", "open", "failures"),
                ("open", "half_open", "open_time_over"),
                ("half_open", "closed", "recovered"),
            )
            for who in (1, 2)
        ]

    def test_told_before_the_call_returns(self, impl):
        """CB12: who made the transition finds its listeners told."""
        told: list[str] = []
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1)
        breaker.on_transition(lambda *news: told.append(news[2]))
        try:
            breaker.call(fail)
        except OSError:
            assert told == ["open"]

    def test_may_call_the_breaker(self, impl, clock):
        """CB12: a listener that reads, calls and moves the breaker: no deadlock, and order is kept."""
        told: list[tuple[str, str]] = []
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock)

        def meddle(name: str, before: str, after: str, reason: str) -> None:
            told.append((before, after))
            assert breaker.stats().transitions
            if reason == "failures":
                assert breaker.state == "open"
                with pytest.raises(CircuitOpenError):
                    breaker.call(int)
                breaker.reset()
                assert told == [("closed", "open")]
                assert breaker.call(int) == 0

        breaker.on_transition(meddle)
        breaker.on_transition(lambda name, before, after, reason: told.append((before.upper(), after.upper())))
        with pytest.raises(OSError):
            breaker.call(fail)
        assert told == [("closed", "open"), ("CLOSED", "OPEN"), ("open", "closed"), ("OPEN", "CLOSED")]
        assert breaker.state == "closed"

    def test_raising_listener(self, impl, clock, caplog):
        """CB12: its exception is logged and changes nothing for caller and other listeners."""
        told: list[str] = []
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock)
        breaker.on_transition(lambda *news: 1 / 0)
        breaker.on_transition(lambda *news: told.append(news[2]))
        with caplog.at_level(logging.ERROR, logger="fastcore.breaker"), pytest.raises(OSError):
            breaker.call(fail)
        assert told == ["open"]
        assert [r.getMessage() for r in caplog.records] == ["a listener of circuit breaker 'b' failed"]
        assert caplog.records[0].exc_info is not None

    def test_interrupted_listener(self, impl, clock):
        """CB12: an interrupt passes on, and later transitions are told again."""
        told: list[str] = []

        def interrupted(*news: str) -> None:
            told.append(news[2])
            if news[2] == "open":
                raise KeyboardInterrupt

        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock)
        breaker.on_transition(interrupted)
        with pytest.raises(KeyboardInterrupt):
            breaker.call(fail)
        clock.advance(1)
        breaker.call(int)
        assert told == ["open", "half_open", "closed"]

    def test_not_callable(self, impl):
        """CB12: refused at once."""
        with pytest.raises(TypeError, match="a listener must be callable, not 3"):
            impl.breaker.CircuitBreaker("b").on_transition(3)

    def test_order_under_threads(self, impl, clock, switch_often):
        """CB12: every transition once, and each begins where the one before ended."""
        told: list[tuple[str, str]] = []
        breaker = impl.breaker.CircuitBreaker("b", clock=clock)
        breaker.on_transition(lambda name, before, after, reason: told.append((before, after)))

        def work() -> None:
            for _ in range(300):
                breaker.force_open()
                breaker.reset()

        run_all(work, work, work)
        breaker.reset()
        assert all(one[1] == two[0] for one, two in itertools.pairwise(told))
        assert len(told) == sum(breaker.stats().transitions.values())


class TestUserCode:
    def test_clock_may_call_the_breaker(self, impl):
        """No lock is held while the clock runs."""
        depth: list[bool] = []

        def nosy() -> int:
            if not depth:
                depth.append(True)
                breaker.stats()
                breaker.call(int)
                depth.pop()
            return 0

        breaker = impl.breaker.CircuitBreaker("b", slow_call=1, window=5.0, clock=nosy)
        breaker.call(int)
        with breaker:
            pass
        assert breaker.stats().successes > 2

    def test_raising_clock(self, impl):
        """An error of the clock is the caller's; the breaker stays usable."""
        times: list[int] = []
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, clock=times.pop)
        assert breaker.call(int) == 0
        with pytest.raises(IndexError):
            breaker.call(fail)
        times.append(5)
        with pytest.raises(OSError):
            breaker.call(fail)
        assert breaker.state == "open"

    def test_clock_must_be_integer(self, impl):
        """Seconds from time.monotonic would be taken for nanoseconds."""
        breaker = impl.breaker.CircuitBreaker("b", slow_call=1, clock=lambda: 1.5)
        with pytest.raises(TypeError, match="float"):
            breaker.call(int)

    def test_clock_is_not_read_without_need(self, impl):
        """A closed breaker with counts alone reads no clock."""

        def never() -> int:
            raise AssertionError("the clock was read")

        breaker = impl.breaker.CircuitBreaker("b", window=5, clock=never)
        for _ in range(5):
            breaker.call(int)
            with breaker:
                pass
            breaker.acquire().success()

    def test_rng_may_call_the_breaker(self, impl, clock):
        """No lock is held while random numbers are drawn."""

        class Nosy:
            def random(self) -> float:
                if made:
                    made[0].stats()
                return 0.5

        made: list[Any] = []
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, clock=clock, rng=Nosy())
        made.append(breaker)
        with pytest.raises(OSError):
            breaker.call(fail)
        assert breaker.state == "open"


class TestThreads:
    def test_calls_run_side_by_side(self, impl):
        """CB11: the lock is not held while fn runs: the barrier opens only if all ten are inside at once."""
        for form in ("call", "block"):
            breaker = impl.breaker.CircuitBreaker("b")
            inside = threading.Barrier(10)

            def work(breaker: Any = breaker, inside: threading.Barrier = inside, form: str = form) -> None:
                if form == "call":
                    breaker.call(inside.wait, 60)
                else:
                    with breaker:
                        inside.wait(60)

            run_all(*[work] * 10)
            assert breaker.stats().successes == 10

    def test_predicates_and_listeners_run_side_by_side(self, impl):
        """CB11: nor while predicates run; a listener may even wait for a call in another thread."""
        inside = threading.Barrier(5)

        def predicate(_: BaseException) -> bool:
            inside.wait(60)
            return False

        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=5, exclude=predicate)

        def listener(*news: str) -> None:
            other = threading.Thread(target=breaker.stats)
            other.start()
            other.join()

        breaker.on_transition(listener)

        def work() -> None:
            with pytest.raises(OSError):
                breaker.call(fail)

        run_all(*[work] * 5)
        assert breaker.state == "open"

    @pytest.mark.parametrize("permits", [1, 3])
    def test_exactly_the_permits_run(self, impl, clock, permits, switch_often):
        """CB5: one transition to half-open and `permits` calls, however many come at once."""
        breaker = opened(impl, clock, half_open_permits=permits, successes_needed=permits)
        told: list[str] = []
        breaker.on_transition(lambda *news: told.append(news[2]))
        start = threading.Barrier(20)
        all_refused = threading.Event()
        ran: list[int] = []
        reasons: list[str] = []

        def trial() -> None:
            ran.append(1)
            # Stays inside until everybody else was refused.
            assert all_refused.wait(60)

        def work() -> None:
            start.wait()
            try:
                breaker.call(trial)
            except CircuitOpenError as error:
                reasons.append(error.reason)
                if len(reasons) == 20 - permits:
                    all_refused.set()

        run_all(*[work] * 20)
        assert len(ran) == permits
        assert reasons == ["half_open_full"] * (20 - permits)
        assert told == ["half_open", "closed"]

    def test_nothing_is_lost(self, impl, switch_often):
        """CB18: counters add up under threads, in every form."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=10**9, window=50, failure_rate=1, min_calls=50)

        def work() -> None:
            for i in range(500):
                breaker.call(int)
                with breaker:
                    pass
                breaker.acquire().success()
                if i % 10 == 0:
                    with pytest.raises(OSError):
                        breaker.call(fail)

        run_all(*[work] * 4)
        stats = breaker.stats()
        assert (stats.calls, stats.successes, stats.failures) == (6200, 6000, 200)
        assert stats.window_calls == 50

    def test_storm(self, impl, switch_often):
        """CB8: with transitions at any moment every admitted call is counted exactly once, and no permit stays out."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=2, open_for=1e-6, half_open_timeout=60)
        done = threading.Event()

        def work() -> None:
            for i in range(400):
                try:
                    if i % 3 == 0:
                        breaker.call(fail if i % 4 == 0 else int)
                    elif i % 3 == 1:
                        with breaker:
                            if i % 5 == 0:
                                fail()
                    else:
                        breaker.acquire().success()
                except (CircuitOpenError, OSError):
                    pass

        def steer() -> None:
            while not done.wait(0.001):
                breaker.force_open()
                breaker.reset()

        steering = threading.Thread(target=steer)
        steering.start()
        try:
            run_all(*[work] * 4)
        finally:
            done.set()
            steering.join()
        stats = breaker.stats()
        assert stats.trials == 0
        assert stats.calls == stats.successes + stats.failures + stats.excluded + stats.late_total
        assert stats.calls + stats.rejected == 1600
