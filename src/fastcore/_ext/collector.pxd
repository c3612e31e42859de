# Which lists the garbage collector has to walk: those from which a cycle may lead.
#
# A list in which every element is of a type that takes no part in garbage collection cannot be in a cycle, so a full
# pass need not visit its elements; CPython treats tuples alike. Such a list is untracked, and tracked again before the
# first other element is stored. An untracked container is never wrong, it only keeps what it refers to alive: whatever
# the collector does not see referring to an object counts as a reference from outside. On free-threaded builds the bit
# is the same, and the collector, which walks the heap there, passes over what is untracked.
#
# An exact tuple whose elements are all of such types cannot be in a cycle either, now or ever: it does not change.
# Keys of calls are mostly that.
from cpython.object cimport PyObject

cdef extern from *:
    """
    static inline int fastcore_is_atom(PyObject *object) {
        return !PyType_HasFeature(Py_TYPE(object), Py_TPFLAGS_HAVE_GC);
    }

    static int fastcore_is_tuple_of_atoms(PyObject *object) {
        Py_ssize_t i;
        if (!PyTuple_CheckExact(object)) return 0;
        for (i = 0; i < PyTuple_GET_SIZE(object); i++) {
            PyObject *element = PyTuple_GET_ITEM(object, i);
            if (element == NULL || !fastcore_is_atom(element)) return 0;
        }
        return 1;
    }
    """
    bint is_atom "fastcore_is_atom"(object o) noexcept
    bint is_tuple_of_atoms "fastcore_is_tuple_of_atoms"(object o) noexcept
    void PyObject_GC_Track(PyObject *o) noexcept
    void PyObject_GC_UnTrack(PyObject *o) noexcept
    int PyObject_GC_IsTracked(PyObject *o) noexcept


cdef inline bint may_cycle(object o) noexcept:
    """Whether a cycle may lead through `o`."""
    return not is_atom(o) and not is_tuple_of_atoms(o)


cdef inline void unwalk(list items) noexcept:
    """Spare the collector `items`, which holds nothing that a cycle may lead through."""
    PyObject_GC_UnTrack(<PyObject *>items)


cdef inline void walk(list items) noexcept:
    """Show `items` to the collector from now on."""
    if not PyObject_GC_IsTracked(<PyObject *>items):
        PyObject_GC_Track(<PyObject *>items)
