# The compiled LRU cache, as its subclasses in C see it.
from libc.stdint cimport uint32_t, uint64_t

from fastcore._ext.loads cimport Loads


cdef class LRUCache(Loads):
    cdef type compiled_type(self)
    cdef int configure(self, object maxsize, object getsizeof) except -1
    cdef object read_copy(self, object key, bint subscript, object default)
    cdef int equip(self, dict options) except -1
    cdef double weigh(self, object value) except? -1
    cdef object prepared(self, object value, int mode, double *weight)
    cdef int make_room(self, object key, double weight) except -1
    cdef object lifetime(self, uint32_t slot, uint64_t now)
    cdef tuple snapshot(self, uint32_t slot, uint64_t now)
