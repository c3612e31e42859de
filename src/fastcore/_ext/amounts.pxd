# What callers of a limiter pass, checked once at the boundary: rates, bursts, tokens and time limits.
from libc.stdint cimport INT64_MAX, int64_t

from fastcore._ext.credit cimport CREDITS, INFINITY


cdef inline double checked_rate(object rate) except? -1.0:
    cdef double value = rate
    if not value >= 0.0:
        raise ValueError(f"rate must be >= 0 tokens/s (math.inf for no limit), not {rate!r}")
    return value


cdef inline double checked_full(object burst) except? -1.0:
    """`burst` in credit."""
    cdef double value = burst
    if not (value >= 0.0 and value * CREDITS < INFINITY):
        raise ValueError(f"burst must be a finite number of tokens >= 0, not {burst!r}")
    return value * CREDITS


cdef inline double checked_cost(double n) except? -1.0:
    """`n` tokens in credit."""
    if not n >= 0.0:
        raise ValueError(f"n must be >= 0 tokens, not {n!r}")
    return n * CREDITS


cdef inline int64_t duration_ns(object seconds) except? -1:
    """Nanoseconds of `seconds`, None meaning no limit; negative when the time has passed."""
    if seconds is None:
        return INT64_MAX
    cdef double value = seconds
    if value != value:
        raise ValueError(f"a time limit must be a number of seconds, not {seconds!r}")
    value *= 1e9
    if value >= 9223372036854775808.0:
        return INT64_MAX
    return -1 if value < 0.0 else <int64_t>value
