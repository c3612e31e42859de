# The object pool, for cimport: `take` and `give` are acquire and release without a Python call. In debug mode `take`
# lends the object itself, not a handle, so that C code may rely on its type.
cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdint cimport INT32_MAX, int64_t

from fastcore._ext.ages cimport Ages
from fastcore._ext.pointers cimport Pointers


cdef class _Pool:
    cdef object __weakref__
    cdef list idle  # a stack of `depth` objects; the slots above it hold None
    cdef Py_ssize_t depth
    cdef Pointers idle_ids
    cdef Ages ages
    cdef dict out  # in debug mode: address -> object or its handle, for each that is lent
    cdef Py_ssize_t max_idle
    cdef object clock
    cdef int64_t seen
    cdef int64_t created, reused, released
    cdef int64_t full, oversized, failed, doubles, unused

    cdef int configure(self, object max_idle, object max_idle_time, object clock, bint debug) except -1
    cdef int check(self, object obj) except -1
    cdef object make(self)
    cdef bint fits(self, object obj) except -1
    cdef bint clean(self, object obj) except -1
    cdef Py_ssize_t look(self) except -1
    cdef Py_ssize_t shrink(self) except -1
    cdef tuple snapshot(self)

    @cython.final
    cdef object take(self)

    @cython.final
    cdef object lend(self)

    @cython.final
    cdef int give(self, object obj) except -1

    @cython.final
    cdef bint take_back(self, object obj) except -1

    @cython.final
    cdef int64_t now(self) except? -1

    @cython.final
    cdef list cut(self, Py_ssize_t count)

    @cython.final
    cdef Py_ssize_t empty(self) except -1


@cython.final
cdef class ObjectPool(_Pool):
    cdef object factory
    cdef object reset
    cdef object measure
    cdef Py_ssize_t max_bytes  # -1: no limit


cdef inline Py_ssize_t limit(str name, object value) except -1:
    number = PyNumber_Index(value)
    if not 0 <= number <= INT32_MAX:
        raise ValueError(f"{name} must be from 0 to 2**31 - 1, got {number}")
    return number
