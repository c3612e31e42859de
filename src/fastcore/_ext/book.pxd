from libc.stdint cimport int64_t

from fastcore._ext.durations cimport Counts
from fastcore._ext.levels cimport Lane, Level, Levels
from fastcore._ext.link cimport Link
from fastcore._ext.timers cimport Timer, Timers
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


cdef class Group:
    cdef Lane* lanes
    cdef Py_ssize_t members


cdef class Entry:
    cdef object key
    cdef Group group
    cdef Link line          # in a lane while ready, in `processing` while being processed
    cdef Link age           # in `ready` while ready
    cdef Timer timer        # in `timers` while delayed
    cdef Lane* lane
    cdef Level* level
    cdef int64_t added      # when it was first added since it was last handed out
    cdef int64_t ready_at
    cdef int64_t started
    cdef int state
    cdef int priority
    cdef int popped         # the priority it was handed out with
    cdef bint settled       # in the dict for certain


cdef class Book:
    cdef dict items
    cdef Levels levels
    cdef Link ready
    cdef Py_ssize_t depth
    cdef Link processing
    cdef Py_ssize_t running
    cdef Timers timers
    cdef int64_t seq
    cdef Crowd crowd
    cdef Entry spare        # for the next key that is new; None while there is none
    cdef int64_t aging
    cdef bint aged_turn
    cdef bint shut
    cdef int64_t last       # the highest time seen
    cdef int64_t adds
    cdef int64_t retries
    cdef Counts queued
    cdef Counts worked

    # For the queue
    cdef int put(self, object key, Group group, int64_t delay, long long priority, bint again, int64_t now) except -1
    cdef Entry take(self, int64_t now)
    cdef Entry finish(self, object key, int64_t now)
    cdef int64_t advance(self, int64_t now) except? -1
    cdef int64_t next_due(self, int64_t now) noexcept
    cdef int hand_on(self) except -1
    cdef bint idle(self) noexcept
    cdef int close(self) except -1
    cdef int read(self, int64_t now, Figures* figures, dict depths) except -1

    # Steps
    cdef int expire(self) except -1
    cdef int raise_priority(self, Entry entry, int priority) except -1
    cdef void link(self, Entry entry, Level* level, Lane* lane) noexcept
    cdef int delay(self, Entry entry, int64_t due, int priority) except -1
    cdef int mark(self, Entry entry, int64_t now) except -1
    cdef int push(self, Entry entry, int64_t now) except -1
    cdef int put_back(self, object key, Entry gone) except -1
    cdef void dismiss(self, Entry entry) noexcept
    cdef void keep(self, Entry entry) noexcept
