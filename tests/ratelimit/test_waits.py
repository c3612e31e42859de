"""TokenBucket.wait and wait_async: order, time limits, interruption, threads and tasks together."""

import asyncio
import contextlib
import math
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastcore.errors import RateLimitError, WaitCancelled, WaitTimeout
from fastcore.testing.clock import VirtualClock


class VirtualSelector(selectors.SelectSelector):
    """Advances a virtual clock where a real selector would wait."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self.clock.advance(timeout)
        return super().select(0)


def run(clock: VirtualClock, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on an event loop that lives in the time of `clock`."""

    def make_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(VirtualSelector(clock))
        loop.time = lambda: clock() / 1e9  # type: ignore[method-assign]
        return loop

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


class TestWait:
    def bucket(self, impl: Any, clock: VirtualClock, rate: float = 10, burst: float = 3) -> Any:
        return impl.bucket.TokenBucket(rate, burst, clock=clock, sleep=clock.advance)

    def test_simple(self, impl, clock):
        """RL5, RL8: too much raises at once; what is there comes at once; the rest later."""
        bucket = self.bucket(impl, clock)
        with pytest.raises(RateLimitError, match=r"^4\.0 tokens can never be had at rate 10\.0 and burst 3\.0$"):
            bucket.wait(4)
        assert bucket.tokens == 3
        bucket.wait(2)
        assert clock() == 0
        bucket.wait(3)
        assert clock() == 200_000_000
        bucket.wait(0)
        assert clock() == 200_000_000

    def test_timeout(self, impl, clock):
        """RL8: a deadline nearer than the delay raises at once and consumes nothing."""
        bucket = self.bucket(impl, clock)
        bucket.wait(2, timeout=0)
        with pytest.raises(WaitTimeout, match=r"^3\.0 tokens take longer than the timeout of 0\.1 s$"):
            bucket.wait(3, timeout=0.1)
        assert (bucket.tokens, clock()) == (1, 0)
        bucket.wait(3, timeout=0.2)
        assert clock() == 200_000_000

    def test_deadline_has_passed(self, impl, clock):
        """RL8: already cancelled: an error before anything is consumed."""
        bucket = self.bucket(impl, clock)
        with pytest.raises(WaitTimeout, match=r"^the timeout of -1 s has passed$"):
            bucket.wait(1, timeout=-1)
        assert bucket.tokens == 3

    def test_infinite_rate(self, impl, clock):
        """RL2, RL8: no limit, whatever the burst."""
        self.bucket(impl, clock, math.inf, 0).wait(1000)
        assert clock() == 0

    def test_zero_rate(self, impl, clock):
        """RL3: what can never come is not waited for."""
        bucket = self.bucket(impl, clock, 0, 1)
        bucket.wait()
        with pytest.raises(RateLimitError, match="rate 0"):
            bucket.wait()
        assert bucket.tokens == 0

    def test_interrupted(self, impl, clock):
        """RL8: interrupted while waiting, the tokens go back."""

        def interrupted(seconds: float) -> None:
            clock.advance(seconds / 2)
            raise KeyboardInterrupt

        bucket = impl.bucket.TokenBucket(10, 3, clock=clock, sleep=interrupted)
        bucket.wait(2)
        with pytest.raises(KeyboardInterrupt):
            bucket.wait(3)
        assert (clock(), bucket.tokens) == (100_000_000, 2)

    def test_real_sleep(self, impl):
        """RL8: by default a thread really sleeps."""
        bucket = impl.bucket.TokenBucket(1e6, 1)
        assert all(bucket.wait() is None for _ in range(10))

    def test_threads_are_served_in_reservation_order(self, impl, clock):
        """RL16: each waiter gets the time that its place in the queue implies."""
        delays = []
        bucket = impl.bucket.TokenBucket(10, 3, clock=clock, sleep=delays.append)
        threads = [threading.Thread(target=bucket.wait, args=(3,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(delays) == [0.3, 0.6, 0.9]


class TestWaitAsync:
    def test_simple(self, impl, clock):
        """RL5, RL8: as `wait`, on the event loop."""

        async def main() -> None:
            bucket = impl.bucket.TokenBucket(10, 3, clock=clock)
            with pytest.raises(RateLimitError):
                await bucket.wait_async(4)
            await bucket.wait_async(2)
            with pytest.raises(WaitTimeout):
                await bucket.wait_async(3, timeout=0.1)
            assert (clock(), bucket.tokens) == (0, 1)
            await bucket.wait_async(3, timeout=1)
            assert clock() == 200_000_000

        run(clock, main)

    def test_already_cancelled(self, impl, clock):
        """RL8: a cancelled task takes nothing, even if the tokens are there."""

        async def main() -> None:
            bucket = impl.bucket.TokenBucket(10, 3, clock=clock)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await bucket.wait_async()
            task.uncancel()
            assert bucket.tokens == 3

        run(clock, main)

    def test_cancelled_once(self, impl, clock):
        """RL8: a task that went on after it was cancelled waits as any other."""

        async def main() -> None:
            bucket = impl.bucket.TokenBucket(10, 3, clock=clock)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            await bucket.wait_async(3)
            await bucket.wait_async(3)
            assert clock() == 300_000_000

        run(clock, main)

    def test_tokens_that_are_there_cost_no_turn(self, impl, clock):
        """RL8: while nothing has to be waited for, the task goes on at once."""

        async def main() -> None:
            bucket = impl.bucket.TokenBucket(10, 3, clock=clock)
            turns: list[int] = []
            asyncio.get_running_loop().call_soon(turns.append, 1)
            await bucket.wait_async(3)
            assert not turns
            await bucket.wait_async(1)
            assert turns

        run(clock, main)

    def test_cancelled_while_waiting(self, impl, clock):
        """RL7, RL8: the tokens go back, except those that the next waiter counts on."""

        async def main() -> None:
            bucket = impl.bucket.TokenBucket(10, 3, clock=clock)
            assert bucket.allow(3)
            waiters = [asyncio.create_task(bucket.wait_async(n)) for n in (2, 1, 3)]
            await asyncio.sleep(0.05)
            assert bucket.tokens == -5.5
            waiters[2].cancel()
            waiters[0].cancel()
            results = await asyncio.gather(*waiters, return_exceptions=True)
            assert [type(r) for r in results] == [asyncio.CancelledError, type(None), asyncio.CancelledError]
            assert clock() == 300_000_000
            assert bucket.tokens == pytest.approx(1)

        run(clock, main)

    def test_closed_while_waiting(self, impl, clock):
        """RL8: a coroutine that is thrown away gives its tokens back."""
        bucket = impl.bucket.TokenBucket(10, 3, clock=clock)
        assert bucket.allow(3)

        async def main() -> None:
            coroutine = bucket.wait_async()
            coroutine.send(None)
            assert bucket.tokens == -1
            coroutine.close()

        run(clock, main)
        assert bucket.tokens == 0

    def test_order(self, impl, clock):
        """RL16: tasks are served in reservation order, a small request behind a large one included."""
        served: list[tuple[int, float]] = []

        async def main() -> None:
            bucket = impl.bucket.TokenBucket(10, 5, clock=clock)

            async def worker(n: int) -> None:
                await bucket.wait_async(n)
                served.append((n, clock() / 1e9))

            async with asyncio.TaskGroup() as group:
                for n in (5, 4, 1, 2):
                    group.create_task(worker(n))

        run(clock, main)
        assert [n for n, _ in served] == [5, 4, 1, 2]
        assert [t for _, t in served] == pytest.approx([0, 0.4, 0.5, 0.7])

    def test_is_a_coroutine(self, impl):
        """The result can be awaited, scheduled and closed like any other coroutine."""
        coroutine = impl.bucket.TokenBucket(1, 1).wait_async()
        assert asyncio.iscoroutine(coroutine)
        coroutine.close()


class TestStop:
    def test_before_the_wait(self, impl, clock):
        """RL8: already cancelled: an error before anything is consumed."""
        bucket = impl.bucket.TokenBucket(10, 3, clock=clock)
        stop = threading.Event()
        bucket.wait(1, stop=stop)
        stop.set()
        with pytest.raises(WaitCancelled, match="stopped before the wait began"):
            bucket.wait(1, stop=stop)
        assert bucket.tokens == 2

    def test_during_the_wait(self, impl):
        """RL7, RL8: an event that another thread sets ends the wait, and the tokens go back."""
        bucket = impl.bucket.TokenBucket(1e-3, 3)
        bucket.wait(3)
        stop = threading.Event()
        threading.Timer(0.02, stop.set).start()
        with pytest.raises(WaitCancelled, match=r"^stopped while waiting 2\d\d\d\.\d+ s for 3\.0 tokens$"):
            bucket.wait(3, stop=stop)
        assert 0 <= bucket.tokens < 1

    def test_is_slept_on(self, impl, clock):
        """RL8: the event is what the thread sleeps on, and an end of the time is no end by it."""

        class Event:
            def is_set(self) -> bool:
                return False

            def wait(self, timeout: float) -> bool:
                clock.advance(timeout)
                return False

        bucket = impl.bucket.TokenBucket(10, 3, clock=clock, sleep=lambda _: pytest.fail("not on this"))
        bucket.wait(3)
        bucket.wait(3, stop=Event())
        assert clock() == 300_000_000

    def test_sleep_that_returns_true(self, impl, clock):
        """RL8: only an event can stop a wait, whatever a sleep of the caller's returns."""
        bucket = impl.bucket.TokenBucket(10, 1, clock=clock, sleep=lambda _: True)
        bucket.wait()
        bucket.wait()
        assert bucket.tokens == -1


class TestLongWaits:
    def test_in_pieces(self, impl, clock):
        """RL4: a wait that no thread can sleep through at once is slept through in days."""
        naps: list[float] = []
        bucket = impl.bucket.TokenBucket(1e-6, 1, clock=clock, sleep=naps.append)
        bucket.wait()
        bucket.wait()
        assert naps == [86_400.0] * 11 + [49_600.0]

    def test_real(self, impl):
        """RL4: the longest wait there is can begin, in a thread and in a task, and ends when it is told to."""
        bucket = impl.bucket.TokenBucket(1e-10, 1)
        bucket.wait()
        stop = threading.Event()
        threading.Timer(0.02, stop.set).start()
        with pytest.raises(WaitCancelled):
            bucket.wait(stop=stop)

        async def main() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await bucket.wait_async()

        asyncio.run(main())
        assert bucket.tokens == pytest.approx(0, abs=1e-6)


class TestTogether:
    def test_threads_and_tasks_are_served_in_order(self, impl, clock, monkeypatch):
        """RL16: each waiter, thread or task, gets the time that its place in the one queue implies."""
        delays: list[float] = []
        reserved = threading.Semaphore(0)

        def sleep(seconds: float) -> None:
            delays.append(seconds)
            reserved.release()

        async def sleep_async(seconds: float) -> None:
            sleep(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep_async)
        bucket = impl.bucket.TokenBucket(25, 4, clock=clock, sleep=sleep)
        assert bucket.allow(4)

        async def main() -> None:
            threads = []
            for number, n in enumerate((4, 1, 2, 1, 4, 1)):
                if number % 2:
                    threads.append(threading.Thread(target=bucket.wait, args=(n,)))
                    threads[-1].start()
                    reserved.acquire(timeout=30)
                else:
                    await asyncio.create_task(bucket.wait_async(n))
                    reserved.acquire(timeout=30)
            for each in threads:
                each.join()

        asyncio.run(main())
        assert delays == pytest.approx([0.16, 0.20, 0.28, 0.32, 0.48, 0.52])

    async def test_the_event_loop_runs_on(self, impl):
        """RL8: while a task waits, others have their turns."""
        bucket = impl.bucket.TokenBucket(0.02, 1)
        await bucket.wait_async()
        task = asyncio.create_task(bucket.wait_async())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bucket.tokens >= 0

    def test_many(self, impl, switch_often):
        """RL10, RL16: threads and tasks that wait, give up and are cancelled take what the rate allows, and no more."""
        rate, burst = 2000, 10
        bucket = impl.bucket.TokenBucket(rate, burst)
        got: list[int] = []
        start = time.monotonic()

        def thread() -> None:
            for i in range(60):
                with contextlib.suppress(WaitTimeout):
                    bucket.wait(1 + i % 3, timeout=None if i % 4 else 0.0)
                    got.append(1 + i % 3)

        async def task(i: int) -> None:
            await bucket.wait_async(1 + i % 3, timeout=5)
            got.append(1 + i % 3)

        async def main() -> None:
            tasks = [asyncio.create_task(task(i)) for i in range(60)]
            await asyncio.sleep(0.01)
            for each in tasks[::5]:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        threads = [threading.Thread(target=thread) for _ in range(3)] + [
            threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        elapsed = time.monotonic() - start
        assert sum(got) <= burst + rate * elapsed + 1
        assert bucket.tokens <= burst
        # Nothing is owed once all have left: what was cancelled came back.
        assert bucket.reserve(burst).delay <= burst / rate + 1e-6


def test_no_lock_is_held_while_sleeping(impl):
    """RL16: waiters sleep side by side: the barrier opens only if all of them are inside at once."""
    inside = threading.Barrier(5)
    bucket = impl.bucket.TokenBucket(1, 1, sleep=lambda _: inside.wait(timeout=30))
    assert bucket.allow()
    threads = [threading.Thread(target=bucket.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside.broken
    with contextlib.suppress(threading.BrokenBarrierError):
        inside.abort()
