"""Memory that nobody needs goes: with time, and when somebody asks for it."""

import gc
import threading
import weakref
from typing import Any

import pytest

from fastcore.testing.clock import VirtualClock


def fill(pool: Any, count: int) -> None:
    """Need so many objects at once."""
    for obj in [pool.acquire() for _ in range(count)]:
        pool.release(obj)


class Thing:
    pass


@pytest.fixture
def pool(impl: Any, clock: VirtualClock) -> Any:
    made = impl.pool.ObjectPool(Thing, max_idle_time=60, clock=clock)
    fill(made, 2)  # the first look at the clock
    return made


def test_unused_for_two_periods_is_dropped(pool, clock):
    """PO4: after a burst, by the releases of one that goes on; not in the period of the burst, nor in the next."""
    fill(pool, 10)
    left = []
    for _ in range(12):
        clock.advance(10)
        fill(pool, 1)
        left.append(pool.stats().idle)
    assert left == [10] * 8 + [1] * 4
    assert pool.stats().dropped_unused == 9


def test_what_is_needed_now_and_then_stays(pool, clock):
    """PO4: a peak in every period keeps its objects."""
    for _ in range(20):
        fill(pool, 7)
        for _ in range(5):
            clock.advance(5)
            fill(pool, 2)
    assert pool.stats()[:2] == (7, 7)


def test_the_fall_is_by_what_two_periods_did_not_need(pool, clock):
    """PO4: the smaller demand of the two periods does not count, the larger does."""
    fill(pool, 10)
    for need in (8, 5, 3, 4, 1):
        clock.advance(30)
        fill(pool, 2)  # looks at the clock
        fill(pool, need)
    clock.advance(30)
    fill(pool, 2)
    assert pool.stats().idle == 4


def test_a_pool_that_lies_still_ages_when_asked(pool, clock):
    """PO4: there is no thread; a monitor calls age()."""
    fill(pool, 5)
    assert pool.age() == 0
    clock.advance(1000)
    assert pool.stats().idle == 5
    assert [pool.age(), pool.stats().idle] == [0, 5], "they were needed in the period that ends now"
    clock.advance(30)
    assert pool.age() == 0
    clock.advance(29)
    assert pool.age() == 0
    clock.advance(1)
    assert [pool.age(), pool.age(), pool.stats().idle] == [5, 0, 0]


def test_a_long_pause_is_two_periods(pool, clock):
    """PO4: what nobody looked at for so long is old at the first look."""
    fill(pool, 5)
    clock.advance(30)
    pool.age()
    clock.advance(60)
    assert pool.age() == 5


def test_no_age(impl, clock):
    """PO4: None keeps objects for ever, and reads no clock."""
    readings = []
    pool = impl.pool.ObjectPool(Thing, max_idle_time=None, clock=lambda: readings.append(1) or clock())
    fill(pool, 5)
    clock.advance(10**6)
    fill(pool, 2)
    assert (pool.age(), pool.stats().idle, readings) == (0, 5, [])


def test_steady_use_reads_no_clock(impl):
    """PO4: with nothing idle but what was just released there is nothing to age."""
    readings = []
    pool = impl.pool.ObjectPool(Thing, clock=lambda: len(readings.append(1) or readings))
    for _ in range(100):
        fill(pool, 1)
    assert readings == []
    fill(pool, 2)
    assert readings == [1]


def test_a_clock_that_goes_back(pool, clock):
    """PO4: is held, so that it neither keeps objects nor drops them early."""
    fill(pool, 5)
    clock.advance(25)
    fill(pool, 2)
    clock.advance(-1000)
    fill(pool, 2)
    assert pool.stats().idle == 5
    clock.advance(1000 + 5)
    fill(pool, 2)
    for idle in (5, 2):
        clock.advance(30)
        fill(pool, 2)
        assert pool.stats().idle == idle


def test_a_raising_clock_loses_nothing(impl):
    """PO4: its error passes; what was released is idle."""

    def broken() -> int:
        raise OSError("no time")

    pool = impl.pool.ObjectPool(Thing, clock=broken)
    first, second = pool.acquire(), pool.acquire()
    pool.release(first)
    with pytest.raises(OSError, match="no time"):
        pool.release(second)
    assert pool.stats().idle == 2


def test_trim(impl):
    """PO4: under pressure goes what was not needed since the last time."""
    pool = impl.pool.ObjectPool(Thing)
    fill(pool, 5)
    assert pool.trim() == 0
    fill(pool, 2)
    assert (pool.trim(), pool.stats().idle, pool.stats().dropped_unused) == (3, 2, 3)
    assert (pool.trim(), pool.trim(), pool.stats().idle) == (2, 0, 0)
    fill(pool, 1)
    assert pool.stats().created == 6


def test_finalisers_of_what_is_dropped_use_the_pool(impl, clock):
    """PO4: they run when the pool is whole again, outside its lock."""
    seen = []

    class Node:
        def __del__(self) -> None:
            seen.append(pool.stats().idle)
            fill(pool, 2)

    pool = impl.pool.ObjectPool(lambda: Node() if len(seen) < 5 and made.append(1) is None else Thing(), clock=clock)
    made: list[int] = []
    fill(pool, 5)
    pool.trim()
    assert pool.trim() == 5
    assert (len(seen), seen[0], pool.stats().idle) == (5, 0, 2)
    fill(pool, 2)
    clock.advance(1000)
    fill(pool, 2)
    pool.drain()


def test_blocks_for_arrays_age_with_their_pool(impl, clock):
    """PO4: also of a size that nobody asks for any more."""
    pool = impl.buffers.BufferPool(16, max_idle_time=60, clock=clock)
    for n in (10, 100, 1000):
        with pool.lease_array(n):
            pass
    for _ in range(4):
        clock.advance(30)
        with pool.lease_array(10) as array:
            assert not array.any()
    assert pool.stats()[:2] == (1, 3)
    fill(pool, 4)
    with pool.lease_array(100):
        pass
    assert (pool.trim(), pool.stats().idle) == (1, 5), "of the size 10, not needed in this period"
    assert (pool.trim(), pool.stats().idle) == (5, 0)


def test_all_pools(impl, clock):
    """PO4: one call for a monitor of memory; pools that are gone are not kept by it, blocks are not counted twice."""
    trim_all = impl.pool.trim_all
    objects, buffers = impl.pool.ObjectPool(Thing), impl.buffers.BufferPool(16)
    fill(objects, 3)
    fill(buffers, 2)
    with buffers.lease_array(10):
        pass
    trim_all()
    assert (objects.stats().idle, buffers.stats().idle) == (3, 3)
    assert trim_all() >= 6
    assert (objects.stats().idle, buffers.stats().idle) == (0, 0)
    fill(objects, 3)
    assert trim_all(drain=True) >= 3
    assert (objects.stats().idle, objects.stats().dropped_unused) == (0, 3)
    ref = weakref.ref(objects)
    del objects
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["ObjectPool", "BufferPool"])
def test_bad_times(impl, kind, value):
    make = impl.buffers.BufferPool if kind == "BufferPool" else lambda **a: impl.pool.ObjectPool(Thing, **a)
    with pytest.raises(ValueError, match=rf"max_idle_time must be > 0 seconds and finite, or None, got {value}"):
        make(max_idle_time=value)
    with pytest.raises(TypeError):
        make(max_idle_time="1")


def test_threads_and_trims(impl):
    """PO4: nobody loses an object that he holds."""
    pool = impl.pool.ObjectPool(lambda: [0], max_idle_time=1e-6)
    errors = []

    def work() -> None:
        for i in range(1500):
            boxes = [pool.acquire() for _ in range(i % 5)]
            for box in boxes:
                box[0] += 1
                if box[0] != 1:
                    errors.append(box)
            for box in boxes:
                box[0] -= 1
                pool.release(box)
            if i % 7 == 0:
                impl.pool.trim_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = pool.stats()
    assert errors == []
    assert stats.created == stats.idle + stats.dropped_unused + stats.dropped_full
    assert stats.created + stats.reused == stats.released
