cdef class Quota:
    cdef readonly bint limited
    cdef readonly double limit
    cdef readonly double remaining
    cdef readonly double reset_after
    cdef readonly object retry_after


# The answer to a request of `cost` made while the bucket holds `credit`; `take`: as it is after the request.
cdef Quota quota_of(double credit, double cost, double rate, double full, bint take)
