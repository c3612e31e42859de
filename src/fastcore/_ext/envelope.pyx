# cython: freethreading_compatible=True
"""A value with the times that decide what a read of it does, and the clock that tells the time.

User code may run at a given timer, with no section held. `due` and `state` of an envelope change in the section of the
cache that keeps it; the rest never changes.
"""

cimport cython
from libc.math cimport INFINITY, isinf

from time import monotonic


def refreshes_early(double left, double cost, double beta, double draw, /):
    """Whether a read `left` before expiry, of what took `cost` to load, reloads: with probability exp(-left/beta/cost).

    `draw` is a number drawn evenly from [0, 1). Source: Vattani, Chierichetti and Lowenstein, "Optimal probabilistic
    cache stampede prevention" (VLDB 2015).
    """
    return is_early(left, cost, beta, draw)


@cython.final
cdef class Clock:
    """Clock(timer=None)
--

    The timer of a cache, never going back; called, it repeats the latest reading.

    So what is built on it tells the time of the operation under way without reading a clock again.
    """

    def __init__(self, timer=None):
        cdef object default = monotonic
        self.timer = None if timer is default else timer
        self.latest = -INFINITY

    cdef double tick(self) except? -1:
        """The time now, noted. Runs a given timer; called with no section held."""
        cdef double now = monotonic_ns() * 1e-9 if self.timer is None else self.timer()
        if now != now:
            raise ValueError("timer returned nan")
        with cython.critical_section(self):
            if now > self.latest:
                self.latest = now
            return self.latest

    def __call__(self):
        with cython.critical_section(self):
            if not isinf(self.latest):
                return self.latest
        return self.tick()


@cython.final
cdef class Envelope:
    """What a loading cache keeps for a key: a value, or that there is none, and the times that matter.

    Attributes:
        value: the value; None if there is none.
        found: False if there is no such thing.
        written: when it was loaded or set.
        expires: the first instant at which it is no longer fresh; inf: never.
        cost: how long the load took.
    """

    def __init__(self):
        raise TypeError("cannot create 'Envelope' instances; a loading cache makes them")

    @property
    def found(self):
        """False if there is no such thing."""
        return self.kind != NOT_FOUND

    @property
    def negative(self):
        """Whether it says that there is no such thing, or nothing to it."""
        return self.kind != VALUE
