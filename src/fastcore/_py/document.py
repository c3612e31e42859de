"""What a document is, when two are equal, and how one is copied: for the twins of diff, patch and fingerprint.

A document is what JSON can say: dict with str keys, list, str, int, float, bool and None. Subclasses, other mappings
and tuples are read as the plain type that they stand for.

Equality: numbers by value (1 equals 1.0, NaN equals NaN), bool equals only bool, everything else only its own kind.
"""

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 256
"""Levels of nesting that any walk follows. A document that contains itself always has more."""

ABSENT: Any = object()
"""What a look-up answers for a member that is not there: one look-up, since another thread may change the document."""


def too_deep() -> RecursionError:
    """The error for a document that no walk will finish."""
    return RecursionError(f"the document is nested deeper than {MAX_DEPTH} levels, or contains itself")


def plain(value: Any) -> Any:
    """`value` as one of the plain types, converted one level deep; TypeError names any other type."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int):
        return value if type(value) is int else int.__int__(value)
    if isinstance(value, float):
        return value if type(value) is float else float.__float__(value)
    if isinstance(value, (dict, Mapping)):
        return value if type(value) is dict else dict(value)
    if isinstance(value, (list, tuple)):
        return value if type(value) is list else list(value)
    raise TypeError(f"a document holds dict, list, str, int, float, bool and None, not {type(value).__qualname__}")


def check_key(key: Any) -> None:
    """Raise TypeError unless `key` can be the name of a member."""
    if not isinstance(key, str):
        raise TypeError(f"the names in a document are str, not {type(key).__qualname__}")


def same_scalar(a: Any, b: Any) -> bool:
    """Whether two plain scalars are equal."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and bool(a == b)
    return bool(a == b) or (a != a and b != b)


def equal(a: Any, b: Any, depth: int = 0) -> bool:
    """Whether two documents are equal; lists in order, dicts in any."""
    if a is b:
        return True
    a, b = plain(a), plain(b)
    if type(a) is dict and type(b) is dict:
        if len(a) != len(b):
            return False
        if depth == MAX_DEPTH:
            raise too_deep()
        for key, value in a.items():
            check_key(key)
            other = b.get(key, ABSENT)
            if other is ABSENT or not equal(value, other, depth + 1):
                return False
        return True
    if type(a) is list and type(b) is list:
        if len(a) != len(b):
            return False
        if depth == MAX_DEPTH:
            raise too_deep()
        return all(equal(a[i], b[i], depth + 1) for i in range(len(a)))
    return type(a) not in (dict, list) and type(b) not in (dict, list) and same_scalar(a, b)


def copied(value: Any, depth: int) -> Any:
    value = plain(value)
    if type(value) is dict:
        if depth == MAX_DEPTH:
            raise too_deep()
        result: dict[str, Any] = {}
        for key, item in value.items():
            check_key(key)
            result[plain(key)] = copied(item, depth + 1)
        return result
    if type(value) is list:
        if depth == MAX_DEPTH:
            raise too_deep()
        return [copied(item, depth + 1) for item in value]
    return value


def pointer(path: list[Any]) -> str:
    """The JSON pointer (RFC 6901) of a path."""
    return "".join("/" + (e.replace("~", "~0").replace("/", "~1") if isinstance(e, str) else str(e)) for e in path)
