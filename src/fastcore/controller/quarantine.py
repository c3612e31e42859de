"""Keys whose reconcile hits a bug again and again are set aside until their object changes.

A bug does not heal by itself: retrying it costs requests and buries other errors in the log.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from fastcore.clock import NS_PER_S
from fastcore.controller.model import Request

_MOST_KEYS = 10_000


class Parked(NamedTuple):
    """A key that is set aside.

    Args:
        state: the object's identity and generation at the last failure; any other ends the quarantine.
        since_ns: when.
        until_ns: when it is tried once more.
    """

    state: Hashable
    since_ns: int
    until_ns: int


class Quarantine:
    """Counts the bugs of each key in a row, and knows which keys are set aside; at most 10,000 of each.

    Args:
        threshold: bugs in a row after which a key is set aside, >= 1; None never.
        period: seconds until it is tried once more all the same, > 0.

    Attributes:
        total: keys set aside so far.

    Complexity: O(1).
    Thread safety: belongs to the event loop.
    """

    def __init__(self, threshold: int | None, period: float) -> None:
        self.threshold = threshold
        self._period_ns = int(period * NS_PER_S)
        self._bugs: OrderedDict[Request, int] = OrderedDict()
        self._parked: dict[Request, Parked] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._parked)

    def get(self, request: Request) -> Parked | None:
        """How `request` is set aside, or None."""
        return self._parked.get(request)

    def failed(self, request: Request) -> bool:
        """Count a bug; whether it is time to `park` the key."""
        if self.threshold is None:
            return False
        bugs = self._bugs.pop(request, 0) + 1
        self._bugs[request] = bugs
        if len(self._bugs) > _MOST_KEYS:
            self._bugs.popitem(last=False)
        return bugs >= self.threshold and len(self._parked) < _MOST_KEYS

    def park(self, request: Request, state: Hashable, now_ns: int) -> Parked:
        """Set a key aside while its object's state is `state`."""
        parked = self._parked[request] = Parked(state, now_ns, now_ns + self._period_ns)
        self.total += 1
        return parked

    def healthy(self, request: Request) -> None:
        """The key has ended in another way than by a bug."""
        if self._bugs:
            self._bugs.pop(request, None)

    def remaining(self, request: Request, state: Hashable, now_ns: int) -> float:
        """Seconds that a key has still to wait; 0 lets it go, for one try if nothing has changed."""
        parked = self._parked.get(request)
        if parked is None:
            return 0.0
        if parked.state != state:
            self._bugs.pop(request, None)
        elif now_ns < parked.until_ns:
            return (parked.until_ns - now_ns) / NS_PER_S
        del self._parked[request]
        return 0.0

    def forget(self, workspace: str) -> None:
        """Drop the keys of a workspace that was removed."""
        for keys in (self._bugs, self._parked):
            for request in [request for request in keys if request.workspace == workspace]:
                del keys[request]
