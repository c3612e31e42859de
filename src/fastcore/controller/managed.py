"""`metadata.managedFields`: what the server remembers about who set which field (WR-2).

Nobody here needs the entries of others, and they are half of many an object. Our own tell which fields an apply would
take away, because it no longer mentions them: comparing values alone cannot see that.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fastcore.controller.model import Resource


def keep_own_fields(manager: str) -> Callable[[Resource], Resource]:
    """A transform for informers: drops every entry of `managedFields` but those that `manager` applied."""

    def transform(obj: Resource) -> Resource:
        meta = obj["metadata"]
        entries = meta.pop("managedFields", None)
        if entries:
            own = [e for e in entries if e.get("manager") == manager and e.get("operation") == "Apply"]
            if own:
                meta["managedFields"] = own
        return obj

    return transform


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
    own = [
        entry
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and entry.get("subresource", "") == subresource
    ]
    version = desired.get("apiVersion", live.get("apiVersion"))
    return len(own) == 1 and own[0].get("apiVersion") == version and _mentions(desired, own[0].get("fieldsV1") or {})


def _mentions(value: Any, fields: Mapping[str, Any]) -> bool:
    """Whether `value` has every field of a fieldsV1 set: `f:` members, `k:` keyed items, `v:` values, `i:` places."""
    for path, inner in fields.items():
        what, _, name = path.partition(":")
        if what == "f":
            if not isinstance(value, dict) or name not in value:
                return False
            found = value[name]
        elif what == ".":
            continue
        elif not isinstance(value, list):
            return False
        elif what == "k":
            wanted = msgspec.json.decode(name)
            found = next((item for item in value if _is_item(item, wanted)), None)
            if found is None:
                return False
        elif what == "v":
            if msgspec.json.decode(name) not in value:
                return False
            continue
        elif what == "i":
            if int(name) >= len(value):
                return False
            found = value[int(name)]
        else:
            return False
        if inner and not _mentions(found, inner):
            return False
    return True


def _is_item(item: Any, wanted: Mapping[str, Any]) -> bool:
    """A key member that the item lacks was defaulted by the server (a port's protocol), so it does not tell."""
    return isinstance(item, dict) and all(item.get(key, value) == value for key, value in wanted.items())
