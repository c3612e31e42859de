"""The fence that holds back what a process would write after its lease is over, and the clock that it goes by."""

import sys
import time

from fastcore.clock import Clock, own_clock
from fastcore.controller.errors import ApiError

# The clock that goes on while the machine is suspended: one that stood still would let a laptop or a virtual machine
# that wakes up believe that its lease has just been renewed.
_SUSPEND_CLOCK: int | None = getattr(time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)


class FencedError(ApiError, RuntimeError):
    """Nothing was sent: this process does not hold the lease that lets it write, or cannot be sure of it (LE-8)."""


class Fence:
    """Refuses to let a write out later than a lease allows (LE-8).

    It opens with the first success, moves with each renewal, and closes for good: at its time, whether anybody looked
    or not, or by `close`. A process that was stopped for a while finds it closed when it wakes up, before its own
    timers have had a turn.

    Args:
        what: the lease, for messages.
        clock: integer nanoseconds; one that also counts while the machine sleeps.

    Thread safety: `check` may be called from any thread; the rest belongs to one.

    Example:
        >>> fence = Fence("lease default/web", clock=lambda: 5)
        >>> fence.move(10)
        True
        >>> fence.check()
        >>> fence.close("released")
        >>> fence.check()
        Traceback (most recent call last):
            ...
        fastcore.controller.fence.FencedError: nothing was sent: lease default/web is not held any more (released)
    """

    __slots__ = ("_clock", "_closed", "_latest", "_until", "what")

    def __init__(self, what: str, *, clock: Clock) -> None:
        self.what = what
        self._clock = clock
        self._until: int | None = None
        self._latest = 0
        self._closed = ""

    def check(self) -> None:
        """Return if a write may go out now.

        Raises:
            FencedError: the lease is not held, or not for sure.
        """
        if self.remaining_ns() <= 0:
            why = self._closed or "not yet"
            state = "not held" if self._until is None and not self._closed else "not held any more"
            raise FencedError(f"nothing was sent: {self.what} is {state} ({why})")

    def remaining_ns(self) -> int:
        """Nanoseconds until it closes; 0 when it is closed or has not been opened."""
        if self._until is None or self._closed:
            return 0
        # A clock that goes back must not open what was closed.
        now = self._latest = max(self._latest, self._clock())
        if now >= self._until:
            self._closed = "it was not renewed in time"
            return 0
        return self._until - now

    def move(self, until_ns: int) -> bool:
        """Let it close at `until_ns`, not earlier than before; False if it is closed by now.

        Args:
            until_ns: of the clock: when the renewal was *sent*, plus the renew deadline.
        """
        if self._until is None:
            if not self._closed and self._clock() < until_ns:
                self._until = until_ns
        elif self.remaining_ns() > 0:
            self._until = max(self._until, until_ns)
        return self.remaining_ns() > 0

    @property
    def closed(self) -> bool:
        """Whether it is closed for good."""
        return bool(self._closed) or (self._until is not None and self.remaining_ns() <= 0)

    def close(self, why: str) -> None:
        """Close it for good."""
        self._closed = self._closed or why


def lease_clock_ns() -> int:
    """Nanoseconds of a clock that goes on while the machine sleeps, where the system has one; or the clock of the
    surroundings (`fastcore.clock`)."""
    surrounding = own_clock()
    if surrounding is not None:
        return surrounding()
    return time.monotonic_ns() if _SUSPEND_CLOCK is None else time.clock_gettime_ns(_SUSPEND_CLOCK)
