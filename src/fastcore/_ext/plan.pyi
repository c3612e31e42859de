from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from numpy import uint64
from numpy.typing import NDArray

__all__ = ["Plan", "plan"]

_K = TypeVar("_K", bound=Hashable)
_Path = str | Sequence[Any]

class Plan(NamedTuple, Generic[_K]):
    create: list[_K]
    update: list[_K]
    delete: list[_K]
    unchanged: list[_K]

def plan(
    current: Mapping[_K, Any],
    desired: Mapping[_K, Any],
    /,
    *,
    exact: bool = False,
    fingerprints: tuple[NDArray[uint64], NDArray[uint64]] | None = None,
    verify: bool = False,
    ignore: Iterable[_Path] = (),
    list_keys: Mapping[str, Any] | None = None,
    quantities: Mapping[str, Any] | None = None,
) -> Plan[_K]: ...
