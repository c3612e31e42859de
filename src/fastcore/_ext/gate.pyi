from collections.abc import Callable
from logging import Logger
from typing import Literal, NamedTuple, TypeVar

from typing_extensions import disjoint_base

_Listener = TypeVar("_Listener", bound=Callable[[str, str, str, str], object])

class BreakerStats(NamedTuple):
    state: str
    calls: int
    successes: int
    failures: int
    excluded: int
    slow: int
    rejected: int
    late_total: int
    dropped: int
    consecutive_failures: int
    window_calls: int
    window_failures: int
    window_slow: int
    trials: int
    remaining: float
    transitions: dict[tuple[str, str], int]
    mode: str
    would_open: int
    in_flight: int

def logger() -> Logger: ...

@disjoint_base
class Gate:
    """What lets calls through; CircuitBreaker adds the ways to guard one."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> Literal["closed", "open", "half_open"]: ...
    @property
    def mode(self) -> Literal["normal", "forced_open", "disabled", "metrics_only"]: ...
    def on_transition(self, listener: _Listener, /) -> _Listener: ...
    def force_open(self) -> None: ...
    def disable(self) -> None: ...
    def metrics_only(self) -> None: ...
    def reset(self) -> None: ...
    def stats(self) -> BreakerStats: ...
