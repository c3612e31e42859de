from collections.abc import Callable, MutableMapping
from typing import Any

def caller_for(
    cache: MutableMapping[Any, Any], make_key: Callable[..., Any], plain: bool, load: Callable[..., Any], /
) -> Callable[..., Any]: ...
