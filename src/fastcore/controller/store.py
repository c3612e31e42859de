"""The objects of one kind in one workspace, by key and by index, and what changed when they did.

Two sources write: the watch, in the server's order, and our own writes' answers, which run ahead of it. `revision` is
how far the watch has come. An answer that is not newer than that has nothing to add: the watch has already brought it
and whatever came after it, a deletion included. One that is newer is put in and noted in `_ahead` until the watch
catches up, so that older events do not undo it.
"""

import logging
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from fastcore._objecttext import plain_value
from fastcore.controller.frames import Item
from fastcore.controller.model import Resource, key_of, parse_revision
from fastcore.objects import Change, ObjectStore

log = logging.getLogger(__name__)

Key = tuple[str, str]
_REVISION, _UID = ("metadata", "resourceVersion"), ("metadata", "uid")

IndexFunction = Callable[[Resource], Iterable[Hashable]]


class Store:
    """Objects by (namespace, name), with indexes; every method returns what changed.

    Args:
        objects: where they are held, as bytes; nobody else writes to it.
        partial: the collection is restricted by a selector, so that a new object in an answer may not belong to it.

    Complexity: apply and observe O(bytes of the object) + indexes; replace O(bytes of all).
    Thread safety: use from one event loop.
    """

    def __init__(self, objects: ObjectStore, *, partial: bool = False) -> None:
        self.objects = objects
        self.revision = ""
        self._partial = partial
        self._ahead: dict[Key, int] = {}

    def replace(self, items: Iterable[Item], revision: str) -> list[Change]:
        """The collection is exactly `items`, but for our own writes that are newer than `revision` (RF-9).

        A revision before that of the watch is another history, of a server restored or begun anew: no write of ours
        outlives that.
        """
        listed, seen = parse_revision(revision), parse_revision(self.revision)
        same_history = listed is not None and (seen is None or listed >= seen)
        new = {item.key: item.raw for item in items}
        for key, ours in list(self._ahead.items()):
            if same_history and listed is not None and ours > listed:
                new[key] = self.objects.raw(key)
            else:
                del self._ahead[key]
        changes = self.objects.replace(new.values())
        self.revision = revision
        return changes

    def apply(self, change: str, item: Item) -> list[Change]:
        """An event of the watch: "ADDED", "MODIFIED" or "DELETED"."""
        key = item.key
        ours = self._ahead.get(key)
        if ours is not None:
            theirs = parse_revision(item.head.revision)
            # With a selector, a deletion can mean that the object left the selection; if it has come back by our
            # write, its addition will follow, and if it has not, nothing will.
            if theirs is not None and theirs < ours and not (self._partial and change == "DELETED"):
                return []
            del self._ahead[key]
            if theirs == ours and change != "DELETED":
                return []  # what came as the answer to our write, and is stored
        return self.objects.apply((change, item.raw))

    def observe(self, item: Item) -> list[Change]:
        """The answer of our own write, if it is newer than anything known about its key (RF-11)."""
        key = item.key
        ours, seen = parse_revision(item.head.revision), parse_revision(self.revision)
        if ours is None or seen is None or ours <= seen:
            return []
        old = self.objects.path(key, _REVISION)
        if old is not None and (parse_revision(old) or 0) >= ours:
            return []
        if self._partial and self.objects.path(key, _UID) != item.head.uid:
            return []
        self._ahead[key] = ours
        return self.objects.put(item.raw)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index every object, present and future, by the values that `function` gives for it (IN-3, IN-4).

        Values are str, int, float, bool, bytes, None and tuples of them. What the function raises is logged, and its
        object is in none of the entries.

        Raises:
            ValueError: there is an index of this name.
        """

        def values_of(obj: Resource) -> Iterable[Any]:
            try:
                return [plain_value(value) for value in function(obj)]
            except Exception:
                log.exception("index %r failed on %s/%s; the object is in none of its entries", name, *key_of(obj))
                return ()

        self.objects.index(name, values_of)
