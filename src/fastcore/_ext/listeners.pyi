from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

@disjoint_base
class Listeners:
    @property
    def on_removal(self) -> Callable[[Any, Any, str], object] | None: ...
    @property
    def on_eviction(self) -> Callable[[Any, Any, str], object] | None: ...
    @property
    def nothing(self) -> list[Any]: ...
