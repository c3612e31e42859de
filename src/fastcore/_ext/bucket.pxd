# The compiled token bucket, as other extensions see it: `admit` is `allow` without a Python call.
from libc.stdint cimport int64_t

from fastcore._ext.quota cimport Quota


cdef class Reservation:
    cdef readonly bint ok
    cdef readonly double delay
    cdef TokenBucket _bucket
    cdef double _cost
    cdef double _rate
    cdef int64_t _act
    cdef bint _explicit


cdef class TokenBucket:
    cdef double _credit
    cdef double _rate
    cdef double _full
    cdef int64_t _last
    cdef int64_t _event
    cdef int64_t _seen
    cdef object _clock
    cdef object _sleep

    # Take n tokens if they are there. Raises what `allow` raises: n < 0, and the errors of an injected clock.
    cdef bint admit(self, double n) except -1

    cdef int64_t _read_clock(self) except? -1
    cdef int64_t _held(self, int64_t now) noexcept
    cdef double _at(self, int64_t t) noexcept
    cdef bint _take(self, int64_t t, double cost) noexcept
    cdef int64_t _reserve(self, int64_t t, double cost, int64_t limit) noexcept
    cdef void _restore(self, Reservation r, int64_t t) noexcept
    cdef Reservation _promise(self, int64_t t, double cost, int64_t wait, bint explicit)
    cdef Reservation _reserve_to_wait(self, double n, object timeout)
    cdef Quota _ask(self, int64_t t, double cost, bint take)
    cdef void _settle(self, int64_t t) noexcept
