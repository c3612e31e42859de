"""The worker pool: what is taken, in which order it runs, and how it ends."""

import asyncio
import gc
import logging
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from fastcore.errors import CircuitOpenError
from fastcore.testing.clock import VirtualClock
from fastcore.work import DeadlineExceeded, Handle, Job, Rejected, WorkerPool, current_job


class Blocker:
    """Occupies a worker until it is released."""

    def __init__(self, pool: WorkerPool) -> None:
        self.began, self.release = threading.Event(), threading.Event()
        self.handle = pool.submit(Job("blocker", "block", self._run))
        assert self.began.wait(10)

    def _run(self) -> None:
        self.began.set()
        assert self.release.wait(10)


@pytest.fixture
def order() -> list[str]:
    return []


@pytest.fixture
def pool(no_leaks: None) -> Iterator[WorkerPool]:
    made = WorkerPool(workers=1, queue_size=4, rate=None)
    yield made
    made.shutdown(0)


def job(name: str, order: list[str], priority: int = 0, kind: str = "note") -> Job:
    return Job(name, kind, lambda: order.append(name), priority)


def test_submit_waits_for_room_and_no_longer(pool: WorkerPool, order: list[str]) -> None:
    """WP-1: at once while there is room; then up to the timeout; 0 never waits."""
    blocker = Blocker(pool)
    handles = [pool.submit(job(str(n), order), timeout=0) for n in range(4)]
    with pytest.raises(Rejected, match="queue_full: job '4' of kind 'note' was not taken") as full:
        pool.submit(job("4", order), timeout=0)
    assert full.value.reason == "queue_full"
    with pytest.raises(Rejected, match=r"no room for 0\.001 s"):
        pool.submit(job("4", order), timeout=0.001)
    late: list[Handle] = []
    waiter = threading.Thread(target=lambda: late.append(pool.submit(job("5", order), timeout=10)))
    waiter.start()
    while not pool.stats().waiting:
        pass
    blocker.release.set()
    waiter.join(10)
    for handle in (*handles, *late):
        handle.result(10)
    assert order == ["0", "1", "2", "3", "5"]
    assert pool.stats().kinds["note"].rejected == {"queue_full": 2}


def test_submit_after_shutdown(pool: WorkerPool, order: list[str]) -> None:
    """WP-1: refused although there is room; so is who waits for room when shutdown begins."""
    blocker = Blocker(pool)
    for n in range(4):
        pool.submit(job(str(n), order))
    refused: list[str] = []

    def wait() -> None:
        try:
            pool.submit(job("late", order), timeout=10)
        except Rejected as error:
            refused.append(error.reason)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while not pool.stats().waiting:
        pass
    unrun = threading.Thread(target=pool.shutdown, args=(0,))
    unrun.start()
    waiter.join(10)
    blocker.release.set()
    unrun.join(10)
    with pytest.raises(Rejected, match="shutdown"):
        pool.submit(job("later", order), timeout=10)
    assert refused == ["shutdown"]
    assert order == []


async def test_submit_on_a_loop(order: list[str]) -> None:
    """WP-1: the async twin does not block the loop, and a cancelled one leaves nothing queued."""
    async with WorkerPool(workers=1, queue_size=1, rate=None) as pool:
        blocker = Blocker(pool)
        first = await pool.asubmit(job("first", order), timeout=0)
        given_up = asyncio.create_task(pool.asubmit(job("given up", order), timeout=10))
        second = asyncio.create_task(pool.asubmit(job("second", order), timeout=10))
        await asyncio.sleep(0)
        assert pool.stats().waiting == 2
        given_up.cancel()
        with pytest.raises(Rejected, match="queue_full"):
            await pool.asubmit(job("impatient", order), timeout=0.001)
        blocker.release.set()
        await first
        await (await second)
        assert given_up.cancelled()
    assert order == ["first", "second"]


def test_order(pool: WorkerPool, order: list[str]) -> None:
    """WP-2: higher priorities first, first in first out within one, and nothing goes back to the tail."""
    blocker = Blocker(pool)
    handles = [pool.submit(job(name, order, priority)) for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5))]
    blocker.release.set()
    for handle in handles:
        handle.result(10)
    assert order == ["b", "d", "a", "c"]


def test_nothing_starves(no_leaks: None, order: list[str]) -> None:
    """WP-2: under an endless stream of urgent jobs a low one runs once it has waited for `aging`."""
    clock = VirtualClock()
    with WorkerPool(workers=1, rate=None, aging=10.0, clock=clock) as pool:
        blocker = Blocker(pool)
        low = pool.submit(job("low", order))
        done = threading.Event()

        def urgent() -> None:
            order.append("urgent")
            clock.advance(1)
            if not low.done() and len(order) < 100:
                pool.submit(Job("u", "urgent", urgent, 9))
            else:
                done.set()

        pool.submit(Job("u", "urgent", urgent, 9))
        pool.submit(Job("u", "urgent", urgent, 9))
        blocker.release.set()
        assert done.wait(10)
    assert 10 <= order.index("low") <= 13


def test_displacement(no_leaks: None, order: list[str]) -> None:
    """WP-3: a full queue gives up its youngest job of the lowest priority for a higher one, and only for one."""
    with WorkerPool(workers=1, queue_size=3, rate=None, displace=True) as pool:
        blocker = Blocker(pool)
        old, young = pool.submit(job("old", order)), pool.submit(job("young", order))
        middle = pool.submit(job("middle", order, 1))
        high = pool.submit(job("high", order, 2), timeout=0)
        with pytest.raises(Rejected, match="displaced: job 'young' of kind 'note' gave way to one of priority 2"):
            young.result(0)
        with pytest.raises(Rejected, match="queue_full"):
            pool.submit(job("equal", order, 0), timeout=0)
        blocker.release.set()
        for handle in (old, middle, high):
            handle.result(10)
    assert order == ["high", "middle", "old"]
    assert pool.stats().kinds["note"].rejected == {"displaced": 1, "queue_full": 1}


def test_limiter_is_asked_before_a_job_is_taken(no_leaks: None, order: list[str]) -> None:
    """WP-4: who comes while the limiter holds everybody back and is more urgent goes first; nothing is lost."""
    clock = VirtualClock()
    pool = WorkerPool(workers=3, rate=1, clock=clock)
    pool.submit(job("first", order)).result(10)  # the only token
    low = pool.submit(job("low", order))
    high = pool.submit(job("high", order, 1))
    assert pool.stats().in_flight == 0
    assert len(pool) == 2
    assert [j.id for j in pool.shutdown(0)] == ["high", "low"]
    for handle in (low, high):
        with pytest.raises(Rejected, match=r"shutdown: .* was not run: the pool was shut down before its turn"):
            handle.result(10)
    assert order == ["first"]


def test_limiter_lets_through_its_rate(no_leaks: None, order: list[str]) -> None:
    """WP-4: with a burst of 5, six jobs need one interval; what is not run costs no token."""
    with WorkerPool(workers=2, rate=5) as pool:
        expired = [pool.submit(Job(str(n), "late", lambda: None, deadline=1e-9)) for n in range(50)]
        handles = [pool.submit(job(str(n), order)) for n in range(6)]
        for handle in handles:
            handle.result(10)
        assert all(isinstance(h.exception(10), DeadlineExceeded) for h in expired)
    assert len(order) == 6
    assert pool.stats().kinds["late"].rejected == {"deadline": 50}


def boom() -> None:
    raise OSError("no route")


def test_breaker_is_per_kind(no_leaks: None, order: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """WP-5: what fails closes the door for its kind alone; a refusal is no error of the job."""
    with WorkerPool(workers=1, rate=None, breaker={"failure_threshold": 3}, clock=VirtualClock()) as pool:
        for n in range(3):
            assert isinstance(pool.submit(Job(str(n), "mail", boom)).exception(10), OSError)
        refused = pool.submit(job("3", order, kind="mail")).exception(10)
        pool.submit(job("4", order)).result(10)
    assert isinstance(refused, CircuitOpenError)
    assert (refused.name, refused.remaining) == ("mail", 60.0)
    assert order == ["4"]
    mail = pool.stats().kinds["mail"]
    assert (mail.ended, mail.rejected) == ({"error": 3}, {"circuit_open": 1})


def test_breaker_may_delay(no_leaks: None, order: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """WP-5: by policy the job waits until the breaker tries again; at shutdown it fails instead."""
    clock = VirtualClock()
    options: Any = {"breaker": {"failure_threshold": 1, "open_for": 5.0, "jitter": 0.0}, "on_open": "delay"}
    with WorkerPool(workers=1, rate=None, clock=clock, **options) as pool:
        pool.submit(Job("0", "mail", boom)).exception(10)
        waits = pool.submit(job("1", order, kind="mail"))
        while pool.stats().in_flight or len(pool) != 1:
            pass
        pool.submit(job("2", order)).result(10)
        clock.advance(5)
        pool.submit(job("3", order)).result(10)  # a turn of the queue: it looks at the clock
        waits.result(10)
        pool.submit(Job("4", "mail", boom)).exception(10)
        late = pool.submit(job("5", order, kind="mail"))
        while pool.stats().in_flight or len(pool) != 1:
            pass
        assert pool.shutdown(10) == []
    assert set(order) == {"1", "2", "3"}
    assert isinstance(late.exception(0), CircuitOpenError)


class Peculiar(BaseException):
    pass


def test_errors_stay_with_the_handle(pool: WorkerPool, caplog: pytest.LogCaptureFixture) -> None:
    """WP-6: any exception is stored, logged once with kind and id, counted by kind; the worker lives on."""
    caplog.set_level(logging.ERROR, "fastcore.work")

    def peculiar() -> None:
        raise Peculiar

    async def exits() -> None:
        raise SystemExit(1)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    errors = []
    for name, run in (("1", boom), ("2", peculiar), ("3", exits), ("4", cancelled)):
        errors.append(type(pool.submit(Job(name, "odd", run)).exception(10)))
    assert errors == [OSError, Peculiar, SystemExit, asyncio.CancelledError]
    assert pool.submit(Job("5", "odd", lambda: 5)).result(10) == 5
    assert [r.getMessage() for r in caplog.records] == [f"job '{n}' of kind 'odd' failed" for n in (1, 2, 3, 4)]
    assert pool.stats().kinds["odd"].ended == {"error": 4, "success": 1}


def test_no_deadlock_under_load(no_leaks: None, order: list[str]) -> None:
    """WP-8: room for one, one worker and it is busy, many submits: all of them run once the worker is free."""
    with WorkerPool(workers=1, queue_size=1, rate=None) as pool:
        blocker = Blocker(pool)
        threads = [
            threading.Thread(target=lambda n=n: pool.submit(job(str(n), order), timeout=30).result(30))
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        while pool.stats().waiting < 19:
            pass
        blocker.release.set()
        for thread in threads:
            thread.join(30)
    assert len(order) == 20


def test_drain(no_leaks: None, order: list[str]) -> None:
    """WP-9: what is queued runs; a job that submits meanwhile is rejected; a second call gives the same."""
    pool = WorkerPool(workers=1, rate=None)
    blocker = Blocker(pool)
    more: list[str] = []

    def submits() -> None:
        try:
            pool.submit(job("more", order))
        except Rejected as error:
            more.append(error.reason)

    handles = [pool.submit(Job("s", "submits", submits)), pool.submit(job("b", order))]
    ending = threading.Thread(target=pool.shutdown, args=(10,))
    ending.start()
    while True:
        try:
            pool.submit(job("probe", order), timeout=0)
        except Rejected as error:
            if error.reason == "shutdown":
                break
    blocker.release.set()
    ending.join(10)
    for handle in handles:
        handle.result(0)
    assert more == ["shutdown"]
    assert "b" in order
    assert pool.shutdown(10) == []


def test_drain_has_an_end(no_leaks: None, order: list[str]) -> None:
    """WP-9: then what runs is cancelled, and the jobs that did not run are returned, each time; nothing remains."""
    pool = WorkerPool(workers=2, rate=None)
    began, looked = threading.Event(), threading.Event()

    async def sleeps() -> None:
        began.set()
        await asyncio.sleep(60)

    def looks() -> bool:
        looked.set()
        return current_job().wait(10)

    sleeping, looking = pool.submit(Job("1", "sleep", sleeps)), pool.submit(Job("2", "look", looks))
    assert began.wait(10)
    assert looked.wait(10)
    jobs = [job("low", order), job("high", order, 1)]
    handles = [pool.submit(one) for one in jobs]
    unrun = pool.shutdown(0.01)
    assert unrun == [jobs[1], jobs[0]]
    assert pool.shutdown(10) == unrun
    assert isinstance(sleeping.exception(0), Rejected)
    assert looking.result(0) is True
    assert [h.exception(0).reason for h in handles] == ["shutdown", "shutdown"]  # type: ignore[union-attr]
    assert pool.running() == []


def test_survivor_of_a_shutdown_is_named(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """WP-9: a function that ignores it cannot be ended, and is named in the log."""
    monkeypatch.setattr("fastcore.work.pool._GRACE_S", 0.01)
    pool = WorkerPool(workers=1, rate=None)
    blocker = Blocker(pool)
    assert pool.shutdown(0) == []
    assert "still running after shutdown: 'blocker' of kind 'block'" in caplog.text
    blocker.release.set()
    blocker.handle.result(10)


def test_own_job_cannot_shut_down(pool: WorkerPool) -> None:
    """WP-9: it would wait for itself, in its thread or on the pool's loop."""

    async def ends() -> None:
        pool.shutdown(1)

    for run in (lambda: pool.shutdown(1), ends):
        error = pool.submit(Job("1", "end", run)).exception(10)
        assert isinstance(error, RuntimeError)
        assert "would wait for its own caller" in str(error)


def test_metrics_are_by_kind(no_leaks: None, order: list[str]) -> None:
    """WP-10: never by id; kinds beyond the bound share the label `other`; times and reasons are counted."""
    clock = VirtualClock()
    with WorkerPool(workers=1, rate=None, max_kinds=2, clock=clock) as pool:
        blocker = Blocker(pool)
        handles = [pool.submit(job(f"id-{n}", order, kind=f"kind-{n}")) for n in range(4)]
        cancelled = pool.submit(job("id-9", order, kind="kind-9"))
        assert cancelled.cancel()
        clock.advance(3)
        assert (pool.stats().depth, pool.stats().in_flight) == (4, 1)
        blocker.release.set()
        for handle in handles:
            handle.result(10)
    kinds = pool.stats().kinds
    assert sorted(kinds) == ["block", "kind-9", "other"]
    assert kinds["kind-9"].rejected == {"cancelled": 1}
    assert (kinds["other"].ended, kinds["other"].waited.sum) == ({"success": 4}, 12.0)
    assert dict(kinds["block"].ran.buckets)[2.5] == 0
    assert dict(kinds["block"].ran.buckets)[5.0] == 1


def test_deadline_in_the_queue(no_leaks: None, order: list[str]) -> None:
    """WP-11: what expired while it waited fails without running."""
    clock = VirtualClock()
    with WorkerPool(workers=1, rate=None, clock=clock) as pool:
        blocker = Blocker(pool)
        late = pool.submit(Job("1", "note", lambda: order.append("late"), deadline=5.0))
        fine = pool.submit(Job("2", "note", lambda context: context.remaining(), deadline=7.0))
        clock.advance(5)
        blocker.release.set()
        assert fine.result(10) == 2.0
        with pytest.raises(DeadlineExceeded, match=r"'1' of kind 'note' was not run: it waited longer than its 5 s"):
            late.result(10)
    assert order == []


def test_deadline_while_it_runs(pool: WorkerPool, caplog: pytest.LogCaptureFixture) -> None:
    """WP-11: a coroutine is cancelled; a function can ask its context."""

    async def sleeps() -> None:
        await asyncio.sleep(60)

    with pytest.raises(DeadlineExceeded, match=r"was cancelled after its 0\.01 s"):
        pool.submit(Job("1", "sleep", sleeps, deadline=0.01)).result(10)
    assert pool.submit(Job("2", "ask", lambda: current_job().remaining(), deadline=60)).result(10) > 50


def test_cancel(pool: WorkerPool, order: list[str]) -> None:
    """WP-6: what waits is taken out and makes room; a coroutine that runs is cancelled; what ended is not."""
    blocker = Blocker(pool)
    handles = [pool.submit(job(str(n), order)) for n in range(4)]
    assert handles[1].cancel()
    assert not handles[1].cancel()
    pool.submit(job("4", order), timeout=0)
    blocker.release.set()
    with pytest.raises(Rejected, match=r"cancelled: .* was cancelled before it began"):
        handles[1].result(10)
    handles[3].result(10)
    began = threading.Event()

    async def sleeps() -> None:
        began.set()
        await asyncio.sleep(60)

    sleeping = pool.submit(Job("s", "sleep", sleeps))
    assert began.wait(10)
    assert sleeping.cancel()
    with pytest.raises(Rejected, match="was cancelled while it ran"):
        sleeping.result(10)
    assert order == ["0", "2", "3", "4"]


async def test_awaiting_a_handle(order: list[str]) -> None:
    """WP-1: a cancelled wait leaves the job alone; coroutines may run on the caller's own loop."""
    here = asyncio.get_running_loop()

    async def where() -> bool:
        return asyncio.get_running_loop() is here

    async with WorkerPool(workers=1, rate=None, loop=here) as pool:
        assert await pool.submit(Job("1", "where", where))
        blocker = Blocker(pool)
        handle = pool.submit(job("2", order))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_result(handle), 0.001)
        blocker.release.set()
        await handle
    assert order == ["2"]


async def _result(handle: Handle) -> Any:
    return await handle


def test_groups_take_turns(no_leaks: None, order: list[str]) -> None:
    """WP-2: with `fair` the groups of a priority take turns."""
    with WorkerPool(workers=1, rate=None, fair=lambda one: one.id[0]) as pool:
        blocker = Blocker(pool)
        handles = [pool.submit(job(name, order)) for name in ("a1", "a2", "a3", "c1")]
        blocker.release.set()
        for handle in handles:
            handle.result(10)
    assert order.index("c1") == 1


def test_memory_refuses(no_leaks: None, order: list[str]) -> None:
    """WP-1: what the pool is told to refuse it refuses before anything is queued."""
    short = [False]
    with WorkerPool(workers=1, rate=None, refuse=lambda: short[0]) as pool:
        pool.submit(job("1", order)).result(10)
        short[0] = True
        with pytest.raises(Rejected, match="memory: job '2' of kind 'note' was not taken: memory is short"):
            pool.submit(job("2", order))
    assert order == ["1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"queue_size": 0}, "queue_size must be at least 1, got 0"),
        ({"balance": "fastest"}, "balance must be 'shared', 'least_loaded' or 'two_choices', got 'fastest'"),
        ({"on_open": "wait"}, "on_open must be 'fail' or 'delay', got 'wait'"),
        ({"rate": -1.0}, "rate"),
    ],
)
def test_bad_arguments(arguments: Any, message: str, no_leaks: None) -> None:
    with pytest.raises(ValueError, match=message):
        WorkerPool(**arguments)


def test_bad_jobs(pool: WorkerPool) -> None:
    for bad, message in (
        (Job("1", "", print), "kind of job '1' must be a name, got ''"),
        (Job("1", "note", print, 2**31 - 1), "priority of job '1' must be from"),
        (Job("1", "note", print, 0, 0.0), "deadline of job '1' must be > 0 seconds or None, got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            pool.submit(bad)
    with pytest.raises(TypeError, match="run of job '1' must be a function, got NoneType"):
        pool.submit(Job("1", "note", None))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must be >= 0 seconds, got -1"):
        pool.submit(Job("1", "note", print), timeout=-1)


def test_load_at_three_times_the_capacity_is_shed() -> None:
    """WP1, WP8: what comes beyond what ends is rejected at once; memory stays what it was."""
    permits, size, rounds = threading.Semaphore(0), 20, 1000
    reasons: set[str] = set()

    def work() -> None:
        permits.acquire(timeout=30)

    def ended(pool: WorkerPool) -> int:
        kind = pool.stats().kinds.get("load")
        return 0 if kind is None else kind.ended.get("success", 0)

    def load(pool: WorkerPool, turns: int) -> tuple[int, int]:
        taken = refused = 0
        for turn in range(turns):
            for part in range(3):
                try:
                    pool.submit(Job(f"{turn}-{part}", "load", work), timeout=0)
                    taken += 1
                except Rejected as rejected:
                    reasons.add(rejected.reason)
                    refused += 1
            before = ended(pool)
            permits.release()
            while ended(pool) == before:
                time.sleep(0)
            assert pool.stats().depth <= size
        return taken, refused

    with WorkerPool(workers=2, queue_size=size, rate=None) as pool:
        load(pool, 200)
        tracemalloc.start()
        try:
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            taken, refused = load(pool, rounds)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        permits.release(size + 2)
    assert taken == pytest.approx(rounds, abs=size + 2)
    assert refused == 3 * rounds - taken
    assert reasons == {"queue_full"}
    assert after - before < 256 * 1024, "memory grew with the load"
