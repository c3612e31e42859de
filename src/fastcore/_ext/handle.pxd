cdef class Handle:
    cdef object __weakref__
    cdef object leased      # None once the lease has ended

    cdef object get(self)
    cdef object unwrap(self)
    cdef int end(self) except -1
