# The compiled S3-FIFO cache, as other modules in C see it.
cimport cython
from libc.stdint cimport uint8_t, uint32_t

from fastcore._ext.queues cimport Queues
from fastcore._ext.ttl cimport TTLCache


cdef class S3FIFOCache(TTLCache):
    cdef Queues queues

    @cython.final
    cdef double size(self) noexcept

    @cython.final
    cdef double weight_of(self, uint32_t slot) noexcept

    @cython.final
    cdef void settle_in(self, uint32_t slot, uint8_t place) noexcept
