"""Whether one document covers another.

A trail is where quantities stand in a document of the kind, `(quantities, kind)`, and the path to where the walk is.
"""

from typing import Any

from fastcore._py.document import MAX_DEPTH, check_key, plain, same_scalar, too_deep
from fastcore._py.listmap import keyed_by, selector, step
from fastcore._py.quantity import is_quantity, same_amount


def covered(
    live: Any,
    desired: Any,
    field: str | None,
    state: list[Any] | None,
    list_keys: dict[str, Any],
    trail: list[Any],
    depth: int,
) -> bool:
    if live is desired:
        return True
    a, b = plain(live), plain(desired)
    if type(a) is list and type(b) is list:
        if depth == MAX_DEPTH:
            raise too_deep()
        return covered_items(a, b, field, state, list_keys, trail, depth + 1)
    if type(a) is dict and type(b) is dict:
        if depth == MAX_DEPTH:
            raise too_deep()
        return covered_members(a, b, state, list_keys, trail, depth + 1)
    if type(a) in (dict, list) or type(b) in (dict, list):
        return False
    if same_scalar(a, b):
        return True
    quantities, kind = trail[0]
    return same_amount(a, b) and is_quantity(quantities, kind, trail[1:])


def covered_members(
    a: dict[str, Any],
    b: dict[str, Any],
    state: list[Any] | None,
    list_keys: dict[str, Any],
    trail: list[Any],
    depth: int,
) -> bool:
    inner = None
    for key, wanted in b.items():
        check_key(key)
        if state is not None:
            inner = step(state, key)
            if inner == []:
                continue
        # A null asks for an absent or null member, so an absent one may be taken for null.
        trail.append(key)
        if not covered(a.get(key), wanted, key, inner, list_keys, trail, depth):
            return False
        trail.pop()
    return True


def covered_items(
    a: list[Any],
    b: list[Any],
    field: str | None,
    state: list[Any] | None,
    list_keys: dict[str, Any],
    trail: list[Any],
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
            trail.append(i)
            if not covered(a[i], b[i], None, inner, list_keys, trail, depth):
                return False
            trail.pop()
        return True
    fields, live_tokens, desired_tokens = keyed
    live_items = dict(zip(live_tokens, a, strict=False))
    for i in range(len(desired_tokens)):
        token, wanted = desired_tokens[i], b[i]
        if state is not None:
            inner = step(state, selector(fields, wanted))
            if inner == []:
                continue
        trail.append(token)
        if token not in live_items or not covered(live_items[token], wanted, None, inner, list_keys, trail, depth):
            return False
        trail.pop()
    return True
