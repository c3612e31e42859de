from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

__all__ = ["KUBERNETES", "QUANTITIES", "Change", "covers", "diff"]

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
