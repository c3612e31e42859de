"""Ready keys by priority: levels, in each the lanes of the groups that have keys, in each lane first in first out."""

from collections import OrderedDict
from typing import Any


class Group:
    """Stands for one value of `fair_by`; compared by identity, so that taking turns runs no user code."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members = 0  # entries, and calls of `add` under way


class Entry:
    """All that the queue knows of one key."""

    __slots__ = ("added", "code", "due", "group", "key", "popped", "priority", "ready_at", "seq", "started", "state")

    def __init__(self, key: Any, code: int, group: Group) -> None:
        self.key = key
        self.code = code
        self.group = group
        self.state = self.priority = self.popped = 0
        self.added = self.ready_at = self.started = self.due = self.seq = 0


_Lanes = OrderedDict[Group, OrderedDict[Entry, None]]


class Levels:
    """The ready keys; within a level the groups take turns."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: dict[int, _Lanes] = {}

    def put(self, entry: Entry) -> None:
        """Add at the end of the lane of its group and priority."""
        lanes = self._levels.setdefault(entry.priority, OrderedDict())
        lanes.setdefault(entry.group, OrderedDict())[entry] = None

    def remove(self, entry: Entry) -> None:
        """Take out a key that `put` added."""
        lanes = self._levels[entry.priority]
        lane = lanes[entry.group]
        del lane[entry]
        if not lane:
            del lanes[entry.group]
            if not lanes:
                del self._levels[entry.priority]

    def top(self) -> int:
        """The highest priority that has keys."""
        return max(self._levels)

    def take(self, priority: int) -> Entry:
        """Take the first key of the lane whose turn it is."""
        lanes = self._levels[priority]
        group, lane = next(iter(lanes.items()))
        entry = next(iter(lane))
        lanes.move_to_end(group)
        self.remove(entry)
        return entry

    def depths(self) -> dict[int, int]:
        """How many keys each level has, highest first."""
        return {p: sum(map(len, self._levels[p].values())) for p in sorted(self._levels, reverse=True)}
