"""Whether one document covers another."""

from typing import Any

from fastcore._py.document import MAX_DEPTH, check_key, plain, same_scalar, too_deep
from fastcore._py.listmap import keyed_by, selector, step


def covered(
    live: Any, desired: Any, field: str | None, state: list[Any] | None, list_keys: dict[str, Any], depth: int
) -> bool:
    if live is desired:
        return True
    a, b = plain(live), plain(desired)
    if type(a) is list and type(b) is list:
        if depth == MAX_DEPTH:
            raise too_deep()
        return covered_items(a, b, field, state, list_keys, depth + 1)
    if type(a) is dict and type(b) is dict:
        if depth == MAX_DEPTH:
            raise too_deep()
        return covered_members(a, b, state, list_keys, depth + 1)
    return type(a) not in (dict, list) and type(b) not in (dict, list) and same_scalar(a, b)


def covered_members(
    a: dict[str, Any], b: dict[str, Any], state: list[Any] | None, list_keys: dict[str, Any], depth: int
) -> bool:
    inner = None
    for key, wanted in b.items():
        check_key(key)
        if state is not None:
            inner = step(state, key)
            if inner == []:
                continue
        # A null asks for an absent or null member, so an absent one may be taken for null.
        if not covered(a.get(key), wanted, key, inner, list_keys, depth):
            return False
    return True


def covered_items(
    a: list[Any],
    b: list[Any],
    field: str | None,
    state: list[Any] | None,
    list_keys: dict[str, Any],
    depth: int,
) -> bool:
    inner = None
    keyed = keyed_by(list_keys, field, a, b)
    if keyed is None:
        if len(a) != len(b):
            return False
        for i in range(len(a)):
            if state is not None:
                inner = step(state, i)
                if inner == []:
                    continue
            if not covered(a[i], b[i], None, inner, list_keys, depth):
                return False
        return True
    fields, live_tokens, desired_tokens = keyed
    live_items = dict(zip(live_tokens, a, strict=False))
    for i in range(len(desired_tokens)):
        token, wanted = desired_tokens[i], b[i]
        if state is not None:
            inner = step(state, selector(fields, wanted))
            if inner == []:
                continue
        if token not in live_items or not covered(live_items[token], wanted, None, inner, list_keys, depth):
            return False
    return True
