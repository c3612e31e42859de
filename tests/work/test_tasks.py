"""Tasks and threads: never more than the limit, none forgotten, none unnamed."""

import asyncio
import gc
import logging
import threading
from typing import Any

import pytest

from fastcore.work import LimitReached, Rejected, ShutdownTimeout, TaskManager


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Any:
    """What was logged during the test."""
    caplog.set_level(logging.ERROR, "fastcore.work")
    return caplog


async def test_limit_is_never_exceeded() -> None:
    """TM-1: of 1000 spawns at once with a limit of 10, 10 run and 990 are refused."""
    tasks, release = TaskManager(10), asyncio.Event()
    refused = 0
    for _ in range(1000):
        try:
            tasks.spawn(release.wait())
        except LimitReached:
            refused += 1
    assert (len(tasks), refused, tasks.stats().peak) == (10, 990, 10)
    release.set()
    while len(tasks):
        await asyncio.sleep(0)
    assert tasks.stats().spawned == 10
    assert tasks.stats().refused == 990


def test_limit_is_never_exceeded_by_threads() -> None:
    """TM-1: check and increment are one step for threads, too."""
    tasks, gate, release = TaskManager(10), threading.Barrier(8), threading.Event()
    refused: list[int] = []

    def spawn() -> None:
        gate.wait(10)
        for _ in range(125):
            try:
                tasks.spawn(lambda: release.wait(10))
            except LimitReached:
                refused.append(1)

    spawners = [threading.Thread(target=spawn) for _ in range(8)]
    for spawner in spawners:
        spawner.start()
    for spawner in spawners:
        spawner.join(10)
    assert (len(tasks), len(refused), tasks.stats().peak) == (10, 990, 10)
    release.set()
    tasks.shutdown_blocking(10)


async def test_waiting_for_a_place_keeps_the_order() -> None:
    """TM-1: by option the one that finds no place waits, and those who wait are served in order."""
    tasks, release, began = TaskManager(1), asyncio.Event(), []
    tasks.spawn(release.wait())

    async def job(number: int) -> None:
        began.append(number)

    waiting = [asyncio.create_task(tasks.spawn_wait(job(n))) for n in range(5)]
    await asyncio.sleep(0)
    assert tasks.stats().waiting == 5
    waiting[1].cancel()
    release.set()
    for task in (w for w in waiting if w is not waiting[1]):
        await task
    await tasks.shutdown(5)
    assert began[:3] == [0, 2, 3]
    assert 1 not in began
    assert tasks.stats().peak == 1


async def test_waiting_ends() -> None:
    """TM-1: a wait for a place has a deadline."""
    tasks, release = TaskManager(1), asyncio.Event()
    tasks.spawn(release.wait())
    coroutine = release.wait()
    with pytest.raises(LimitReached, match="1 tasks run, which is the limit"):
        await tasks.spawn_wait(coroutine, timeout=0.001)
    assert tasks.stats().waiting == 0
    assert coroutine.cr_frame is None, "it was closed"
    await tasks.shutdown(5)


async def test_a_task_is_referenced_until_it_ends(errors: Any) -> None:
    """TM-2: nothing else holds the task, and it ends all the same; its error is logged once with its name."""
    tasks, ended = TaskManager(2), asyncio.Event()

    async def fail() -> None:
        await asyncio.sleep(0)
        ended.set()
        raise ValueError("no such key")

    tasks.spawn(fail(), name="fetch shop/web")
    gc.collect()
    await ended.wait()
    while len(tasks):
        await asyncio.sleep(0)
    gc.collect()  # with -W error "exception was never retrieved" would fail the test
    assert [(r.getMessage(), r.exc_info[0]) for r in errors.records] == [("tasks 'fetch shop/web' failed", ValueError)]
    assert tasks.stats().failed == 1


async def test_error_can_be_retrieved(errors: Any) -> None:
    """TM-2: from the task and from a thread's future."""
    tasks = TaskManager(2)

    async def fail() -> None:
        raise ValueError("no such key")

    def exits() -> None:
        raise SystemExit(3)

    with pytest.raises(ValueError, match="no such key"):
        await tasks.spawn(fail)
    with pytest.raises(SystemExit):
        tasks.spawn(exits).result(10)
    await tasks.shutdown(5)
    assert len(errors.records) == tasks.stats().failed == 2


async def test_cancelled_is_no_error(errors: Any) -> None:
    """TM-2: a cancelled task is counted apart and not logged."""
    tasks = TaskManager(1)
    tasks.spawn(asyncio.Event().wait()).cancel()
    await tasks.shutdown(5)
    assert (tasks.stats().cancelled, tasks.stats().failed, errors.records) == (1, 0, [])


async def test_refused_after_shutdown() -> None:
    """TM-3: a coroutine that is refused is closed, so nothing warns that it was never awaited."""
    tasks = TaskManager(1)
    await tasks.shutdown(0)
    coroutine = asyncio.sleep(0)
    with pytest.raises(Rejected, match="shutdown: 'late' was not started: tasks is shut down") as refused:
        tasks.spawn(coroutine, name="late")
    assert refused.value.reason == "shutdown"
    assert coroutine.cr_frame is None
    with pytest.raises(Rejected):
        tasks.spawn(lambda: None)
    with pytest.raises(Rejected):
        await tasks.spawn_wait(asyncio.sleep(0))


async def test_who_waits_is_refused_at_shutdown() -> None:
    """TM-3: shutdown refuses those who wait for a place; none starts."""
    tasks = TaskManager(1)
    tasks.spawn(asyncio.Event().wait())
    waiting = asyncio.create_task(tasks.spawn_wait(asyncio.sleep(0)))
    await asyncio.sleep(0)
    await tasks.shutdown(5)
    with pytest.raises(Rejected, match="shutdown"):
        await waiting
    assert tasks.stats().spawned == 1


async def test_shutdown_cancels_and_waits() -> None:
    """TM-4: it returns when all have ended."""
    tasks, cleaned = TaskManager(3), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(1)

    for _ in range(3):
        tasks.spawn(work())
    await asyncio.sleep(0)
    await tasks.shutdown(5)
    assert len(cleaned) == 3
    assert len(tasks) == 0
    await tasks.shutdown(5)


async def test_shutdown_names_who_ignores_it() -> None:
    """TM-4: a task that ignores cancellation is named with its stack, and a second call waits again."""
    tasks, release = TaskManager(1), asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    tasks.spawn(stubborn(), name="lease keeper")
    await asyncio.sleep(0)
    with pytest.raises(ShutdownTimeout, match=r"1 still running after 0\.01 s:\ntask 'lease keeper'") as first:
        await tasks.shutdown(0.01)
    assert "await release.wait()" in first.value.running[0].stack
    release.set()
    await tasks.shutdown(5)
    assert len(tasks) == 0


async def test_timeout_0_only_reports() -> None:
    """TM-4: nothing is cancelled by it."""
    tasks = TaskManager(1)
    task = tasks.spawn(asyncio.Event().wait(), name="idle")
    with pytest.raises(ShutdownTimeout, match="'idle'"):
        await tasks.shutdown(0)
    await asyncio.sleep(0)
    assert not task.done()
    assert not task.cancelling()
    await tasks.shutdown(5)


def test_threads_are_reported() -> None:
    """TM-4: a thread cannot be ended; it is named, and may look at `stopping`."""
    tasks, release = TaskManager(2), threading.Event()
    tasks.spawn(lambda: release.wait(10), name="probe")
    polite = tasks.spawn(lambda: tasks.stopping.wait(10))
    with pytest.raises(ShutdownTimeout) as found:
        tasks.shutdown_blocking(0.05)
    assert polite.result(10) is True
    survivors = [s for s in found.value.running if s.name == "probe"]
    assert survivors[0].kind == "thread"
    assert "release.wait(10)" in survivors[0].stack
    release.set()
    tasks.shutdown_blocking(10)


async def test_own_task_cannot_shut_down() -> None:
    """TM-4: it would wait for itself."""
    tasks = TaskManager(1)
    with pytest.raises(RuntimeError, match="called by a task that it would wait for"):
        await tasks.spawn(tasks.shutdown(1))
    await tasks.shutdown(1)


async def test_count_is_right_when_waiters_wake() -> None:
    """TM-5: who is released by the last one's end reads 0; who gets a place finds it free."""
    tasks, seen = TaskManager(1), []

    async def look() -> None:
        await tasks.shutdown(5)
        seen.append(len(tasks))

    task = tasks.spawn(asyncio.Event().wait())
    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    await looking
    assert seen == [0]
    assert task.cancelled()
    threads = TaskManager(1)
    counts = threads.spawn(lambda: None)
    counts.add_done_callback(lambda _: seen.append(len(threads)))
    threads.shutdown_blocking(10)
    counts.result(10)
    assert seen == [0, 0]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        TaskManager(0)
    tasks = TaskManager(1)
    with pytest.raises(TypeError, match="a coroutine or a function, got int"):
        tasks.spawn(3)  # type: ignore[call-overload]
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="no running event loop"):
        tasks.spawn(coroutine)
    assert coroutine.cr_frame is None
    assert len(tasks) == 0
    with pytest.raises(ValueError, match="timeout must be >= 0 seconds, got -1"):
        tasks.shutdown_blocking(-1)


async def test_failure_of_the_loop_gives_the_place_back() -> None:
    """TM-1: a task factory that raises costs no place, and the coroutine is closed."""
    tasks, loop = TaskManager(1), asyncio.get_running_loop()
    coroutine = asyncio.sleep(0)

    def factory(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    loop.set_task_factory(factory)
    with pytest.raises(MemoryError):
        tasks.spawn(coroutine)
    loop.set_task_factory(None)
    assert len(tasks) == 0
    assert coroutine.cr_frame is None
