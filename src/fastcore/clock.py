"""Time and chance as values: integer nanoseconds that never go back, the time of day, and random generators.

Every primitive that reads time takes `clock=`; the compiled twins read the default one in C. The controller's parts
take `clock=`, `now=` and `random=`, and their defaults are the functions here: inside `surrounded` they give another's
time and another's chance, which is how a simulation gets hold of a program that passes none of them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple, Protocol

__all__ = ["NS_PER_S", "Clock", "Surroundings", "monotonic_ns", "new_random", "own_clock", "surrounded", "utc_now"]

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """A callable that returns integer nanoseconds from any fixed origin."""

    def __call__(self) -> int:
        """Now, in nanoseconds."""
        ...


class Surroundings(NamedTuple):
    """Where time and chance come from.

    Args:
        clock: integer nanoseconds that never go back.
        now: the time of day, with its zone.
        new_random: makes a generator, seeded.
    """

    clock: Clock
    now: Callable[[], datetime]
    new_random: Callable[[], Random]


_surroundings: ContextVar[Surroundings | None] = ContextVar("fastcore_surroundings", default=None)


@contextmanager
def surrounded(surroundings: Surroundings) -> Iterator[None]:
    """Have the functions of this module, called in this context and in the tasks begun in it, ask `surroundings`."""
    token = _surroundings.set(surroundings)
    try:
        yield
    finally:
        _surroundings.reset(token)


def monotonic_ns() -> int:
    """The monotonic clock, or the one that surrounds the caller."""
    found = _surroundings.get()
    return time.monotonic_ns() if found is None else found.clock()


def own_clock() -> Clock | None:
    """The clock that surrounds the caller, for what has a default of its own; None where nothing does."""
    found = _surroundings.get()
    return None if found is None else found.clock


def utc_now() -> datetime:
    """The time of day in UTC, or what surrounds the caller says it is."""
    found = _surroundings.get()
    return datetime.now(UTC) if found is None else found.now()


def new_random() -> Random:
    """A new generator, seeded by the system or by what surrounds the caller."""
    found = _surroundings.get()
    return Random() if found is None else found.new_random()
