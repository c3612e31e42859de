"""Quantities of Kubernetes, such as `500m` and `1Gi`: where they stand, and when two are the same amount."""

import re
from collections.abc import Mapping
from typing import Any

# What a suffix makes of a number, in billionths.
_SCALES = {"n": 1, "u": 10**3, "m": 10**6, "": 10**9}
_SCALES |= {letter: 10 ** (9 + 3 * i) for i, letter in enumerate("kMGTPE", 1)}
_SCALES |= {f"{letter}i": 10**9 << 10 * i for i, letter in enumerate("KMGTPE", 1)}
_TEXT = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:([eE])([+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i|))")


def amount(value: Any) -> int | None:
    """A quantity in billionths, rounded up as Kubernetes does it; None for what is no quantity."""
    if type(value) is float or (type(value) is int and value.bit_length() <= 128):
        value = repr(value)
    if not isinstance(value, str) or len(value) > 64:
        return None
    found = _TEXT.fullmatch(value)
    if found is None:
        return None
    sign, whole, fraction, _, exponent, suffix = found.groups("")
    digits = whole + fraction
    if not digits:
        return None
    number: int = int(digits)
    places = len(fraction)
    if exponent:
        places -= int(exponent) + 9
    else:
        number *= _SCALES[suffix]
    number = -(-number // 10**places) if places > 0 else number * 10**-places
    return -number if sign == "-" else number


def same_amount(a: Any, b: Any) -> bool:
    """Whether two values would be equal if they were quantities."""
    mine = amount(a)
    return mine is not None and mine == amount(b)


def is_quantity(quantities: Mapping[str, Any], kind: Any, path: list[Any]) -> bool:
    """Whether a quantity stands at the path in a document of the kind."""
    for name in (kind, "*"):
        for pattern in quantities.get(name, ()) if isinstance(name, str) else ():
            parts = pattern.split(".") if isinstance(pattern, str) else list(pattern)
            anywhere = parts[:1] == ["**"]
            if anywhere:
                del parts[0]
            if len(parts) > len(path) or (len(parts) < len(path) and not anywhere):
                continue
            tail = path[len(path) - len(parts) :]
            if all(part in ("*", element) for part, element in zip(parts, tail, strict=True)):
                return True
    return False
