"""Calls of a gRPC server, in threads and on an event loop, counted however they end."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fastcore.observe import PerformanceMonitor

grpc = pytest.importorskip("grpc")

TRACE = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
released = threading.Event()


def get(request: bytes, context: Any) -> bytes:
    return request


def fail(request: bytes, context: Any) -> bytes:
    raise ValueError("secret")


def refuse(request: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.NOT_FOUND, "no such key")
    raise AssertionError


def say(request: bytes, context: Any) -> bytes:
    context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
    return b""


def listed(request: bytes, context: Any) -> Iterator[bytes]:
    yield from (b"1", b"2")


def endless(request: bytes, context: Any) -> Iterator[bytes]:
    while not released.wait(0.01):
        yield b"x"


def collected(requests: Iterator[bytes], context: Any) -> bytes:
    return b"".join(requests)


def echoed(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    yield from requests


async def aget(request: bytes, context: Any) -> bytes:
    return request


async def afail(request: bytes, context: Any) -> bytes:
    raise ValueError("secret")


async def arefuse(request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such key")
    raise AssertionError


async def asay(request: bytes, context: Any) -> bytes:
    context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
    return b""


async def alisted(request: bytes, context: Any) -> AsyncIterator[bytes]:
    for one in (b"1", b"2"):
        yield one


async def aendless(request: bytes, context: Any) -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(0.01)
        yield b"x"


async def awritten(request: bytes, context: Any) -> None:
    await context.write(b"1")


async def acollected(requests: AsyncIterator[bytes], context: Any) -> bytes:
    return b"".join([one async for one in requests])


async def aechoed(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for one in requests:
        yield one


def handlers(**behaviours: Any) -> Any:
    made = {
        name: (
            grpc.stream_unary_rpc_method_handler if name == "Collect"
            else grpc.stream_stream_rpc_method_handler if name == "Echo"
            else grpc.unary_stream_rpc_method_handler if name in ("List", "Endless", "Write")
            else grpc.unary_unary_rpc_method_handler
        )(behaviour)
        for name, behaviour in behaviours.items()
    }  # fmt: skip
    return grpc.method_handlers_generic_handler("test.Shop", made)


def counted(monitor: PerformanceMonitor) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["method"].removeprefix("/test.Shop/"), sample.labels["code"]): sample.value
        for family in monitor.registry.collect()
        if family.name == "grpc_requests"
        for sample in family.samples
        if sample.name == "grpc_requests_total"
    }


def in_flight(monitor: PerformanceMonitor) -> float | None:
    return monitor.registry.get_sample_value("grpc_requests_in_flight")


EXPECTED = {
    ("Get", "OK"): 2, ("Fail", "UNKNOWN"): 1, ("Refuse", "NOT_FOUND"): 1, ("Say", "FAILED_PRECONDITION"): 1,
    ("List", "OK"): 1, ("Endless", "CANCELLED"): 1, ("Collect", "OK"): 1, ("Echo", "OK"): 1,
    ("_unmatched", "UNIMPLEMENTED"): 1,
}  # fmt: skip


def code_of(call: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return str(caught.value.code().name)  # type: ignore[attr-defined]


def test_calls_of_a_threaded_server() -> None:
    """OB3, OB5: by method and final code; cancelled streams and methods that nobody serves, too; nothing stays."""
    released.clear()
    monitor = PerformanceMonitor()
    server = grpc.server(ThreadPoolExecutor(8), interceptors=[monitor.grpc_interceptor()])
    server.add_generic_rpc_handlers(
        (handlers(Get=get, Fail=fail, Refuse=refuse, Say=say, List=listed, Endless=endless, Collect=collected,
                  Echo=echoed),)
    )  # fmt: skip
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert channel.unary_unary("/test.Shop/Get")(b"a", metadata=(TRACE,), timeout=30) == b"a"
            assert channel.unary_unary("/test.Shop/Get")(b"b", timeout=30) == b"b"
            for name, code in (
                ("Fail", "UNKNOWN"), ("Refuse", "NOT_FOUND"), ("Say", "FAILED_PRECONDITION"), ("None", "UNIMPLEMENTED"),
            ):  # fmt: skip
                assert code_of(lambda name=name: channel.unary_unary(f"/test.Shop/{name}")(b"", timeout=30)) == code
            assert list(channel.unary_stream("/test.Shop/List")(b"", timeout=30)) == [b"1", b"2"]
            assert channel.stream_unary("/test.Shop/Collect")(iter([b"1", b"2"]), timeout=30) == b"12"
            assert list(channel.stream_stream("/test.Shop/Echo")(iter([b"1"]), timeout=30)) == [b"1"]
            stream = channel.unary_stream("/test.Shop/Endless")(b"", timeout=30)
            assert next(stream) == b"x"
            stream.cancel()
            deadline = time.monotonic() + 30
            while in_flight(monitor) and time.monotonic() < deadline:
                time.sleep(0.01)
    finally:
        released.set()
        server.stop(5).wait(30)
    assert counted(monitor) == EXPECTED
    assert in_flight(monitor) == 0
    times = monitor.registry.get_sample_value("grpc_request_duration_seconds_count", {"method": "/test.Shop/Get"})
    assert times == 2
    exemplars = [
        sample.exemplar.labels["trace_id"]
        for family in monitor.registry.collect()
        if family.name == "grpc_request_duration_seconds"
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert exemplars == ["4bf92f3577b34da6a3ce929d0e0e4736"]
    monitor.close()
    assert in_flight(monitor) is None


async def test_calls_of_a_server_on_an_event_loop() -> None:
    """OB3: the same of `grpc.aio`; a behaviour that writes to the context itself counts as well."""
    monitor = PerformanceMonitor()
    server = grpc.aio.server(interceptors=[monitor.grpc_interceptor(aio=True)])
    server.add_generic_rpc_handlers(
        (handlers(Get=aget, Fail=afail, Refuse=arefuse, Say=asay, List=alisted, Endless=aendless, Write=awritten,
                  Collect=acollected, Echo=aechoed),)
    )  # fmt: skip
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await channel.unary_unary("/test.Shop/Get")(b"a", timeout=30) == b"a"
            assert await channel.unary_unary("/test.Shop/Get")(b"b", timeout=30) == b"b"
            for name, code in (
                ("Fail", "UNKNOWN"), ("Refuse", "NOT_FOUND"), ("Say", "FAILED_PRECONDITION"), ("None", "UNIMPLEMENTED"),
            ):  # fmt: skip
                with pytest.raises(grpc.RpcError) as caught:
                    await channel.unary_unary(f"/test.Shop/{name}")(b"", timeout=30)
                assert caught.value.code().name == code  # type: ignore[attr-defined]
            assert [one async for one in channel.unary_stream("/test.Shop/List")(b"", timeout=30)] == [b"1", b"2"]
            assert [one async for one in channel.unary_stream("/test.Shop/Write")(b"", timeout=30)] == [b"1"]
            assert await channel.stream_unary("/test.Shop/Collect")(iter([b"1", b"2"]), timeout=30) == b"12"
            assert [one async for one in channel.stream_stream("/test.Shop/Echo")(iter([b"1"]), timeout=30)] == [b"1"]
            stream = channel.unary_stream("/test.Shop/Endless")(b"", timeout=30)
            assert await stream.read() == b"x"
            stream.cancel()
            async with asyncio.timeout(30):
                while in_flight(monitor):
                    await asyncio.sleep(0.01)
    finally:
        await server.stop(5)
    assert counted(monitor) == {**EXPECTED, ("Write", "OK"): 1}


def test_methods_are_bounded() -> None:
    """OB2: a method beyond the limit is `_other`."""
    from fastcore.observe.calls import CallMetrics
    from fastcore.observe.trace import begin

    metrics = CallMetrics(lambda: 0, buckets=(1.0,), max_methods=2)
    for i in range(5):
        metrics.ended(f"/m{i}", "OK", metrics.begin(), begin(None))
    [total, *_] = metrics.collect()
    assert {sample.labels["method"]: sample.value for sample in total.samples} == {"/m0": 1, "/m1": 1, "_other": 3}
