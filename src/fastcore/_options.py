"""What every cache can be given besides its policy; for type checkers, and so in one place."""

from collections.abc import Callable
from typing import Any, Literal, TypedDict

Cause = Literal["explicit", "replaced", "size", "expired", "collected"]
Listener = Callable[[Any, Any, Cause], object]


class CacheOptions(TypedDict, total=False):
    """Options of every cache; `fastcore.cache.LRUCache` documents them."""

    on_removal: Listener | None
    on_eviction: Listener | None
    copy: Literal["on_read", "on_write", "both"] | None
    weak_values: bool
    copier: Callable[[Any], Any] | None
