# Simulated caches that see a sample of the keys, in plain integers; their owner's critical section guards them.
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastcore._ext.queues cimport Queues
from fastcore._ext.ring cimport Table

cdef enum:
    POLICIES = 2        # LRU, S3-FIFO
    SIZES = 3           # half, same, double
    SIMS = 6

cdef struct Sim:
    Table table
    double *weights     # NULL: every entry weighs 1, or there has been none yet
    double limit
    double total
    int64_t hits
    uint32_t side       # slots for which weights and queues have room
    Queues queues       # of S3-FIFO


@cython.final
cdef class Sampler:
    cdef uint64_t threshold     # a key is sampled if its code is below
    cdef int64_t requests       # reads of any key
    cdef int64_t sampled        # reads of sampled keys
    cdef bint weighs
    cdef Sim sims[SIMS]

    cdef void read(self, uint32_t hash, bint found, double weight) noexcept
    cdef void write(self, uint32_t hash, double weight) noexcept
    cdef void remove(self, uint32_t hash) noexcept
    cdef int clear(self) except -1


cdef inline bint samples(Sampler self, uint32_t hash) noexcept:
    """Whether keys of this hash are in the sample: multiplied, as sequences of integers leave it regular."""
    return <uint32_t>(hash * <uint32_t>0x9E3779B1) < self.threshold
