"""A value with the times that decide what a read of it does, and the clock that tells the time, in plain Python."""

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

VALUE, REFRESHING, FAILED, NOT_FOUND, NOTHING = range(5)  # states of an envelope


def refreshes_early(left: float, cost: float, beta: float, draw: float, /) -> bool:
    """Whether a read `left` before expiry, of what took `cost` to load, reloads: with probability exp(-left/beta/cost).

    `draw` is a number drawn evenly from [0, 1). Source: Vattani, Chierichetti and Lowenstein, "Optimal probabilistic
    cache stampede prevention" (VLDB 2015).
    """
    return beta * cost > 0 and draw < math.exp(-left / (beta * cost))


class Clock:
    """The timer of a cache, never going back; called, it repeats the latest reading.

    So what is built on it tells the time of the operation under way without reading a clock again.
    """

    __slots__ = ("_latest", "_lock", "_timer")

    def __init__(self, timer: Callable[[], Any] | None = None) -> None:
        self._timer = time.monotonic if timer is None else timer
        self._lock = Lock()
        self._latest = -math.inf

    def _read(self) -> float:
        """The time now, as a float in the unit of the timer."""
        now = float(self._timer())
        if now != now:
            raise ValueError("timer returned nan")
        with self._lock:
            self._latest = max(self._latest, now)
            return self._latest

    def __call__(self) -> float:
        return self._read() if self._latest == -math.inf else self._latest


class Envelope:
    """What a loading cache keeps for a key: a value, or that there is none, and the times that matter.

    Attributes:
        value: the value; None if there is none.
        found: False if there is no such thing.
        written: when it was loaded or set.
        expires: the first instant at which it is no longer fresh; inf: never.
        cost: how long the load took.
    """

    __slots__ = ("_due", "_state", "cost", "expires", "value", "written")

    value: Any

    def __init__(self, value: Any, state: int, written: float, expires: float, due: float, cost: float, /) -> None:
        self.value = value
        self.written = written
        self.expires = expires
        self.cost = cost
        self._due = due  # the first instant at which a read has something to do besides returning the value
        self._state = state

    @property
    def found(self) -> bool:
        """False if there is no such thing."""
        return self._state != NOT_FOUND

    @property
    def negative(self) -> bool:
        """Whether it says that there is no such thing, or nothing to it."""
        return self._state >= NOT_FOUND
