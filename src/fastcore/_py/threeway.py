"""The patch that follows from three documents: what was last applied, what is live, and what is desired.

It makes the changes from live to desired, and the deletions from last applied to desired: what others set stays.
Works on private copies of plain values.
"""

from typing import Any

from fastcore._py.divergence import DELETE_ITEMS, DIRECTIVE, ORDER, RETAIN, Divergence, token_of
from fastcore._py.document import equal
from fastcore._py.kinds import Members, Types, look_up

Document = dict[str, Any]


def strategic(last: Document, live: Document, desired: Document, types: Types, members: Members) -> Document:
    changes = Divergence(types, True, False, True).maps(live, desired, members, False)
    deletions = Divergence(types, False, True, True).maps(last, desired, members, False)
    return both(deletions, changes, types, members)


def both(deletions: Document, changes: Document, types: Types, members: Members) -> Document:
    """One patch that says what two patches for the same desired document say."""
    patch = dict(deletions)
    for name, value in changes.items():
        said = patch.get(name)
        if type(said) is dict and type(value) is dict:
            patch[name] = both(said, value, types, look_up(types, members, name)[0])
        elif type(said) is list and type(value) is list and name[:1] != "$":
            inner, _, _, key = look_up(types, members, name)
            order = changes.get(ORDER + name) or deletions.get(ORDER + name) or []
            patch[name] = both_items(said, value, order, types, inner, key)
        else:
            patch[name] = value
    return patch


def both_items(
    deletions: list[Any], changes: list[Any], order: list[Any], types: Types, members: Members, key: str
) -> list[Any]:
    for replaced in (changes, deletions):
        if {DIRECTIVE: "replace"} in replaced:
            return replaced
    items = {token_of(item[key]): item for item in deletions if DIRECTIVE not in item}
    for item in changes:
        token = token_of(item[key])
        items[token] = both(items[token], item, types, members) if token in items else item
    place = {token_of(item[key]): i for i, item in enumerate(order)}
    gone = [item for item in deletions if DIRECTIVE in item]
    return sorted(items.values(), key=lambda item: place.get(token_of(item[key]), len(place))) + gone


def both_plain(deletions: Document, changes: Document) -> Document:
    """The same for two merge patches."""
    patch = dict(deletions)
    for name, value in changes.items():
        said = patch.get(name)
        patch[name] = both_plain(said, value) if type(said) is dict and type(value) is dict else value
    return patch


def conflict(patch: Any, changed: Any, types: Types, members: Members, path: list[str]) -> bool:
    """Whether a patch sets what was changed to something else meanwhile; then `path` leads there."""
    if type(patch) is not dict or type(changed) is not dict:
        return not equal(patch, changed)
    if patch.get(DIRECTIVE) != changed.get(DIRECTIVE):
        return True
    for name, value in patch.items():
        if name in (DIRECTIVE, RETAIN) or name.startswith((ORDER, DELETE_ITEMS)) or name not in changed:
            continue
        path.append(name)
        inner, strategy, _, key = look_up(types, members, name)
        other = changed[name]
        if type(value) is list and type(other) is list:
            if lists_conflict(value, other, types, inner, strategy, key, path):
                return True
        elif (type(value) is not dict or type(other) is not dict or strategy != "replace") and conflict(
            value, other, types, inner, path
        ):
            return True
        path.pop()
    return False


def lists_conflict(
    patch: list[Any], changed: list[Any], types: Types, members: Members, strategy: str, key: str, path: list[str]
) -> bool:
    if strategy != "merge":
        scalars = not any(type(item) in (dict, list) for item in (*patch, *changed))
        if len(patch) != len(changed) or scalars:
            return len(patch) != len(changed) or {*map(token_of, patch)} != {*map(token_of, changed)}
        return any(conflict(patch[i], changed[i], types, members, path) for i in range(len(patch)))
    if not key:
        return False
    others = {token_of(item.get(key)): item for item in changed}
    return any(
        conflict(item, others[token_of(item.get(key))], types, members, path)
        for item in patch
        if token_of(item.get(key)) in others
    )


def changes_of(old: Document, new: Document) -> Document:
    """The merge patch (RFC 7386) from one document to another, but what becomes null is left as it is."""
    patch: Document = {}
    for name, value in new.items():
        was = old.get(name)
        if type(was) is dict and type(value) is dict:
            inner = changes_of(was, value)
            if inner:
                patch[name] = inner
        elif value is not None and (name not in old or not equal(was, value)):
            kept = without_nulls(value)
            if kept or not isinstance(value, dict) or not value:
                patch[name] = kept
    return patch


def deletions_of(old: Document, new: Document) -> Document:
    """The part of the merge patch from one document to another that removes members."""
    patch: Document = {name: None for name in old if name not in new}
    for name, value in new.items():
        was = old.get(name)
        if type(value) is dict:
            inner = deletions_of(was if type(was) is dict else {}, value)
            if inner:
                patch[name] = inner
        elif value is None and (name not in old or was is not None):
            patch[name] = None
    return patch


def without_nulls(value: Any) -> Any:
    """`value` without the nulls that are members, nor the objects that hold nothing else."""
    if type(value) is not dict:
        return value
    kept = {name: without_nulls(item) for name, item in value.items() if item is not None}
    return {name: item for name, item in kept.items() if item != {} or value[name] == {}}
