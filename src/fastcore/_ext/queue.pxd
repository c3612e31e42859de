# The compiled work queue, as capi.pyx sees it.
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from fastcore._ext.book cimport Book, Group
from fastcore._ext.waiting cimport Crowd, Waiter


@cython.final
cdef class WorkQueue:
    cdef Book book
    cdef Crowd crowd
    cdef object clock
    cdef object limiter
    cdef object fair_by
    cdef dict groups
    cdef Py_ssize_t groups_limit
    cdef Group everyone
    cdef readonly object name  #: The name given at construction.
    cdef object __weakref__

    # These take the section.
    cdef int put(self, object key, int64_t delay, long long priority, bint again) except -1
    cdef PyObject* take(self, Waiter waiter, Waiter previous) except? NULL
    cdef int finish(self, object key) except -1
    cdef Py_ssize_t count(self) except -1

    cdef int64_t _read(self) except? -1
    cdef int64_t _call_clock(self) except? -1
    cdef bint _shut(self) noexcept
    cdef Group _group(self, object key)
    cdef int _put_fairly(self, object key, int64_t delay, long long priority, bint again) except -1
    cdef int _put_in(self, object key, Group group, int64_t delay, long long priority, bint again) except -1
    cdef PyObject* _wait(self, object timeout, int64_t limit) except NULL
    cdef int _leave(self, Waiter waiter) except -1
    cdef int _wake(self) except -1
    cdef int _forget_all(self, list keys) except -1
    cdef bint _drain(self, Waiter waiter) except -1
    cdef bint _drained(self, Waiter waiter) except -1
