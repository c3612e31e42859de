"""One turn of a work queue (add, get, done), beside its twin, a bare deque and the standard library's queues."""

import asyncio
import queue as stdlib
from collections import deque
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore._ext import queue as ext
from fastcore._py import queue as py

TURN = "queue add + get + done"
DUPLICATE = "queue add of a queued key"
DELAY = "queue add_after + due + get + done"
TASKS = "queue add + await aget + done"
KEYS = [f"namespace-{i % 20}/object-{i}" for i in range(CALLS)]


@pytest.mark.subject(TURN, "deque append + pop")
def test_turn_of_a_deque(benchmark: Any) -> None:
    items: deque[str] = deque()

    def turns() -> None:
        append, popleft = items.append, items.popleft
        for key in KEYS:
            append(key)
            popleft()

    per_call(benchmark, turns)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(stdlib.SimpleQueue, marks=pytest.mark.subject(TURN, "queue.SimpleQueue")),
        pytest.param(stdlib.Queue, marks=pytest.mark.subject(TURN, "queue.Queue")),
    ],
)
def test_turn_of_the_standard_library(benchmark: Any, kind: Any) -> None:
    """These neither know keys nor who works on one."""
    items = kind()

    def turns() -> None:
        put, get = items.put, items.get
        for key in KEYS:
            put(key)
            get()

    per_call(benchmark, turns)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(ext, marks=pytest.mark.subject(TURN, "fastcore")),
        pytest.param(py, marks=pytest.mark.subject(TURN, "fastcore twin")),
    ],
)
def test_turn(benchmark: Any, module: Any) -> None:
    queue = module.WorkQueue()

    def turns() -> None:
        add, get, done = queue.add, queue.get, queue.done
        for key in KEYS:
            add(key)
            done(get())

    per_call(benchmark, turns)


@pytest.mark.subject(TURN, "fastcore, 20 groups")
def test_turn_with_groups(benchmark: Any) -> None:
    queue = ext.WorkQueue[str](fair_by=lambda key: key[:12])

    def turns() -> None:
        add, get, done = queue.add, queue.get, queue.done
        for key in KEYS:
            add(key)
            done(get())

    per_call(benchmark, turns)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(ext, marks=pytest.mark.subject(DUPLICATE, "fastcore")),
        pytest.param(py, marks=pytest.mark.subject(DUPLICATE, "fastcore twin")),
    ],
)
def test_duplicate(benchmark: Any, module: Any) -> None:
    queue = module.WorkQueue()
    for key in KEYS:
        queue.add(key)

    def adds() -> None:
        add = queue.add
        for key in KEYS:
            add(key)

    per_call(benchmark, adds)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(ext, marks=pytest.mark.subject(DELAY, "fastcore")),
        pytest.param(py, marks=pytest.mark.subject(DELAY, "fastcore twin")),
    ],
)
def test_delay(benchmark: Any, module: Any) -> None:
    now = [0]
    queue = module.WorkQueue(clock=lambda: now[0])
    delays = [1 + (i * 7919 % CALLS) / CALLS for i in range(CALLS)]

    def turns() -> None:
        for key, delay in zip(KEYS, delays, strict=True):
            queue.add_after(key, delay)
        now[0] += 2 * 10**9
        for _ in KEYS:
            queue.done(queue.get())

    per_call(benchmark, turns, rounds=30)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ext", marks=pytest.mark.subject(TASKS, "fastcore")),
        pytest.param("py", marks=pytest.mark.subject(TASKS, "fastcore twin")),
        pytest.param("asyncio", marks=pytest.mark.subject(TASKS, "asyncio.Queue")),
    ],
)
def test_turn_of_a_task(benchmark: Any, kind: str) -> None:
    async def fastcore(queue: Any) -> None:
        add, aget, done = queue.add, queue.aget, queue.done
        for key in KEYS:
            add(key)
            done(await aget())

    async def standard(queue: asyncio.Queue[str]) -> None:
        put, get, done = queue.put_nowait, queue.get, queue.task_done
        for key in KEYS:
            put(key)
            await get()
            done()

    def finish(coroutine: Any) -> None:
        with pytest.raises(StopIteration):  # nothing waits, so that no event loop is needed
            coroutine.send(None)

    if kind == "asyncio":
        per_call(benchmark, lambda: finish(standard(asyncio.Queue())))
    else:
        queue = (ext if kind == "ext" else py).WorkQueue()
        per_call(benchmark, lambda: finish(fastcore(queue)))
