# The answer to a request, and how a bucket arrives at it.
from libc.math cimport floor

from fastcore._ext.credit cimport CREDITS, INFINITY, covers, wait_ns


cdef class Quota:
    cdef readonly bint limited
    cdef readonly double limit
    cdef readonly double remaining
    cdef readonly double reset_after
    cdef readonly object retry_after


cdef inline Quota quota_of(double credit, double cost, double rate, double full, bint take):
    """The answer to a request of `cost` made while the bucket holds `credit`; `take`: as it is after the request."""
    cdef Quota quota = Quota.__new__(Quota, False, full / CREDITS, INFINITY, 0.0, 0.0)
    if rate == INFINITY:
        return quota
    cdef bint passes = cost == 0.0 or (cost <= full and covers(credit, cost, rate))
    if not passes:
        quota.limited = True
        quota.retry_after = None if cost > full or rate == 0.0 else wait_ns(credit, cost, rate) / 1e9
    elif take:
        credit -= cost
    cdef double whole = floor(credit / CREDITS)
    if (whole + 1.0) * CREDITS <= full and covers(credit, (whole + 1.0) * CREDITS, rate):
        whole += 1.0
    quota.remaining = whole if whole > 0.0 else 0.0
    if credit < full:
        quota.reset_after = INFINITY if rate == 0.0 else wait_ns(credit, full, rate) / 1e9
    return quota
