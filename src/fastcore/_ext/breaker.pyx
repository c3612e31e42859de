# cython: freethreading_compatible=True
"""Circuit breaker: `CircuitBreaker`, the ways to guard a call, and the `Permit` of the two-step form.

What a call asks and reports to is in gate.pyx; user code, sections and listeners are described there. Here user code is
the guarded call, which runs in none of them.
"""

import sys
from functools import update_wrapper
from types import MethodType

import cython

from fastcore._ext import gate
from fastcore._ext.coroutines import through

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject, PyTypeObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport INT64_MIN
from libc.string cimport memset

from fastcore._ext.blocks cimport Whose, settle_up
from fastcore._ext.circuit cimport CLOSED, EXCLUDED, FAILURE, SUCCESS, Circuit, Ticket
from fastcore._ext.forward cimport (
    PyMethodDef, PyObject_Vectorcall, PyVectorcall_NARGS, VectorCall, add_method, call_by_vector,
)
from fastcore._ext.gate cimport Gate
from fastcore._ext.leases cimport Lease
from fastcore._ext.matchers cimport matchers
from fastcore._ext.settings cimport at_least_one, set_rules, set_times
from fastcore._ext.window cimport Outcomes

BreakerStats = gate.BreakerStats


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
cdef class _Flight:
    """The ticket of a coroutine, whose own frame cannot hold a C struct."""
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
    def __init__(self):
        raise TypeError("a Permit comes from CircuitBreaker.acquire")

    cdef bint report(self, int outcome, object error) except -1:
        with cython.critical_section(self):
            if self.reported:
                return False
            self.reported = True
        return self.gate.settle(&self.ticket, outcome, error)

    def success(self):
        """Report that the call succeeded; whether that counted (False: late, or already reported)."""
        return self.report(SUCCESS, None)

    def failure(self, error=None, /):
        """Report that the call failed, with the exception if there is one; whether that counted."""
        return self.report(FAILURE, error)

    def ignore(self):
        """Report that the call says nothing about the callee; whether that counted."""
        return self.report(EXCLUDED, None)

    def __del__(self):
        if self.gate is not None and not self.reported:
            self.report(EXCLUDED, None)
            with cython.critical_section(self.gate):
                self.gate.dropped += 1
            gate.logger().warning("a permit of circuit breaker %r was dropped without a report", self.gate.name)


@cython.final
cdef class CircuitBreaker(Gate):
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
    def __init__(
        self, str name not None, *, failure_threshold=None, open_for=60.0, half_open_permits=1, successes_needed=1,
        window=None, failure_rate=None, min_calls=None, slow_call=None, slow_rate=None, exclude=(), only=None,
        half_open_timeout=None, open_growth=2.0, open_max=None, jitter=0.1, buckets=10, clock=None, rng=None,
    ):
        if self.circuit.generation > 0:
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
        self.exclude = matchers("exclude", exclude)
        self.only = None if only is None else matchers("only", only)
        self.clock = clock
        if rng is None:
            import random as rng
        self.random = rng.random
        c.draw = self.random()
        self.timed = c.slow_ns > 0 or c.window.width > 0
        self.seen = INT64_MIN
        self.news = []
        self.listeners = []
        c.generation = 1
        c.leases.cells = <Lease *>PyMem_Calloc(c.leases.size, sizeof(Lease))
        if c.window.size > 0:
            c.window.cells = <Outcomes *>PyMem_Calloc(c.window.size, sizeof(Outcomes))
        if c.leases.cells == NULL or (c.window.size > 0 and c.window.cells == NULL):
            PyMem_Free(c.leases.cells)
            PyMem_Free(c.window.cells)
            raise MemoryError(f"no memory for a window of {window!r} and {half_open_permits!r} permits")
        self.circuit = c

    # --- guarding

    cdef object forward(self, object fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames):
        cdef Ticket ticket
        self.admit(&ticket)
        try:
            result = PyObject_Vectorcall(fn, args, nargs, kwnames)
        except BaseException as error:
            self.raised(&ticket, error)
            raise
        self.succeeded(&ticket)
        return result

    async def acall(self, fn, /, *args, **kwargs):
        """Await `fn(*args, **kwargs)` if the breaker lets it through, and count how it ends."""
        cdef _Flight flight = _Flight.__new__(_Flight)
        self.admit(&flight.ticket)
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            self.raised(&flight.ticket, error)
            raise
        self.succeeded(&flight.ticket)
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
        self.admit(&permit.ticket)
        permit.gate = self
        return permit

    def __enter__(self):
        """Ask for one call: the block. Its end is counted as that of a called function."""
        cdef Ticket ticket
        cdef Whose whose
        if not self.timed:
            with cython.critical_section(self):
                if self.circuit.state == CLOSED and self.blocks.debts == 0 and self.blocks.count == 0:
                    self.circuit.calls += 1
                    self.blocks.plain += 1
                    return self
        whose.thread = PyThread_get_thread_ident()
        whose.task = current_task()
        self.admit_slowly(&ticket, &whose)
        return self

    def __exit__(self, kind, error, trace, /):
        """Count how the block ended; an exception passes on."""
        cdef Ticket ticket
        cdef Whose whose
        cdef bint known = False
        with cython.critical_section(self):
            if self.blocks.plain > 0:
                self.blocks.plain -= 1
                ticket.generation = self.circuit.generation
                ticket.lease = 0
                known = True
        if not known:
            whose.thread = PyThread_get_thread_ident()
            whose.task = current_task()
            with cython.critical_section(self):
                known = settle_up(&self.blocks, &whose, &ticket)
            if not known:
                raise RuntimeError(f"circuit breaker {self.name!r} is left by a block that never entered it")
        if error is None:
            self.succeeded(&ticket)
        else:
            self.raised(&ticket, error)
        return False

    def __repr__(self):
        return f"CircuitBreaker({self.name!r}, state={self.state!r})"


@cython.final
@cython.trashcan(True)
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
    return guarded.breaker.forward(guarded.fn, args, PyVectorcall_NARGS(nargsf), kwnames)


cdef int prepare_guarded() except -1:
    cdef _Guarded sample = _Guarded.__new__(_Guarded)
    call_by_vector(<PyTypeObject *>_Guarded, <char *>&sample.vector - <char *><void *>sample)
    return 0


prepare_guarded()


cdef object call(object self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames):
    if nargs < 1:
        raise TypeError("call() needs the function to call as its first positional argument")
    return (<CircuitBreaker>self).forward(<object>args[0], args + 1, nargs - 1, kwnames)


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
