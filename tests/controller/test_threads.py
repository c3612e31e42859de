"""Reconcilers in threads: bounded, and no obstacle to the end of the process."""

import asyncio
import subprocess
import sys
import threading

import pytest

from controller.loops import ONE, running, stage, until
from fastcore.controller.context import Context
from fastcore.controller.model import Request
from fastcore.controller.threads import DaemonThreads

NEVER_RETURNS = """
import asyncio, threading
from controller.loops import ONE, stage
on = stage(lambda ctx, request: threading.Event().wait(), shutdown_grace=0.0)
async def main():
    on.controller.enqueue(ONE)
    task = asyncio.create_task(on.controller.run())
    while not on.controller.counters.active_workers:
        await asyncio.sleep(0)
    print(await on.controller.stop())
    await task
asyncio.run(main())
"""


def test_a_reconciler_that_never_returns_does_not_keep_the_process_alive() -> None:
    """CT-10: the key is named, the thread is left behind."""
    done = subprocess.run(
        [sys.executable, "-c", NEVER_RETURNS], cwd="tests", capture_output=True, text=True, timeout=60, check=True
    )
    assert "name='one'" in done.stdout
    assert "is left behind in its thread" in done.stderr


async def test_a_late_thread_keeps_its_key(caplog: pytest.LogCaptureFixture) -> None:
    """CT-4, CT-6: its key is not handed out again while it runs, and its end counts as a time out."""
    release, calls = threading.Event(), []

    def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request)
        release.wait(60)

    on = stage(reconcile, reconcile_timeout=0.05, max_concurrent_reconciles=2)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: bool(calls) and "still runs" in caplog.text)
        on.controller.enqueue(ONE)
        await asyncio.sleep(0)
        assert calls == [ONE]
        release.set()
        await until(lambda: len(calls) == 2)
    assert str(ONE) in caplog.text
    assert on.controller.counters.timeouts >= 1
    assert on.controller.counters.error == 0


def test_threads_are_bounded_and_kept() -> None:
    threads = DaemonThreads(2, "few")
    both = threading.Barrier(2, timeout=30)
    seen: set[str] = set()

    def work() -> None:
        seen.add(threading.current_thread().name)
        both.wait()

    for future in [threads.submit(work) for _ in range(8)]:
        future.result(timeout=30)
    assert seen == {"few_0", "few_1"}
    threads.shutdown()
    with pytest.raises(RuntimeError, match="'few' are shut down"):
        threads.submit(work)


def test_what_no_thread_has_begun_can_be_dropped() -> None:
    threads, release = DaemonThreads(1, "one"), threading.Event()
    begun = threading.Event()

    def work() -> bool:
        begun.set()
        return release.wait(30)

    running_, waiting = threads.submit(work), threads.submit(print)
    assert begun.wait(30)
    threads.shutdown(cancel_futures=True)
    assert waiting.cancelled()
    release.set()
    assert running_.result(timeout=30)


def test_an_error_goes_to_whoever_waits() -> None:
    threads = DaemonThreads(1, "one")
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(timeout=30)
    threads.shutdown()
