cdef class Handle:
    cdef object leased      # None once the lease has ended

    cdef object unwrap(self)
    cdef int end(self) except -1
