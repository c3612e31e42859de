"""Time as a value: integer nanoseconds on a clock that never goes back.

Every primitive that reads time takes `clock=`; the compiled twins read the default one in C.
"""

from time import monotonic_ns
from typing import Protocol

__all__ = ["NS_PER_S", "Clock", "monotonic_ns"]

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """A callable that returns integer nanoseconds from any fixed origin."""

    def __call__(self) -> int:
        """Now, in nanoseconds."""
        ...
