"""How long a failing item waits, in plain Python: `ItemBackoff` and `FastSlow`; `MaxOf` and `WithMaxWait` for others.

The lock guards the counters and is never held while a dict may call an item's `__hash__` or `__eq__`.
"""

import math
from collections.abc import Hashable
from operator import index
from threading import RLock
from typing import Protocol, final

from fastcore._py.amounts import as_float


class _Limiter(Protocol):
    def when(self, item: Hashable, /) -> float: ...

    def forget(self, item: Hashable, /) -> None: ...

    def retries(self, item: Hashable, /) -> int: ...


class _Failures:
    """How often one item failed."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class _Tally:
    """Failures of items."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: dict[Hashable, _Failures] = {}
        self._lock = RLock()

    def add(self, item: Hashable) -> int:
        """Count one more failure; how many there were before."""
        failures = self._counts.get(item)
        if failures is None:
            failures = self._counts.setdefault(item, _Failures())
        with self._lock:
            before = failures.count
            failures.count = before + 1
        return before

    def of(self, item: Hashable) -> int:
        failures = self._counts.get(item)
        return 0 if failures is None else failures.count

    def drop(self, item: Hashable) -> None:
        self._counts.pop(item, None)

    def __len__(self) -> int:
        return len(self._counts)


def check_limiter(limiter: object) -> None:
    """Raise unless `limiter` has the methods of one."""
    for method in ("when", "forget", "retries"):
        if not callable(getattr(limiter, method, None)):
            raise TypeError(f"a limiter needs a method {method}, which {limiter!r} does not have")


@final
class ItemBackoff:
    """Make each item wait `base` seconds after its first failure, twice as long after each other, at most `max`."""

    __slots__ = ("_base", "_doublings", "_max", "_tally")

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
        self._tally = _Tally()

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
        before = self._tally.add(item)
        return self._max if before >= self._doublings else math.ldexp(self._base, before)

    def forget(self, item: Hashable, /) -> None:
        """Forget the failures of `item`; no effect on an unknown one."""
        self._tally.drop(item)

    def retries(self, item: Hashable, /) -> int:
        """Return how often `item` failed since it was forgotten."""
        return self._tally.of(item)

    def __len__(self) -> int:
        """Return how many items are remembered."""
        return len(self._tally)

    def __repr__(self) -> str:
        return f"ItemBackoff(base={self.base!r}, max={self.max!r})"


@final
class FastSlow:
    """Make each item wait `fast` seconds after its first `max_fast` failures, and `slow` after each other."""

    __slots__ = ("_fast", "_max_fast", "_slow", "_tally")

    def __init__(self, fast: float, slow: float, max_fast: int) -> None:
        fast, slow, max_fast = as_float(fast), as_float(slow), index(max_fast)
        if not 0.0 <= fast < math.inf:
            raise ValueError(f"fast must be >= 0 s and finite, not {fast!r}")
        if not fast <= slow < math.inf:
            raise ValueError(f"slow must be >= fast ({fast!r} s) and finite, not {slow!r}")
        if max_fast < 0:
            raise ValueError(f"max_fast must be >= 0 attempts, not {max_fast!r}")
        self._fast = fast
        self._slow = slow
        self._max_fast = max_fast
        self._tally = _Tally()

    @property
    def fast(self) -> float:
        """Seconds after each of the first failures."""
        return self._fast

    @property
    def slow(self) -> float:
        """Seconds after each other failure."""
        return self._slow

    @property
    def max_fast(self) -> int:
        """How many failures are the first ones."""
        return self._max_fast

    def when(self, item: Hashable, /) -> float:
        """Count one more failure of `item`; the seconds that it waits this time."""
        return self._fast if self._tally.add(item) < self._max_fast else self._slow

    def forget(self, item: Hashable, /) -> None:
        """Forget the failures of `item`; no effect on an unknown one."""
        self._tally.drop(item)

    def retries(self, item: Hashable, /) -> int:
        """Return how often `item` failed since it was forgotten."""
        return self._tally.of(item)

    def __len__(self) -> int:
        """Return how many items are remembered."""
        return len(self._tally)

    def __repr__(self) -> str:
        return f"FastSlow(fast={self.fast!r}, slow={self.slow!r}, max_fast={self.max_fast})"


@final
class MaxOf:
    """Make an item wait as long as the strictest of several limiters says."""

    __slots__ = ("_limiters",)

    def __init__(self, *limiters: _Limiter) -> None:
        if not limiters:
            raise ValueError("MaxOf needs at least one limiter")
        for limiter in limiters:
            check_limiter(limiter)
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


@final
class WithMaxWait:
    """Make an item wait as long as another limiter says, but never longer than `max_wait` seconds."""

    __slots__ = ("_limiter", "_max_wait")

    def __init__(self, limiter: _Limiter, max_wait: float) -> None:
        max_wait = as_float(max_wait)
        if not 0.0 <= max_wait < math.inf:
            raise ValueError(f"max_wait must be >= 0 s and finite, not {max_wait!r}")
        check_limiter(limiter)
        self._limiter = limiter
        self._max_wait = max_wait

    @property
    def limiter(self) -> _Limiter:
        """The limiter whose waits are cut."""
        return self._limiter

    @property
    def max_wait(self) -> float:
        """Most seconds."""
        return self._max_wait

    def when(self, item: Hashable, /) -> float:
        """Ask the limiter; its wait in seconds, or `max_wait`."""
        return min(self._limiter.when(item), self._max_wait)

    def forget(self, item: Hashable, /) -> None:
        """Make the limiter forget `item`."""
        self._limiter.forget(item)

    def retries(self, item: Hashable, /) -> int:
        """Return the limiter's count of failures of `item`."""
        return self._limiter.retries(item)

    def __repr__(self) -> str:
        return f"WithMaxWait({self._limiter!r}, max_wait={self._max_wait!r})"
