from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from fastcore._ext.catalog cimport Catalog, Entry, Party
from fastcore._ext.durations cimport Counts
from fastcore._ext.levels cimport Lane, Level, Levels
from fastcore._ext.link cimport Link
from fastcore._ext.timers cimport Timers
from fastcore._ext.waiting cimport Crowd


cdef struct Figures:
    Py_ssize_t depth
    Py_ssize_t running
    Py_ssize_t delayed
    int64_t adds
    int64_t retries
    int64_t unfinished_ns
    int64_t longest_ns
    Counts queued
    Counts worked


cdef struct Facts:
    # Where one key is; times in nanoseconds, -1 for none.
    int state
    int priority
    int64_t since
    int64_t due


cdef class Group:
    cdef Party* party


cdef class Book:
    cdef Catalog catalog
    cdef list keys          # by slot; None from `catalog.size` on
    cdef Levels levels
    cdef Link ready
    cdef Py_ssize_t depth
    cdef Link processing
    cdef Py_ssize_t running
    cdef Timers timers
    cdef int64_t seq
    cdef Crowd crowd
    cdef Py_ssize_t signals     # consumers to wake once the operation has ended
    cdef int64_t aging
    cdef bint aged_turn
    cdef bint shut
    cdef int64_t last       # the highest time seen
    cdef int64_t adds
    cdef int64_t retries
    cdef Counts queued
    cdef Counts worked

    # For the queue
    cdef int put(self, object key, Party* party, int64_t delay, long long priority, bint again, int64_t now) except -1
    cdef PyObject* take(self, int64_t now) except? NULL
    cdef int finish(self, object key, int64_t now, PyObject** gone) except -1
    cdef Py_ssize_t count(self, int64_t now) except -1
    cdef int64_t next_due(self, int64_t now) noexcept
    cdef int hand_on(self) except -1
    cdef bint idle(self) noexcept
    cdef int close(self, list gone) except -1
    cdef Py_ssize_t discard(self, Party* party, list keys) except -1
    cdef int read(self, int64_t now, Figures* figures, dict depths) except -1
    cdef int tell(self, object key, int64_t now, Facts* facts) except -1

    # Steps
    cdef int search(self, object key, Py_hash_t hash, Entry** found) except -1
    cdef int same(self, Entry* entry, object key) except -1
    cdef int fit(self) except -1
    cdef PyObject* drop(self, Entry* entry) noexcept
    cdef void withdraw(self, Entry* entry) noexcept
    cdef void abandon(self) noexcept
    cdef int64_t advance(self, int64_t now) except? -1
    cdef int expire(self) except -1
    cdef int raise_priority(self, Entry* entry, int priority) except -1
    cdef int delay(self, Entry* entry, int64_t due, int priority) except -1
    cdef int mark(self, Entry* entry, int64_t now) except -1
    cdef int push(self, Entry* entry, int64_t now) except -1
    cdef int signal(self) except -1
