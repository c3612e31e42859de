from libc.stdint cimport int64_t


cdef class Waiter:
    cdef int64_t pause
    cdef object future
    cdef object lock
    cdef object loop
    cdef object timer

    cdef bint wake(self) except -1
    cdef int block(self, int64_t ns) except -1
    cdef int arm(self, int64_t ns) except -1
    cdef int disarm(self) except -1


cdef class Crowd:
    cdef dict consumers
    cdef dict drainers
    cdef Waiter leader
    cdef list woken

    cdef int enlist(self, Waiter waiter, int64_t pause) except -1
    cdef int delist(self, Waiter waiter) except -1
    cdef int signal(self) except -1
    cdef int rearm(self) except -1
    cdef int _signal(self, Waiter waiter) except -1
    cdef int end(self) except -1
    cdef int release(self) except -1
    cdef int _wake_soon(self, list waiters) except -1


cdef inline list take_woken(Crowd crowd):
    """Those to be woken now, or None."""
    cdef list woken = crowd.woken
    if woken is not None:
        crowd.woken = None
    return woken
