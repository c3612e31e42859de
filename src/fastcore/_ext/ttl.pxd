# The compiled TTL cache, as other modules in C see it.
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastcore._ext.lru cimport LRUCache
from fastcore._ext.wheel cimport Timer, Wheel

cdef enum:
    # What the numbers of the timer are.
    NANOSECONDS = 0     # the default clock, read in C
    INTEGERS = 1        # a given timer that has only returned integers
    FLOATS = 2          # a given timer that has returned something else

cdef struct Span:
    # A time to live, in the unit of the timer.
    bint endless
    bint fraction       # given as a number that is not an integer
    double seconds      # as given, jitter applied
    int64_t ticks       # the same as an integer: nanoseconds, or rounded up to whole units of an integer timer

cdef struct Reading:
    # What a given timer returned.
    bint fraction       # not an integer of 64 bits
    int64_t ticks
    double seconds


cdef class TTLCache(LRUCache):
    cdef Wheel wheel
    cdef Timer *timers
    cdef Span *spans            # NULL unless reads extend
    cdef bint injected          # a given timer; set once
    cdef int domain
    cdef bint extends
    cdef uint64_t latest        # the highest time seen, encoded
    cdef double spread          # jitter
    cdef object ttl_given
    cdef Span span

    cdef int parse(self, object ttl, Span *span) except -1
    cdef void measure(self, double seconds, Span *span) noexcept
    cdef void to_floats(self) noexcept

    # Parts of every read or write: final, so that calls of them take no detour over the table of methods.

    @cython.final
    cdef int read_timer(self, Reading *reading) except -1

    @cython.final
    cdef bint timed(self) noexcept

    @cython.final
    cdef uint64_t settle(self, Reading *reading) noexcept

    @cython.final
    cdef uint64_t deadline(self, uint64_t now, Span *span) noexcept

    @cython.final
    cdef int scatter(self, Span *span) except -1

    @cython.final
    cdef void arm(self, uint32_t slot, uint64_t expires) noexcept

    cdef object fetch(self, object key, bint *found)
