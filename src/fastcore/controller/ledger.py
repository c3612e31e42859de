"""Where the time of reconciles goes, added up in plain integers by stage."""

import gc
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from fastcore.controller.turn import TURN, Turn

STAGES = ("queue", "limiter", "server", "decode", "collector", "user")
"""The queue's part is in the queue's own counters; "user" is the rest of a reconcile: your code, and its wait for the
event loop."""


class Ledger:
    """Nanoseconds of one controller's reconciles by stage.

    Thread safety: belongs to the event loop; reading it from another thread may be one reconcile behind.
    """

    __slots__ = ("collector_ns", "decode_ns", "limiter_ns", "server_ns", "user_ns")

    def __init__(self) -> None:
        self.limiter_ns = self.server_ns = self.decode_ns = self.collector_ns = self.user_ns = 0

    def close(self, turn: Turn, took_ns: int) -> None:
        """Add a reconcile that took so long."""
        known = turn.server_ns + turn.limiter_ns + turn.decode_ns + turn.collector_ns
        self.server_ns += turn.server_ns
        self.limiter_ns += turn.limiter_ns
        self.decode_ns += turn.decode_ns
        self.collector_ns += turn.collector_ns
        self.user_ns += max(0, took_ns - known)

    def seconds(self, queue_seconds: float) -> dict[str, float]:
        """Seconds by stage; the queue's are given."""
        ns = (self.limiter_ns, self.server_ns, self.decode_ns, self.collector_ns, self.user_ns)
        return dict(zip(STAGES, (queue_seconds, *(value / 1e9 for value in ns)), strict=True))


class CollectorWatch:
    """Puts pauses of the cyclic collector down to the reconcile that they interrupt.

    One for the process; on while somebody has started it more often than stopped it.
    """

    def __init__(self, clock: Callable[[], int] = perf_counter_ns) -> None:
        self._clock = clock
        self._users = 0
        self._began = 0

    def start(self) -> None:
        """Watch."""
        self._users += 1
        if self._users == 1:
            gc.callbacks.append(self._told)

    def stop(self) -> None:
        """Watch no more, when all who started have stopped."""
        self._users -= 1
        if self._users == 0:
            gc.callbacks.remove(self._told)

    def _told(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = self._clock()
        else:
            turn = TURN.get()
            if turn is not None:
                turn.collected(self._clock() - self._began)


collector_watch = CollectorWatch()
