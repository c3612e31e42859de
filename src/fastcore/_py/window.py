"""The last outcomes of a circuit breaker, as the pair (failed, slow) of each call.

Count window: exactly the last `size`. Time window: those of the current slice of `width` nanoseconds and of the
`size - 1` slices before it, so an outcome counts for the window and at most one slice longer.
"""

from collections import deque


class Window:
    """The outcomes and their sums; `width` is 0 for a count window, `size` 0 for no window."""

    __slots__ = ("_outcomes", "calls", "failures", "size", "slow", "width")

    def __init__(self, size: int = 0, width: int = 0) -> None:
        self.size = size
        self.width = width
        self._outcomes: deque[tuple[int, bool, bool]] = deque()
        self.clear()

    def clear(self) -> None:
        """Forget all outcomes."""
        self._outcomes.clear()
        self.calls = self.failures = self.slow = 0

    def catch_up(self, now: int) -> None:
        """Forget what left the window by `now`."""
        if self.width > 0:
            while self._outcomes and self._outcomes[0][0] <= self._slice(now) - self.size:
                self._forget_oldest()
        while self.width == 0 and self.calls > self.size:
            self._forget_oldest()

    def _slice(self, now: int) -> int:
        """Slices are counted from the earliest time that 64 bits can hold, as the compiled twin counts them."""
        return (now + 2**63) // self.width

    def _forget_oldest(self) -> None:
        _, failed, slow = self._outcomes.popleft()
        self.calls -= 1
        self.failures -= failed
        self.slow -= slow

    def record(self, now: int, failed: bool, slow: bool) -> None:
        """Add an outcome."""
        self._outcomes.append((self._slice(now) if self.width > 0 else 0, failed, slow))
        self.calls += 1
        self.failures += failed
        self.slow += slow
        self.catch_up(now)
