from collections.abc import Callable, Coroutine, Hashable
from types import GenericAlias
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, final

_K = TypeVar("_K", bound=Hashable)
_K_contra = TypeVar("_K_contra", bound=Hashable, contravariant=True)

class _Limiter(Protocol[_K_contra]):
    def when(self, item: _K_contra, /) -> float: ...
    def forget(self, item: _K_contra, /) -> object: ...
    def retries(self, item: _K_contra, /) -> int: ...

class Durations(NamedTuple):
    """A histogram: pairs of an upper bound in seconds and the count up to it, and the sum in seconds."""

    buckets: tuple[tuple[float, int], ...]
    sum: float

class KeyState(NamedTuple):
    """Where a queue has a key, at one moment; times in seconds."""

    state: Literal["ready", "processing", "delayed"]
    priority: int
    since: float | None
    due: float | None
    again: bool

class QueueStats(NamedTuple):
    """What a queue holds and has done, at one moment; times in seconds."""

    name: str
    depth: int
    depth_by_priority: dict[int, int]
    processing: int
    delayed: int
    adds: int
    retries: int
    unfinished_work: float
    longest_running: float
    queue_duration: Durations
    work_duration: Durations

@final
class WorkQueue(Generic[_K]):
    """Hand each added key to one consumer at a time, once however often it was added."""

    def __new__(
        cls,
        *,
        limiter: _Limiter[_K] | None = None,
        aging: float | None = 60.0,
        fair_by: Callable[[_K], Hashable] | None = None,
        clock: Callable[[], int] | None = None,
        name: str = "",
    ) -> WorkQueue[_K]: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def name(self) -> str: ...
    @property
    def shutting_down(self) -> bool: ...
    def __len__(self) -> int: ...
    def add(self, key: _K, priority: int = 0) -> None: ...
    def add_after(self, key: _K, delay: float, priority: int | None = None) -> None: ...
    def add_rate_limited(self, key: _K, priority: int | None = None) -> None: ...
    def forget(self, key: _K, /) -> None: ...
    def retries(self, key: _K, /) -> int: ...
    def get(self, timeout: float | None = None) -> _K: ...
    def aget(self) -> Coroutine[Any, Any, _K]: ...
    def done(self, key: _K, /) -> None: ...
    def discard(self, group: Hashable, /) -> int: ...
    def shut_down(self) -> None: ...
    def shut_down_with_drain(self, timeout: float) -> bool: ...
    def ashut_down_with_drain(self, timeout: float) -> Coroutine[Any, Any, bool]: ...
    def stats(self) -> QueueStats: ...
    def state(self, key: _K, /) -> KeyState | None: ...
