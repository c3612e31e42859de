"""How long a failing item waits, in plain Python: `ItemBackoff`, and `MaxOf` for several rules at once.

The lock guards the counters and is never held while a dict may call an item's `__hash__` or `__eq__`.
"""

import math
from collections.abc import Hashable
from threading import RLock
from typing import Protocol, final

from fastcore._py.bucket import as_float


class _Limiter(Protocol):
    def when(self, item: Hashable, /) -> float: ...

    def forget(self, item: Hashable, /) -> None: ...

    def retries(self, item: Hashable, /) -> int: ...


class _Failures:
    """How often one item failed."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


@final
class ItemBackoff:
    """Make each item wait `base` seconds after its first failure, twice as long after each other, at most `max`."""

    __slots__ = ("_base", "_doublings", "_lock", "_max", "_tally")

    def __init__(self, base: float = 0.005, max: float = 1000.0) -> None:
        base, max = as_float(base), as_float(max)
        if not 0.0 < base < math.inf:
            raise ValueError(f"base must be > 0 s and finite, not {base!r}")
        if not base <= max < math.inf:
            raise ValueError(f"max must be >= base ({base!r} s) and finite, not {max!r}")
        self._base = base
        self._max = max
        # The first count at which the doubled base reaches the maximum; from there nothing is doubled any more.
        self._doublings = 0
        while base < max:
            base *= 2.0
            self._doublings += 1
        self._tally: dict[Hashable, _Failures] = {}
        self._lock = RLock()

    @property
    def base(self) -> float:
        """Seconds after the first failure."""
        return self._base

    @property
    def max(self) -> float:
        """Most seconds."""
        return self._max

    def when(self, item: Hashable, /) -> float:
        """Count one more failure of `item`; the seconds that it waits this time."""
        failures = self._tally.get(item)
        if failures is None:
            failures = self._tally.setdefault(item, _Failures())
        with self._lock:
            before = failures.count
            failures.count = before + 1
        return self._max if before >= self._doublings else math.ldexp(self._base, before)

    def forget(self, item: Hashable, /) -> None:
        """Forget the failures of `item`; no effect on an unknown one."""
        self._tally.pop(item, None)

    def retries(self, item: Hashable, /) -> int:
        """Return how often `item` failed since it was forgotten."""
        failures = self._tally.get(item)
        return 0 if failures is None else failures.count

    def __len__(self) -> int:
        """Return how many items are remembered."""
        return len(self._tally)

    def __repr__(self) -> str:
        return f"ItemBackoff(base={self.base!r}, max={self.max!r})"


@final
class MaxOf:
    """Make an item wait as long as the strictest of several limiters says."""

    __slots__ = ("_limiters",)

    def __init__(self, *limiters: _Limiter) -> None:
        if not limiters:
            raise ValueError("MaxOf needs at least one limiter")
        for limiter in limiters:
            for method in ("when", "forget", "retries"):
                if not callable(getattr(limiter, method, None)):
                    raise TypeError(f"a limiter needs a method {method}, which {limiter!r} does not have")
        self._limiters = limiters

    @property
    def limiters(self) -> tuple[_Limiter, ...]:
        """The members."""
        return self._limiters

    def when(self, item: Hashable, /) -> float:
        """Ask every limiter; the longest wait in seconds."""
        return max([limiter.when(item) for limiter in self._limiters])

    def forget(self, item: Hashable, /) -> None:
        """Make every limiter forget `item`."""
        for limiter in self._limiters:
            limiter.forget(item)

    def retries(self, item: Hashable, /) -> int:
        """Return the largest count of failures of `item` that a limiter has."""
        return max([limiter.retries(item) for limiter in self._limiters])

    def __repr__(self) -> str:
        return f"MaxOf({', '.join(map(repr, self._limiters))})"
