from collections.abc import Iterable
from typing import Any

from typing_extensions import disjoint_base

@disjoint_base
class Load:
    @property
    def fenced(self) -> bool: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    def _tag(self, tags: Iterable[str], /) -> None: ...

@disjoint_base
class Slots:
    def _check(self) -> list[Any]: ...

__pyx_capi__: dict[str, object]  # what other modules cimport
