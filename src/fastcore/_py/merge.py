"""Merge patches (RFC 7386), made and applied."""

from typing import Any

from fastcore._py.document import ABSENT, MAX_DEPTH, check_key, copied, equal, plain, pointer, too_deep
from fastcore.errors import PatchError


def merged_difference(a: dict[str, Any], b: dict[str, Any], path: list[str], depth: int) -> dict[str, Any]:
    if depth == MAX_DEPTH:
        raise too_deep()
    patch: dict[str, Any] = {}
    matched = 0
    for key, old in a.items():
        check_key(key)
        new = b.get(key, ABSENT)
        if new is ABSENT:
            patch[key] = None
            continue
        matched += 1
        if old is new:
            continue
        path.append(key)
        x, y = plain(old), plain(new)
        if type(x) is dict and type(y) is dict:
            inner = merged_difference(x, y, path, depth + 1)
            if inner:
                patch[key] = inner
        elif not equal(x, y, depth + 1):
            refuse_nulls(new, path, depth + 1)
            patch[key] = new
        path.pop()
    if matched != len(b):
        for key, new in b.items():
            check_key(key)
            if key not in a:
                path.append(key)
                refuse_nulls(new, path, depth + 1)
                patch[key] = new
                path.pop()
    return patch


def refuse_nulls(value: Any, path: list[str], depth: int) -> None:
    value = plain(value)
    if value is None:
        raise PatchError(f"a merge patch cannot set {pointer(path)!r} to null: null removes")
    if type(value) is dict:
        if depth == MAX_DEPTH:
            raise too_deep()
        for key, item in value.items():
            check_key(key)
            path.append(key)
            refuse_nulls(item, path, depth + 1)
            path.pop()


def merged(target: Any, patch: Any, depth: int) -> Any:
    patch = plain(patch)
    if type(patch) is not dict:
        return copied(patch, depth)
    if depth == MAX_DEPTH:
        raise too_deep()
    target = plain(target)
    result: dict[str, Any] = {}
    if type(target) is dict:
        for key, value in target.items():
            check_key(key)
            change = patch.get(key, ABSENT)
            if change is ABSENT:
                result[plain(key)] = copied(value, depth + 1)
            elif change is not None:
                result[plain(key)] = merged(value, change, depth + 1)
    for key, value in patch.items():
        check_key(key)
        if value is not None and key not in result:
            result[plain(key)] = merged(None, value, depth + 1)
    return result
