"""A breaker a workspace: one whose API server fails again and again is asked now and then, not hammered."""

from random import Random

from fastcore.breaker import CircuitBreaker, Permit
from fastcore.clock import Clock, new_random
from fastcore.controller.turn import Turn
from fastcore.errors import CircuitOpenError

_OPEN_S = 5.0
_MOST_OPEN_S = 60.0


class Breakers:
    """Breakers around the reconciles of each workspace.

    A reconcile counts as a failure if no request of it was answered and at least one broke, by a lost connection, a
    time out or a 5xx; as a success if one was answered; not at all if it sent none. While a breaker is open its keys
    stay in the queue, delayed until it is half open, and come back spread over some seconds.

    Args:
        threshold: failures in a row that open a breaker, >= 1; None has none.
        clock: integer nanoseconds.
        random: spreads the keys that come back.

    Complexity: O(1).
    Thread safety: belongs to the event loop.
    """

    def __init__(self, threshold: int | None, clock: Clock | None, random: Random | None = None) -> None:
        self._threshold = threshold
        self._clock = clock
        self._random = random or new_random()
        self._by_workspace: dict[str, CircuitBreaker] = {}

    def states(self) -> dict[str, str]:
        """State of each workspace's breaker by name."""
        return {name: breaker.state for name, breaker in self._by_workspace.items()}

    def enter(self, workspace: str) -> Permit | float | None:
        """A permit for one reconcile, or the seconds that the key has to wait; None without breakers."""
        if self._threshold is None:
            return None
        breaker = self._by_workspace.get(workspace)
        if breaker is None:
            breaker = self._by_workspace[workspace] = CircuitBreaker(
                f"workspace {workspace}",
                failure_threshold=self._threshold,
                open_for=_OPEN_S,
                open_max=_MOST_OPEN_S,
                half_open_timeout=_MOST_OPEN_S,
                clock=self._clock,
                rng=self._random,
            )
        try:
            return breaker.acquire()
        except CircuitOpenError as error:
            return error.remaining + self._random.uniform(0.1, _OPEN_S)

    @staticmethod
    def leave(permit: Permit | None, turn: Turn) -> None:
        """Report how a reconcile went."""
        if permit is None:
            return
        if turn.answered:
            permit.success()
        elif turn.broken:
            permit.failure()
        else:
            permit.ignore()

    def drop(self, workspace: str) -> None:
        """Forget a workspace that was removed."""
        self._by_workspace.pop(workspace, None)
