"""The running informer on pods of 6.6 KB: its first list, what it holds, the collector and the watch's events.

The bytes come from a coroutine in place of a server, so that no other process's work and no network is measured.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from benchmarks.conftest import once
from benchmarks.test_bench_objects import pod

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.informer import Informer
from fastcore.controller.model import Kind, Resource
from fastcore.controller.workspace import Workspace

POD = Kind("", "v1", "Pod", "pods")
OBJECTS = 5_000
MANY = 50_000
PAGE = 500


class Counter:
    """A handler that looks at every object, as a controller's does."""

    def __init__(self) -> None:
        self.seen = 0
        self.last = 0
        self.done = asyncio.Event()

    def on_add(self, obj: Resource, initial: bool) -> None:
        self.seen += obj["metadata"]["name"] is not None

    def on_update(self, old: Resource, new: Resource) -> None:
        self.seen += old["metadata"]["name"] == new["metadata"]["name"]
        if self.seen == self.last:
            self.done.set()

    def on_delete(self, obj: Resource) -> None:
        self.seen += 1


class Bytes(Client):
    """Answers lists with prepared pages, and a watch with prepared lines."""

    def __init__(self, pages: list[bytes], lines: list[bytes]) -> None:
        super().__init__(ClientConfig("http://127.0.0.1:1"))
        self.pages = iter(pages)
        self.lines = lines
        self.go = asyncio.Event()

    async def request(self, *args: Any, **kwargs: Any) -> bytes:
        return next(self.pages)

    async def watch(self, *args: Any, opened: Callable[[], None], **kwargs: Any) -> Any:
        opened()
        await self.go.wait()
        for line in self.lines:
            yield line
        await asyncio.Event().wait()


def pages(count: int, make: Callable[[int], bytes] = pod) -> list[bytes]:
    made = []
    for first in range(0, count, PAGE):
        more = b',"continue":"more"' if first + PAGE < count else b""
        items = b",".join(make(i) for i in range(first, min(count, first + PAGE)))
        made.append(b'{"kind":"PodList","metadata":{"resourceVersion":"9"%s},"items":[%s]}' % (more, items))
    return made


@asynccontextmanager
async def synced(client: Bytes, handler: Counter | None = None) -> AsyncIterator[Informer]:
    async with client:
        informer = Informer(Workspace("w", client), POD, streaming=False)
        if handler is not None:
            informer.add_handler(handler)
        task = asyncio.create_task(informer.run())
        await informer.wait_synced(300)
        try:
            yield informer
        finally:
            await informer.stop()
            await task


async def sync(count: int) -> float:
    """Microseconds of processor time an object of the first list."""
    client = Bytes(pages(count), [])
    start = time.process_time_ns()
    async with synced(client) as informer:
        spent = time.process_time_ns() - start
        assert informer.stats().objects == count
    return spent / count / 1000


async def events(count: int) -> float:
    """Microseconds of processor time an update, up to and with a handler that reads both versions."""
    handler = Counter()
    client = Bytes(pages(count), [b'{"type":"MODIFIED","object":%s}' % pod(i, 2) for i in range(count)])
    async with synced(client, handler):
        handler.seen, handler.last = 0, count
        start = time.process_time_ns()
        client.go.set()
        await handler.done.wait()
        return (time.process_time_ns() - start) / count / 1000


async def memory(count: int) -> float:
    client = Bytes([], [])
    bodies = pages(count)
    client.pages = iter(bodies)
    gc.collect()
    tracemalloc.start()
    try:
        async with synced(client):
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()


def small(i: int) -> bytes:
    return b'{"metadata":{"name":"web-%d","namespace":"team","uid":"uid-%d","resourceVersion":"%d"}}' % (i, i, i + 1)


async def collector(count: int) -> float:
    """Milliseconds that the objects of an informer add to a pass of the collector."""

    def full() -> float:
        best = float("inf")
        for _ in range(5):
            start = time.process_time_ns()
            gc.collect()
            best = min(best, (time.process_time_ns() - start) / 1e6)
        return best

    client = Bytes(pages(count, small), [])
    gc.collect()
    before = full()
    async with synced(client) as informer:
        assert informer.stats().objects == count
        return max(0.0, full() - before)


@pytest.mark.subject("informer ingest, 6.6 KB", "fastcore")
def test_ingest(benchmark: Any) -> None:
    once(benchmark, min(asyncio.run(sync(OBJECTS)) for _ in range(3)), "us")


@pytest.mark.subject("informer event, 6.6 KB", "fastcore")
def test_events(benchmark: Any) -> None:
    once(benchmark, min(asyncio.run(events(OBJECTS)) for _ in range(3)), "us")


@pytest.mark.subject("informer bytes an object, 6.6 KB", "fastcore")
def test_memory(benchmark: Any) -> None:
    once(benchmark, asyncio.run(memory(OBJECTS)), "bytes")


@pytest.mark.subject("informer collector pass, 50 k objects", "fastcore")
def test_collector(benchmark: Any) -> None:
    once(benchmark, asyncio.run(collector(MANY)), "ms")
