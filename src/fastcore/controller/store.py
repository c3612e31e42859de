"""The objects of one kind in one workspace, by key and by index, and what changed when they did.

Two sources write: the watch, in the server's order, and our own writes' answers, which run ahead of it. `revision` is
how far the watch has come. An answer that is not newer than that has nothing to add: the watch has already brought it
and whatever came after it, a deletion included. One that is newer is put in and noted in `_ahead` until the watch
catches up, so that older events do not undo it.
"""

import logging
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from fastcore.controller.model import Resource, key_of, parse_revision, revision

log = logging.getLogger(__name__)

Key = tuple[str, str]
IndexFunction = Callable[[Resource], Iterable[Hashable]]


class Change(NamedTuple):
    """One step of one key: `old` is None for an addition, `new` is None for a deletion."""

    old: Resource | None
    new: Resource | None


class Store:
    """Objects by (namespace, name), with indexes; every method returns what changed.

    Args:
        partial: the collection is restricted by a selector, so that a new object in an answer may not belong to it.

    Complexity: get, apply and observe O(1) + indexes; replace O(n).
    Thread safety: use from one event loop.
    """

    def __init__(self, *, partial: bool = False) -> None:
        self.objects: dict[Key, Resource] = {}
        self.revision = ""
        self._partial = partial
        self._ahead: dict[Key, int] = {}
        self._indexes: dict[str, _Index] = {}

    def replace(self, items: Iterable[Resource], revision_: str) -> list[Change]:
        """The collection is exactly `items`, but for our own writes that are newer than `revision_` (RF-9).

        A revision before that of the watch is another history, of a server restored or begun anew: no write of ours
        outlives that.
        """
        listed, seen = parse_revision(revision_), parse_revision(self.revision)
        same_history = listed is not None and (seen is None or listed >= seen)
        new = {key_of(item): item for item in items}
        for key, ours in list(self._ahead.items()):
            if same_history and listed is not None and ours > listed:
                new[key] = self.objects[key]
            else:
                del self._ahead[key]
        changes: list[Change] = []
        for key, old in self.objects.items():
            if key not in new:
                changes.append(Change(old, None))
        for key, obj in new.items():
            steps = _steps(self.objects.get(key), obj)
            if steps:
                changes += steps
            else:
                new[key] = self.objects[key]  # same version: keep the object that others may hold
        self.objects = new
        self.revision = revision_
        for index in self._indexes.values():
            index.rebuild(new)
        return changes

    def apply(self, change: str, obj: Resource) -> list[Change]:
        """An event of the watch: "ADDED", "MODIFIED" or "DELETED"."""
        key = key_of(obj)
        ours = self._ahead.get(key)
        if ours is not None:
            theirs = revision(obj)
            # With a selector, a deletion can mean that the object left the selection; if it has come back by our
            # write, its addition will follow, and if it has not, nothing will.
            if theirs is not None and theirs < ours and not (self._partial and change == "DELETED"):
                return []
            del self._ahead[key]
        if change != "DELETED":
            return self._put(key, obj)
        old = self.objects.pop(key, None)
        if old is None:
            return []
        for index in self._indexes.values():
            index.remove(key)
        return [Change(obj, None)]

    def observe(self, obj: Resource) -> list[Change]:
        """The answer of our own write, if it is newer than anything known about its key (RF-11)."""
        key = key_of(obj)
        ours, seen = revision(obj), parse_revision(self.revision)
        if ours is None or seen is None or ours <= seen:
            return []
        old = self.objects.get(key)
        if old is not None and (revision(old) or 0) >= ours:
            return []
        if self._partial and (old is None or old["metadata"].get("uid") != obj["metadata"].get("uid")):
            return []
        self._ahead[key] = ours
        return self._put(key, obj)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index every object, present and future, by the values that `function` gives for it (IN-3, IN-4).

        Raises:
            ValueError: there is an index of this name.
        """
        if name in self._indexes:
            raise ValueError(f"there is already an index {name!r}")
        index = _Index(name, function)
        index.rebuild(self.objects)
        self._indexes[name] = index

    def by_index(self, name: str, value: Hashable) -> list[Resource]:
        """The objects for which the index function gave `value`.

        Raises:
            ValueError: there is no index of this name.
        """
        index = self._indexes.get(name)
        if index is None:
            raise ValueError(f"there is no index {name!r}, only {sorted(self._indexes)}")
        return [self.objects[key] for key in index.keys.get(value, ())]

    def _put(self, key: Key, obj: Resource) -> list[Change]:
        steps = _steps(self.objects.get(key), obj)
        if steps:
            self.objects[key] = obj
            for index in self._indexes.values():
                index.put(key, obj)
        return steps


class _Index:
    """Keys by value. The values of each key are remembered, since a function may answer differently next time."""

    def __init__(self, name: str, function: IndexFunction) -> None:
        self._name = name
        self._function = function
        self._values: dict[Key, tuple[Hashable, ...]] = {}
        self.keys: dict[Hashable, dict[Key, None]] = {}

    def rebuild(self, objects: dict[Key, Resource]) -> None:
        self._values.clear()
        self.keys.clear()
        for key, obj in objects.items():
            self.put(key, obj)

    def put(self, key: Key, obj: Resource) -> None:
        values = self._values_of(key, obj)
        if values == self._values.get(key, ()):
            return
        self.remove(key)
        if values:
            self._values[key] = values
        for value in values:
            self.keys.setdefault(value, {})[key] = None

    def _values_of(self, key: Key, obj: Resource) -> tuple[Hashable, ...]:
        try:
            return tuple(dict.fromkeys(self._function(obj)))
        except Exception:
            log.exception("index %r failed on %s/%s; the object is in none of its entries", self._name, *key)
            return ()

    def remove(self, key: Key) -> None:
        for value in self._values.pop(key, ()):
            keys = self.keys[value]
            keys.pop(key, None)
            if not keys:
                del self.keys[value]


def _steps(old: Resource | None, new: Resource) -> list[Change]:
    """From `old` to `new`: nothing for the same version, delete and add for another uid (IN-7), else an update."""
    if old is None:
        return [Change(None, new)]
    was, now = old["metadata"], new["metadata"]
    if was.get("uid") != now.get("uid"):
        return [Change(old, None), Change(None, new)]
    if was.get("resourceVersion") == now.get("resourceVersion"):
        return []
    return [Change(old, new)]
