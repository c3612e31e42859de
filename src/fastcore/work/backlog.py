"""The handles that wait, by priority: how many, which would go last, and which are left at the end."""

from fastcore.work.jobs import Handle


class Backlog:
    """An index of what is queued; the order in which it is taken is the queue's affair.

    Thread safety: none; belongs to the pool's lock.
    """

    __slots__ = ("_count", "_levels")

    def __init__(self) -> None:
        self._levels: dict[int, dict[Handle, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, handle: Handle) -> None:
        """Note that `handle` waits."""
        self._levels.setdefault(handle.job.priority, {})[handle] = None
        self._count += 1

    def remove(self, handle: Handle) -> None:
        """Note that it waits no longer."""
        level = self._levels[handle.job.priority]
        del level[handle]
        self._count -= 1
        if not level:
            del self._levels[handle.job.priority]

    def last_below(self, priority: int) -> Handle | None:
        """The youngest of the lowest priority, if that is below `priority`.

        Complexity: O(priorities in use).
        """
        lowest = min(self._levels, default=priority)
        return next(reversed(self._levels[lowest])) if lowest < priority else None

    def clear(self) -> list[Handle]:
        """Everything that waits, the highest priority first, and forget it."""
        found = [handle for priority in sorted(self._levels, reverse=True) for handle in self._levels[priority]]
        self._levels.clear()
        self._count = 0
        return found

    def by_priority(self) -> dict[int, int]:
        """How many wait at each priority."""
        return {priority: len(level) for priority, level in sorted(self._levels.items())}
