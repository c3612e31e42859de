from typing import Any

from fastcore._ext.slots import Slots

def check(cache: Slots, /) -> list[Any]: ...
