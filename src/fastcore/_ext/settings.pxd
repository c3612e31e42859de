# The settings of a circuit breaker: checked, each by name, value and limit, and turned into the numbers of a Circuit.
from libc.math cimport INFINITY

from fastcore._ext.circuit cimport Circuit, to_ns


cdef inline double positive(str name, object value) except -1.0:
    cdef double number = value
    if not number > 0.0:
        raise ValueError(f"{name} must be > 0 seconds, not {value!r}")
    return number


cdef inline double share(str name, object value) except -1.0:
    cdef double number = value
    if not 0.0 < number <= 1.0:
        raise ValueError(f"{name} must be > 0 and <= 1, not {value!r}")
    return number


cdef inline Py_ssize_t at_least_one(str name, object value) except -1:
    cdef Py_ssize_t number = value
    if number < 1:
        raise ValueError(f"{name} must be >= 1, not {value!r}")
    return number


cdef inline int set_times(
    Circuit *c, object open_for, object half_open_timeout, object open_growth, object open_max, object jitter
) except -1:
    """How long the breaker stays open and waits for trial calls."""
    cdef double seconds = positive("open_for", open_for)
    c.open_ns = c.trial_ns = to_ns(seconds)
    c.period = seconds
    if half_open_timeout is not None:
        c.trial_ns = to_ns(positive("half_open_timeout", half_open_timeout))
    c.growth = open_growth
    if not 1.0 <= c.growth < INFINITY:
        raise ValueError(f"open_growth must be >= 1 and finite, not {open_growth!r}")
    c.open_max = seconds * 10.0 if open_max is None else open_max
    if not c.open_max >= seconds:
        raise ValueError(f"open_max must be >= open_for ({seconds!r} s), not {open_max!r}")
    c.jitter = jitter
    if not 0.0 <= c.jitter <= 1.0:
        raise ValueError(f"jitter must be >= 0 and <= 1, not {jitter!r}")
    return 0


cdef inline int set_rules(
    Circuit *c, object failure_threshold, object window, object failure_rate, object min_calls, object slow_call,
    object slow_rate, object buckets,
) except -1:
    """What opens the breaker; the cells of the window are for the caller to allocate."""
    cdef double seconds
    cdef Py_ssize_t slices = at_least_one("buckets", buckets)
    if slow_call is not None:
        c.slow_ns = to_ns(positive("slow_call", slow_call))
    if slow_rate is not None:
        if slow_call is None:
            raise ValueError(f"slow_rate={slow_rate!r} needs slow_call, the seconds beyond which a call is slow")
        c.slow_rate = share("slow_rate", slow_rate)
    if failure_rate is not None:
        c.failure_rate = share("failure_rate", failure_rate)
    elif window is not None and slow_rate is None:
        c.failure_rate = 0.5
    if window is None and (failure_rate is not None or slow_rate is not None):
        window = 100
    c.min_calls = 10 if min_calls is None else at_least_one("min_calls", min_calls)
    if isinstance(window, float):
        seconds = window
        if not 1.0 <= seconds < 1e9:
            raise ValueError(f"a time window must be >= 1 second and finite, not {window!r}")
        c.window.size = slices + 1
        c.window.width = to_ns(seconds / slices)
    elif window is not None:
        c.window.size = at_least_one("window", window)
        c.min_calls = min(c.min_calls, c.window.size)
    if failure_threshold is not None:
        c.failure_threshold = at_least_one("failure_threshold", failure_threshold)
    elif c.window.size == 0:
        c.failure_threshold = 10
    return 0
