"""Pools beside their twins, a bare deque, object-pool, and making the object anew."""

from collections import deque
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore._ext import buffers as ext_buffers
from fastcore._ext import pool as ext
from fastcore._py import pool as py

TURN = "pool acquire + release"
LEASE = "pool lease, with statement"
BUFFER = "buffer of 1 KiB"
ARRAY = "array of 100,000 float64"


@pytest.mark.subject(TURN, "deque append + pop")
def test_turn_of_a_deque(benchmark: Any) -> None:
    items = deque([bytearray()])

    def turns() -> None:
        pop, append = items.pop, items.append
        for _ in range(CALLS):
            append(pop())

    per_call(benchmark, turns)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(ext, marks=pytest.mark.subject(TURN, "fastcore")),
        pytest.param(py, marks=pytest.mark.subject(TURN, "fastcore twin")),
    ],
)
def test_turn(benchmark: Any, module: Any) -> None:
    pool = module.ObjectPool(bytearray)

    def turns() -> None:
        acquire, release = pool.acquire, pool.release
        for _ in range(CALLS):
            release(acquire())

    per_call(benchmark, turns)


@pytest.mark.subject(TURN, "object-pool")
def test_turn_of_object_pool(benchmark: Any) -> None:
    pool = pytest.importorskip("object_pool").ObjectPool(bytearray)

    def turns() -> None:
        get, put = pool.get, pool.put
        for _ in range(CALLS):
            put(get())

    per_call(benchmark, turns)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(ext, marks=pytest.mark.subject(LEASE, "fastcore")),
        pytest.param(py, marks=pytest.mark.subject(LEASE, "fastcore twin")),
    ],
)
def test_lease(benchmark: Any, module: Any) -> None:
    lease = module.ObjectPool(bytearray).lease

    def leases() -> None:
        for _ in range(CALLS):
            with lease():
                pass

    per_call(benchmark, leases)


@pytest.mark.subject(LEASE, "object-pool")
def test_lease_of_object_pool(benchmark: Any) -> None:
    item = pytest.importorskip("object_pool").ObjectPool(bytearray).item

    def leases() -> None:
        for _ in range(CALLS):
            with item():
                pass

    per_call(benchmark, leases)


@pytest.mark.subject(BUFFER, "bytearray(1024)")
def test_new_buffer(benchmark: Any) -> None:
    def turns() -> None:
        for _ in range(CALLS):
            bytearray(1024)

    per_call(benchmark, turns)


@pytest.mark.subject(BUFFER, "fastcore")
def test_pooled_buffer(benchmark: Any) -> None:
    pool = ext_buffers.BufferPool()

    def turns() -> None:
        acquire, release = pool.acquire, pool.release
        for _ in range(CALLS):
            release(acquire())

    per_call(benchmark, turns)


@pytest.mark.subject(ARRAY, "numpy.zeros")
def test_new_array(benchmark: Any) -> None:
    import numpy as np

    def turns() -> None:
        for _ in range(100):
            np.zeros(100_000).fill(1)

    per_call(benchmark, turns, calls=100, rounds=20)


@pytest.mark.subject(ARRAY, "fastcore")
def test_pooled_array(benchmark: Any) -> None:
    pool = ext_buffers.BufferPool()

    def turns() -> None:
        for _ in range(100):
            with pool.lease_array(100_000) as array:
                array.fill(1)

    per_call(benchmark, turns, calls=100, rounds=20)
