"""A closed circuit breaker around a function that does nothing, beside its twin, circuitbreaker and pybreaker.

Read a row against the bare call and the bare with statement: what a guard adds is the difference.
"""

from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore._ext import breaker as ext
from fastcore._py import breaker as py
from fastcore.errors import CircuitOpenError

CALL = "breaker around a no-op, call"
DECORATED = "breaker around a no-op, decorated"
BLOCK = "breaker around a no-op, with block"
WINDOW = "breaker with time window, call"
REFUSED = "breaker open, refused call"


def noop() -> None:
    pass


class Nothing:
    """A context manager that does nothing, in Python."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def ours(what: str, target: str = "") -> Any:
    return pytest.mark.parametrize(
        "module",
        [
            pytest.param(ext, marks=pytest.mark.subject(what, "fastcore", target=target)),
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


@ours(CALL, "<= 30 ns more than bare")
def test_call(benchmark: Any, module: Any) -> None:
    guarded_by(benchmark, module.CircuitBreaker("b").call)


@ours(DECORATED, "<= 30 ns more than bare")
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
