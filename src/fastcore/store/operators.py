"""What a filter may ask of a field, as objects: a value never decides what is compared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastcore.store.errors import QueryError
from fastcore.store.fields import Field, FieldType, field_named

__all__ = ["MAX_VALUES", "Condition", "Eq", "Ge", "Gt", "In", "Le", "Lt", "Ne", "Operator", "Prefix", "Range"]

MAX_VALUES = 1000  # in one In


@dataclass(frozen=True, slots=True)
class Operator:
    """Root of the operators; use one of the others."""

    value: Any


class Eq(Operator):
    """The field equals the value; None: it has none. A bare value in a filter means the same."""

    __slots__ = ()


class Ne(Operator):
    """The field has another value or none; None: it has any."""

    __slots__ = ()


class Lt(Operator):
    """The field is less than the value. Texts compare by code point."""

    __slots__ = ()


class Le(Operator):
    """The field is at most the value."""

    __slots__ = ()


class Gt(Operator):
    """The field is greater than the value."""

    __slots__ = ()


class Ge(Operator):
    """The field is at least the value."""

    __slots__ = ()


class Prefix(Operator):
    """The text begins with the value, letter by letter: no character of it has a meaning of its own."""

    __slots__ = ()


class In(Operator):
    """The field has one of the values, at most 1000; of none, nothing is found. A bare list or set means the same."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Range:
    """The field is at least `start` and less than `stop`."""

    start: Any
    stop: Any


class Condition(NamedTuple):
    """A filter checked: the field, how it is compared, and the parameters. `IsNull` and `NotNull` take none."""

    field: Field
    operator: str
    values: tuple[Any, ...]


def conditions(filters: object) -> tuple[Condition, ...]:
    """The filters checked, sorted by field, so that equal filters give equal SQL (SQ5).

    Raises:
        QueryError: a field is not allowed, or a value is of the wrong type.
    """
    if not isinstance(filters, Mapping):
        raise QueryError(f"filters must be a mapping of fields, not {type(filters).__name__}")
    checked = [_condition(field_named(name, "filter"), value) for name, value in filters.items()]
    return tuple(sorted(checked, key=lambda condition: condition.field.name))


def _condition(field: Field, value: object) -> Condition:
    if isinstance(value, Range):
        return Condition(field, "Range", (field.checked(value.start), field.checked(value.stop)))
    if isinstance(value, list | tuple | set | frozenset):
        value = In(value)
    elif not isinstance(value, Operator):
        value = Eq(value)
    operator = type(value)
    if operator is In:
        return Condition(field, "In", (_several(field, value.value),))
    if operator is Prefix:
        return Condition(field, "Range", _prefix(field, value.value))
    if operator in (Eq, Ne) and value.value is None:
        return Condition(field, "IsNull" if operator is Eq else "NotNull", ())
    if operator not in (Eq, Ne, Lt, Le, Gt, Ge):
        raise QueryError(f"filter {field.name!r} has no operator {operator.__name__}; use one of fastcore.store")
    return Condition(field, operator.__name__, (field.checked(value.value),))


def _several(field: Field, values: object) -> tuple[Any, ...]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise QueryError(f"filter {field.name!r} takes a list of values, not {type(values).__name__}")
    checked: set[Any] = set()
    for value in values:
        checked.add(field.checked(value))
        if len(checked) > MAX_VALUES:
            raise QueryError(f"filter {field.name!r} takes at most {MAX_VALUES} values; ask in parts")
    return tuple(sorted(checked))


def _prefix(field: Field, text: object) -> tuple[str, str]:
    """The first text that begins with `text`, and the first after those: a range, which every index can serve."""
    if field.type is not FieldType.TEXT:
        raise QueryError(f"filter {field.name!r} is no text: it has no prefix")
    start: str = field.checked(text)
    last = ord(start[-1]) if start else 0x10FFFF
    if last == 0x10FFFF:
        raise QueryError(f"filter {field.name!r}: a prefix must not be empty or end with U+10FFFF: {start!r}")
    following = 0xE000 if last == 0xD7FF else last + 1  # surrogates are no characters
    return start, start[:-1] + chr(following)
