from collections.abc import Callable
from types import TracebackType
from typing import Any, final

import numpy as np
from numpy.typing import DTypeLike

from fastcore._ext.pool import _Pool

@final
class BufferPool(_Pool[bytearray]):
    """Lend bytearrays of `size` zero bytes, and numpy arrays on pooled memory."""

    def __new__(
        cls,
        size: int = 1024,
        *,
        max_idle: int = 64,
        max_size: int = 1048576,
        clear: bool = True,
        max_idle_time: float | None = 120.0,
        clock: Callable[[], int] | None = None,
        debug: bool = False,
    ) -> BufferPool: ...
    def lease_array(self, n: int | tuple[int, ...], dtype: DTypeLike = "float64") -> ArrayLease: ...

@final
class ArrayLease:
    """Holds the memory of one numpy array for the length of a with statement."""

    def __enter__(self) -> np.ndarray[Any, Any]: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
