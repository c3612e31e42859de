# What outdates the entries of a compiled cache, as the cache sees it.
from fastcore._ext.slots cimport Load, Slots


cdef class Loads(Slots):
    cdef bint erase(self, object key) except -1
    cdef int write(self, object key, object value, object ttl, int mode, Load load) except -1
