# Iteration over a compiled cache, as the cache sees it.
cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastcore._ext.slots cimport Slots


@cython.final
cdef class CacheIterator:
    cdef Slots cache
    cdef uint32_t slot
    cdef uint64_t changes
    cdef int kind       # 0: keys, 1: values, 2: items


cdef CacheIterator iterate(Slots cache, int kind)
