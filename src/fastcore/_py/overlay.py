"""A strategic merge patch laid over a document, as the API server does it.

Works on private copies of plain values, which it takes apart: the answer is made of the same dicts and lists.
"""

from typing import Any

from fastcore._py.divergence import (
    DELETE_ITEMS,
    DIRECTIVE,
    ORDER,
    RETAIN,
    grouped,
    is_directive,
    no_key,
    token_of,
)
from fastcore._py.document import pointer
from fastcore._py.kinds import Members, Types, look_up
from fastcore.errors import PatchError


class Overlay:
    """One walk over a document and a patch."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self.path: list[str] = []

    def error(self, reason: str) -> PatchError:
        return PatchError(f"at {pointer(self.path)!r}: {reason}")

    def maps(self, live: dict[str, Any], patch: dict[str, Any], members: Members) -> dict[str, Any]:
        directive = patch.pop(DIRECTIVE, "merge")
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        if directive != "merge":
            raise self.error("'$patch' is none of replace, delete, merge")
        if RETAIN in patch:
            self.retain(live, patch)
        for name in [name for name in patch if name.startswith(ORDER)]:
            order = patch.pop(name)
            self.path.append(name.removeprefix(ORDER))
            self.ordered(live, patch, order, members)
            self.path.pop()
        for name, value in patch.items():
            target = name.removeprefix(DELETE_ITEMS)
            self.path.append(target)
            if target != name:
                self.delete_items(live, value)
            elif value is None:
                live.pop(name, None)
            else:
                self.member(live, value, members)
            self.path.pop()
        return live

    def retain(self, live: dict[str, Any], patch: dict[str, Any]) -> None:
        """Clear what `$retainKeys` does not name."""
        kept = patch.pop(RETAIN)
        if type(kept) is not list:
            raise self.error("'$retainKeys' is not a list")
        for name, value in patch.items():
            if value is not None and not name.startswith((DELETE_ITEMS, ORDER)) and name not in kept:
                raise self.error(f"the patch sets {name!r}, which '$retainKeys' does not name")
        for name in [name for name in live if name not in kept]:
            del live[name]

    def member(self, live: dict[str, Any], value: Any, members: Members) -> None:
        name = self.path[-1]
        was: Any = live.get(name)
        if type(value) is type(was) and type(value) in (dict, list):
            inner, strategy, _, key = look_up(self.types, members, name)
            if type(value) is dict and strategy != "replace":
                value = self.maps(was, value, inner)
            elif type(value) is list and strategy == "merge":
                value = self.merged(was, value, value, inner, key)
            live[name] = value
        elif is_directed(value):
            # A directive that has nothing to work on says nothing.
            live.pop(name, None)
        else:
            live[name] = without_directives(without_nulls(value))

    def delete_items(self, live: dict[str, Any], value: Any) -> None:
        name = self.path[-1]
        if type(value) is not list:
            raise self.error("'$deleteFromPrimitiveList' is not a list")
        was = live.get(name)
        if type(was) is list:
            gone = {self.scalar(item) for item in value}
            live[name] = [item for item in was if type(item) in (dict, list) or token_of(item) not in gone]

    def scalar(self, item: Any) -> Any:
        if type(item) in (dict, list):
            raise self.error("a set of scalars can hold no objects or arrays")
        return token_of(item)

    def ordered(self, live: dict[str, Any], patch: dict[str, Any], order: Any, members: Members) -> None:
        """What `$setElementOrder` says, and the patch for the same list, at once."""
        name = self.path[-1]
        patched = name in patch
        was, value = live.get(name, []), patch.pop(name, [])
        if type(order) is not list or type(was) is not list or type(value) is not list:
            raise self.error("'$setElementOrder', the list or its patch is not a list")
        inner, strategy, _, key = look_up(self.types, members, name)
        tokens = [self.token(item, key) for item in order]
        # What was looked at is gone from the iterator, so each item is sought behind the one before it.
        wanted = iter(tokens)
        for item in value if tokens else ():
            if not is_directed(item):
                token = self.token(item, key)
                if all(token != other for other in wanted):
                    raise self.error("the order of the patch is not that of '$setElementOrder'")
        if not patched:
            if name in live:
                live[name] = self.sorted(was, was, order, key)
        elif name not in live:
            live[name] = self.sorted(without_directives(value), [], order, key)
        elif strategy == "merge":
            live[name] = self.merged(was, value, order, inner, key)
        else:
            live[name] = self.sorted(value, was, order, key)

    def merged(self, was: list[Any], value: list[Any], order: list[Any], inner: Members, key: str) -> list[Any]:
        """A list that is merged, by its key or as a set; what `order` names stands in that order."""
        if not key:
            both: dict[Any, Any] = {}
            for item in (*was, *value):
                both.setdefault(self.scalar(item), item)
            return self.sorted(list(both.values()), was, order, key)
        items, gone, replaced = [], set(), False
        for item in value:
            directive = item.get(DIRECTIVE, "merge") if type(item) is dict else "merge"
            if directive == "replace":
                # This item says no more than that; the others of the patch are the new list.
                replaced = True
            elif directive == "delete":
                gone.add(self.token(item, key))
            elif directive == "merge":
                items.append(item)
            else:
                raise self.error("'$patch' is none of replace, delete, merge")
        if replaced:
            for item in items:
                self.token(item, key)
            items = grouped(items, key)
            return items if order is value else self.sorted(items, was, order, key)
        kept = [item for item in was if self.token(item, key) not in gone]
        stayed = len(kept)
        places = self.places(kept, key)
        for item in items:
            token = self.token(item, key)
            if token in places:
                kept[places[token]] = self.maps(kept[places[token]], item, inner)
            else:
                places[token] = len(kept)
                kept.append(item)
        if order is value:
            return self.sorted(kept, kept[:stayed], items, key)
        # The server counts as many new items among the old ones as were deleted.
        return self.sorted(kept, kept[: len(was)], order, key)

    def token(self, item: Any, key: str) -> Any:
        if not key:
            return self.scalar(item)
        value = item.get(key) if type(item) is dict else None
        if value is None or type(value) in (dict, list):
            raise no_key(self.path, key)
        return token_of(value)

    def sorted(self, items: list[Any], was: list[Any], order: list[Any], key: str) -> list[Any]:
        """`items` in the order that `order` names, and each other one before those that it stood before in `was`."""
        wanted, before = self.places(order, key), self.places(was, key)
        tokens = [self.token(item, key) for item in items]
        # An item that was not there before stands before none, and none before it.
        named = sorted((wanted[token], i, before.get(token, -1)) for i, token in enumerate(tokens) if token in wanted)
        others = sorted((before.get(token, len(was)), i) for i, token in enumerate(tokens) if token not in wanted)
        result: list[Any] = []
        done = 0
        for _, i, place in named:
            while done < len(others) and others[done][0] < place:
                result.append(items[others[done][1]])
                done += 1
            result.append(items[i])
        return result + [items[i] for _, i in others[done:]]

    def places(self, items: list[Any], key: str) -> dict[Any, int]:
        """Where each key stands first."""
        found: dict[Any, int] = {}
        for i in range(len(items)):
            found.setdefault(self.token(items[i], key), i)
        return found


def is_directed(value: Any) -> bool:
    return type(value) is dict and DIRECTIVE in value


def without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if type(value) is list else value


def without_directives(value: Any) -> Any:
    """`value` without the directives in it and the objects that are one."""
    if type(value) is dict:
        return {
            name: without_directives(item)
            for name, item in value.items()
            if not is_directive(name) and not is_directed(item)
        }
    if type(value) is list:
        return [without_directives(item) for item in value if not is_directed(item)]
    return value
