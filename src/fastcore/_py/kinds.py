"""How strategic merge patches treat the members of the built-in kinds.

`types` maps a type to its members, and a member to (type of its value or of its items, strategies, merge key). A kind
is the type "apps/v1 Deployment". A member that is not there has no strategy and no type; "*" is any member.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from fastcore._py.document import plain

Types = Mapping[str, Mapping[str, Any]]
Members = Mapping[str, Any] | None

_PLAIN = (None, "", False, "")


@cache
def built_in() -> Types:
    """The table of the built-in kinds, read once; `tests/diff/generate_kinds.py` makes it from a kube-apiserver."""
    from importlib.resources import files  # here: it costs as much to import as all of fastcore.diff

    table: Types = json.loads((files("fastcore") / "kinds.json").read_bytes())["types"]
    return table


def table_of(types: Types | None) -> Types:
    if types is None:
        return built_in()
    if not isinstance(types, Mapping):
        raise TypeError(f"types maps types to their members, not {type(types).__qualname__}")
    return types


def kind_of(doc: Any) -> str:
    """`apps/v1 Deployment`, "" for a document that does not say its kind."""
    doc = plain(doc)
    if type(doc) is not dict:
        return ""
    version, kind = plain(doc.get("apiVersion")), plain(doc.get("kind"))
    return f"{version} {kind}" if type(version) is str and type(kind) is str else ""


def members_of(types: Types, *docs: Any) -> Members:
    """The members of the first document's kind that the table knows."""
    for doc in docs:
        members = types.get(kind_of(doc))
        if members is not None:
            return members
    return None


def look_up(types: Types, members: Members, name: str) -> tuple[Members, str, bool, str]:
    """The members of the value or of its items, the strategy ("", "merge" or "replace"), retainKeys, the merge key."""
    if members is None:
        return _PLAIN
    entry = members.get(name)
    if entry is None:
        entry = members.get("*")
        if entry is None:
            return _PLAIN
    if not isinstance(entry, (tuple, list)) or [isinstance(part, str) for part in entry] != [True] * 3:
        raise TypeError(f"types: {entry!r} of {name!r} is not (type, strategies, merge key)")
    inner, strategies, key = entry
    parts = strategies.split(",")
    strategy = "merge" if "merge" in parts else "replace" if "replace" in parts else ""
    return types.get(inner), strategy, "retainKeys" in parts, key
