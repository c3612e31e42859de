from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

__all__ = ["KUBERNETES", "QUANTITIES", "Change", "Plan", "covers", "diff", "plan"]

_K = TypeVar("_K", bound=Hashable)
_Path = str | Sequence[Any]

KUBERNETES: dict[str, Any]
QUANTITIES: dict[str, Any]

class Change(NamedTuple):
    op: Literal["add", "remove", "change"]
    path: tuple[Any, ...]
    old: Any
    new: Any
    @property
    def where(self) -> str: ...

class Plan(NamedTuple, Generic[_K]):
    create: list[_K]
    update: list[_K]
    delete: list[_K]
    unchanged: list[_K]

def diff(
    old: Any,
    new: Any,
    /,
    *,
    ignore: Iterable[_Path] = (),
    list_keys: Mapping[str, Any] | None = None,
    quantities: Mapping[str, Any] | None = None,
) -> list[Change]: ...
def covers(
    live: Any,
    desired: Any,
    /,
    *,
    ignore: Iterable[_Path] = (),
    list_keys: Mapping[str, Any] | None = None,
    quantities: Mapping[str, Any] | None = None,
) -> bool: ...
def plan(
    current: Mapping[_K, Any],
    desired: Mapping[_K, Any],
    /,
    *,
    exact: bool = False,
    ignore: Iterable[_Path] = (),
    list_keys: Mapping[str, Any] | None = None,
    quantities: Mapping[str, Any] | None = None,
) -> Plan[_K]: ...
