"""asyncio, loaded when something of it is first used: it costs as much to import as all of fastcore.

if TYPE_CHECKING:
    import asyncio
else:
    from fastcore import _aio as asyncio
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    value = getattr(import_module("asyncio"), name)
    globals()[name] = value
    return value
