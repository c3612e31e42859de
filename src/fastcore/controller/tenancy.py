"""How many workers one workspace may have: keys beyond that stand aside until a reconcile of theirs ends."""

from fastcore.controller.model import Request


class Tenancy:
    """Places for the reconciles of each workspace.

    The queue already takes turns between workspaces, but a turn ends only when its reconcile does: a workspace whose
    server is slow would have every worker wait for it in the end. A key that finds no place does not go back into the
    queue, where a worker would take it again and again: it stands aside, and `leave` gives it back, in its order.

    Args:
        most: reconciles of a workspace at once, >= 1; None is as many as there are workers.

    Complexity: O(1); a key stands aside once.
    Thread safety: belongs to the event loop.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._busy: dict[str, int] = {}
        self._aside: dict[str, dict[Request, None]] = {}

    def enter(self, request: Request) -> bool:
        """Take a place; False if there is none, and the key now stands aside."""
        if self._most is None:
            return True
        workspace = request.workspace
        busy = self._busy.get(workspace, 0)
        waiting = self._aside.get(workspace)
        if busy >= self._most:
            self._aside.setdefault(workspace, {})[request] = None
            return False
        if waiting is not None:
            waiting.pop(request, None)  # an event has brought it back before its turn came
        self._busy[workspace] = busy + 1
        return True

    def leave(self, request: Request) -> Request | None:
        """Give the place of `request` back; the key of its workspace that may have it."""
        if self._most is None:
            return None
        workspace = request.workspace
        busy = self._busy.pop(workspace) - 1
        if busy:
            self._busy[workspace] = busy
        waiting = self._aside.get(workspace)
        if not waiting:
            self._aside.pop(workspace, None)
            return None
        first = next(iter(waiting))
        del waiting[first]
        return first

    def stands_aside(self, request: Request) -> bool:
        """Whether a key waits for a place."""
        return request in self._aside.get(request.workspace, ())

    def forget(self, workspace: str) -> None:
        """Drop the keys of a workspace that was removed; what still runs keeps its place."""
        self._aside.pop(workspace, None)

    def __len__(self) -> int:
        """Keys that stand aside."""
        return sum(map(len, self._aside.values()))
