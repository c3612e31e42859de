"""A token bucket a key, in bounded memory, in plain Python.

The model stands at the head of the compiled twin. The lock guards everything but the settings; it is re-entrant because
it is held while `table` calls a key's `__hash__` and `__eq__`. An injected clock runs without it.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterable
from operator import index
from threading import RLock
from typing import TYPE_CHECKING, final

from fastcore._py.amounts import as_float, checked_cost, checked_full, checked_rate, checked_time
from fastcore._py.credit import CREDITS, INT64_MIN, accrued, covers
from fastcore._py.quota import Quota, quota_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GLANCE = 2  # meters that a new key looks at while there is room
SEARCH = 16  # and when there is none


class _Meter:
    """The bucket of one key."""

    __slots__ = ("credit", "key", "last", "place")

    def __init__(self, key: Hashable, credit: float, last: int) -> None:
        self.key = key
        self.credit = credit
        self.last = last
        self.place = -1


@final
class KeyedTokenBucket:
    """Limit each key by a `TokenBucket` of its own, in memory for at most `max_keys` keys."""

    __slots__ = ("_clock", "_evictions", "_full", "_hand", "_lock", "_max_keys", "_meters", "_rate", "_seen", "_table")

    def __init__(self, rate: float, burst: float, *, max_keys: int, clock: Callable[[], int] | None = None) -> None:
        rate, burst, max_keys = as_float(rate), as_float(burst), index(max_keys)
        self._rate = checked_rate(rate)
        self._full = checked_full(burst)
        if max_keys < 1:
            raise ValueError(f"max_keys must be >= 1, not {max_keys!r}")
        self._max_keys = max_keys
        self._seen = INT64_MIN
        self._evictions = 0
        self._hand = 0
        self._table: dict[Hashable, _Meter] = {}
        self._meters: list[_Meter] = []
        self._clock = time.monotonic_ns if clock is None else clock
        self._lock = RLock()

    @property
    def rate(self) -> float:
        """Tokens a second for each key."""
        return self._rate

    @property
    def burst(self) -> float:
        """Capacity of each key in tokens."""
        return self._full / CREDITS

    @property
    def max_keys(self) -> int:
        """Most keys to remember."""
        return self._max_keys

    # --- the caller holds the lock

    def _held(self, now: int) -> int:
        self._seen = max(self._seen, now)
        return self._seen

    def _take(self, meter: _Meter, t: int, cost: float) -> bool:
        credit = accrued(meter.credit, meter.last, t, self._rate, self._full)
        if not covers(credit, cost, self._rate):
            return False
        meter.credit = credit - cost
        meter.last = t
        return True

    def _meter(self, key: Hashable, t: int) -> _Meter:
        meter = self._table.get(key)
        if meter is not None:
            return meter
        fresh = _Meter(key, self._full, t)
        meter = self._table.setdefault(key, fresh)
        if meter is fresh:
            meter.place = len(self._meters)
            self._meters.append(meter)
            if len(self._table) <= self._max_keys:
                self._sweep(t, GLANCE, meter)
            while len(self._table) > self._max_keys:
                if len(self._meters) > 1:
                    self._sweep(t, SEARCH, meter)
                else:
                    self._start_over()
        return meter

    def _next(self, t: int) -> tuple[_Meter, float] | None:
        """The meter under the hand and its credit."""
        if not self._meters:
            return None
        if self._hand >= len(self._meters):
            self._hand = 0
        meter = self._meters[self._hand]
        return meter, accrued(meter.credit, meter.last, t, self._rate, self._full)

    def _start_over(self) -> None:
        """Forget everything: what the table still holds are keys that changed their hash and cannot be found."""
        for meter in self._meters:
            meter.place = -1
        self._table, self._meters = {}, []

    def _sweep(self, t: int, looks: int, keep: _Meter) -> None:
        """Move the hand over `looks` meters and drop the full ones, and the fullest if that was not enough."""
        most = -1.0
        fullest = None
        while looks > 0 and (seen := self._next(t)):
            looks -= 1
            meter, credit = seen
            if meter is not keep and credit >= self._full:
                self._drop(meter)
                continue
            self._hand += 1
            if meter is not keep and credit > most:
                fullest, most = meter, credit
        if fullest is not None and len(self._table) > self._max_keys:
            self._evictions += 1
            self._drop(fullest)

    def _drop(self, victim: _Meter) -> None:
        found = self._table.pop(victim.key, None)
        self._unlink(victim)
        if found is not None and found is not victim:
            self._unlink(found)

    def _unlink(self, meter: _Meter) -> None:
        """Take the meter out of the dense list; the last one moves into its place. No effect if it is out already."""
        if meter.place < 0:
            return
        last = self._meters.pop()
        if last is not meter:
            self._meters[meter.place] = last
            last.place = meter.place
        meter.place = -1

    # --- public

    def allow(self, key: Hashable, n: float = 1) -> bool:
        """Take `n` tokens of `key` if they are there; never waits."""
        cost = checked_cost(n)
        if self._rate == math.inf or cost == 0.0 or cost > self._full:
            hash(key)
            return self._rate == math.inf or cost == 0.0
        now = checked_time(self._clock())
        with self._lock:
            now = self._held(now)
            return self._take(self._meter(key, now), now, cost)

    def request(self, key: Hashable, n: float = 1) -> Quota:
        """Do what `allow` does, and return a `Quota`: what remains to `key`, and when to come back."""
        cost = checked_cost(n)
        if self._rate == math.inf or cost == 0.0 or cost > self._full:
            return self.peek(key, n)
        now = checked_time(self._clock())
        with self._lock:
            now = self._held(now)
            meter = self._meter(key, now)
            credit = accrued(meter.credit, meter.last, now, self._rate, self._full)
            self._take(meter, now, cost)
            return quota_of(credit, cost, self._rate, self._full, True)

    def peek(self, key: Hashable, n: float = 1) -> Quota:
        """Return what `request` would; takes nothing, and does not remember the key."""
        cost = checked_cost(n)
        now = checked_time(self._clock())
        with self._lock:
            now = self._held(now)
            meter = self._table.get(key)
            credit = self._full
            if meter is not None:
                credit = accrued(meter.credit, meter.last, now, self._rate, self._full)
            return quota_of(credit, cost, self._rate, self._full, False)

    def retry_after(self, key: Hashable, n: float = 1) -> float | None:
        """Seconds until `key` has `n` tokens, 0.0 if it has; None if it never will. Takes nothing."""
        return self.peek(key, n).retry_after

    def allow_many(self, keys: Iterable[Hashable], /) -> "NDArray[np.bool_]":
        """Take one token of each key, in order, at one instant; a numpy array of bool says which were allowed."""
        import numpy as np

        if isinstance(keys, np.ndarray) and keys.dtype.kind in "biufUSO":
            keys = keys.tolist()
        batch = list(keys)
        for key in batch:
            hash(key)
        if self._rate == math.inf or self._full < CREDITS:
            return np.full(len(batch), self._rate == math.inf)
        now = checked_time(self._clock())
        with self._lock:
            now = self._held(now)
            verdicts = [self._take(self._meter(key, now), now, CREDITS) for key in batch]
        return np.array(verdicts, dtype=np.bool_)

    @property
    def evictions(self) -> int:
        """Keys that were forgotten before their bucket was full, because there were more than `max_keys`."""
        with self._lock:
            return self._evictions

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        with self._lock:
            return len(self._table)

    def __repr__(self) -> str:
        return f"KeyedTokenBucket(rate={self.rate!r}, burst={self.burst!r}, max_keys={self.max_keys})"
