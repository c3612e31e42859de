"""A value that a cache holds weakly."""

from collections.abc import Callable
from typing import Any
from weakref import ref


class WeakValue(ref[Any]):
    """A weak reference that knows its slot, so that its entry is found without a comparison of keys."""

    __slots__ = ("slot",)

    def __init__(self, value: Any, callback: Callable[[ref[Any]], object]) -> None:
        super().__init__(value, callback)  # type: ignore[call-arg]
        self.slot = 0
