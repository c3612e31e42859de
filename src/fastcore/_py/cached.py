"""The plain-Python twin of `fastcore._ext.cached`: the call of a cached function."""

from collections.abc import Callable, MutableMapping
from typing import Any


def caller_for(
    cache: MutableMapping[Any, Any], make_key: Callable[..., Any], plain: bool, load: Callable[..., Any], /
) -> Callable[..., Any]:
    """What to call in place of a function: `cache[key]`, and `load(key, args, kwargs)` where that raises KeyError.

    `make_key` gets the arguments of a call and returns the key; with `plain`, the key of a call without keywords is the
    tuple of its arguments.
    """

    def caller(*args: Any, **kwargs: Any) -> Any:
        key = args if plain and not kwargs else make_key(*args, **kwargs)
        try:
            return cache[key]
        except KeyError:
            pass
        return load(key, args, kwargs)

    return caller
