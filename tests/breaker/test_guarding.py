"""The forms of a guarded call, and which of its ends count."""

import asyncio
import contextlib
import functools
import gc
import inspect
import logging
import pickle
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fastcore.errors import CircuitOpenError, RateLimitError, WaitTimeout
from fastcore.testing.clock import VirtualClock


def boom(error: BaseException) -> None:
    raise error


async def aboom(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def module_level(x: int, y: int | None = None) -> tuple[int, int | None]:
    return x, y


def by_call(breaker: Any, fn: Callable[..., Any], *args: Any) -> Any:
    return breaker.call(fn, *args)


def by_decorator(breaker: Any, fn: Callable[..., Any], *args: Any) -> Any:
    return breaker(fn)(*args)


def by_block(breaker: Any, fn: Callable[..., Any], *args: Any) -> Any:
    with breaker as entered:
        assert entered is breaker
        return fn(*args)


def by_acall(breaker: Any, fn: Callable[..., Any], *args: Any) -> Any:
    async def afn(*args: Any) -> Any:
        await asyncio.sleep(0)
        return fn(*args)

    # A loop of its own: asyncio.run would treat KeyboardInterrupt its own way.
    coroutine = breaker.acall(afn, *args)
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        return stop.value


FORMS = [by_call, by_decorator, by_block, by_acall]


@pytest.fixture(params=FORMS, ids=lambda f: f.__name__)
def guard(request: pytest.FixtureRequest) -> Any:
    return request.param


def half_open(impl: Any, clock: VirtualClock, **settings: Any) -> Any:
    """A breaker whose next call is its only trial."""
    breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock, **settings)
    with pytest.raises(OSError):
        breaker.call(boom, OSError())
    clock.advance(1)
    return breaker


class TestForms:
    def test_result_and_arguments(self, impl, guard):
        """CB2: the value comes back and a success is counted."""
        breaker = impl.breaker.CircuitBreaker("b")
        assert guard(breaker, lambda *args: args, 1, 2) == (1, 2)
        assert (breaker.stats().calls, breaker.stats().successes) == (1, 1)

    def test_keywords(self, impl):
        """CB2: keyword arguments reach the function, whatever their names."""
        breaker = impl.breaker.CircuitBreaker("b")
        assert breaker.call(dict, fn=1, self=2) == {"fn": 1, "self": 2}
        assert breaker(dict)(fn=1, self=2) == {"fn": 1, "self": 2}

        async def keywords(**kwargs: Any) -> Any:
            return kwargs

        assert asyncio.run(breaker.acall(keywords, fn=1, self=2)) == {"fn": 1, "self": 2}

    def test_exception(self, impl, guard):
        """CB1: the exception passes unchanged, with its traceback, and opens at the threshold."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1)
        error = OSError("down")
        with pytest.raises(OSError, match="down") as caught:
            guard(breaker, boom, error)
        assert caught.value is error
        assert [f.name for f in caught.traceback][-1] == "boom"
        with pytest.raises(CircuitOpenError) as refusal:
            guard(breaker, boom, error)
        assert refusal.value.__cause__ is error

    @pytest.mark.parametrize(
        "error",
        [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt(), SystemExit(), BaseException()],
        ids=repr,
    )
    def test_not_the_callees_fault(self, impl, clock, guard, error):
        """CB6, CB10: cancellation and exits count neither way, and give the trial's permit back."""
        breaker = half_open(impl, clock)
        for _ in range(3):
            with pytest.raises(type(error)):
                guard(breaker, boom, error)
        stats = breaker.stats()
        assert (stats.state, stats.excluded, stats.trials) == ("half_open", 3, 0)
        guard(breaker, int)
        assert breaker.state == "closed"

    @pytest.mark.parametrize(
        "error", [CircuitOpenError("inner", 1.0), RateLimitError("no"), WaitTimeout("no")], ids=repr
    )
    def test_refusal_further_in(self, impl, clock, guard, error):
        """CB10: a rejection by an inner breaker or limiter is excluded."""
        breaker = half_open(impl, clock)
        with pytest.raises(type(error)):
            guard(breaker, boom, error)
        assert (breaker.state, breaker.stats().excluded) == ("half_open", 1)

    def test_timeout_is_a_failure(self, impl, clock, guard):
        """CB10: TimeoutError raised by the callee."""
        breaker = half_open(impl, clock)
        with pytest.raises(TimeoutError):
            guard(breaker, boom, TimeoutError())
        assert breaker.state == "open"

    def test_nested(self, impl, clock, guard):
        """CB16: a call from inside a call counts separately; in half-open it needs its own permit."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock)
        assert guard(breaker, lambda: guard(breaker, lambda: 5)) == 5
        assert breaker.stats().successes == 2
        one = half_open(impl, clock)
        with pytest.raises(CircuitOpenError) as refusal:
            guard(one, lambda: guard(one, int))
        assert refusal.value.reason == "half_open_full"
        assert one.state == "half_open"
        two = half_open(impl, clock, half_open_permits=2, successes_needed=2)
        assert guard(two, lambda: guard(two, int)) == 0
        assert two.state == "closed"

    def test_late(self, impl, clock, guard):
        """CB8: a call that spans a transition is late, whatever its end and form."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock)

        def trip(end: Callable[[], object]) -> None:
            breaker.force_open()
            breaker.reset()
            end()

        guard(breaker, trip, int)
        with pytest.raises(OSError):
            guard(breaker, trip, lambda: boom(OSError()))
        stats = breaker.stats()
        assert (stats.state, stats.late_total, stats.successes, stats.failures) == ("closed", 2, 0, 0)
        assert guard(breaker, int) == 0
        assert breaker.stats().successes == 1


class TestExclusion:
    def test_types(self, impl, clock, guard):
        """CB9: neither success nor failure, permit returned, state unchanged; subclasses included."""
        breaker = half_open(impl, clock, exclude=(LookupError, ZeroDivisionError))
        for error in (KeyError(), IndexError(), ZeroDivisionError()):
            with pytest.raises(type(error)):
                guard(breaker, boom, error)
        stats = breaker.stats()
        assert (stats.state, stats.excluded, stats.trials) == ("half_open", 3, 0)

    def test_does_not_interrupt_a_row(self, impl, guard):
        """CB9: excluded calls neither extend nor reset the consecutive count, nor enter the window."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=3, window=5, failure_rate=1, exclude=KeyError)
        for error in (OSError(), KeyError(), OSError(), KeyError()):
            with pytest.raises(type(error)):
                guard(breaker, boom, error)
        stats = breaker.stats()
        assert (stats.consecutive_failures, stats.window_calls) == (2, 2)

    def test_predicates(self, impl, clock, guard):
        """CB9: a predicate sees the exception."""
        breaker = half_open(impl, clock, exclude=[lambda error: "mine" in str(error)])
        with pytest.raises(OSError):
            guard(breaker, boom, OSError("my fault, mine"))
        assert breaker.state == "half_open"
        with pytest.raises(OSError):
            guard(breaker, boom, OSError("theirs"))
        assert breaker.state == "open"

    def test_only(self, impl, clock, guard):
        """CB9: what is not named counts as success, and `exclude` wins over `only`."""
        breaker = half_open(impl, clock, only=OSError, exclude=ConnectionError)
        with pytest.raises(ConnectionError):
            guard(breaker, boom, ConnectionError())
        assert breaker.state == "half_open"
        with pytest.raises(KeyError):
            guard(breaker, boom, KeyError())
        assert breaker.state == "closed"
        with pytest.raises(OSError):
            guard(breaker, boom, OSError())
        assert breaker.state == "open"

    def test_only_can_name_what_is_excluded_by_default(self, impl, clock, guard):
        """CB9, CB10: asking for it makes a cancellation or an inner refusal a failure; else it stays excluded."""
        breaker = half_open(impl, clock, only=(asyncio.CancelledError, OSError))
        with pytest.raises(RateLimitError):
            guard(breaker, boom, RateLimitError())
        assert breaker.state == "half_open"
        with pytest.raises(asyncio.CancelledError):
            guard(breaker, boom, asyncio.CancelledError())
        assert breaker.state == "open"

    def test_raising_predicate(self, impl, clock, guard):
        """CB9: its exception propagates, and the permit is returned."""

        def broken(error: BaseException) -> bool:
            if str(error) == "down":
                raise RuntimeError("broken predicate")
            return False

        breaker = half_open(impl, clock, exclude=broken)
        with pytest.raises(RuntimeError, match="broken predicate") as caught:
            guard(breaker, boom, OSError("down"))
        assert isinstance(caught.value.__context__, OSError)
        stats = breaker.stats()
        assert (stats.state, stats.trials, stats.excluded) == ("half_open", 0, 1)


class TestDecorator:
    def test_function(self, impl):
        """A decorated function looks like the original."""
        breaker = impl.breaker.CircuitBreaker("b")

        @breaker
        def double(x: int) -> int:
            """Twice."""
            return 2 * x

        assert double(4) == 8
        assert (double.__name__, double.__doc__, list(inspect.signature(double).parameters)) == (
            "double",
            "Twice.",
            ["x"],
        )

    def test_method(self, impl):
        """A decorated method is bound like any other."""
        breaker = impl.breaker.CircuitBreaker("b")

        class Client:
            base = 40

            @breaker
            def get(self, x: int) -> int:
                return self.base + x

            @staticmethod
            @breaker
            def free() -> str:
                return "free"

            @breaker
            async def aget(self, x: int) -> int:
                return self.base + x

        client = Client()
        assert (client.get(2), Client.get(client, 3), Client.free()) == (42, 43, "free")
        assert asyncio.run(client.aget(5)) == 45
        assert breaker.stats().successes == 4

    def test_coroutine_function(self, impl):
        """A decorated coroutine function is one, counts when it ends, and refuses when it is awaited."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1)

        @breaker
        async def work(fails: bool) -> str:
            await asyncio.sleep(0)
            if fails:
                raise OSError
            return "done"

        assert inspect.iscoroutinefunction(work)
        assert asyncio.run(work(False)) == "done"
        with pytest.raises(OSError):
            asyncio.run(work(True))
        with pytest.raises(CircuitOpenError):
            asyncio.run(work(False))

    def test_partial_and_callable_objects(self, impl):
        """What returns a coroutine is recognised behind a partial or an object."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1)

        class Client:
            async def __call__(self) -> str:
                return "async"

        async def identity(x: int) -> int:
            return x

        assert asyncio.run(breaker(functools.partial(identity, 3))()) == 3
        guarded = breaker(Client())
        assert inspect.iscoroutinefunction(guarded)
        assert asyncio.run(guarded()) == "async"
        assert breaker.stats().successes == 2

    def test_is_a_function_in_every_other_way(self, impl, monkeypatch):
        """Pickled by name, weakly referable, callable by `__call__`, open to attributes."""
        guarded = impl.breaker.CircuitBreaker("b")(module_level)
        assert guarded.__call__(1, y=2) == guarded(1, y=2) == (1, 2)
        assert guarded.__wrapped__ is module_level
        monkeypatch.setattr(sys.modules[__name__], "module_level", guarded)
        assert pickle.loads(pickle.dumps(guarded)) is guarded
        guarded.note = "mine"
        assert weakref.ref(guarded)().note == "mine"
        assert "module_level" in repr(guarded)
        assert callable(guarded)

    def test_wrong_arguments(self, impl, clock):
        """CB9: a call that the function does not accept raises TypeError, and is a failure as any other."""
        breaker = impl.breaker.CircuitBreaker("b")
        for call in (breaker(module_level), functools.partial(breaker.call, module_level)):
            with pytest.raises(TypeError, match="module_level"):
                call(1, 2, 3)
            with pytest.raises(TypeError, match="module_level"):
                call(1, z=3)
        with pytest.raises(TypeError):
            breaker.call()
        with pytest.raises(TypeError, match="not callable"):
            breaker.call(3)
        assert breaker.stats().failures == 5
        assert type(breaker).call(breaker, module_level, 1) == (1, None)

    def test_generators_are_refused(self, impl):
        """CB6: their work is done after the call, so the call says nothing."""
        breaker = impl.breaker.CircuitBreaker("b")

        def generator() -> Iterator[int]:
            yield 1

        async def agenerator() -> AsyncIterator[int]:
            yield 1

        for fn in (generator, agenerator):
            with pytest.raises(TypeError, match="put `with breaker:` inside"):
                breaker(fn)


class TestAsync:
    async def test_cancellation(self, impl, clock):
        """CB6, CB10: a cancelled trial returns its permit at once."""
        breaker = half_open(impl, clock)
        started = asyncio.Event()

        async def hang() -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(breaker.acall(hang))
        await started.wait()
        assert breaker.stats().trials == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert breaker.stats().trials == 0
        assert await breaker.acall(asyncio.sleep, 0, "fine") == "fine"
        assert breaker.state == "closed"

    async def test_timeout(self, impl, clock):
        """CB10: a deadline set around the call is a cancellation inside it; one inside it is a failure."""
        breaker = half_open(impl, clock)

        async def impatient() -> None:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await breaker.acall(asyncio.Event().wait)
        assert breaker.state == "half_open"
        with pytest.raises(TimeoutError):
            await breaker.acall(impatient)
        assert breaker.state == "open"

    async def test_parallel_calls(self, impl, clock):
        """CB5: of many tasks at once exactly `permits` run."""
        breaker = half_open(impl, clock, half_open_permits=3, successes_needed=3)
        release = asyncio.Event()
        tasks = [asyncio.create_task(breaker.acall(release.wait)) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert breaker.stats().trials == 3
        release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        reasons = [r.reason for r in results if isinstance(r, CircuitOpenError)]
        assert reasons == ["half_open_full"] * 17
        assert breaker.state == "closed"

    async def test_dropped_coroutine(self, impl, clock):
        """CB6: a coroutine that is closed half way returns its permit."""
        breaker = half_open(impl, clock)
        coroutine = breaker.acall(asyncio.Event().wait)
        coroutine.send(None)
        assert breaker.stats().trials == 1
        coroutine.close()
        assert breaker.stats().trials == 0

    def test_acall_is_a_coroutine(self, impl):
        """The result of `acall` can be scheduled like any other."""
        coroutine = impl.breaker.CircuitBreaker("b").acall(asyncio.sleep, 0)
        assert asyncio.iscoroutine(coroutine)
        coroutine.close()


class TestBlocks:
    def test_tasks_interleave(self, impl, clock):
        """CB8: blocks of several tasks of one thread end in any order, each with its own ticket."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, half_open_permits=9, clock=clock)
        order: list[str] = []

        async def main() -> None:
            gates = {name: asyncio.Event() for name in ("old", "trial", "new")}

            async def block(name: str, error: Exception | None = None) -> None:
                with breaker:
                    await gates[name].wait()
                    order.append(name)
                    if error:
                        raise error

            old = asyncio.create_task(block("old", OSError()))
            await asyncio.sleep(0)
            breaker.call(int)
            with pytest.raises(OSError):
                breaker.call(boom, OSError())
            clock.advance(1)
            trial = asyncio.create_task(block("trial"))
            await asyncio.sleep(0)
            assert breaker.stats().trials == 1
            new = asyncio.create_task(block("new", OSError()))
            await asyncio.sleep(0)
            # The old block fails late: the breaker stays half open, with its two trials.
            gates["old"].set()
            await asyncio.gather(old, return_exceptions=True)
            assert (breaker.state, breaker.stats().late_total, breaker.stats().trials) == ("half_open", 1, 2)
            gates["trial"].set()
            await trial
            assert breaker.state == "closed"
            gates["new"].set()
            await asyncio.gather(new, return_exceptions=True)
            assert (breaker.state, breaker.stats().late_total) == ("closed", 2)

        asyncio.run(main())
        assert order == ["old", "trial", "new"]

    def test_threads_interleave(self, impl, clock):
        """CB8: so do blocks of several threads."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, half_open_permits=9, clock=clock)
        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
            one.submit(breaker.__enter__).result()
            with pytest.raises(OSError):
                breaker.call(boom, OSError())
            clock.advance(1)
            two.submit(breaker.__enter__).result()
            one.submit(breaker.__exit__, OSError, OSError(), None).result()
            assert (breaker.state, breaker.stats().late_total) == ("half_open", 1)
            two.submit(breaker.__exit__, None, None, None).result()
        assert breaker.state == "closed"

    def test_nested_across_a_transition(self, impl, clock):
        """CB8, CB16: the inner block of a new generation counts, the outer one of an old generation is late."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=1, open_for=1, clock=clock)
        with breaker:
            breaker.force_open()
            breaker.reset()
            with breaker:
                pass
            assert breaker.stats().successes == 1
        stats = breaker.stats()
        assert (stats.successes, stats.late_total) == (1, 1)
        with breaker:
            pass
        assert breaker.stats().successes == 2

    def test_generator_close(self, impl, clock):
        """CB6: a generator that is closed inside its block returns the permit."""
        breaker = half_open(impl, clock)

        def rows() -> Iterator[int]:
            with breaker:
                yield 1
                yield 2

        generator = rows()
        next(generator)
        assert breaker.stats().trials == 1
        generator.close()
        assert (breaker.state, breaker.stats().trials) == ("half_open", 0)
        assert list(rows()) == [1, 2]
        assert breaker.state == "closed"

    def test_generator_closed_by_another_task(self, impl, clock):
        """CB6: also when somebody else closes it, as event loops do with asynchronous generators."""
        breaker = half_open(impl, clock)

        async def rows() -> AsyncIterator[int]:
            with breaker:
                yield 1

        async def main() -> None:
            generator = rows()
            await asyncio.create_task(anext(generator))  # type: ignore[arg-type]
            assert breaker.stats().trials == 1
            await generator.aclose()  # type: ignore[attr-defined]

        asyncio.run(main())
        assert (breaker.state, breaker.stats().trials) == ("half_open", 0)

    def test_async_generator_closed_early(self, impl, clock):
        """CB6, CB10: by aclose, by the end of its loop, or never begun: the permit is back and nothing counts."""
        breaker = half_open(impl, clock)

        async def rows() -> AsyncIterator[int]:
            with breaker:
                for i in range(10):
                    await asyncio.sleep(0)
                    yield i

        async def closed() -> None:
            generator = rows()
            assert await anext(generator) == 0
            assert breaker.stats().trials == 1
            await generator.aclose()

        async def broken_off() -> None:
            async with contextlib.aclosing(rows()) as generator:
                async for i in generator:
                    if i == 2:
                        break

        async def abandoned() -> None:
            generators.append(rows())
            assert await anext(generators[0]) == 0

        async def not_begun() -> None:
            await rows().aclose()

        generators: list[Any] = []
        for number, leave in enumerate((closed, broken_off, abandoned), start=1):
            asyncio.run(leave())
            stats = breaker.stats()
            assert (stats.trials, stats.excluded, stats.in_flight, stats.state) == (0, number, 0, "half_open")
        asyncio.run(not_begun())
        assert breaker.stats().excluded == 3

    def test_async_generator_that_fails(self, impl, clock):
        """CB6: an error thrown into it is the end of its block."""
        breaker = half_open(impl, clock)

        async def rows() -> AsyncIterator[int]:
            with breaker:
                yield 1

        async def work() -> None:
            generator = rows()
            await anext(generator)
            with pytest.raises(OSError):
                await generator.athrow(OSError())

        asyncio.run(work())
        assert (breaker.state, breaker.stats().trials) == ("open", 0)

    def test_slow_blocks(self, impl, clock):
        """CB17: the duration of a block is its own, nested or not."""
        breaker = impl.breaker.CircuitBreaker("b", slow_call=5, clock=clock)
        with breaker:
            clock.advance(4)
            with breaker:
                clock.advance(4)
        assert breaker.stats().slow == 1

    def test_left_without_entering(self, impl):
        """Leaving what was never entered is an error, not a success."""
        breaker = impl.breaker.CircuitBreaker("b")
        with pytest.raises(RuntimeError, match="'b' is left by a block that never entered it"):
            breaker.__exit__(None, None, None)
        assert breaker.stats().successes == 0

    def test_refused_block_is_not_left(self, impl, clock):
        """CB4: the body does not run and nothing is counted but the rejection."""
        breaker = impl.breaker.CircuitBreaker("b", clock=clock)
        breaker.force_open()
        with pytest.raises(CircuitOpenError), breaker:
            pytest.fail("the body ran")
        assert breaker.stats().rejected == 1


class TestPermits:
    def test_each_end(self, impl, clock):
        """CB14: success, failure and ignore."""
        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=9, clock=clock)
        assert breaker.acquire().success()
        assert breaker.acquire().failure()
        assert breaker.acquire().failure(OSError())
        assert breaker.acquire().ignore()
        stats = breaker.stats()
        assert (stats.calls, stats.successes, stats.failures, stats.excluded) == (4, 1, 2, 1)

    def test_at_most_once(self, impl):
        """CB14: only the first report counts."""
        breaker = impl.breaker.CircuitBreaker("b")
        permit = breaker.acquire()
        assert permit.success()
        assert not permit.success()
        assert not permit.failure()
        assert not permit.ignore()
        stats = breaker.stats()
        assert (stats.successes, stats.failures, stats.excluded, stats.late_total) == (1, 0, 0, 0)

    def test_dropped(self, impl, clock, caplog):
        """CB6, CB14: a dropped permit is returned by its finaliser, with a warning."""
        breaker = half_open(impl, clock)
        with caplog.at_level(logging.WARNING, logger="fastcore.breaker"):
            permit = breaker.acquire()
            del permit
            gc.collect()
        assert [r.getMessage() for r in caplog.records] == [
            "a permit of circuit breaker 'b' was dropped without a report"
        ]
        stats = breaker.stats()
        assert (stats.state, stats.trials, stats.dropped) == ("half_open", 0, 1)
        breaker.acquire().success()
        assert breaker.state == "closed"

    def test_reported_permits_go_quietly(self, impl, caplog):
        """CB14: no warning for a permit that was reported or refused."""
        breaker = impl.breaker.CircuitBreaker("b")
        breaker.acquire().ignore()
        breaker.force_open()
        with pytest.raises(CircuitOpenError):
            breaker.acquire()
        gc.collect()
        assert caplog.records == []

    def test_dropped_in_a_cycle(self, impl, clock, caplog):
        """CB14: the collector finds it too."""
        breaker = half_open(impl, clock)
        cycle: list[Any] = [breaker.acquire()]
        cycle.append(cycle)
        del cycle
        gc.collect()
        assert breaker.stats().trials == 0

    def test_not_made_by_hand(self, impl):
        """A permit without a breaker would be a lie."""
        with pytest.raises(TypeError, match=r"comes from CircuitBreaker\.acquire"):
            impl.breaker.Permit()


class TestMemory:
    def test_the_cause_is_released(self, impl, clock):
        """CB4: the error that opened the breaker lives until the breaker closes, and no other does."""

        class Error(Exception):
            pass

        breaker = impl.breaker.CircuitBreaker("b", failure_threshold=2, open_for=1, clock=clock)
        refs = []

        def fail() -> None:
            error = Error()
            refs.append(weakref.ref(error))
            raise error

        for _ in range(2):
            with pytest.raises(Error):
                breaker.call(fail)
        gc.collect()
        assert [ref() is None for ref in refs] == [True, False]
        clock.advance(1)
        breaker.call(int)
        gc.collect()
        assert refs[1]() is None

    def test_finaliser_of_the_cause_calls_back(self, impl, clock):
        """The error that is replaced may use the breaker as it goes."""
        states = []

        class Error(Exception):
            def __del__(self) -> None:
                states.append(breaker.state)
                breaker.stats()

        breaker = impl.breaker.CircuitBreaker(
            "b", failure_threshold=1, open_for=1, open_growth=1, jitter=0, clock=clock
        )
        for _ in range(3):
            with pytest.raises(Error):
                breaker.call(lambda: boom(Error()))
            gc.collect()
            clock.advance(1)
        breaker.call(int)
        gc.collect()
        assert states == ["open", "open", "closed"]

    def test_cycles_are_collected(self, impl):
        """A breaker that its listener and its clock refer to does not leak."""

        class Owner:
            def __init__(self) -> None:
                self.breaker = impl.breaker.CircuitBreaker("b", clock=self.clock)
                self.breaker.on_transition(self.listen)

            def clock(self) -> int:
                return 0

            def listen(self, *news: str) -> None:
                pass

        owner = Owner()
        ref = weakref.ref(owner)
        del owner
        gc.collect()
        assert ref() is None
