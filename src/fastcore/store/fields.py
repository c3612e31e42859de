"""The columns that a query may name, and what their values may be: everything else is refused by name."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from fastcore.store.errors import QueryError, ResourceError
from fastcore.store.resource import check_text, microseconds

__all__ = ["COLUMNS", "FIELDS", "Field", "FieldType", "field_named"]

MAX_INTEGER = 2**63 - 1


class FieldType(Enum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "bigint"
    MOMENT = "timestamptz"


@dataclass(frozen=True, slots=True)
class Field:
    """A column that may be filtered and, where it is never NULL and has an index, sorted by."""

    name: str
    type: FieldType
    sortable: bool = True

    def checked(self, value: object) -> Any:
        """`value` as a parameter: a text, an integer, or microseconds since 1970.

        Raises:
            QueryError: it is of another type or outside its range.
        """
        where = f"filter {self.name!r}"
        try:
            if self.type is FieldType.TEXT:
                return check_text(where, value, empty=True)
            if self.type is FieldType.MOMENT:
                return microseconds(where, value)
        except ResourceError as error:
            raise QueryError(str(error)) from None
        if isinstance(value, bool) or not isinstance(value, int):
            raise QueryError(f"{where} must be an integer, not {type(value).__name__}")
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise QueryError(f"{where} must be between -2**63 + 1 and 2**63 - 1, not {value}")
        return value


FIELDS = {
    f.name: f
    for f in (
        Field("namespace", FieldType.TEXT),
        Field("name", FieldType.TEXT),
        Field("phase", FieldType.TEXT, sortable=False),  # may be NULL: keyset pages need columns that are not
        Field("created_at", FieldType.MOMENT),
        Field("updated_at", FieldType.MOMENT),
        Field("version", FieldType.INTEGER),
        Field("id", FieldType.INTEGER, sortable=False),  # last in every order as it is
    )
}

# What is read, in the order that `resource.from_row` takes.
COLUMNS = (
    *("workspace", "kind", "namespace", "name", "spec", "status", "metadata"),
    *("created_at", "updated_at", "version", "id"),
)


def field_named(name: object, use: str, *, sortable: bool = False) -> Field:
    """The field called `name`.

    Raises:
        QueryError: there is none, or it cannot be used so; the message lists those that can.
    """
    found = FIELDS.get(name) if isinstance(name, str) else None
    if found is None or (sortable and not found.sortable):
        allowed = ", ".join(sorted(f.name for f in FIELDS.values() if f.sortable or not sortable))
        raise QueryError(f"cannot {use} by {name!r}; allowed: {allowed}")
    return found
