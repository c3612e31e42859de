# Envelopes and their clock, as the loading cache sees them.
cimport cython
from libc.math cimport exp

from fastcore._ext.clock cimport monotonic_ns

cdef enum:
    # What an envelope says.
    VALUE = 0
    NOT_FOUND = 1
    NOTHING = 2         # there is such a thing, and it is None

cdef enum:
    # How the reload of a value stands.
    SETTLED = 0
    REFRESHING = 1      # a reader has claimed it
    FAILED = 2          # the last one failed


@cython.final
cdef class Clock:
    cdef object timer       # None: the monotonic clock in seconds, read in C
    cdef double latest

    @cython.final
    cdef double tick(self) except? -1

    @cython.final
    cdef inline double read(self) except? -1:
        """As `tick`; the default clock, which does not go back, is not noted."""
        return monotonic_ns() * 1e-9 if self.timer is None else self.tick()


@cython.final
cdef class Envelope:
    cdef readonly object value
    cdef readonly double written
    cdef readonly double expires
    cdef double due         # the first instant at which a read has something to do besides returning the value
    cdef readonly double cost
    cdef unsigned char kind
    cdef unsigned char state    # changes, as `due` does, in the section of the cache


cdef inline Envelope envelope_of(object value, int kind, double written, double expires, double due, double cost):
    cdef Envelope envelope = Envelope.__new__(Envelope)
    envelope.value = value
    envelope.kind = <unsigned char>kind
    envelope.written = written
    envelope.expires = expires
    envelope.due = due
    envelope.cost = cost
    return envelope


cdef inline bint is_early(double left, double cost, double beta, double draw) noexcept:
    return beta * cost > 0 and draw < exp(-left / (beta * cost))
