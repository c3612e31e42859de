"""Wrappers that must be Python functions: `inspect.iscoroutinefunction` does not know compiled ones."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any


def through(acall: Callable[..., Awaitable[Any]], fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A coroutine function like `fn` whose every call goes through `acall`."""

    @wraps(fn)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        return await acall(fn, *args, **kwargs)

    return guarded
