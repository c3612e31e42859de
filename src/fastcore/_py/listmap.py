"""Where a walk stands in lists that are maps, and among ignored paths: for diff and covers."""

from collections.abc import Iterable
from typing import Any

from fastcore._py.document import plain

# Ignored paths are a list of tries, each a dict of path element to trie, or to None where a path ends.


def ignored(ignore: Iterable[Any]) -> list[Any] | None:
    if isinstance(ignore, str):
        raise TypeError("ignore is a collection of paths, not str")
    root: dict[Any, Any] = {}
    for path in ignore:
        if isinstance(path, str):
            elements = path.split(".")
            if "" in elements:
                raise ValueError(f"ignore: {path!r} has an empty element")
        elif isinstance(path, (tuple, list)):
            elements = list(path)
            if not elements:
                raise ValueError("ignore: an empty path would ignore the whole document")
        else:
            raise TypeError(f"ignore: a path is a str or a tuple, not {type(path).__qualname__}")
        node = root
        for element in elements[:-1]:
            node = node.setdefault(element, {})
            if node is None:
                break
        else:
            node[elements[-1]] = None
    return [root] if root else None


def step(state: list[Any], element: Any) -> list[Any] | None:
    """The tries below an element: None where nothing more is ignored, [] where everything is."""
    below = []
    for trie in state:
        for name in (element, "*"):
            if name in trie:
                if trie[name] is None:
                    return []
                below.append(trie[name])
    return below or None


# A keyed list: the fields, each with its default (or itself, where it has none), and the tokens of both lists' items.
Keyed = tuple[list[tuple[str, Any]], list[Any], list[Any]]


def keyed_by(list_keys: dict[str, Any], field: str | None, a: list[Any], b: list[Any]) -> Keyed | None:
    """How the items of two lists under one name are keyed, or None where they go by index."""
    if field is None:
        return None
    declared = list_keys.get(field)
    if declared is None:
        return None
    for alternative in declared if isinstance(declared, list) else [declared]:
        fields = fields_of(field, alternative)
        old_tokens = tokens_of(fields, a)
        if old_tokens is None:
            continue
        new_tokens = tokens_of(fields, b)
        if new_tokens is not None:
            return fields, old_tokens, new_tokens
    return None


def fields_of(field: str, alternative: Any) -> list[tuple[str, Any]]:
    fields = []
    for part in alternative if isinstance(alternative, tuple) else (alternative,):
        name, default = part if isinstance(part, tuple) and len(part) == 2 else (part, None)
        if not isinstance(name, str):
            raise TypeError(f"list_keys[{field!r}]: {alternative!r} is not a key field, or a tuple of them")
        fields.append((name, default))
    if not fields:
        raise TypeError(f"list_keys[{field!r}]: {alternative!r} is not a key field, or a tuple of them")
    return fields


def tokens_of(fields: list[tuple[str, Any]], items: list[Any]) -> list[Any] | None:
    """The key of each item as something hashable, or None if an item has none or two items have the same."""
    tokens = []
    for item in items:
        parts = []
        for value in key_values(fields, item):
            value = plain(value)
            if value is None or value != value or type(value) in (dict, list):
                return None
            # 1 and True are one key to a dict, and two to us.
            parts.append((value,) if type(value) is bool else value)
        tokens.append(tuple(parts))
    return tokens if len(set(tokens)) == len(tokens) else None


def key_values(fields: list[tuple[str, Any]], item: Any) -> list[Any]:
    item = plain(item)
    if fields[0][0] == "=":
        return [item]
    if type(item) is not dict:
        return [None]
    return [default if (value := item.get(name)) is None else value for name, default in fields]


def selector(fields: list[tuple[str, Any]], item: Any) -> tuple[Any, ...]:
    values = key_values(fields, item)
    return tuple(part for (name, _), value in zip(fields, values, strict=True) for part in (name, value))
