# Reading a time that came from outside: integer nanoseconds, and nothing that merely can be made an integer.
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t


cdef inline int64_t instant(object t) except? -1:
    """`t` as nanoseconds; TypeError for a float, which Cython's own conversion would truncate."""
    return PyNumber_Index(t)
