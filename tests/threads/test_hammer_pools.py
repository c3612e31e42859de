"""Threads on one pool: no object is with two of them."""

import contextlib
from typing import Any

import pytest

from fastcore._ext import buffers as ext_buffers
from fastcore._ext import pool as ext
from fastcore.errors import PoolError
from fastcore.testing.clock import VirtualClock
from threads.crew import THREADS, crew


@pytest.mark.parametrize("debug", [False, True])
def test_pool(impl: Any, debug: bool, scale: int) -> None:
    """PO1, PO2: no object is lent to two threads at once, and none is counted twice."""
    rounds = 5000 * scale
    pool = impl.pool.ObjectPool(list, reset=list.clear, sizeof=len, max_bytes=3, max_idle=3, debug=debug)

    def work(number: int) -> None:
        for step in range(rounds):
            if step % 2:
                with pool.lease() as items:
                    items.append(number)
                    items.append(step)
                    assert items == [number, step]
            else:
                items = pool.acquire()
                items.extend([number] * (step % 5))
                assert items == [number] * (step % 5)
                pool.release(items)
            if step % 100 == 0:
                pool.drain()

    crew(work)
    stats = pool.stats()
    assert stats.created + stats.reused == stats.released == THREADS * rounds
    assert stats.idle + stats.dropped_full + stats.dropped_oversized <= stats.created
    assert (stats.double_releases, stats.dropped_failed) == (0, 0)
    assert stats.idle == pool.drain() <= 3


@pytest.mark.parametrize("debug", [False, True])
def test_buffer_pool(impl: Any, debug: bool, scale: int) -> None:
    """Buffers and arrays come back clean, whoever had them before."""
    pool = impl.buffers.BufferPool(64, max_idle=3, debug=debug)

    def work(number: int) -> None:
        for step in range(1000 * scale):
            with pool.lease() as buffer, pool.lease_array(step % 9) as array:
                assert bytes(buffer) == bytes(64)
                assert not array.any()
                buffer[:] = bytes([number + 1]) * 64
                array[:] = number + 1
                assert bytes(buffer) == bytes([number + 1]) * 64
                assert (array == number + 1).all()

    crew(work)
    assert pool.stats().double_releases == 0


def test_one_lease_for_all(scale: int) -> None:
    """PO3: of threads that enter one lease one gets in; what it used is out of reach for all afterwards."""
    for debug in (False, True):
        pool = ext.ObjectPool(list, debug=debug)
        buffers = ext_buffers.BufferPool(8, debug=debug)
        for _ in range(50 * scale):
            for lease in (pool.lease(), buffers.lease_array(3)):

                def work(_: int, lease: Any = lease) -> None:
                    for _ in range(20):
                        with contextlib.suppress(PoolError, AttributeError, ValueError), lease as lent:
                            assert len(lent) in (0, 3)

                crew(work)
        stats = pool.stats()
        assert stats.created + stats.reused == stats.released
        assert stats.double_releases == 0


def test_ageing(impl: Any, scale: int) -> None:
    """PO4: while threads use a pool, others drop what it does not need: nothing is lost, nothing dropped is lent."""
    clock = VirtualClock()
    pool = impl.pool.ObjectPool(list, reset=list.clear, max_idle=8, max_idle_time=1.0, clock=clock)
    rounds = 3000 * scale

    def work(number: int) -> None:
        for step in range(rounds):
            if number == 0 and step % 5 == 0:
                clock.advance(0.3)
                pool.age()
            elif number == 1 and step % 50 == 0:
                pool.trim()
            else:
                lent = [pool.acquire() for _ in range(step % 4)]
                for n, items in enumerate(lent):
                    items.append(n)
                    assert items == [n]
                for items in lent:
                    pool.release(items)

    crew(work)
    stats = pool.stats()
    assert stats.created + stats.reused == stats.released
    assert stats.idle + stats.dropped_unused + stats.dropped_full == stats.created
    assert stats.idle == pool.drain()
