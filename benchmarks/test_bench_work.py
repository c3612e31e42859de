"""Bounded work beside what it adds its bounds to: asyncio, concurrent.futures, and reading /proc each time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore.work import Job, MemoryMonitor, TaskManager, WorkerPool
from fastcore.work.rss import ResidentMemory

MEMORY = "resident memory"
TASK = "a task that does nothing"
JOB = "a job that does nothing, in one thread"


@pytest.mark.subject(MEMORY, "fastcore")
def test_resident_memory(benchmark: Any) -> None:
    memory = ResidentMemory()

    def reads() -> None:
        for _ in range(CALLS):
            memory()

    per_call(benchmark, reads)


@pytest.mark.subject(MEMORY, "opened each time")
def test_resident_memory_of_a_file_opened_each_time(benchmark: Any) -> None:
    file = Path("/proc/self/statm")

    def reads() -> None:
        for _ in range(CALLS):
            int(file.read_bytes().split()[1])

    per_call(benchmark, reads)


@pytest.mark.subject(MEMORY, "fastcore, with limits checked")
def test_check(benchmark: Any) -> None:
    monitor = MemoryMonitor(1 << 40)

    def checks() -> None:
        for _ in range(CALLS):
            monitor.check()

    per_call(benchmark, checks)


async def _nothing() -> None: ...


@pytest.mark.subject(TASK, "fastcore")
def test_task(benchmark: Any) -> None:
    async def spawn() -> None:
        tasks = TaskManager(limit=CALLS, name="bench")
        for _ in range(CALLS):
            tasks.spawn(_nothing())
        await tasks.shutdown(timeout=10)

    per_call(benchmark, lambda: asyncio.run(spawn()), rounds=20)


@pytest.mark.subject(TASK, "asyncio.create_task")
def test_task_of_asyncio(benchmark: Any) -> None:
    async def spawn() -> None:
        tasks = [asyncio.create_task(_nothing()) for _ in range(CALLS)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    per_call(benchmark, lambda: asyncio.run(spawn()), rounds=20)


@pytest.mark.subject(JOB, "fastcore")
def test_job(benchmark: Any) -> None:
    with WorkerPool(workers=1, queue_size=CALLS, rate=None) as pool:

        def jobs() -> None:
            for handle in [pool.submit(Job("1", "nothing", lambda: None)) for _ in range(CALLS)]:
                handle.result()

        per_call(benchmark, jobs, rounds=20)


@pytest.mark.subject(JOB, "ThreadPoolExecutor")
def test_job_of_an_executor(benchmark: Any) -> None:
    with ThreadPoolExecutor(1) as pool:

        def jobs() -> None:
            for future in [pool.submit(lambda: None) for _ in range(CALLS)]:
                future.result()

        per_call(benchmark, jobs, rounds=20)
