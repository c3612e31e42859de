"""How loaders are called, and of which kind they are."""

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any


def call(loader: Callable[..., Any], key: Any) -> Any:
    """Call a loader: with the key if it requires an argument, without if it does not."""
    return loader(key) if requires_argument(loader) else loader()


def requires_argument(loader: Callable[..., Any]) -> bool:
    """Whether `loader` has a positional parameter without a default."""
    bound = isinstance(loader, MethodType)
    function = loader.__func__ if isinstance(loader, MethodType) else loader
    if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
        return function.__code__.co_argcount - len(function.__defaults__ or ()) - bound > 0
    try:
        parameters = inspect.signature(loader).parameters.values()
    except ValueError:  # some builtins do not tell: a type makes an empty object, a function looks the key up
        return not isinstance(loader, type)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)


def is_asynchronous(loader: Any) -> bool:
    """Whether calling `loader` only makes a coroutine."""
    return inspect.iscoroutinefunction(loader) or inspect.iscoroutinefunction(type(loader).__call__)


def refuse_awaitable(value: Any, key: Any) -> None:
    """TypeError if a loader that a thread called turned out to be asynchronous."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(f"the loader of {key!r} is asynchronous; use aget_or_load")
