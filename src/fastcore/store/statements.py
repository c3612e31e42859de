"""From a checked query to SQL: the text is made of words from this package alone, every value is a parameter.

The text depends on the fields and operators, in sorted order, never on a value, the limit or the offset (SQ5).
"""

from typing import Any, NamedTuple, Protocol

from fastcore.store.fields import COLUMNS, FieldType
from fastcore.store.operators import Condition
from fastcore.store.query import Query, Sort

__all__ = ["Dialect", "Statement", "count_statement", "list_statement"]

_COMPARISONS = {"Eq": "=", "Lt": "<", "Le": "<=", "Gt": ">", "Ge": ">="}


class Statement(NamedTuple):
    """A text and its parameters, in order."""

    text: str
    parameters: tuple[Any, ...]


class Dialect(Protocol):
    """How two databases differ in what this package says."""

    placeholder: str
    differs: str

    def any_of(self, column: str, type: FieldType) -> str:
        """The condition that a column has one of the values of one parameter."""

    def one(self, type: FieldType, value: Any) -> Any:
        """A value as the driver takes it."""

    def several(self, type: FieldType, values: tuple[Any, ...]) -> Any:
        """Many values as the one parameter of `any_of`."""


def list_statement(dialect: Dialect, query: Query, after: list[Any] | None) -> Statement:
    """The rows of a page, and one more that tells whether there is another page."""
    predicates, parameters = _where(dialect, query, after)
    mark = dialect.placeholder
    order = ", ".join(f"{sort.field.name} {'DESC' if sort.descending else 'ASC'}" for sort in query.order)
    text = [f"SELECT {', '.join(COLUMNS)} FROM fastcore_resources WHERE {' AND '.join(predicates)} ORDER BY {order}"]
    text.append(f"LIMIT {mark} OFFSET {mark}")
    return Statement(" ".join(text), (*parameters, query.limit + 1, query.offset))


def count_statement(dialect: Dialect, query: Query, after: list[Any] | None) -> Statement:
    """How many rows there are after a place, or at all."""
    predicates, parameters = _where(dialect, query, after)
    return Statement(f"SELECT count(*) FROM fastcore_resources WHERE {' AND '.join(predicates)}", tuple(parameters))


def _where(dialect: Dialect, query: Query, after: list[Any] | None) -> tuple[list[str], list[Any]]:
    mark = dialect.placeholder
    predicates = [f"workspace = {mark}", f"kind = {mark}"]
    parameters: list[Any] = [query.workspace, query.kind]
    predicates += [_condition(dialect, condition, parameters) for condition in query.conditions]
    if after is not None:
        values = [dialect.one(sort.field.type, value) for sort, value in zip(query.order, after, strict=True)]
        predicates.append(_after(mark, query.order, values, parameters))
    return predicates, parameters


def _condition(dialect: Dialect, condition: Condition, parameters: list[Any]) -> str:
    column, mark, type = condition.field.name, dialect.placeholder, condition.field.type
    if condition.operator == "IsNull":
        return f"{column} IS NULL"
    if condition.operator == "NotNull":
        return f"{column} IS NOT NULL"
    if condition.operator == "In":
        parameters.append(dialect.several(type, condition.values[0]))
        return dialect.any_of(column, type)
    parameters.extend(dialect.one(type, value) for value in condition.values)
    if condition.operator == "Range":
        return f"{column} >= {mark} AND {column} < {mark}"
    if condition.operator == "Ne":
        return f"{column} {dialect.differs} {mark}"
    return f"{column} {_COMPARISONS[condition.operator]} {mark}"


def _after(mark: str, order: tuple[Sort, ...], values: list[Any], parameters: list[Any]) -> str:
    """What comes after these values: a comparison of rows where all fields run one way, else spelled out (SQ7)."""
    if len({sort.descending for sort in order}) == 1:
        parameters.extend(values)
        columns = ", ".join(sort.field.name for sort in order)
        return f"({columns}) {'<' if order[0].descending else '>'} ({', '.join([mark] * len(order))})"
    # The bound on the first field follows from the rest; an index can begin with it.
    parameters.append(values[0])
    alternatives = []
    for place, sort in enumerate(order):
        equal = [f"{earlier.field.name} = {mark}" for earlier in order[:place]]
        alternatives.append(" AND ".join([*equal, f"{sort.field.name} {'<' if sort.descending else '>'} {mark}"]))
        parameters.extend(values[: place + 1])
    first = order[0]
    return f"{first.field.name} {'<=' if first.descending else '>='} {mark} AND ({' OR '.join(alternatives)})"
