from collections.abc import Iterable
from typing import Any

from numpy import uint64
from numpy.typing import NDArray

__all__ = ["fingerprint", "fingerprints"]

def fingerprint(obj: Any, /, *, key: bytes | None = None) -> int: ...
def fingerprints(objs: Iterable[Any], /, *, key: bytes | None = None) -> NDArray[uint64]: ...
