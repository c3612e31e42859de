# How long the idle objects of a pool have not been needed. No Python, no clock, no lock.
#
# A pool is a stack, so the objects that were not needed in a period are those at the bottom, as many as were idle when
# it was at its lowest. What was not needed in two periods in a row is dropped, as Go's sync.Pool drops the victims of
# two collections.
#
#     idle  [ not needed for two periods | not needed in this one | in use now and then ]
#           0                         victims                    low                  depth
from libc.stdint cimport INT64_MAX, int64_t

cdef struct Ages:
    int64_t period  # nanoseconds; 0: objects do not age
    int64_t ends  # when the period is over
    bint begun
    Py_ssize_t low  # the fewest idle objects in this period
    Py_ssize_t victims  # so many at the bottom were not needed in the period before, either


cdef inline Py_ssize_t end_period(Ages *a, int64_t now, Py_ssize_t depth) noexcept nogil:
    """If the period is over: how many objects to drop from the bottom."""
    cdef Py_ssize_t drop = 0
    if a.begun:
        if now < a.ends:
            return 0
        # Two periods without a look are two in which the bottom was not needed.
        drop = a.low if now - a.ends >= a.period else min(a.low, a.victims)
        a.victims = a.low - drop
        a.low = depth - drop
    a.begun = True
    a.ends = INT64_MAX if now > INT64_MAX - a.period else now + a.period
    return drop


cdef inline Py_ssize_t end_early(Ages *a, Py_ssize_t depth) noexcept nogil:
    """How many objects at the bottom were not needed in this period, which ends now and leaves no victims."""
    cdef Py_ssize_t drop = a.low
    a.victims = 0
    a.low = depth - drop
    return drop
