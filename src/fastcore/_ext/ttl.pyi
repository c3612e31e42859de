from collections.abc import Callable
from typing import Any, Literal, TypeVar, Unpack

from typing_extensions import disjoint_base

from fastcore._ext.lru import LRUCache
from fastcore._options import CacheOptions

_K = TypeVar("_K")
_V = TypeVar("_V")

@disjoint_base
class TTLCache(LRUCache[_K, _V]):
    def __init__(
        self,
        maxsize: float,
        ttl: float | None,
        timer: Callable[[], Any] | None = None,
        getsizeof: Callable[[_V], float] | None = None,
        *,
        jitter: float = 0.0,
        touch: Literal["write", "access"] = "write",
        rng: Callable[[], float] | None = None,
        **options: Unpack[CacheOptions],
    ) -> None: ...
    @property
    def ttl(self) -> float | None: ...
    @property
    def timer(self) -> Callable[[], Any]: ...
    def expire(self, time: Any = None) -> list[tuple[_K, _V]]: ...
