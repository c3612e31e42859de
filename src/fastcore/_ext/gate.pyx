# cython: freethreading_compatible=True
"""The gate of a circuit breaker: lets calls through or not, counts how they end, and tells listeners.

The transition table and the theory of operation stand in circuit.pxd, that of `with` blocks in blocks.pxd, and the ways
to guard a call in breaker.pyx; here is what they share: exceptions, clocks, listeners, steering.

A closed breaker with neither slow calls nor a time window reads no clock and allocates nothing.

User code runs in: the injected clock and rng, predicates of `exclude` and `only`, listeners, and the finalisers of
exceptions that are replaced: always outside the critical section and with the state complete. The section guards every
number and allocates nothing that the collector tracks, so no finaliser runs inside it. Transitions are queued in the
section as small integers and told after it by one thread at a time, in order.
"""

from collections import namedtuple

cimport cython
from cpython.mem cimport PyMem_Free
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free

from fastcore.errors import CircuitOpenError, RateLimitError, WaitTimeout

from fastcore._ext.blocks cimport Whose, expire, note, reserve
from fastcore._ext.circuit cimport (
    ADMITTED, BY_DISABLING, BY_FORCE, BY_RESET, BY_WATCHING, CLOSED, DISABLED, EXCLUDED, FAILURE, FORCED, METRICS_ONLY,
    OPEN, REFUSED_FORCED, REFUSED_OPEN, SUCCESS, VISIBLE_STATES, Circuit, Ticket, close, count, enter, in_flight,
    start_mode, visible,
)
from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.instant cimport instant
from fastcore._ext.matchers cimport matches
from fastcore._ext.window cimport catch_up

_STATES = ("closed", "open", "half_open")
_MODES = ("normal", "normal", "normal", "forced_open", "disabled", "metrics_only")
_REASONS = (
    "", "failures", "failure_rate", "slow_rate", "open_time_over", "recovered", "trial_failed", "trial_slow",
    "trial_lost", "forced", "disabled", "metrics_only", "reset",
)
_REFUSALS = ("", "open", "half_open_full", "forced_open")
# What is excluded unless `only` names it: a refusal further in says nothing about the callee.
_EXCLUDED_REFUSALS = (CircuitOpenError, RateLimitError, WaitTimeout)

BreakerStats = namedtuple(
    "BreakerStats",
    "state calls successes failures excluded slow rejected late_total dropped consecutive_failures "
    "window_calls window_failures window_slow trials remaining transitions mode would_open in_flight",
)


def logger():
    """The logger of circuit breakers."""
    # Imported when first needed: it takes longer than the rest of this module.
    from logging import getLogger
    return getLogger("fastcore.breaker")


@cython.trashcan(True)
cdef class Gate:
    """What lets calls through; CircuitBreaker adds the ways to guard one."""

    def __cinit__(self):
        self.shared = ()

    def __dealloc__(self):
        PyMem_Free(self.circuit.window.cells)
        PyMem_Free(self.circuit.leases.cells)
        free(self.blocks.records)

    # --- around a call: no section is held on entry

    cdef int64_t read_clock(self) except? -1:
        return monotonic_ns() if self.clock is None else instant(self.clock())

    cdef int64_t held(self, int64_t now) noexcept:
        if now > self.seen:
            self.seen = now
        return self.seen

    cdef int moved(self, int news) except -1:
        """After each transition, in the section: some blocks are late, and listeners have to be told."""
        expire(&self.blocks)
        if news:
            self.news.append(news)
        return 0

    cdef int admit_slowly(self, Ticket *ticket, Whose *block) except -1:
        """Admit a call in any state, and record whose block it is unless that is NULL."""
        cdef int64_t now = self.read_clock()
        cdef double remaining
        cdef int verdict
        cdef int news = 0
        with cython.critical_section(self):
            if block != NULL and not reserve(&self.blocks):
                raise MemoryError(f"no memory for a block guarded by circuit breaker {self.name!r}")
            now = self.held(now)
            verdict = enter(&self.circuit, now, ticket, &news)
            if news:
                self.moved(news)
            if block != NULL and verdict == ADMITTED:
                note(&self.blocks, block, ticket)
            cause = self.cause
            remaining = (self.circuit.until - now) / 1e9 if verdict == REFUSED_OPEN else 0.0
        if news:
            self.tell()
        if verdict != ADMITTED:
            raise CircuitOpenError(
                self.name, INFINITY if verdict == REFUSED_FORCED else remaining, _REFUSALS[verdict]
            ) from cause
        return 0

    cdef bint settle(self, Ticket *ticket, int outcome, object error) except -1:
        """Count how a call ended; whether it counted."""
        cdef int64_t now = 0
        cdef bint timed = self.timed or outcome == FAILURE
        cdef bint counted
        cdef int news = 0
        displaced = None
        if timed:
            now = self.read_clock()
        with cython.critical_section(self):
            if timed:
                now = self.held(now)
            counted = count(&self.circuit, ticket, now, outcome, &news)
            if news:
                self.moved(news)
                if self.circuit.state != METRICS_ONLY:
                    # The old cause may be the last reference to an exception; it goes after the section.
                    displaced = self.cause
                    self.cause = error
        if news:
            self.tell()
        del displaced
        return counted

    cdef int judge(self, object error) except -1:
        """What the exception says about the callee."""
        if matches(error, self.exclude):
            return EXCLUDED
        if self.only is not None and matches(error, self.only):
            return FAILURE
        if not isinstance(error, Exception) or isinstance(error, _EXCLUDED_REFUSALS):
            return EXCLUDED
        return FAILURE if self.only is None else SUCCESS

    cdef int raised(self, Ticket *ticket, object error) except -1:
        """Report that the call raised."""
        cdef int outcome
        try:
            outcome = self.judge(error)
        except BaseException:
            self.settle(ticket, EXCLUDED, None)
            raise
        self.settle(ticket, outcome, error)
        return 0

    cdef int tell(self) except -1:
        """Tell the listeners what is queued, unless somebody is at it; that one will tell this too."""
        cdef int news = 0
        with cython.critical_section(self):
            if self.telling:
                return 0
            self.telling = True
        try:
            while True:
                draw = self.random()
                with cython.critical_section(self):
                    self.circuit.draw = draw
                    if not self.news:
                        self.telling = False
                        return 0
                    news = self.news.pop(0)
                for listener in [*self.listeners, *self.shared]:
                    try:
                        listener(self.name, _STATES[news % 4], _STATES[news // 4 % 4], _REASONS[news // 16])
                    except Exception:
                        logger().exception("a listener of circuit breaker %r failed", self.name)
        except BaseException:
            with cython.critical_section(self):
                self.telling = False
            raise

    # --- looking and steering

    @property
    def state(self):
        """Return "closed", "open" or "half_open"; open until a call comes after `open_for`. Reading changes nothing."""
        with cython.critical_section(self):
            return _STATES[visible(self.circuit.state)]

    @property
    def mode(self):
        """Return "normal", "forced_open", "disabled" or "metrics_only"."""
        with cython.critical_section(self):
            return _MODES[self.circuit.state]

    def on_transition(self, listener, /):
        """Call `listener(name, from, to, reason)` once per transition, in order, outside any lock; returns it."""
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {listener!r}")
        self.listeners.append(listener)
        return listener

    def force_open(self):
        """Refuse every call until `reset`."""
        self.steer(FORCED, BY_FORCE)

    def disable(self):
        """Let every call pass and count none until `reset`."""
        self.steer(DISABLED, BY_DISABLING)

    def metrics_only(self):
        """Let every call pass until `reset`; count them, and tell once an outage that the breaker would open."""
        self.steer(METRICS_ONLY, BY_WATCHING)

    def reset(self):
        """Close, and forget outcomes, open times and calls in flight; the counters of `stats` go on."""
        self.steer(CLOSED, BY_RESET)

    cdef int steer(self, int state, int reason) except -1:
        cdef int news
        with cython.critical_section(self):
            displaced = self.cause
            self.cause = None
            news = close(&self.circuit, reason) if state == CLOSED else start_mode(&self.circuit, state, reason)
            self.moved(news)
        self.tell()
        del displaced
        return 0

    # --- in a registry

    cdef int use(self, uint64_t stamp) noexcept:
        """Note that it was asked for."""
        with cython.critical_section(self):
            self.used = stamp
            self.asked = self.circuit.calls
        return 0

    cdef uint64_t last_use(self, uint64_t stamp, bint *idle) noexcept:
        """When it was used, and whether nothing is lost if it is forgotten: closed, and no call in flight."""
        with cython.critical_section(self):
            # More than the one call that it was asked for: somebody holds and uses it.
            if self.circuit.calls - self.asked > 1:
                self.used = stamp
                self.asked = self.circuit.calls
            idle[0] = self.circuit.state == CLOSED and in_flight(&self.circuit) == 0
            return self.used

    def stats(self):
        """Return a BreakerStats: state, counters since the start, and what the rules see now."""
        cdef int64_t now = self.read_clock()
        cdef Circuit c
        cdef long long dropped
        cdef double remaining = 0.0
        cdef int i
        cdef int j
        with cython.critical_section(self):
            now = self.held(now)
            if self.circuit.window.width > 0:
                catch_up(&self.circuit.window, now)
            c = self.circuit
            dropped = self.dropped
        if c.state == OPEN and c.until > now:
            remaining = (c.until - now) / 1e9
        elif c.state == FORCED:
            remaining = INFINITY
        transitions = {}
        for i in range(VISIBLE_STATES):
            for j in range(VISIBLE_STATES):
                if c.transitions[i][j]:
                    transitions[_STATES[i], _STATES[j]] = c.transitions[i][j]
        return BreakerStats(
            _STATES[visible(c.state)], c.calls, c.successes, c.failures, c.excluded, c.slow, c.rejected, c.late,
            dropped, c.consecutive, c.window.sums.calls, c.window.sums.failures, c.window.sums.slow, c.leases.count,
            remaining, transitions, _MODES[c.state], c.would_open, in_flight(&c),
        )
