"""Whatever leads back to an object of ours is collected with it, through everything that it can hold."""

import gc
import weakref
from typing import Any

import pytest

from isolated.holders import HOLDERS


class Node:
    """Stands for a key, a value, a clock (which stands still), a limiter, a listener, any callable."""

    holder: object = None

    def __call__(self, *_: object) -> int:
        return 0

    def when(self, item: object) -> float:
        return 0.0

    def forget(self, item: object) -> None: ...

    def retries(self, item: object) -> int:
        return 0


@pytest.mark.parametrize("name", HOLDERS)
def test_cycle(impl: Any, name: str) -> None:
    """A cycle through any of our objects is garbage like any other."""
    node = Node()
    node.holder = HOLDERS[name](impl, node)
    witness = weakref.ref(node)
    gc.collect()
    assert witness() is node
    del node
    gc.collect()
    assert witness() is None


@pytest.mark.parametrize("name", HOLDERS)
def test_no_cycle(impl: Any, name: str) -> None:
    """What is held goes with its holder at once, with no help of the collector: nothing hides a reference."""
    node = Node()
    witness = weakref.ref(node)
    gc.disable()
    try:
        holder = HOLDERS[name](impl, node)
        del node
        assert witness() is not None
        del holder
        if impl.name == "ext":
            assert witness() is None
    finally:
        gc.enable()
