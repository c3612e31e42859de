"""A closed circuit breaker around a function that does nothing, beside its twin, circuitbreaker, pybreaker, aiobreaker.

Read a row against the bare call and the bare with statement: what a guard adds is the difference.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore._ext import breaker as ext
from fastcore._ext import registry as ext_registry
from fastcore._py import breaker as py
from fastcore._py import registry as py_registry
from fastcore.errors import CircuitOpenError

CALL = "breaker around a no-op, call"
DECORATED = "breaker around a no-op, decorated"
BLOCK = "breaker around a no-op, with block"
WINDOW = "breaker with time window, call"
REFUSED = "breaker open, refused call"
AWAITED = "breaker around an awaited no-op"
PERMIT = "breaker permit, acquire + success"
BY_NAME = "breaker of a registry, get"


def noop() -> None:
    pass


async def anoop() -> None:
    pass


class Nothing:
    """A context manager that does nothing, in Python."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def ours(what: str) -> Any:
    return pytest.mark.parametrize(
        "module",
        [
            pytest.param(ext, marks=pytest.mark.subject(what, "fastcore")),
            pytest.param(py, marks=pytest.mark.subject(what, "fastcore twin")),
        ],
    )


def calls_of(benchmark: Any, function: Callable[[], object]) -> None:
    def calls() -> None:
        for _ in range(CALLS):
            function()

    per_call(benchmark, calls)


def blocks_of(benchmark: Any, manager: Any) -> None:
    def blocks() -> None:
        for _ in range(CALLS):
            with manager:
                pass

    per_call(benchmark, blocks)


def guarded_by(benchmark: Any, call: Callable[..., object]) -> None:
    def calls() -> None:
        for _ in range(CALLS):
            call(noop)

    per_call(benchmark, calls)


@pytest.mark.parametrize(
    "what", [pytest.param(w, marks=pytest.mark.subject(w, "the bare no-op")) for w in (CALL, DECORATED)]
)
def test_bare_call(benchmark: Any, what: str) -> None:
    calls_of(benchmark, noop)


@ours(CALL)
def test_call(benchmark: Any, module: Any) -> None:
    guarded_by(benchmark, module.CircuitBreaker("b").call)


@ours(DECORATED)
def test_decorated(benchmark: Any, module: Any) -> None:
    calls_of(benchmark, module.CircuitBreaker("b")(noop))


@ours(BLOCK)
def test_block(benchmark: Any, module: Any) -> None:
    blocks_of(benchmark, module.CircuitBreaker("b"))


@pytest.mark.subject(BLOCK, "an empty Python class")
def test_bare_block(benchmark: Any) -> None:
    blocks_of(benchmark, Nothing())


@ours(WINDOW)
def test_window(benchmark: Any, module: Any) -> None:
    guarded_by(benchmark, module.CircuitBreaker("b", window=10.0, failure_rate=0.5).call)


def awaits_of(benchmark: Any, function: Callable[[], Any]) -> None:
    async def awaits() -> None:
        for _ in range(CALLS):
            await function()

    per_call(benchmark, lambda: asyncio.run(awaits()))


@pytest.mark.subject(AWAITED, "the bare no-op")
def test_bare_await(benchmark: Any) -> None:
    awaits_of(benchmark, anoop)


@ours(AWAITED)
def test_awaited(benchmark: Any, module: Any) -> None:
    acall = module.CircuitBreaker("b").acall
    awaits_of(benchmark, lambda: acall(anoop))


@ours(PERMIT)
def test_permit(benchmark: Any, module: Any) -> None:
    acquire = module.CircuitBreaker("b").acquire
    calls_of(benchmark, lambda: acquire().success())


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(ext_registry, marks=pytest.mark.subject(BY_NAME, "fastcore")),
        pytest.param(py_registry, marks=pytest.mark.subject(BY_NAME, "fastcore twin")),
    ],
)
def test_by_name(benchmark: Any, module: Any) -> None:
    registry = module.BreakerRegistry()
    names = [f"host-{i}" for i in range(CALLS)]

    def gets() -> None:
        get = registry.get
        for name in names:
            get(name)

    per_call(benchmark, gets)


@ours(REFUSED)
def test_refused(benchmark: Any, module: Any) -> None:
    breaker = module.CircuitBreaker("b")
    breaker.force_open()

    def refused(call: Callable[..., object]) -> None:
        try:
            call(noop)
        except CircuitOpenError:
            pass

    call = breaker.call
    calls_of(benchmark, lambda: refused(call))


@pytest.mark.subject(DECORATED, "circuitbreaker")
def test_circuitbreaker(benchmark: Any) -> None:
    calls_of(benchmark, pytest.importorskip("circuitbreaker").CircuitBreaker(name="b")(noop))


@pytest.mark.subject(BLOCK, "circuitbreaker")
def test_circuitbreaker_block(benchmark: Any) -> None:
    blocks_of(benchmark, pytest.importorskip("circuitbreaker").CircuitBreaker(name="b2"))


@pytest.mark.subject(CALL, "pybreaker")
def test_pybreaker(benchmark: Any) -> None:
    guarded_by(benchmark, pytest.importorskip("pybreaker").CircuitBreaker().call)


@pytest.mark.subject(DECORATED, "pybreaker")
def test_pybreaker_decorated(benchmark: Any) -> None:
    calls_of(benchmark, pytest.importorskip("pybreaker").CircuitBreaker()(noop))


@pytest.mark.subject(AWAITED, "aiobreaker")
def test_aiobreaker(benchmark: Any) -> None:
    call = pytest.importorskip("aiobreaker").CircuitBreaker().call_async
    awaits_of(benchmark, lambda: call(anoop))


@pytest.mark.subject(AWAITED, "circuitbreaker")
def test_circuitbreaker_awaited(benchmark: Any) -> None:
    awaits_of(benchmark, pytest.importorskip("circuitbreaker").CircuitBreaker(name="b3")(anoop))
