"""What a strategic merge patch has to say: the changes, the deletions, or both, that lead from one document to another.

Works on private copies of plain values (`document.copied`), so neither user code runs nor does a depth need a limit.
"""

from typing import Any

from fastcore._py.document import equal, pointer
from fastcore._py.kinds import Members, Types, look_up
from fastcore.errors import PatchError

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
DELETE_ITEMS = "$deleteFromPrimitiveList/"
ORDER = "$setElementOrder/"


def is_directive(name: str) -> bool:
    return name in (DIRECTIVE, RETAIN) or name.startswith((DELETE_ITEMS, ORDER))


def token_of(value: Any) -> Any:
    """A merge key or an item of a set as something to look up: 1 and 1.0 are one, true is another."""
    return (value,) if type(value) is bool else value


def grouped(items: list[Any], key: str) -> list[Any]:
    """Items with the same key together, where the first stands: so the server keeps them."""
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(token_of(item[key]), []).append(item)
    return [item for group in groups.values() for item in group]


def no_key(path: list[str], key: str) -> PatchError:
    return PatchError(f"an item of {pointer(path)!r} is no object with the merge key {key!r}")


class Divergence:
    """One walk over two documents; `changes`, `deletions` and `order` choose what of their difference to tell."""

    def __init__(self, types: Types, changes: bool, deletions: bool, order: bool) -> None:
        self.types, self.changes, self.deletions, self.order = types, changes, deletions, order
        self.path: list[str] = []

    def maps(self, old: dict[str, Any], new: dict[str, Any], members: Members, retain: bool) -> dict[str, Any]:
        """The patch that leads from one object to another; with `retain` it clears what others have added."""
        patch: dict[str, Any] = {}
        for name, value in new.items():
            self.path.append(name)
            self.refuse(name)
            if name in old:
                self.member(name, old[name], value, members, patch)
            elif self.changes:
                patch[name] = self.said(value)
            self.path.pop()
        if self.deletions:
            patch.update((name, None) for name in old if name not in new)
        if retain:
            kept = sorted(name for name, value in new.items() if value is not None)
            if kept and (patch or any(value is not None and name not in new for name, value in old.items())):
                patch[RETAIN] = kept
        return patch

    def member(self, name: str, was: Any, now: Any, members: Members, patch: dict[str, Any]) -> None:
        inner, strategy, retain, key = look_up(self.types, members, name)
        if type(was) is dict and type(now) is dict and strategy != "replace":
            changed = self.maps(was, now, inner, retain)
            if changed:
                patch[name] = changed
        elif type(was) is list and type(now) is list and strategy == "merge":
            if key:
                self.keyed(name, was, now, inner, retain, key, patch)
            else:
                self.set(name, was, now, patch)
        elif self.changes and not equal(was, now):
            patch[name] = self.said(now)

    def keyed(
        self,
        name: str,
        was: list[Any],
        now: list[Any],
        inner: Members,
        retain: bool,
        key: str,
        patch: dict[str, Any],
    ) -> None:
        """What changes in a list of objects that are merged by a key."""
        old, new = self.by_key(was, key), self.by_key(now, key)
        if len(old) != len(was) or len(new) != len(now):
            # A key twice: item by item it could not be told which is meant.
            was, now = grouped(was, key), grouped(now, key)
            if self.other_list(was, now, inner, retain, key):
                patch[name] = [*self.said(now), {DIRECTIVE: "replace"}]
            return
        said: list[Any] = []
        for token, item in new.items():
            if token in old:
                changed = self.maps(old[token], item, inner, retain)
                if changed:
                    changed[key] = item[key]
                    said.append(changed)
            elif self.changes:
                said.append(self.said(item))
        if self.deletions:
            gone = [item[key] for token, item in old.items() if token not in new]
            said += ({key: value, DIRECTIVE: "delete"} for value in sorted(gone, key=str))
        if said:
            patch[name] = said
        if self.order and old and new and (said or self.moved(old, new)):
            patch[ORDER + name] = [{key: item[key]} for item in now]

    def other_list(self, was: list[Any], now: list[Any], inner: Members, retain: bool, key: str) -> bool:
        """Whether there is something to tell of two lists, item by item where they stand."""
        if len(was) != len(now):
            return self.changes or len(was) > len(now)
        return any(
            token_of(was[i][key]) != token_of(now[i][key]) or self.maps(was[i], now[i], inner, retain)
            for i in range(len(now))
        )

    def by_key(self, items: list[Any], key: str) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for item in items:
            value = item.get(key) if type(item) is dict else None
            if value is None or type(value) in (dict, list):
                raise no_key(self.path, key)
            found[token_of(value)] = item
        return found

    def set(self, name: str, was: list[Any], now: list[Any], patch: dict[str, Any]) -> None:
        """What changes in a list of scalars that is a set; an item that is there twice counts once."""
        for item in (*was, *now):
            if type(item) in (dict, list):
                raise PatchError(f"{pointer(self.path)!r} is a set and can hold no objects or arrays")
        old, new = {token_of(item): item for item in was}, {token_of(item): item for item in now}
        added = [item for token, item in new.items() if token not in old] if self.changes else []
        removed = [item for token, item in old.items() if token not in new] if self.deletions else []
        if added:
            patch[name] = added
        if removed:
            patch[DELETE_ITEMS + name] = sorted(removed, key=str)
        if self.order and old and new and (added or removed or self.moved(old, new)):
            patch[ORDER + name] = now

    def moved(self, old: dict[Any, Any], new: dict[Any, Any]) -> bool:
        """Whether what both lists have stands in another order: where others put theirs is theirs to say."""
        return self.changes and [token for token in old if token in new] != [token for token in new if token in old]

    def said(self, value: Any) -> Any:
        """`value`, which the patch takes over; PatchError if it would be read as a directive."""
        if type(value) is dict:
            for name, item in value.items():
                self.path.append(name)
                self.refuse(name)
                self.said(item)
                self.path.pop()
        elif type(value) is list:
            for item in value:
                self.said(item)
        return value

    def refuse(self, name: str) -> None:
        if name[:1] == "$" and is_directive(name):
            raise PatchError(f"a strategic merge patch cannot set {pointer(self.path)!r}: it would be a directive")
