from collections.abc import Callable
from typing import Any, Literal, TypeVar, Unpack

from typing_extensions import disjoint_base

from fastcore._ext.ttl import TTLCache
from fastcore._options import CacheOptions

_K = TypeVar("_K")
_V = TypeVar("_V")

@disjoint_base
class S3FIFOCache(TTLCache[_K, _V]):
    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[_V], float] | None = None,
        ttl: float | None = None,
        timer: Callable[[], Any] | None = None,
        *,
        jitter: float = 0.0,
        touch: Literal["write", "access"] = "write",
        rng: Callable[[], float] | None = None,
        **options: Unpack[CacheOptions],
    ) -> None: ...
    def _ghosts(self) -> list[int]: ...
