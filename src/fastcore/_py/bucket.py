"""Token bucket in plain Python: `TokenBucket` and the `Reservation` that it hands out.

The model stands at the head of the compiled twin. The lock guards one bucket's numbers and is never held while a clock
or a sleep runs; a reservation is guarded by its bucket's lock. It is re-entrant because a signal handler or a finaliser
may call the bucket from between any two lines.
"""

import math
import time
from collections.abc import Callable
from threading import RLock
from typing import Protocol, final

from fastcore._py.amounts import as_float, checked_cost, checked_full, checked_rate, checked_time, duration_ns
from fastcore._py.credit import CREDITS, INT64_MAX, INT64_MIN, accrued, covers, later, tokens_of, wait_ns
from fastcore._py.quota import Quota, quota_of
from fastcore.errors import RateLimitError, WaitCancelled, WaitTimeout

# A wait is slept through in pieces: threads cannot sleep as long as a small rate makes them wait, on Windows 49 days.
LONGEST_S = 86_400.0


class _Stop(Protocol):
    def is_set(self) -> bool: ...

    def wait(self, timeout: float, /) -> bool: ...


def sleep_through(sleep: Callable[[float], object], seconds: float) -> bool:
    """Whether a stop event ended it: the `wait` of one returns True, and no other sleep does."""
    while seconds > LONGEST_S:
        if sleep(LONGEST_S) is True:
            return True
        seconds -= LONGEST_S
    return sleep(seconds) is True


@final
class Reservation:
    """The promise of tokens at a known time, made by `TokenBucket.reserve`."""

    __slots__ = ("_act", "_bucket", "_cost", "_explicit", "_rate", "delay", "ok")

    ok: bool
    delay: float
    _bucket: "TokenBucket"
    _cost: float
    _rate: float
    _act: int
    _explicit: bool

    def __init__(self) -> None:
        raise TypeError("a Reservation comes from TokenBucket.reserve")

    def cancel(self) -> None:
        """Give the tokens back, except those that later reservations already count on."""
        if not self.ok:
            return
        bucket = self._bucket
        now = 0 if self._explicit else bucket._read_clock()
        with bucket._lock:
            now = bucket._last if self._explicit else bucket._held(now)
            bucket._restore(self, now)

    def cancel_at(self, t: int, /) -> None:
        """Do what `cancel` does as if it were `t` (integer nanoseconds)."""
        t = checked_time(t)
        if self.ok:
            with self._bucket._lock:
                self._bucket._restore(self, t)

    def __repr__(self) -> str:
        return f"Reservation(ok={self.ok}, delay={self.delay!r})"


@final
class TokenBucket:
    """Allow events at `rate` a second on average, in bursts of at most `burst`."""

    __slots__ = ("_clock", "_credit", "_event", "_full", "_last", "_lock", "_rate", "_seen", "_sleep")

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        clock: Callable[[], int] | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._rate = checked_rate(rate)
        self._full = self._credit = checked_full(burst)
        self._last = self._event = self._seen = INT64_MIN
        self._clock = time.monotonic_ns if clock is None else clock
        self._sleep = time.sleep if sleep is None else sleep
        self._lock = RLock()

    def _read_clock(self) -> int:
        return checked_time(self._clock())

    # --- deciding: the caller holds the lock, t is a time and not a clock

    def _held(self, now: int) -> int:
        self._seen = max(self._seen, now)
        return max(self._seen, self._last)

    def _at(self, t: int) -> float:
        return accrued(self._credit, self._last, t, self._rate, self._full)

    def _take(self, t: int, cost: float) -> bool:
        if cost == 0.0 or self._rate == math.inf:
            return True
        credit = self._at(t)
        if cost > self._full or not covers(credit, cost, self._rate):
            return False
        self._credit = credit - cost
        self._last = self._event = t
        return True

    def _reserve(self, t: int, cost: float, limit: int) -> int:
        """Nanoseconds to wait for tokens that are now taken; -1: can never be; -2: beyond `limit`, nothing taken."""
        if cost == 0.0 or self._rate == math.inf:
            return 0
        credit = self._at(t)
        if cost > self._full:
            return -1
        wait = wait_ns(credit, cost, self._rate)
        if wait > 0 and self._rate == 0.0:
            return -1
        if wait > limit:
            return -2
        self._credit = credit - cost
        self._last = t
        self._event = later(t, wait)
        return wait

    def _restore(self, r: Reservation, t: int) -> None:
        if r._cost == 0.0 or r._act < t or self._rate == math.inf:
            return
        back = r._cost
        if self._event > r._act:
            back -= float(self._event - r._act) * r._rate
        r._cost = 0.0
        if back <= 0.0:
            return
        self._credit = min(self._at(t) + back, self._full)
        self._last = t
        if r._act == self._event:
            # The event before this one, as far as it is still to come.
            self._event = max(t, r._act - wait_ns(0.0, back, r._rate))

    def _promise(self, t: int, cost: float, wait: int, explicit: bool) -> Reservation:
        r = Reservation.__new__(Reservation)
        r.ok = wait >= 0
        r.delay = wait / 1e9 if r.ok else math.inf
        r._bucket = self
        r._cost = cost if self._rate < math.inf else 0.0
        r._rate = self._rate
        r._act = later(t, wait) if r.ok else 0
        r._explicit = explicit
        return r

    # --- with the clock

    def allow(self, n: float = 1) -> bool:
        """Take `n` tokens if they are there; never waits."""
        cost = checked_cost(n)
        now = self._read_clock()
        with self._lock:
            return self._take(self._held(now), cost)

    def _ask(self, t: int, cost: float, take: bool) -> Quota:
        credit = self._at(t)
        if take:
            self._take(t, cost)
        return quota_of(credit, cost, self._rate, self._full, take)

    def request(self, n: float = 1) -> Quota:
        """Do what `allow` does, and return a `Quota`: what remains, and when to come back."""
        cost = checked_cost(n)
        now = self._read_clock()
        with self._lock:
            return self._ask(self._held(now), cost, True)

    def peek(self, n: float = 1) -> Quota:
        """Return what `request` would, and take nothing."""
        cost = checked_cost(n)
        now = self._read_clock()
        with self._lock:
            return self._ask(self._held(now), cost, False)

    def retry_after(self, n: float = 1) -> float | None:
        """Seconds until `n` tokens are there, 0.0 if they are; None if they never will be. Takes nothing."""
        return self.peek(n).retry_after

    def reserve(self, n: float = 1, *, max_delay: float | None = None) -> Reservation:
        """Take `n` tokens now for use after `delay` seconds; not ok if that can never be, or exceeds `max_delay`."""
        cost = checked_cost(n)
        limit = duration_ns(max_delay)
        now = self._read_clock()
        with self._lock:
            now = self._held(now)
            return self._promise(now, cost, self._reserve(now, cost, limit), False)

    def _reserve_to_wait(self, n: float, timeout: float | None) -> Reservation:
        cost = checked_cost(n)
        n = as_float(n)
        limit = duration_ns(timeout)
        if limit < 0:
            raise WaitTimeout(f"the timeout of {timeout!r} s has passed")
        now = self._read_clock()
        with self._lock:
            now = self._held(now)
            wait = self._reserve(now, cost, limit)
            r = self._promise(now, cost, wait, False)
        if wait == -1:
            raise RateLimitError(f"{n!r} tokens can never be had at rate {self.rate!r} and burst {self.burst!r}")
        if wait == -2:
            raise WaitTimeout(f"{n!r} tokens take longer than the timeout of {timeout!r} s")
        return r

    def wait(self, n: float = 1, timeout: float | None = None, *, stop: _Stop | None = None) -> None:
        """Wait until `n` tokens are there and take them; the tokens go back if the wait is interrupted."""
        if stop is not None and stop.is_set():
            raise WaitCancelled("stopped before the wait began")
        r = self._reserve_to_wait(n, timeout)
        if r.delay > 0.0:
            try:
                stopped = sleep_through(self._sleep if stop is None else stop.wait, r.delay)
            except BaseException:
                r.cancel()
                raise
            if stopped and stop is not None:
                r.cancel()
                raise WaitCancelled(f"stopped while waiting {r.delay!r} s for {as_float(n)!r} tokens")

    async def wait_async(self, n: float = 1, timeout: float | None = None) -> None:
        """Wait as `wait` does, on the running event loop; cancelling the task gives the tokens back."""
        from asyncio import current_task, sleep

        task = current_task()
        if task is None or task.cancelling():
            # A task that is already cancelled learns it here, before it takes anything.
            await sleep(0)
        r = self._reserve_to_wait(n, timeout)
        if r.delay > 0.0:
            try:
                await sleep(r.delay)
            except BaseException:
                r.cancel()
                raise

    # --- with explicit time

    def allow_at(self, t: int, n: float = 1) -> bool:
        """Do what `allow` does as if it were `t` (integer nanoseconds)."""
        t = checked_time(t)
        cost = checked_cost(n)
        with self._lock:
            return self._take(t, cost)

    def request_at(self, t: int, n: float = 1) -> Quota:
        """Do what `request` does as if it were `t` (integer nanoseconds)."""
        t = checked_time(t)
        cost = checked_cost(n)
        with self._lock:
            return self._ask(t, cost, True)

    def peek_at(self, t: int, n: float = 1) -> Quota:
        """Do what `peek` does as if it were `t` (integer nanoseconds)."""
        t = checked_time(t)
        cost = checked_cost(n)
        with self._lock:
            return self._ask(t, cost, False)

    def reserve_at(self, t: int, n: float = 1, *, max_delay: float | None = None) -> Reservation:
        """Do what `reserve` does as if it were `t` (integer nanoseconds)."""
        t = checked_time(t)
        cost = checked_cost(n)
        limit = duration_ns(max_delay)
        with self._lock:
            return self._promise(t, cost, self._reserve(t, cost, limit), True)

    def tokens_at(self, t: int, /) -> float:
        """Tokens that the bucket would hold at `t` (integer nanoseconds); negative while reservations are owed."""
        t = checked_time(t)
        with self._lock:
            return tokens_of(self._at(t), self._rate)

    def set_rate_at(self, t: int, rate: float, /) -> None:
        """Change the rate as of `t` (integer nanoseconds); what accrued before stays."""
        t = checked_time(t)
        per_second = checked_rate(rate)
        with self._lock:
            self._settle(t)
            self._rate = per_second

    def set_burst_at(self, t: int, burst: float, /) -> None:
        """Change the burst as of `t` (integer nanoseconds); what accrued before stays, up to the new burst."""
        t = checked_time(t)
        full = checked_full(burst)
        with self._lock:
            self._settle(t)
            self._full = full

    def _settle(self, t: int) -> None:
        self._credit = self._at(t)
        self._last = t

    @property
    def tokens(self) -> float:
        """Tokens in the bucket now; negative while reservations are owed."""
        now = self._read_clock()
        with self._lock:
            return tokens_of(self._at(self._held(now)), self._rate)

    @property
    def rate(self) -> float:
        """Tokens a second; setting it keeps what has accrued and the times of outstanding reservations."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        per_second = checked_rate(rate)
        now = self._read_clock()
        with self._lock:
            self._settle(self._held(now))
            self._rate = per_second

    @property
    def burst(self) -> float:
        """Capacity in tokens; setting it keeps what has accrued, up to the new burst."""
        return self._full / CREDITS

    @burst.setter
    def burst(self, burst: float) -> None:
        full = checked_full(burst)
        now = self._read_clock()
        with self._lock:
            self._settle(self._held(now))
            self._full = full

    # --- as a member of MaxOf

    def when(self, item: object, /) -> float:
        """Seconds until `item` may run: a reservation of one token that is never cancelled; `math.inf` for never."""
        now = self._read_clock()
        with self._lock:
            wait = self._reserve(self._held(now), CREDITS, INT64_MAX)
        return wait / 1e9 if wait >= 0 else math.inf

    def forget(self, item: object, /) -> None:
        """Do nothing: the bucket is the same for every item."""

    def retries(self, item: object, /) -> int:
        """Return 0: the bucket keeps no count of an item."""
        return 0

    def __repr__(self) -> str:
        return f"TokenBucket(rate={self.rate!r}, burst={self.burst!r})"
