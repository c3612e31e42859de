"""What every cache can be given besides its policy; for type checkers, and so in one place."""

from collections.abc import Callable
from typing import Any, Literal, TypedDict

Cause = Literal["explicit", "replaced", "size", "expired", "collected"]
Listener = Callable[[Any, Any, Cause], object]


class ListenerOptions(TypedDict, total=False):
    """Who is told of what has gone."""

    on_removal: Listener | None
    on_eviction: Listener | None


class LoadingOptions(ListenerOptions, total=False):
    """Options of every cache; `fastcore.cache.LRUCache` documents them."""

    copy: Literal["on_read", "on_write", "both"] | None
    copier: Callable[[Any], Any] | None


class CacheOptions(LoadingOptions, total=False):
    """Options of every cache that holds the values themselves."""

    weak_values: bool
