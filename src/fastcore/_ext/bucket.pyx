# cython: freethreading_compatible=True
r"""Token bucket: `TokenBucket` and the `Reservation` that it hands out.

    credit ^ full = burst tokens
           |\      /|        allow takes only what is there,
           | \    / |   /    reserve may go below zero: the debt is the queue of those who wait,
         0 +--\--/--|--/-->  and the time at which it is paid off is when the reservation may act.
           |   \/   | /  t
           |        |/

One line is all the state: `credit` at time `last` (credit.pxd), and `event`, the latest time any reservation acts.
Everything that decides is a function of (state, t); only the methods without explicit time read a clock.

User code runs in: an injected clock, an injected sleep and the methods of a stop event, before or after the critical
section, never in it.
The section guards credit, last, event, seen, rate and full of one bucket; a reservation is guarded by its bucket's.
"""

import cython

from fastcore.errors import RateLimitError, WaitCancelled, WaitTimeout

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t

from fastcore._ext.amounts cimport checked_cost, checked_full, checked_rate, duration_ns
from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.credit cimport CREDITS, INFINITY, accrued, covers, later, tokens_of, wait_ns
from fastcore._ext.instant cimport instant
from fastcore._ext.quota cimport Quota, quota_of

# A wait is slept through in pieces: threads cannot sleep as long as a small rate makes them wait, on Windows 49 days.
cdef double LONGEST_S = 86_400.0


cdef bint sleep_through(object sleep, double seconds) except -1:
    """Whether a stop event ended it: the `wait` of one returns True, and no other sleep does."""
    while seconds > LONGEST_S:
        if sleep(LONGEST_S) is True:
            return True
        seconds -= LONGEST_S
    return sleep(seconds) is True


@cython.final
cdef class Reservation:
    """Reservation()
--

    The promise of tokens at a known time, made by `TokenBucket.reserve`.

    Attributes:
        ok: whether the tokens were taken; if not, `delay` is `math.inf` and the bucket is as it was.
        delay: seconds to wait before acting, counted from the moment of the reservation.

    Thread safety: every method is atomic.
    """
    def __init__(self):
        raise TypeError("a Reservation comes from TokenBucket.reserve")

    def cancel(self):
        """Give the tokens back, except those that later reservations already count on.

        Once the time to act has passed, or after the first call, there is no effect. A reservation made with explicit
        time is cancelled at the latest time that its bucket was shown; `cancel_at` names another.
        """
        if not self.ok:
            return
        cdef int64_t now = 0 if self._explicit else self._bucket._read_clock()
        with cython.critical_section(self._bucket):
            now = self._bucket._last if self._explicit else self._bucket._held(now)
            self._bucket._restore(self, now)

    def cancel_at(self, t, /):
        """Do what `cancel` does as if it were `t` (integer nanoseconds)."""
        cdef int64_t now = instant(t)
        if self.ok:
            with cython.critical_section(self._bucket):
                self._bucket._restore(self, now)

    def __repr__(self):
        return f"Reservation(ok={self.ok}, delay={self.delay!r})"


@cython.final
@cython.trashcan(True)
cdef class TokenBucket:
    """TokenBucket(rate, burst, *, clock=None, sleep=None)
--

    Allow events at `rate` a second on average, in bursts of at most `burst`.

    The bucket starts full, gains `rate` tokens a second and never holds more than `burst`. Tokens are floats; a
    refused call takes none. Three verbs: `allow` (drop what is too much), `reserve` (plan it for later), `wait` (slow
    down). Waiters are served in the order in which they came, a small request behind a large one included. `request` is
    `allow` with a reason: what remains, and when to come back; `peek` is that without taking anything.

    Args:
        rate: tokens a second, >= 0; `math.inf` allows everything, 0 allows `burst` tokens in all.
        burst: capacity in tokens, finite and >= 0. A request for more can never succeed (unless `rate` is infinite).
        clock: callable returning integer nanoseconds; default the monotonic clock. One that goes back is held.
        sleep: callable that `wait` sleeps with, given seconds; default `time.sleep`.

    Every verb has a form with explicit time in integer nanoseconds (`allow_at`, ...) that reads no clock; there the
    reference point follows `t`, backwards too. Keep to one of the two forms for one bucket.

    As a member of `MaxOf` the bucket is client-go's BucketRateLimiter: `when` reserves one token for good.

    Raises:
        ValueError: `rate`, `burst` or `n` outside its range.
    Complexity: O(1) time and memory; `allow` allocates nothing.
    Thread safety: every method is atomic. Setters affect later calls, not those already waiting.
    Source: token bucket as in golang.org/x/time/rate.

    Example:
        >>> from fastcore.ratelimit import TokenBucket
        >>> bucket = TokenBucket(rate=10, burst=2)
        >>> bucket.allow(), bucket.allow(), bucket.allow()
        (True, True, False)
    """
    def __cinit__(self, rate, burst, *, clock=None, sleep=None):
        cdef double per_second = checked_rate(rate)
        cdef double full = checked_full(burst)
        self._rate = per_second
        self._full = self._credit = full
        self._last = self._event = self._seen = INT64_MIN
        self._clock = clock
        self._sleep = sleep

    # --- deciding: the caller holds the section, t is a time and not a clock

    cdef int64_t _read_clock(self) except? -1:
        return monotonic_ns() if self._clock is None else instant(self._clock())

    cdef int64_t _held(self, int64_t now) noexcept:
        """Never before a time that was seen, by this thread or by one that read the clock later and got here first."""
        if now > self._seen:
            self._seen = now
        return self._seen if self._seen > self._last else self._last

    cdef double _at(self, int64_t t) noexcept:
        return accrued(self._credit, self._last, t, self._rate, self._full)

    cdef bint _take(self, int64_t t, double cost) noexcept:
        if cost == 0.0 or self._rate == INFINITY:
            return True
        cdef double credit = self._at(t)
        if cost > self._full or not covers(credit, cost, self._rate):
            return False
        self._credit = credit - cost
        self._last = self._event = t
        return True

    cdef int64_t _reserve(self, int64_t t, double cost, int64_t limit) noexcept:
        """Nanoseconds to wait for tokens that are now taken; -1: can never be; -2: beyond `limit`, nothing taken."""
        if cost == 0.0 or self._rate == INFINITY:
            return 0
        cdef double credit = self._at(t)
        if cost > self._full:
            return -1
        cdef int64_t wait = wait_ns(credit, cost, self._rate)
        if wait > 0 and self._rate == 0.0:
            return -1
        if wait > limit:
            return -2
        self._credit = credit - cost
        self._last = t
        self._event = later(t, wait)
        return wait

    cdef void _restore(self, Reservation r, int64_t t) noexcept:
        if r._cost == 0.0 or r._act < t or self._rate == INFINITY:
            return
        cdef double back = r._cost
        if self._event > r._act:
            back -= <double>(<uint64_t>self._event - <uint64_t>r._act) * r._rate
        r._cost = 0.0
        if back <= 0.0:
            return
        cdef double credit = self._at(t) + back
        self._credit = credit if credit < self._full else self._full
        self._last = t
        cdef int64_t wait
        if r._act == self._event:
            # The event before this one, as far as it is still to come.
            wait = wait_ns(0.0, back, r._rate)
            self._event = r._act - wait if <uint64_t>wait < <uint64_t>r._act - <uint64_t>t else t

    cdef Reservation _promise(self, int64_t t, double cost, int64_t wait, bint explicit):
        cdef Reservation r = Reservation.__new__(Reservation)
        r.ok = wait >= 0
        r.delay = wait / 1e9 if r.ok else INFINITY
        r._bucket = self
        r._cost = cost if self._rate < INFINITY else 0.0
        r._rate = self._rate
        r._act = later(t, wait) if r.ok else 0
        r._explicit = explicit
        return r

    # --- with the clock

    cdef bint admit(self, double n) except -1:
        cdef double cost = checked_cost(n)
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            return self._take(self._held(now), cost)

    def allow(self, double n=1):
        """Take `n` tokens if they are there; never waits."""
        return self.admit(n)

    cdef Quota _ask(self, int64_t t, double cost, bint take):
        cdef double credit = self._at(t)
        if take:
            self._take(t, cost)
        return quota_of(credit, cost, self._rate, self._full, take)

    def request(self, double n=1):
        """Do what `allow` does, and return a `Quota`: what remains, and when to come back."""
        cdef double cost = checked_cost(n)
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            return self._ask(self._held(now), cost, True)

    def peek(self, double n=1):
        """Return what `request` would, and take nothing."""
        cdef double cost = checked_cost(n)
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            return self._ask(self._held(now), cost, False)

    def retry_after(self, double n=1):
        """Seconds until `n` tokens are there, 0.0 if they are; None if they never will be. Takes nothing."""
        return self.peek(n).retry_after

    def reserve(self, double n=1, *, max_delay=None):
        """Take `n` tokens now for use after `delay` seconds; not ok if that can never be, or exceeds `max_delay`."""
        cdef double cost = checked_cost(n)
        cdef int64_t limit = duration_ns(max_delay)
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            now = self._held(now)
            return self._promise(now, cost, self._reserve(now, cost, limit), False)

    cdef Reservation _reserve_to_wait(self, double n, object timeout):
        cdef double cost = checked_cost(n)
        cdef int64_t limit = duration_ns(timeout)
        cdef int64_t now
        cdef int64_t wait
        cdef Reservation r
        if limit < 0:
            raise WaitTimeout(f"the timeout of {timeout!r} s has passed")
        now = self._read_clock()
        with cython.critical_section(self):
            now = self._held(now)
            wait = self._reserve(now, cost, limit)
            r = self._promise(now, cost, wait, False)
        if wait == -1:
            raise RateLimitError(f"{n!r} tokens can never be had at rate {self.rate!r} and burst {self.burst!r}")
        if wait == -2:
            raise WaitTimeout(f"{n!r} tokens take longer than the timeout of {timeout!r} s")
        return r

    def wait(self, double n=1, timeout=None, *, stop=None):
        """Wait until `n` tokens are there and take them; the tokens go back if the wait is interrupted.

        Args:
            n: tokens, 0 to `burst`.
            timeout: seconds; a wait that would last longer raises at once. None: no limit.
            stop: a `threading.Event`; setting it ends the wait, from any thread. It is slept on instead of `sleep`.

        Raises:
            RateLimitError: `n` exceeds the burst, or the rate is 0 and the tokens are not there.
            WaitTimeout: the tokens come after `timeout`, or `timeout` is negative; nothing was taken.
            WaitCancelled: `stop` was set, before or during the wait; the tokens went back.
        """
        if stop is not None and stop.is_set():
            raise WaitCancelled("stopped before the wait began")
        cdef Reservation r = self._reserve_to_wait(n, timeout)
        cdef bint stopped
        if r.delay > 0.0:
            sleep = self._sleep if stop is None else stop.wait
            if sleep is None:
                from time import sleep
            try:
                stopped = sleep_through(sleep, r.delay)
            except BaseException:
                r.cancel()
                raise
            if stopped and stop is not None:
                r.cancel()
                raise WaitCancelled(f"stopped while waiting {r.delay!r} s for {n!r} tokens")

    async def wait_async(self, double n=1, timeout=None):
        """Wait as `wait` does, on the running event loop; cancelling the task gives the tokens back."""
        from asyncio import current_task, sleep
        task = current_task()
        if task is None or task.cancelling():
            # A task that is already cancelled learns it here, before it takes anything.
            await sleep(0)
        cdef Reservation r = self._reserve_to_wait(n, timeout)
        if r.delay > 0.0:
            try:
                await sleep(r.delay)
            except BaseException:
                r.cancel()
                raise

    # --- with explicit time

    def allow_at(self, t, double n=1):
        """Do what `allow` does as if it were `t` (integer nanoseconds)."""
        cdef int64_t now = instant(t)
        cdef double cost = checked_cost(n)
        with cython.critical_section(self):
            return self._take(now, cost)

    def request_at(self, t, double n=1):
        """Do what `request` does as if it were `t` (integer nanoseconds)."""
        cdef int64_t now = instant(t)
        cdef double cost = checked_cost(n)
        with cython.critical_section(self):
            return self._ask(now, cost, True)

    def peek_at(self, t, double n=1):
        """Do what `peek` does as if it were `t` (integer nanoseconds)."""
        cdef int64_t now = instant(t)
        cdef double cost = checked_cost(n)
        with cython.critical_section(self):
            return self._ask(now, cost, False)

    def reserve_at(self, t, double n=1, *, max_delay=None):
        """Do what `reserve` does as if it were `t` (integer nanoseconds)."""
        cdef int64_t now = instant(t)
        cdef double cost = checked_cost(n)
        cdef int64_t limit = duration_ns(max_delay)
        with cython.critical_section(self):
            return self._promise(now, cost, self._reserve(now, cost, limit), True)

    def tokens_at(self, t, /):
        """Tokens that the bucket would hold at `t` (integer nanoseconds); negative while reservations are owed."""
        cdef int64_t now = instant(t)
        with cython.critical_section(self):
            return tokens_of(self._at(now), self._rate)

    def set_rate_at(self, t, rate, /):
        """Change the rate as of `t` (integer nanoseconds); what accrued before stays."""
        cdef int64_t now = instant(t)
        cdef double per_second = checked_rate(rate)
        with cython.critical_section(self):
            self._settle(now)
            self._rate = per_second

    def set_burst_at(self, t, burst, /):
        """Change the burst as of `t` (integer nanoseconds); what accrued before stays, up to the new burst."""
        cdef int64_t now = instant(t)
        cdef double full = checked_full(burst)
        with cython.critical_section(self):
            self._settle(now)
            self._full = full

    cdef void _settle(self, int64_t t) noexcept:
        self._credit = self._at(t)
        self._last = t

    @property
    def tokens(self):
        """Tokens in the bucket now; negative while reservations are owed."""
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            return tokens_of(self._at(self._held(now)), self._rate)

    @property
    def rate(self):
        """Tokens a second; setting it keeps what has accrued and the times of outstanding reservations."""
        with cython.critical_section(self):
            return self._rate

    @rate.setter
    def rate(self, rate):
        cdef double per_second = checked_rate(rate)
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            self._settle(self._held(now))
            self._rate = per_second

    @property
    def burst(self):
        """Capacity in tokens; setting it keeps what has accrued, up to the new burst."""
        with cython.critical_section(self):
            return self._full / CREDITS

    @burst.setter
    def burst(self, burst):
        cdef double full = checked_full(burst)
        cdef int64_t now = self._read_clock()
        with cython.critical_section(self):
            self._settle(self._held(now))
            self._full = full

    # --- as a member of MaxOf

    def when(self, item, /):
        """Seconds until `item` may run: a reservation of one token that is never cancelled; `math.inf` for never."""
        cdef int64_t now = self._read_clock()
        cdef int64_t wait
        with cython.critical_section(self):
            wait = self._reserve(self._held(now), CREDITS, INT64_MAX)
        return wait / 1e9 if wait >= 0 else INFINITY

    def forget(self, item, /):
        """Do nothing: the bucket is the same for every item."""

    def retries(self, item, /):
        """Return 0: the bucket keeps no count of an item."""
        return 0

    def __repr__(self):
        return f"TokenBucket(rate={self.rate!r}, burst={self.burst!r})"
