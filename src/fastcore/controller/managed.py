"""`metadata.managedFields`: what the server remembers about who set which field (WR-2).

Nobody here needs the entries of others, and they are half of many an object. Our own tell which fields an apply would
take away, because it no longer mentions them: comparing values alone cannot see that.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


def drops_nothing(live: Mapping[str, Any], desired: Mapping[str, Any], manager: str, subresource: str = "") -> bool:
    """Whether applying `desired` as `manager` would take no field from `live`.

    False also when that cannot be known: `live` does not say what `manager` applied, or says it for another version
    of the API.

    Args:
        live: the object with the entries of `manager` in its `managedFields`.
        desired: what would be applied.
        manager: the field manager of the apply.
        subresource: "" for the object itself, or such as "status".

    Complexity: O(number of fields that `manager` owns).
    """
    own = _own_fields(live, desired, manager, subresource)
    return own is not None and _mentions(desired, own, (), None)


def dropped_fields(
    live: Mapping[str, Any], desired: Mapping[str, Any], manager: str, subresource: str = ""
) -> list[tuple[Any, ...]]:
    """The paths of what applying `desired` as `manager` would take from `live`, in the form of `diff`'s.

    Empty also when `live` does not say what `manager` applied.

    Args: as for `drops_nothing`.

    Complexity: O(number of fields that `manager` owns).
    """
    found: list[tuple[Any, ...]] = []
    own = _own_fields(live, desired, manager, subresource)
    if own is not None:
        _mentions(desired, own, (), found)
    return found


def _own_fields(
    live: Mapping[str, Any], desired: Mapping[str, Any], manager: str, subresource: str
) -> Mapping[str, Any] | None:
    own = [
        entry
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and entry.get("subresource", "") == subresource
    ]
    version = desired.get("apiVersion", live.get("apiVersion"))
    return own[0].get("fieldsV1") or {} if len(own) == 1 and own[0].get("apiVersion") == version else None


def _mentions(
    value: Any, fields: Mapping[str, Any], path: tuple[Any, ...], missing: list[tuple[Any, ...]] | None
) -> bool:
    """Whether `value` has every field of a fieldsV1 set: `f:` members, `k:` keyed items, `v:` values, `i:` places.

    With a list for `missing`, the paths of those that it lacks are put there; without, the first one is enough.
    """
    complete = True
    for field, inner in fields.items():
        if field == ".":
            continue
        what, _, name = field.partition(":")
        step, found = _step(value, what, name)
        if found is not _ABSENT and (not inner or _mentions(found, inner, (*path, step), missing)):
            continue
        complete = False
        if missing is None:
            return False
        if found is _ABSENT:
            missing.append((*path, step))
    return complete


_ABSENT = object()


def _step(value: Any, what: str, name: str) -> tuple[Any, Any]:
    """One element of a fieldsV1 path: how `diff` writes it, and what is there."""
    if what == "f":
        return name, value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    if what == "i":
        place = int(name)
        return place, value[place] if isinstance(value, list) and place < len(value) else _ABSENT
    if what not in ("k", "v"):
        return name, _ABSENT
    wanted = msgspec.json.decode(name)
    items = value if isinstance(value, list) else ()
    if what == "k":
        key = tuple(part for pair in wanted.items() for part in pair)
        return key, next((item for item in items if _is_item(item, wanted)), _ABSENT)
    return ("=", wanted), wanted if wanted in items else _ABSENT


def _is_item(item: Any, wanted: Mapping[str, Any]) -> bool:
    """A key member that the item lacks was defaulted by the server (a port's protocol), so it does not tell."""
    return isinstance(item, dict) and all(item.get(key, value) == value for key, value in wanted.items())
