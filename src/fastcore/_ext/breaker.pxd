# The circuit breaker, for cimport: see gate.pxd for what C code calls.
cimport cython
from cpython.object cimport PyObject

from fastcore._ext.circuit cimport Ticket
from fastcore._ext.gate cimport Gate


@cython.final
cdef class Permit:
    cdef Gate gate
    cdef Ticket ticket
    cdef bint reported

    cdef bint report(self, int outcome, object error) except -1


@cython.final
cdef class CircuitBreaker(Gate):
    cdef object forward(self, object fn, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
