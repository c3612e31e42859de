"""Those who wait for room, from threads and event loops alike, in the order in which they came."""

from collections import deque
from concurrent.futures import Future


class Line:
    """A line of futures; whoever stands at its front is told when there is room, and looks again.

    Thread safety: none; the owner calls it under its own lock. Telling somebody runs no code of the user.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, *, first: bool = False) -> "Future[None]":
        """A new place at the end, or at the front for one who looked and found somebody quicker."""
        place: Future[None] = Future()
        if first:
            self._waiting.appendleft(place)
        else:
            self._waiting.append(place)
        return place

    def leave(self, place: "Future[None]") -> bool:
        """Give up `place`; False if it had been called already, and the call is the next one's now.

        Complexity: O(those who wait).
        """
        try:
            self._waiting.remove(place)
        except ValueError:
            return False
        return True

    def call_one(self) -> None:
        """Tell the first who still waits."""
        while self._waiting:
            if resolve(self._waiting.popleft()):
                return

    def call_all(self) -> None:
        """Tell everybody."""
        while self._waiting:
            resolve(self._waiting.popleft())


def resolve(future: "Future[None]") -> bool:
    """Resolve `future`; False if whoever waited has gone."""
    if not future.set_running_or_notify_cancel():
        return False
    future.set_result(None)
    return True
