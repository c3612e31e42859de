"""Buffers and arrays on pooled memory: zero when handed out, of the right size, never shared."""

import socket
import sys
from typing import Any

import numpy as np
import pytest

from fastcore.errors import PoolError


def test_a_buffer_is_zero_and_of_its_size(impl: Any) -> None:
    """PO1, PO2: whatever the last user did to it."""
    pool = impl.buffers.BufferPool(16)
    uses = [
        lambda b: b.__setitem__(slice(None), b"x" * 16), lambda b: b.extend(b"y" * 100), lambda b: b.clear(),
        lambda b: b.__delitem__(slice(3, None)), lambda b: b.__delitem__(slice(0, 3)), lambda b: b.append(1),
    ]  # fmt: skip
    first = pool.acquire()
    pool.release(first)
    for use in uses:
        buffer = pool.acquire()
        assert buffer is first
        assert buffer == bytes(16)
        use(buffer)
        pool.release(buffer)
        assert buffer == bytes(16)
    assert type(buffer) is bytearray


@pytest.mark.parametrize("debug", [False, True])
def test_uncleared_buffers(impl: Any, debug: bool) -> None:
    """PO1: `clear` is off: of their size, with what the last user left; nothing of other memory shows."""
    pool = impl.buffers.BufferPool(8, clear=False, debug=debug)
    for use, left in (
        (lambda b: b.__setitem__(slice(None), b"x" * 8), b"x" * 8),
        (lambda b: b.extend(b"y" * 50), b"x" * 8),
        (lambda b: b.__delitem__(slice(3, None)), b"xxx" + bytes(5)),
        (lambda b: b.clear(), bytes(8)),
    ):
        buffer = pool.acquire()
        use(buffer)
        pool.release(buffer)
        buffer = pool.acquire()
        assert buffer == left
        pool.release(buffer)
    assert pool.stats().created == 1


def test_uncleared_arrays(impl: Any) -> None:
    """PO1: `clear` is off: new blocks are zeros, others as they were left."""
    pool = impl.buffers.BufferPool(8, clear=False)
    for before in (0, 7):
        with pool.lease_array(16, "u1") as array:
            assert (array == before).all()
            array.fill(7)


def test_defaults(impl: Any) -> None:
    assert len(impl.buffers.BufferPool().acquire()) == 1024
    assert impl.buffers.BufferPool(0).acquire() == b""


def test_a_buffer_that_grew_too_large_is_dropped(impl: Any) -> None:
    """PO1."""
    pool = impl.buffers.BufferPool(8, max_size=64)
    for size, idle in ((64, 1), (65, 0)):
        buffer = pool.acquire()
        buffer.extend(bytes(size - len(buffer)))
        pool.release(buffer)
        assert pool.stats().idle == idle
    assert pool.stats().dropped_oversized == 1


def test_a_buffer_with_a_live_view_is_dropped(impl: Any) -> None:
    """PO2: whoever holds the memoryview would see the next user's bytes."""
    pool = impl.buffers.BufferPool(8)
    buffer = pool.acquire()
    view = memoryview(buffer)
    pool.release(buffer)
    assert (pool.stats().idle, pool.stats().dropped_failed) == (0, 1)
    view.release()
    pool.release(pool.acquire())
    assert pool.stats().idle == 1


def test_a_debug_buffer_with_a_live_view_is_dropped(impl: Any) -> None:
    """PO2, PO3: the view keeps its memory; the buffer's handle is of no more use, and nobody gets the buffer."""
    pool = impl.buffers.BufferPool(8, debug=True)
    buffer = pool.acquire()
    view = memoryview(buffer.append.__self__)
    pool.release(buffer)
    view[0] = 255
    assert pool.acquire() == bytes(8)
    with pytest.raises(PoolError, match="used after its lease ended"):
        len(buffer)
    assert (pool.stats().dropped_failed, pool.stats().created) == (1, 2)


@pytest.mark.parametrize("wrong", [b"bytes", memoryview(b""), [], np.zeros(1), type("Sub", (bytearray,), {})()])
def test_only_bytearrays_come_back(impl: Any, wrong: Any) -> None:
    pool = impl.buffers.BufferPool()
    with pytest.raises(TypeError, match=f"a BufferPool takes bytearrays, got {type(wrong).__name__}"):
        pool.release(wrong)
    assert pool.stats() == (0,) * 9


def test_lease(impl: Any) -> None:
    """PO3."""
    pool = impl.buffers.BufferPool(4)
    with pool.lease() as buffer:
        buffer[:] = b"abcd"
    assert buffer == bytes(4)
    assert pool.stats().idle == 1


def test_a_debug_lease_is_a_buffer_too(impl: Any) -> None:
    """PO3: the handle still serves C code that wants the memory, and not after its end."""
    if impl.name == "py" and sys.version_info < (3, 12):
        pool = impl.buffers.BufferPool(4, debug=True)
        with pool.lease() as buffer:
            assert bytes(memoryview(buffer.copy())) == bytes(4)
        return
    pool = impl.buffers.BufferPool(4, debug=True)
    left, right = socket.socketpair()
    with left, right, pool.lease() as buffer:
        left.sendall(b"ping")
        assert right.recv_into(buffer) == 4
        assert buffer == b"ping"
    with pytest.raises(PoolError, match="used after its lease ended"):
        memoryview(buffer)
    assert pool.stats().idle == 1


@pytest.mark.parametrize("arguments", [{"size": -1}, {"max_idle": -1}, {"max_size": 2**31}])
def test_limits_are_checked(impl: Any, arguments: dict[str, int]) -> None:
    name, value = next(iter(arguments.items()))
    with pytest.raises(ValueError, match=rf"{name} must be from 0 to 2\*\*31 - 1, got {value}"):
        impl.buffers.BufferPool(**arguments)


def test_max_size_must_hold_a_buffer(impl: Any) -> None:
    with pytest.raises(ValueError, match=r"max_size must be >= size \(100\), got 99"):
        impl.buffers.BufferPool(100, max_size=99)


def test_array_memory_is_reused_and_zero(impl: Any) -> None:
    """PO1, PO2."""
    pool = impl.buffers.BufferPool()
    with pool.lease_array(100) as first:
        assert (first.shape, first.dtype, first.any()) == ((100,), np.float64, False)
        first[:] = 7
        address = first.ctypes.data
    with pool.lease_array(200, "int32") as second:
        assert (second.shape, second.dtype, second.any()) == ((200,), np.int32, False)
        assert second.ctypes.data == address
        with pool.lease_array(200, "int32") as third:
            assert third.ctypes.data != address
    assert pool.stats()[:4] == (2, 2, 1, 3)
    assert pool.drain() == 2
    assert pool.stats().idle == 0


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1023, 1024, 1025])
def test_array_sizes(impl: Any, n: int) -> None:
    pool = impl.buffers.BufferPool()
    for _ in range(2):
        with pool.lease_array(n, np.uint8) as array:
            assert array.nbytes == n
            array.fill(255)
    assert pool.stats()[:3] == (1, 1, 1)


def test_a_large_array_is_not_kept(impl: Any) -> None:
    """PO1."""
    pool = impl.buffers.BufferPool(8, max_size=1024)
    with pool.lease_array(129) as array:
        array[128] = 1
    assert pool.stats()[:2] == (0, 0)
    with pool.lease_array(128):
        pass
    assert pool.stats()[:2] == (1, 1)


def test_array_errors(impl: Any) -> None:
    pool = impl.buffers.BufferPool()
    with pytest.raises(TypeError, match="cannot hold Python objects, got dtype object"):
        pool.lease_array(3, object)
    with pytest.raises(ValueError, match=r"n must be from 0 to 2\*\*31 - 1, got -1"):
        pool.lease_array(-1)
    with pytest.raises(ValueError, match=r"the bytes of the array must be from 0 to 2\*\*31 - 1, got 8000000000"):
        pool.lease_array(10**9)
    lease = pool.lease_array(1)
    with lease, pytest.raises(PoolError, match="entered twice"), lease:
        pass
    assert pool.stats().idle == 1


@pytest.mark.parametrize(("shape", "dtype"), [((3, 4), "int16"), ((2, 0), "f8"), ((), "u1"), ((5,), "i8,f4")])
def test_array_shapes(impl: Any, shape: tuple[int, ...], dtype: str) -> None:
    """PO1: as numpy.zeros makes it."""
    pool = impl.buffers.BufferPool()
    for _ in range(2):
        with pool.lease_array(shape, dtype) as array:
            fresh = np.zeros(shape, dtype)
            assert (array.shape, array.dtype, array.flags.writeable) == (fresh.shape, fresh.dtype, True)
            assert (array == fresh).all()
            array.view(np.uint8)[...] = 1
    assert pool.stats()[:3] == (1, 1, 1)
    with pytest.raises(ValueError, match=r"n must be from 0 to 2\*\*31 - 1, got -1"):
        pool.lease_array((2, -1))


@pytest.mark.parametrize("dtype", ["S", "V0", ("f4", (3,))])
def test_items_of_no_size_or_with_a_shape(impl: Any, dtype: Any) -> None:
    with pytest.raises(ValueError, match="needs items of a fixed size and no shape, got dtype"):
        impl.buffers.BufferPool().lease_array(3, dtype)


def test_an_array_is_of_no_use_after_its_lease_in_debug(impl: Any) -> None:
    """PO3: writes raise, reads find all bits set, and its memory is not used again."""
    pool = impl.buffers.BufferPool(debug=True)
    with pool.lease_array(4) as stale, pool.lease_array((2, 2), "int32") as numbers:
        stale[:] = 1
    with pytest.raises(ValueError, match="read-only"):
        stale[0] = 2
    assert np.isnan(stale).all()
    assert (numbers == -1).all()
    with pool.lease_array(4) as fresh:
        assert fresh.ctypes.data != stale.ctypes.data
    assert pool.stats().idle == 0
