# The arithmetic of a token bucket: no Python, no clock, no lock.
#
# A level is kept as *credit*: tokens times 1e9. A rate of r tokens a second is r credits a nanosecond, so accrual is
# one multiplication, nothing is divided unless somebody has to wait, and whole rates stay exact up to 2**53 credits.
from libc.math cimport INFINITY, nearbyint
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t

cdef enum:
    CREDITS = 1000000000  # in one token

cdef inline double accrued(double credit, int64_t last, int64_t t, double rate, double full) noexcept nogil:
    """Credit at `t` of a bucket that held `credit` at `last`; a `t` before `last` gains and loses nothing."""
    if t > last:
        # Unsigned, because a fresh bucket has `last` at INT64_MIN.
        credit += <double>(<uint64_t>t - <uint64_t>last) * rate
    return credit if credit < full else full


cdef inline bint covers(double credit, double cost, double rate) noexcept nogil:
    """Whether `credit` pays for `cost`, forgiving what rounding can have taken.

    Forgiven is less than one nanosecond of accrual, as x/time/rate does, and less than a millionth of a token, so that
    rates above 1e9/s stay limits. The forgiven part stays owed: it does not add up.
    """
    cdef double short = cost - credit
    return short <= 0.0 or (short < rate and short < 1000.0)


cdef inline double tokens_of(double credit, double rate) noexcept nogil:
    """Credit as tokens; a forgiven rounding error shows as 0."""
    if credit < 0.0 and covers(credit, 0.0, rate):
        return 0.0
    return credit / CREDITS


cdef inline int64_t wait_ns(double credit, double cost, double rate) noexcept nogil:
    """Nanoseconds until the bucket has earned what `cost` lacks; INT64_MAX when it never will."""
    if covers(credit, cost, rate):
        return 0
    if rate <= 0.0:
        return INT64_MAX
    cdef double wait = nearbyint((cost - credit) / rate)
    # 2**63 as a double: the first value that does not fit.
    return INT64_MAX if wait >= 9223372036854775808.0 else <int64_t>wait


cdef inline int64_t later(int64_t t, int64_t wait) noexcept nogil:
    """`t + wait` for `wait >= 0`, stopping at the end of time."""
    return INT64_MAX if t > INT64_MAX - wait else t + wait
