# cython: freethreading_compatible=True
"""The compiled call of a cached function: a hit builds its key and looks it up without a Python frame.

User code may run at every step: `make_key`, the lookup, `load`, and the drop of a key. Nothing here changes after it
was made, so there is nothing to guard and no step is half done. The caller holds the arguments meanwhile.
"""

cimport cython
from cpython.exc cimport PyErr_Clear, PyErr_ExceptionMatches
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM

from types import MethodType

from fastcore._ext.forward cimport PyObject_Vectorcall, PyVectorcall_NARGS, VectorCall, call_by_vector

cdef extern from *:
    PyObject *PyObject_GetItem(object container, object key)
    object PyVectorcall_Call(object callable, object args, object kwargs)


@cython.final
cdef class _Caller:
    """Stands for a function; a method like it in a class."""

    cdef VectorCall vector
    cdef object cache
    cdef object make_key
    cdef object load
    cdef bint plain
    cdef dict __dict__
    cdef object __weakref__

    def __cinit__(self):
        self.vector = call

    def __call__(self, *args, **kwargs):
        return PyVectorcall_Call(self, args, kwargs)

    def __get__(self, instance, owner):
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self):
        # Found again by its name, as functions are; so a copy is the same object.
        return getattr(self, "__qualname__", type(self).__qualname__)

    def __repr__(self):
        return f"<cached {getattr(self, '__wrapped__', self.load)!r}>"


cdef object call(object self, PyObject *const *args, size_t nargsf, PyObject *kwnames):
    cdef _Caller caller = <_Caller>self
    cdef Py_ssize_t count = PyVectorcall_NARGS(nargsf)
    cdef tuple positional = None
    cdef object key
    cdef PyObject *value
    if caller.plain and kwnames == NULL:
        positional = pack(args, count)
        key = positional
    else:
        key = PyObject_Vectorcall(caller.make_key, args, count, kwnames)
    value = PyObject_GetItem(caller.cache, key)
    if value != NULL:
        return owned(value)
    absent()
    if positional is None:
        positional = pack(args, count)
    return caller.load(key, positional, named(args + count, kwnames))


cdef inline object owned(PyObject *value):
    """Make a new reference from the C API one that Cython manages."""
    cdef object result = <object>value
    Py_XDECREF(value)
    return result


cdef int absent() except -1:
    """Let a KeyError of the lookup go, before anything else runs; raise any other error."""
    if PyErr_ExceptionMatches(KeyError):
        PyErr_Clear()
        return 0
    return -1


cdef inline tuple pack(PyObject *const *args, Py_ssize_t count):
    cdef tuple packed = PyTuple_New(count)
    cdef Py_ssize_t i
    for i in range(count):
        Py_INCREF(<object>args[i])
        PyTuple_SET_ITEM(packed, i, <object>args[i])
    return packed


cdef dict named(PyObject *const *args, PyObject *kwnames):
    cdef dict keywords = {}
    cdef Py_ssize_t i
    if kwnames != NULL:
        for i in range(PyTuple_GET_SIZE(<object>kwnames)):
            keywords[<object>PyTuple_GET_ITEM(<object>kwnames, i)] = <object>args[i]
    return keywords


def caller_for(cache, make_key, plain, load, /):
    """What to call in place of a function: `cache[key]`, and `load(key, args, kwargs)` where that raises KeyError.

    `make_key` gets the arguments of a call and returns the key; with `plain`, the key of a call without keywords is the
    tuple of its arguments.
    """
    cdef _Caller caller = _Caller.__new__(_Caller)
    caller.cache = cache
    caller.make_key = make_key
    caller.plain = plain
    caller.load = load
    return caller


cdef int prepare() except -1:
    cdef _Caller sample = _Caller.__new__(_Caller)
    call_by_vector(<PyTypeObject *>_Caller, <char *>&sample.vector - <char *><void *>sample)
    return 0


prepare()
