from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from random import Random
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, final

from fastcore._ext.gate import BreakerStats as BreakerStats
from fastcore._ext.gate import Gate

_P = ParamSpec("_P")
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
_Matcher: TypeAlias = type[BaseException] | Callable[[BaseException], object]
_Matchers: TypeAlias = _Matcher | tuple[_Matcher, ...] | list[_Matcher] | set[_Matcher] | frozenset[_Matcher]

@final
class Permit:
    def success(self) -> bool: ...
    def failure(self, error: BaseException | None = None, /) -> bool: ...
    def ignore(self) -> bool: ...
    def __del__(self) -> None: ...

@final
class CircuitBreaker(Gate):
    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int | None = None,
        open_for: float = 60.0,
        half_open_permits: int = 1,
        successes_needed: int = 1,
        window: float | timedelta | None = None,
        failure_rate: float | None = None,
        min_calls: int | None = None,
        slow_call: float | None = None,
        slow_rate: float | None = None,
        exclude: _Matchers = (),
        only: _Matchers | None = None,
        half_open_timeout: float | None = None,
        open_growth: float = 2.0,
        open_max: float | None = None,
        jitter: float = 0.1,
        buckets: int = 10,
        clock: Callable[[], int] | None = None,
        rng: Random | None = None,
    ) -> None: ...
    def call(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
    def acall(
        self, fn: Callable[_P, Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Coroutine[Any, Any, _T]: ...
    def __call__(self, fn: _F, /) -> _F: ...
    def acquire(self) -> Permit: ...
    def __enter__(self) -> CircuitBreaker: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Literal[False]: ...
