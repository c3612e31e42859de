"""Turns a fuzzer's bytes into choices, so that any string of bytes stands for some course of events."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Reads bytes as choices; when they are used up, everything is the first of its options."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    def left(self) -> bool:
        """Whether there is a byte that has not been read."""
        return self._next < len(self._data)

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1; `limit` is at most 256."""
        if not self.left():
            return 0
        self._next += 1
        return self._data[self._next - 1] % limit

    def of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]
