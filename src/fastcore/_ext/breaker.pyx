# cython: freethreading_compatible=True
"""Circuit breaker: `CircuitBreaker` and the `Permit` of its two-step form.

The transition table and the theory of operation stand in circuit.pxd; here is what surrounds them: calls, blocks and
permits, exceptions, clocks, listeners.

A closed breaker with neither slow calls nor a time window reads no clock and allocates nothing.

`with breaker:` has no place for a ticket, since all threads and tasks share one object. While nothing happens it needs
none: a block entered in this generation is a count (`blocks`). A transition turns these into `debts`: blocks whose
result will be late. As long as there are debts, or the breaker is not closed, or durations matter, a block is recorded
under its thread and task; a block that finds no record of its own on exit is one of the debts. Hence: blocks > 0 only
while there are no debts and no records.

User code runs in: the injected clock and rng, predicates of `exclude` and `only`, listeners, the guarded call, and
the finalisers of exceptions that are replaced: always outside the critical section and with the state complete. The
section guards every number below and allocates nothing that the collector tracks, so no finaliser runs inside it.
Transitions are queued in the section as small integers and told after it by one thread at a time, in order.
"""

import sys
from collections import namedtuple
from functools import update_wrapper
from types import MethodType

import cython

from fastcore._ext.coroutines import through
from fastcore.errors import CircuitOpenError, RateLimitError, WaitTimeout

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject, PyTypeObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY
from libc.stdint cimport INT64_MIN, int64_t
from libc.string cimport memset

from fastcore._ext.circuit cimport (
    ADMITTED, CLOSED, EXCLUDED, FAILURE, FORCED, FORCED_OPEN, OPEN, REFUSED_FORCED, REFUSED_OPEN, RESET, SUCCESS,
    Circuit, Ticket, close, count, enter, move,
)
from fastcore._ext.clock cimport monotonic_ns
from fastcore._ext.forward cimport (
    PyMethodDef, PyObject_Vectorcall, PyVectorcall_NARGS, VectorCall, add_method, call_by_vector,
)
from fastcore._ext.instant cimport instant
from fastcore._ext.leases cimport Lease
from fastcore._ext.matchers cimport matchers, matches
from fastcore._ext.settings cimport at_least_one, set_rules, set_times
from fastcore._ext.window cimport Outcomes, catch_up

_STATES = ("closed", "open", "half_open", "open")
_REASONS = (
    "", "failures", "failure_rate", "slow_rate", "open_time_over", "recovered", "trial_failed", "trial_slow",
    "trial_lost", "forced", "reset",
)
_REFUSALS = ("", "open", "half_open_full", "forced_open")
# What is excluded unless `only` names it: a refusal further in says nothing about the callee.
_EXCLUDED_REFUSALS = (CircuitOpenError, RateLimitError, WaitTimeout)

BreakerStats = namedtuple(
    "BreakerStats",
    "state calls successes failures excluded slow rejected late_total dropped consecutive_failures "
    "window_calls window_failures window_slow trials remaining transitions",
)

cdef object logger():
    # Imported when first needed: it takes longer than the rest of this module.
    from logging import getLogger
    return getLogger("fastcore.breaker")


cdef size_t current_task():
    """The identity of the running asyncio task; 0 outside of one, or when nobody uses asyncio."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return 0
    try:
        task = asyncio.current_task()
    except (RuntimeError, AttributeError):
        return 0
    return 0 if task is None else <size_t><void *>task


@cython.final
cdef class _Block:
    """A `with` block that had to be recorded: whose it is, and its ticket."""
    cdef unsigned long thread
    cdef size_t task
    cdef Ticket ticket


@cython.final
cdef class Permit:
    """Permit()
--

    The right to make one call, given by `CircuitBreaker.acquire`; report how the call ended.

    Only the first report counts. A permit that is dropped without a report is returned by its finaliser, with a warning
    in the log.

    Thread safety: every method is atomic.
    """
    cdef CircuitBreaker _breaker
    cdef Ticket _ticket
    cdef bint _reported

    def __init__(self):
        raise TypeError("a Permit comes from CircuitBreaker.acquire")

    cdef bint _report(self, int outcome, object error) except -1:
        with cython.critical_section(self):
            if self._reported:
                return False
            self._reported = True
        return self._breaker._settle(&self._ticket, outcome, error)

    def success(self):
        """Report that the call succeeded; whether that counted (False: late, or already reported)."""
        return self._report(SUCCESS, None)

    def failure(self, error=None, /):
        """Report that the call failed, with the exception if there is one; whether that counted."""
        return self._report(FAILURE, error)

    def ignore(self):
        """Report that the call says nothing about the callee; whether that counted."""
        return self._report(EXCLUDED, None)

    def __del__(self):
        if self._breaker is not None and not self._reported:
            self._report(EXCLUDED, None)
            with cython.critical_section(self._breaker):
                self._breaker._dropped += 1
            logger().warning("a permit of circuit breaker %r was dropped without a report", self._breaker.name)


@cython.final
cdef class CircuitBreaker:
    """CircuitBreaker(name, *, failure_threshold=None, open_for=60.0, half_open_permits=1, successes_needed=1,
        window=None, failure_rate=None, min_calls=None, slow_call=None, slow_rate=None, exclude=(), only=None,
        half_open_timeout=None, open_growth=2.0, open_max=None, jitter=0.1, buckets=10, clock=None, rng=None)
--

    Stop calling what keeps failing, and try again later.

    Closed: calls pass and outcomes are counted. Open: calls raise CircuitOpenError at once. Half open: after `open_for`
    a few trial calls decide. The transition table and the theory of operation stand at the head of the source.

    Args:
        name: what errors, listeners and logs call it.
        failure_threshold: failures in a row that open it, >= 1; default 10, or off when a window rule is given.
        open_for: seconds it stays open the first time, > 0, exactly.
        half_open_permits: trial calls that may be in flight at once, >= 1.
        successes_needed: successful trial calls that close it, >= 1.
        window: an int: the last so many calls; a float or timedelta: so many seconds; >= 1. Default: the last 100
            calls if a rate is given, no window otherwise.
        failure_rate: share of failures in the window that opens it, > 0 to 1; default 0.5 if only `window` is given.
        min_calls: calls the window must hold before rates count, >= 1; default 10, at most the size of the window.
        slow_call: seconds beyond which a call counts as slow, whether it fails or not; default: none does.
        slow_rate: share of slow calls in the window that opens it, > 0 to 1; needs `slow_call`.
        exclude: exception types, and predicates of the exception, that count neither as success nor as failure.
            What is no `Exception` (cancellation, exit, interrupt), and refusals by another breaker or rate limit, are
            excluded by default.
        only: exception types and predicates that alone count as failure; others then count as success. Default:
            every `Exception`. `exclude` wins.
        half_open_timeout: seconds after which a trial call without a report counts as failed; default `open_for`.
        open_growth: factor by which the open time grows each time a trial fails, >= 1.
        open_max: most seconds the open time grows to; default 10 times `open_for`.
        jitter: share by which a grown open time varies at random in both directions, 0 to 1.
        buckets: slices of a time window, >= 1; an outcome is forgotten up to one slice late.
        clock: callable returning integer nanoseconds; default the monotonic clock. One that goes back is held.
        rng: random.Random for the jitter; default the shared one.

    Raises:
        ValueError: an argument outside its range. TypeError: one of the wrong type.
    Complexity: O(1) time, no allocation while closed; memory for the window as configured.
    Thread safety: every method is atomic; the guarded calls run in parallel. Threads and tasks mix.
    Source: generations as in sony/gobreaker, rates as in resilience4j, permits as leases are our own.

    Example:
        >>> from fastcore.breaker import CircuitBreaker, CircuitOpenError
        >>> breaker = CircuitBreaker("billing", failure_threshold=2)
        >>> def fail():
        ...     raise OSError("down")
        >>> for _ in range(3):
        ...     try:
        ...         breaker.call(fail)
        ...     except OSError as error:
        ...         print(error)
        ...     except CircuitOpenError as error:
        ...         print(error.reason, error.__cause__)
        down
        down
        open down
    """
    cdef readonly str name
    cdef bint _timed  # the end of a call needs the time
    cdef tuple _exclude
    cdef tuple _only
    cdef object _clock
    cdef object _random
    # Guarded by the section.
    cdef Circuit _circuit
    cdef int64_t _seen
    cdef object _cause
    cdef long long _blocks
    cdef long long _debts
    cdef long long _dropped
    cdef list _records
    cdef list _news
    cdef list _listeners
    cdef bint _telling

    def __init__(
        self, str name not None, *, failure_threshold=None, open_for=60.0, half_open_permits=1, successes_needed=1,
        window=None, failure_rate=None, min_calls=None, slow_call=None, slow_rate=None, exclude=(), only=None,
        half_open_timeout=None, open_growth=2.0, open_max=None, jitter=0.1, buckets=10, clock=None, rng=None,
    ):
        if self._circuit.generation > 0:
            raise TypeError("a CircuitBreaker is initialised once")
        # Complete before it becomes ours, so that a refused setting leaves nothing half made.
        cdef Circuit c
        memset(&c, 0, sizeof(Circuit))
        c.successes_needed = at_least_one("successes_needed", successes_needed)
        c.leases.size = at_least_one("half_open_permits", half_open_permits)
        set_times(&c, open_for, half_open_timeout, open_growth, open_max, jitter)
        if hasattr(window, "total_seconds"):
            window = window.total_seconds()
        set_rules(&c, failure_threshold, window, failure_rate, min_calls, slow_call, slow_rate, buckets)
        self.name = name
        self._exclude = matchers("exclude", exclude)
        self._only = None if only is None else matchers("only", only)
        self._clock = clock
        if rng is None:
            import random as rng
        self._random = rng.random
        c.draw = self._random()
        self._timed = c.slow_ns > 0 or c.window.width > 0
        self._seen = INT64_MIN
        self._records = []
        self._news = []
        self._listeners = []
        c.generation = 1
        c.leases.cells = <Lease *>PyMem_Calloc(c.leases.size, sizeof(Lease))
        if c.window.size > 0:
            c.window.cells = <Outcomes *>PyMem_Calloc(c.window.size, sizeof(Outcomes))
        if c.leases.cells == NULL or (c.window.size > 0 and c.window.cells == NULL):
            PyMem_Free(c.leases.cells)
            PyMem_Free(c.window.cells)
            raise MemoryError(f"no memory for a window of {window!r} and {half_open_permits!r} permits")
        self._circuit = c

    def __dealloc__(self):
        PyMem_Free(self._circuit.window.cells)
        PyMem_Free(self._circuit.leases.cells)

    # --- around a call: no section is held on entry

    cdef int64_t _read_clock(self) except? -1:
        return monotonic_ns() if self._clock is None else instant(self._clock())

    cdef int64_t _held(self, int64_t now) noexcept:
        if now > self._seen:
            self._seen = now
        return self._seen

    cdef int _moved(self, int news) except -1:
        """After each transition, in the section: blocks without a record are late, and listeners have to be told."""
        self._debts += self._blocks
        self._blocks = 0
        if news:
            self._news.append(news)
        return 0

    cdef int _admit(self, Ticket *ticket) except -1:
        if not self._timed:
            with cython.critical_section(self):
                if self._circuit.state == CLOSED:
                    self._circuit.calls += 1
                    ticket.generation = self._circuit.generation
                    ticket.lease = 0
                    return 0
        return self._admit_slowly(ticket, None)

    cdef int _admit_slowly(self, Ticket *ticket, _Block block) except -1:
        cdef int64_t now = self._read_clock()
        cdef double remaining
        cdef int verdict
        cdef int news = 0
        with cython.critical_section(self):
            now = self._held(now)
            verdict = enter(&self._circuit, now, ticket, &news)
            if news:
                self._moved(news)
            if block is not None and verdict == ADMITTED:
                self._records.append(block)
            cause = self._cause
            remaining = (self._circuit.until - now) / 1e9 if verdict == REFUSED_OPEN else 0.0
        if news:
            self._tell()
        if verdict != ADMITTED:
            raise CircuitOpenError(
                self.name, INFINITY if verdict == REFUSED_FORCED else remaining, _REFUSALS[verdict]
            ) from cause
        return 0

    cdef bint _settle(self, Ticket *ticket, int outcome, object error) except -1:
        """Count how a call ended; whether it counted."""
        cdef int64_t now = 0
        cdef bint timed = self._timed or outcome == FAILURE
        cdef bint counted
        cdef int news = 0
        displaced = None
        if timed:
            now = self._read_clock()
        with cython.critical_section(self):
            if timed:
                now = self._held(now)
            counted = count(&self._circuit, ticket, now, outcome, &news)
            if news:
                self._moved(news)
                # The old cause may be the last reference to an exception; it goes after the section.
                displaced = self._cause
                self._cause = error
        if news:
            self._tell()
        del displaced
        return counted

    cdef int _judge(self, object error) except -1:
        if matches(error, self._exclude):
            return EXCLUDED
        if self._only is not None and matches(error, self._only):
            return FAILURE
        if not isinstance(error, Exception) or isinstance(error, _EXCLUDED_REFUSALS):
            return EXCLUDED
        return FAILURE if self._only is None else SUCCESS

    cdef int _raised(self, Ticket *ticket, object error) except -1:
        cdef int outcome
        try:
            outcome = self._judge(error)
        except BaseException:
            self._settle(ticket, EXCLUDED, None)
            raise
        self._settle(ticket, outcome, error)
        return 0

    cdef int _tell(self) except -1:
        """Tell the listeners what is queued, unless somebody is at it; that one will tell this too."""
        cdef int news = 0
        with cython.critical_section(self):
            if self._telling:
                return 0
            self._telling = True
        try:
            while True:
                draw = self._random()
                with cython.critical_section(self):
                    self._circuit.draw = draw
                    if not self._news:
                        self._telling = False
                        return 0
                    news = self._news.pop(0)
                for listener in list(self._listeners):
                    try:
                        listener(self.name, _STATES[news % 4], _STATES[news // 4 % 4], _REASONS[news // 16])
                    except Exception:
                        logger().exception("a listener of circuit breaker %r failed", self.name)
        except BaseException:
            with cython.critical_section(self):
                self._telling = False
            raise

    # --- guarding

    cdef object _forward(self, object fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames):
        cdef Ticket ticket
        self._admit(&ticket)
        try:
            result = PyObject_Vectorcall(fn, args, nargs, kwnames)
        except BaseException as error:
            self._raised(&ticket, error)
            raise
        self._settle(&ticket, SUCCESS, None)
        return result

    async def acall(self, fn, /, *args, **kwargs):
        """Await `fn(*args, **kwargs)` if the breaker lets it through, and count how it ends."""
        cdef _Block block = _Block.__new__(_Block)
        self._admit(&block.ticket)
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            self._raised(&block.ticket, error)
            raise
        self._settle(&block.ticket, SUCCESS, None)
        return result

    def __call__(self, fn, /):
        """Decorate a function or coroutine function, so that each of its calls goes through the breaker."""
        from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
        if isgeneratorfunction(fn) or isasyncgenfunction(fn):
            raise TypeError(f"a generator runs after its call has returned: put `with breaker:` inside {fn!r}")
        if iscoroutinefunction(fn) or iscoroutinefunction(getattr(fn, "__call__", None)):
            return through(self.acall, fn)

        cdef _Guarded guarded = _Guarded.__new__(_Guarded)
        guarded.vector = call_guarded
        guarded.breaker = self
        guarded.fn = fn
        return update_wrapper(guarded, fn)

    def acquire(self):
        """Ask for one call and report its end yourself; raises CircuitOpenError if refused."""
        cdef Permit permit = Permit.__new__(Permit)
        self._admit(&permit._ticket)
        permit._breaker = self
        return permit

    def __enter__(self):
        """Ask for one call: the block. Its end is counted as that of a called function."""
        cdef _Block block
        if not self._timed:
            with cython.critical_section(self):
                if self._circuit.state == CLOSED and self._debts == 0 and not self._records:
                    self._circuit.calls += 1
                    self._blocks += 1
                    return self
        block = _Block.__new__(_Block)
        block.thread = PyThread_get_thread_ident()
        block.task = current_task()
        self._admit_slowly(&block.ticket, block)
        return self

    def __exit__(self, kind, error, trace, /):
        """Count how the block ended; an exception passes on."""
        cdef Ticket ticket
        cdef bint plain = False
        with cython.critical_section(self):
            if self._blocks > 0:
                self._blocks -= 1
                ticket.generation = self._circuit.generation
                ticket.lease = 0
                plain = True
        if not plain:
            self._leave(&ticket)
        if error is None:
            self._settle(&ticket, SUCCESS, None)
        else:
            self._raised(&ticket, error)
        return False

    cdef int _leave(self, Ticket *ticket) except -1:
        """The ticket of the block that this thread and task leave."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef size_t task = current_task()
        cdef _Block block
        cdef Py_ssize_t i
        with cython.critical_section(self):
            for i in range(len(self._records) - 1, -1, -1):
                block = <_Block>self._records[i]
                if block.thread == thread and block.task == task:
                    break
            else:
                if self._debts > 0:
                    self._debts -= 1
                    ticket.generation = 0
                    return 0
                # A generator may be closed by another task than ran it: the newest record is as good as any.
                i = len(self._records) - 1
            if i < 0:
                raise RuntimeError(f"circuit breaker {self.name!r} is left by a block that never entered it")
            block = <_Block>self._records.pop(i)
            ticket[0] = block.ticket
        return 0

    # --- looking and steering

    @property
    def state(self):
        """Return "closed", "open" or "half_open"; open until a call comes after `open_for`. Reading changes nothing."""
        with cython.critical_section(self):
            return _STATES[self._circuit.state]

    def on_transition(self, listener, /):
        """Call `listener(name, from, to, reason)` once per transition, in order, outside any lock; returns it."""
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {listener!r}")
        self._listeners.append(listener)
        return listener

    def force_open(self):
        """Refuse every call until `reset`."""
        self._steer(FORCED, FORCED_OPEN)

    def reset(self):
        """Close, and forget outcomes, open times and calls in flight; the counters of `stats` go on."""
        self._steer(CLOSED, RESET)

    cdef int _steer(self, int state, int reason) except -1:
        cdef int news
        with cython.critical_section(self):
            displaced = self._cause
            self._cause = None
            if state == CLOSED:
                news = close(&self._circuit, reason)
            else:
                news = move(&self._circuit, state, reason)
            self._moved(news)
        self._tell()
        del displaced
        return 0

    def stats(self):
        """Return a BreakerStats: state, counters since the start, and what the rules see now."""
        cdef int64_t now = self._read_clock()
        cdef Circuit c
        cdef long long dropped
        cdef double remaining = 0.0
        cdef int i
        cdef int j
        with cython.critical_section(self):
            now = self._held(now)
            if self._circuit.window.width > 0:
                catch_up(&self._circuit.window, now)
            c = self._circuit
            dropped = self._dropped
        if c.state == OPEN and c.until > now:
            remaining = (c.until - now) / 1e9
        elif c.state == FORCED:
            remaining = INFINITY
        transitions = {}
        for i in range(4):
            for j in range(4):
                if c.transitions[i][j]:
                    pair = (_STATES[i], _STATES[j])
                    transitions[pair] = transitions.get(pair, 0) + c.transitions[i][j]
        return BreakerStats(
            _STATES[c.state], c.calls, c.successes, c.failures, c.excluded, c.slow, c.rejected, c.late, dropped,
            c.consecutive, c.window.sums.calls, c.window.sums.failures, c.window.sums.slow, c.leases.count, remaining,
            transitions,
        )

    def __repr__(self):
        return f"CircuitBreaker({self.name!r}, state={self.state!r})"


@cython.final
cdef class _Guarded:
    """A decorated function: like the original, but each call goes through the breaker."""
    cdef VectorCall vector
    cdef CircuitBreaker breaker
    cdef object fn
    cdef dict __dict__
    cdef object __weakref__

    def __call__(self, *args, **kwargs):
        return self.breaker.call(self.fn, *args, **kwargs)

    def __get__(self, instance, owner):
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self):
        # Found again by its name, as functions are.
        return self.__qualname__

    def __repr__(self):
        return f"<{self.fn!r} guarded by {self.breaker!r}>"


cdef object call_guarded(object self, PyObject *const *args, size_t nargsf, PyObject *kwnames):
    cdef _Guarded guarded = <_Guarded>self
    return guarded.breaker._forward(guarded.fn, args, PyVectorcall_NARGS(nargsf), kwnames)


cdef int prepare_guarded() except -1:
    cdef _Guarded sample = _Guarded.__new__(_Guarded)
    call_by_vector(<PyTypeObject *>_Guarded, <char *>&sample.vector - <char *><void *>sample)
    return 0


prepare_guarded()


cdef object call(object self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames):
    if nargs < 1:
        raise TypeError("call() needs the function to call as its first positional argument")
    return (<CircuitBreaker>self)._forward(<object>args[0], args + 1, nargs - 1, kwnames)


cdef PyMethodDef call_method
add_method(
    <PyTypeObject *>CircuitBreaker, &call_method, "call", b"""call($self, fn, /, *args, **kwargs)
--

Call `fn(*args, **kwargs)` if the breaker lets it through, and count how it ends.

Raises:
    CircuitOpenError: the breaker is open, or half open with all trial calls in flight; `fn` was not called.
    Whatever `fn` raises.
""", call,
)
