# What callers of a work queue ask for, as numbers in C; and how it hands out a key.
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from libc.math cimport isnan
from libc.stdint cimport INT32_MAX, INT32_MIN, int64_t

cdef extern from *:
    """
    #include <math.h>
    #define FASTCORE_SAME_PRIORITY INT64_MAX
    /* A new reference, handed on as the object that it is. */
    static inline PyObject *fastcore_own(PyObject *reference) { return reference; }
    """
    long long llrint(double) nogil
    const long long SAME_PRIORITY "FASTCORE_SAME_PRIORITY"      # see Book.put
    object own "fastcore_own"(PyObject* reference)


cdef inline int64_t to_ns(double seconds) except? -1:
    """Nanoseconds, saturated to 64 bits."""
    if isnan(seconds):
        raise ValueError("a delay must be a number of seconds, got nan")
    return llrint(max(-9.2e18, min(seconds * 1e9, 9.2e18)))


cdef inline int64_t timeout_ns(object timeout) except? -1:
    if not timeout >= 0:
        raise ValueError(f"timeout must be >= 0 seconds, got {timeout!r}")
    return to_ns(timeout)


cdef inline long long to_priority(object priority) except? -1:
    cdef int overflow = 0
    cdef long long value = PyLong_AsLongLongAndOverflow(priority, &overflow)
    if overflow or value < INT32_MIN or value > INT32_MAX:
        raise ValueError(f"priority must be from -2**31 to 2**31 - 1, got {PyNumber_Index(priority)}")
    return value
