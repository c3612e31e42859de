from types import TracebackType
from typing import Any, Literal, NamedTuple, final

class ShadowRow(NamedTuple):
    """What one policy would have hit at one size."""

    policy: Literal["LRU", "S3-FIFO"]
    maxsize: float
    hit_ratio: float
    requests: int

@final
class Shadow:
    def __new__(cls, cache: Any, rate: float | None = None) -> Shadow: ...
    @property
    def rate(self) -> float: ...
    def report(self) -> list[ShadowRow]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Shadow: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
