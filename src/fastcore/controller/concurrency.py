"""How many reconciles run at once: as many as allowed, fewer while the API server says that it has too much to do."""

import asyncio
from collections import deque

from fastcore.clock import NS_PER_S

_SHRINK = 0.7
_PAUSE_NS = NS_PER_S  # between two changes: what was under way before tells nothing about the new limit
_SLOW_FACTOR = 8.0
_SLOW_NS = NS_PER_S
_OVERLOADED = frozenset({429, 503, 504})


class Pace:
    """A limit that shrinks by a third at a sign of overload, and grows by one a second without any.

    Signs are 429, 503 and 504, and answers that take more than a second and eight times what they usually take. It
    begins at the maximum, so it does nothing at all to a server that keeps up.

    Args:
        maximum: reconciles at once, >= 1.
        adaptive: False keeps the limit at the maximum.

    Attributes:
        limit: reconciles at once, now.
        cuts: how often the limit shrank.
        latency_ns: smoothed time of an answer in good times.

    Complexity: O(1).
    Thread safety: belongs to the event loop.

    Source: additive increase, multiplicative decrease, as TCP's congestion control.
    """

    def __init__(self, maximum: int, *, adaptive: bool = True) -> None:
        self._maximum = maximum
        self._adaptive = adaptive
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._cut_ns: int | None = None
        self._quiet_ns = 0  # since when there has been neither overload nor growth
        self.limit = maximum
        self.latency_ns = 0.0
        self.cuts = 0

    def answered(self, now_ns: int, took_ns: int, status: int) -> None:
        """Learn from the answer to one request."""
        if not self._adaptive or status == 0:  # no answer: the breaker's affair
            return
        usual = self.latency_ns
        slow = took_ns > _SLOW_NS and took_ns > _SLOW_FACTOR * usual > 0
        if status in _OVERLOADED or slow:
            self._quiet_ns = now_ns
            if self._cut_ns is None or now_ns - self._cut_ns >= _PAUSE_NS:
                self._cut_ns = now_ns
                self.cuts += 1
                self.limit = max(1, int(self.limit * _SHRINK))
            return
        self.latency_ns = took_ns if not usual else usual + (took_ns - usual) / 64
        if self.limit < self._maximum and now_ns - self._quiet_ns >= _PAUSE_NS:
            self._quiet_ns = now_ns
            self.limit += 1
            self._admit()

    def full(self) -> bool:
        """Whether a further worker has to wait."""
        return self._taken >= self.limit

    def take(self) -> None:
        """Occupy a place."""
        self._taken += 1

    async def room(self) -> None:
        """Wait for a place; cancelling is safe."""
        while self.full():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._admit()  # it was our turn: it is somebody else's now
                raise

    def leave(self) -> None:
        """Give a place back."""
        self._taken -= 1
        if self._waiting:
            self._admit()

    def release(self) -> None:
        """Wake everybody, because the controller stops."""
        self.limit = max(self.limit, self._taken + len(self._waiting))
        self._admit()

    def _admit(self) -> None:
        free = self.limit - self._taken
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
