"""A source whose values grow, so that a reader sees whether what he got is older than he may get."""

import time
from collections.abc import Iterable
from typing import Any

from fastcore.errors import NotFound

GROWS_ABSENT = 7  # a value that is a multiple of this stands for nothing


class Growing:
    """Holds a number under each key; whoever changes it says when no cache may return an older one any more.

    One thread changes a key. Loading takes as long as another thread needs to come between.
    """

    def __init__(self, keys: Iterable[Any]) -> None:
        self.values = dict.fromkeys(keys, 1)
        self.least = dict.fromkeys(self.values, 0)
        self.calls = 0  # counts roughly; only to fail now and then

    def load(self, key: Any) -> int:
        value = self.values[key]
        time.sleep(0)
        self.calls += 1
        if self.calls % 11 == 0:
            raise OSError(key)
        if value % GROWS_ABSENT == 0:
            raise NotFound(key)
        return value

    def load_many(self, keys: list[Any]) -> dict[Any, int]:
        values = {key: self.values[key] for key in keys}
        time.sleep(0)
        return {key: value for key, value in values.items() if value % GROWS_ABSENT}
