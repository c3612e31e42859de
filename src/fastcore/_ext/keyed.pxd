# The compiled buckets by key, as other extensions see them: `admit` is `allow` without a Python call.
from libc.stdint cimport int64_t


cdef class _Meter:
    cdef object key
    cdef double credit
    cdef int64_t last
    cdef Py_ssize_t place


cdef class KeyedTokenBucket:
    cdef readonly double rate
    cdef readonly double burst
    cdef readonly Py_ssize_t max_keys
    cdef double _full
    cdef int64_t _seen
    cdef unsigned long long _evictions
    cdef Py_ssize_t _hand
    cdef dict _table
    cdef list _meters
    cdef object _clock

    # Take n tokens of `key` if they are there. Raises what `allow` raises.
    cdef bint admit(self, object key, double n) except -1

    cdef int64_t _read_clock(self) except? -1
    cdef int64_t _held(self, int64_t now) noexcept
    cdef bint _take(self, _Meter meter, int64_t t, double cost) noexcept
    cdef _Meter _insert(self, object key, int64_t t, list dropped)
    cdef int _start_over(self, list dropped) except -1
    cdef int _sweep(self, int64_t t, Py_ssize_t looks, _Meter keep, list dropped) except -1
    cdef int _drop(self, _Meter victim, list dropped) except -1
    cdef int _unlink(self, _Meter meter) except -1
