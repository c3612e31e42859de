from typing import Any

from typing_extensions import disjoint_base

@disjoint_base
class Load:
    @property
    def fenced(self) -> bool: ...

@disjoint_base
class Slots:
    def _check(self) -> list[Any]: ...
