# The compiled loading cache, as other modules in C see it.
from libc.stdint cimport uint32_t

from fastcore._ext.envelope cimport Clock, Envelope
from fastcore._ext.slots cimport Load
from fastcore._ext.ttl cimport TTLCache

cdef enum:
    # What to do about a read.
    LOAD = 0            # call the loader first
    HIT = 1
    TEMPTED = 2         # a hit so close to expiry that a reload is drawn for
    REFRESH = 3         # a hit, and start a reload
    NEGATIVE = 4
    STALE = 5           # past expiry, within the throttle after a failed load

cdef struct Reads:
    long long hits
    long long negative_hits
    long long stale_hits
    long long misses
    long long refreshes
    long long early_refreshes
    long long refresh_failures
    long long stale_answers


cdef class LoadingCache:
    cdef TTLCache store
    cdef Clock clock
    cdef object copy_out        # makes what a reader gets of a value; None: the value itself
    cdef object rng
    cdef object tagger          # says the tags of what is loaded or set without; None: there are none
    cdef object copy_in         # makes what is stored of a value; None: the value itself
    cdef double span            # inf: for ever
    cdef double refresh_after   # inf: never
    cdef double negative
    cdef double max_stale
    cdef double throttle
    cdef double beta
    cdef double spread          # jitter
    cdef Reads reads            # guarded by the store's section, as the times in envelopes are

    cdef int judge(self, Envelope envelope, double now) noexcept
    cdef void claim(self, Envelope envelope) noexcept
    cdef bint answers(self, Envelope envelope, double now) noexcept
    cdef Envelope read(self, object key, int *decision)
    cdef object lend(self, Envelope envelope)
    cdef Envelope wrap(self, object value, object started, object ttl)
    cdef Load terms(self, object key, Envelope envelope, object tags)
    cdef int write(self, object key, Envelope envelope, int mode, Load load) except -1
    cdef int inherit(self, Load load, uint32_t slot) except -1
    cdef tuple begin(self, object key, object load, Envelope old)
