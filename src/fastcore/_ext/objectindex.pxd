# The index of a store: what a value finds.

cdef class Index:
    cdef tuple steps            # of a path, or
    cdef object function
    cdef dict entries           # the one key that a value finds, or a dict of several
    cdef dict values            # of each key, where a function gave them, which may answer differently next time
    cdef tuple values_of(self, object view, bytes raw)
    cdef int put(self, str key, bytes old, tuple values) except -1
    cdef int remove(self, str key, bytes old) except -1
    cdef tuple before(self, str key, bytes old)
    cdef int take_out(self, str key, tuple values) except -1
