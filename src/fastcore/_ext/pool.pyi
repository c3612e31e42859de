from collections.abc import Callable
from types import GenericAlias, TracebackType
from typing import Any, Generic, NamedTuple, TypeVar, final

from typing_extensions import disjoint_base

_T = TypeVar("_T")

class PoolStats(NamedTuple):
    """What a pool holds and has done, at one moment."""

    idle: int
    created: int
    reused: int
    released: int
    dropped_full: int
    dropped_oversized: int
    dropped_failed: int
    double_releases: int
    dropped_unused: int

def trim_all(*, drain: bool = False) -> int: ...

@disjoint_base
class _Pool(Generic[_T]):
    def acquire(self) -> _T: ...
    def release(self, obj: _T | None, /) -> None: ...
    def lease(self) -> Lease[_T]: ...
    def age(self) -> int: ...
    def trim(self) -> int: ...
    def drain(self) -> int: ...
    def stats(self) -> PoolStats: ...

@final
class Lease(Generic[_T]):
    """Holds one object of a pool for the length of a with statement."""

    def __enter__(self) -> _T: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class ObjectPool(_Pool[_T]):
    """Lend objects that are expensive to make, and reset them when they come back."""

    def __new__(
        cls,
        factory: Callable[[], _T],
        *,
        reset: Callable[[_T], object] | None = None,
        max_idle: int = 64,
        sizeof: Callable[[_T], int] | None = None,
        max_bytes: int | None = None,
        max_idle_time: float | None = 120.0,
        clock: Callable[[], int] | None = None,
        debug: bool = False,
    ) -> ObjectPool[_T]: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
