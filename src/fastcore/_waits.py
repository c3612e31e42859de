"""Where a profile learns for how long threads have waited: of queues, of loads of others, of room in a pool.

While nobody observes, a wait costs one attribute more.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastcore.clock import monotonic_ns


class Waits:
    """Whoever wants to know: `observer` is called with the nanoseconds, in the thread that has waited."""

    observer: Callable[[int], object] | None = None


waits = Waits()


@contextmanager
def watched() -> Iterator[None]:
    """What runs inside is a wait."""
    observer = waits.observer
    if observer is None:
        yield
        return
    began = monotonic_ns()
    try:
        yield
    finally:
        observer(monotonic_ns() - began)
