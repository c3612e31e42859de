"""Labels with a bound: a value that comes from outside must not become a series of its own for ever."""

import threading

OTHER = "_other"


class LabelGuard:
    """Lets the first values of a label through; all further ones are `_other` (OB2).

    Args:
        limit: different values, >= 1.

    Attributes:
        overflows: how often a value was replaced.

    Complexity: O(1).
    Thread safety: may be called from any thread.

    Example:
        >>> guard = LabelGuard(limit=2)
        >>> [guard(value) for value in ("a", "b", "c", "a")]
        ['a', 'b', '_other', 'a']
        >>> guard.overflows
        1
    """

    __slots__ = ("_known", "_limit", "_lock", "overflows")

    def __init__(self, limit: int = 100) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 value, got {limit!r}")
        self._limit = limit
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()
        self.overflows = 0

    def __call__(self, value: str) -> str:
        """`value`, or `_other`."""
        known = self._known.get(value)
        if known is not None:
            return known
        with self._lock:
            if len(self._known) < self._limit:
                return self._known.setdefault(value, value)
            self.overflows += 1
        return OTHER
