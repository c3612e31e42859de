"""What to list: which resources, in which order, how many, from where. Checked in full before any SQL is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from fastcore.store.errors import QueryError, ResourceError
from fastcore.store.fields import FIELDS, MAX_INTEGER, Field, field_named
from fastcore.store.operators import Condition, conditions
from fastcore.store.resource import Resource, check_text

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "MAX_ORDER_FIELDS", "OrderBy", "Page", "Query", "QueryOptions"]

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_ORDER_FIELDS = 3
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OrderBy:
    """Sort by a field; "name" and "-name" stand for OrderBy("name") and OrderBy("name", descending=True)."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """A list of the resources of one kind in one workspace.

    Args:
        workspace, kind: always part of the query; no filter can widen them.
        limit: how many at most; None and 0 mean 100, more than 1000 means 1000.
        cursor: `Page.cursor` of the page before this one, of a query with the same workspace, kind, order and filters.
        offset: how many to skip instead. Costs as much as reading them, and pages shift when resources come and go.
        order_by: up to three of created_at, updated_at, name, namespace, version; a "-" before one turns it round.
            () is the newest first. The id comes last in every order, so no two resources are ever equal in it.
        filters: field -> value, list of values (any of them), None (has none) or an operator: `Eq`, `Ne`, `Lt`, `Le`,
            `Gt`, `Ge`, `In`, `Range`, `Prefix`. All must hold. Fields: the above, and phase and id.
        remaining: count what follows this page as well, which costs as much as reading it.

    It is checked when it is used: QueryError, a ValueError, names what is not allowed.
    """

    workspace: str
    kind: str
    limit: int | None = None
    cursor: str | None = None
    offset: int | None = None
    order_by: Sequence[str | OrderBy] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    remaining: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: the resources, in order.
        cursor: where the next page begins; None: this was the last.
        remaining: how many follow this page, where it was asked for. Counted apart from the page.
    """

    items: list[T]
    cursor: str | None = None
    remaining: int | None = None


class Sort(NamedTuple):
    """One field of an order."""

    field: Field
    descending: bool


class Query(NamedTuple):
    """A query checked: all that decides the text of its SQL, and the values apart from it."""

    workspace: str
    kind: str
    conditions: tuple[Condition, ...]
    order: tuple[Sort, ...]
    limit: int
    offset: int


def checked(options: QueryOptions) -> Query:
    """The query of these options.

    Raises:
        QueryError: something in them is not allowed.
    """
    if not isinstance(options, QueryOptions):
        raise QueryError(f"expected QueryOptions, not {type(options).__name__}")
    if options.cursor is not None and options.offset is not None:
        raise QueryError("a query has a cursor or an offset, not both")
    return Query(
        *scope(options.workspace, options.kind),
        conditions(options.filters),
        _order(options.order_by),
        min(_count("limit", options.limit) or DEFAULT_LIMIT, MAX_LIMIT),
        _count("offset", options.offset),
    )


def scope(workspace: object, kind: object) -> tuple[str, str]:
    """Both, if a query can have them; raises QueryError."""
    try:
        return check_text("workspace", workspace), check_text("kind", kind)
    except ResourceError as error:
        raise QueryError(str(error)) from None


def sort_values(resource: Resource, order: tuple[Sort, ...]) -> list[Any]:
    """Where the resource stands in that order."""
    return [getattr(resource, sort.field.name) for sort in order]


def _count(name: str, value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise QueryError(f"{name} must be an integer, not {type(value).__name__}")
    if not 0 <= value <= MAX_INTEGER:
        raise QueryError(f"{name} must be between 0 and 2**63 - 1, not {value}")
    return value


def _order(order_by: object) -> tuple[Sort, ...]:
    if isinstance(order_by, str) or not isinstance(order_by, Sequence):
        raise QueryError(f"order_by must be a list of fields, not {type(order_by).__name__}")
    if len(order_by) > MAX_ORDER_FIELDS:
        raise QueryError(f"order_by takes at most {MAX_ORDER_FIELDS} fields, not {len(order_by)}")
    order = [_sort(item) for item in order_by] or [Sort(FIELDS["created_at"], True)]
    names = [sort.field.name for sort in order]
    if len(set(names)) != len(names):
        raise QueryError(f"order_by names a field twice: {', '.join(names)}")
    # The primary key, in the direction of the field before it, so that one index serves both directions.
    return (*order, Sort(FIELDS["id"], order[-1].descending))


def _sort(item: object) -> Sort:
    if isinstance(item, OrderBy):
        if not isinstance(item.descending, bool):
            raise QueryError(f"descending must be True or False, not {item.descending!r}")
        return Sort(field_named(item.field, "sort", sortable=True), item.descending)
    if not isinstance(item, str):
        raise QueryError(f"order_by takes field names or OrderBy, not {type(item).__name__}")
    descending = item.startswith("-")
    return Sort(field_named(item[1:] if descending else item, "sort", sortable=True), descending)
