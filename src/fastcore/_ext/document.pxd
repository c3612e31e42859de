"""What a document is, when two are equal, and how one is copied: header only, for diff, patch and fingerprint.

A document is what JSON can say: dict with str keys, list, str, int, float, bool and None. `plain` turns subclasses,
other mappings and tuples into the plain type that they stand for, so everything after it deals with exact types, and
with subclasses of dict and list that are read as these are (`is_dict`, `is_list`), as the views of object stores are.

User code can run in `plain` (a mapping's own methods) and in the look-up of a key that is a str subclass. So every
walk holds references to what it reads, re-checks sizes as `for ... in dict.items()` does, and keeps no C pointer
into a container.
"""

from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_Check
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check, PyFloat_CheckExact
from cpython.list cimport PyList_Check
from cpython.long cimport PyLong_Check, PyLong_CheckExact
from cpython.object cimport Py_EQ, PyObject, PyObject_RichCompareBool
from cpython.tuple cimport PyTuple_Check
from cpython.unicode cimport PyUnicode_Check, PyUnicode_CheckExact
from libc.string cimport memcmp

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    int PyUnicode_KIND(object text) noexcept
    const void *PyUnicode_DATA(object text) noexcept
    int Py_EnterRecursiveCall(const char *where) except -1
    void Py_LeaveRecursiveCall() noexcept

cdef extern from *:
    """
    /* 1 and a new reference to the value of a member, or 0: one look-up, so that no other thread comes between the
       question whether it is there and what it is. */
    static inline int fastcore_look_up(PyObject *document, PyObject *name, PyObject **value) {
    #if PY_VERSION_HEX >= 0x030d0000
        return PyDict_GetItemRef(document, name, value);
    #else
        *value = PyDict_GetItemWithError(document, name);
        if (*value == NULL)
            return PyErr_Occurred() ? -1 : 0;
        Py_INCREF(*value);
        return 1;
    #endif
    }

    static inline PyObject *fastcore_owned(PyObject *reference) { return reference; }

    /* A list to walk: itself, or where there is no GIL a copy made under its lock. Items that are read without it, as
       loops in Python read them, can be freed ones in CPython 3.13 when another thread shortens the list. */
    static inline PyObject *fastcore_held(PyObject *list) {
    #ifdef Py_GIL_DISABLED
        return PyList_GetSlice(list, 0, PY_SSIZE_T_MAX);
    #else
        Py_INCREF(list);
        return list;
    #endif
    }

    /* A dict or list, or a subclass that does not iterate in its own way, which dict() and list() read in place too. */
    static inline int fastcore_is_dict(PyObject *value) {
        return PyDict_CheckExact(value) || (PyDict_Check(value) && Py_TYPE(value)->tp_iter == PyDict_Type.tp_iter);
    }

    static inline int fastcore_is_list(PyObject *value) {
        return PyList_CheckExact(value) || (PyList_Check(value) && Py_TYPE(value)->tp_iter == PyList_Type.tp_iter);
    }
    """
    bint is_dict "fastcore_is_dict"(object value) noexcept
    bint is_list "fastcore_is_list"(object value) noexcept
    int look_up "fastcore_look_up"(dict document, object name, PyObject **value) except -1
    object owned "fastcore_owned"(PyObject *reference)      # takes the reference over
    list held "fastcore_held"(list items)

cdef enum:
    MAX_DEPTH = 256  # levels of nesting; a document that contains itself always has more


cdef inline int too_deep() except -1:
    raise RecursionError(f"the document is nested deeper than {MAX_DEPTH} levels, or contains itself")


cdef inline int enter(int depth) except -1:
    """Count one level of nesting, ours and the interpreter's; pair it with Py_LeaveRecursiveCall."""
    if depth >= MAX_DEPTH:
        too_deep()
    return Py_EnterRecursiveCall(" while walking a document")


cdef inline bint is_plain(object value) noexcept:
    return (PyUnicode_CheckExact(value) or is_dict(value) or is_list(value) or value is None
            or PyLong_CheckExact(value) or PyBool_Check(value) or PyFloat_CheckExact(value))


cdef inline object converted(object value):
    """`value` as a plain type, converted one level deep; TypeError names any type that stands for none."""
    if PyUnicode_Check(value):
        return str.__str__(value)
    if PyLong_Check(value):
        return int.__int__(value)
    if PyFloat_Check(value):
        return float.__float__(value)
    if PyDict_Check(value):
        return dict(value)
    if PyList_Check(value) or PyTuple_Check(value):
        return list(value)
    from collections.abc import Mapping
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(
        f"a document holds dict, list, str, int, float, bool and None, not {type(value).__qualname__}"
    )


cdef inline object plain(object value):
    return value if is_plain(value) else converted(value)


cdef inline int check_key(object key) except -1:
    """Raise TypeError unless `key` can be the name of a member."""
    if not PyUnicode_Check(key):
        raise TypeError(f"the names in a document are str, not {type(key).__qualname__}")
    return 0


cdef inline bint is_container(object value) noexcept:
    return is_dict(value) or is_list(value)


cdef inline bint same_text(object a, object b) noexcept:
    """Whether both are plain str and equal: most of what a document holds, so worth asking first."""
    if not PyUnicode_CheckExact(a) or not PyUnicode_CheckExact(b):
        return False
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(a)
    cdef int width = PyUnicode_KIND(a)
    return (length == PyUnicode_GET_LENGTH(b) and width == PyUnicode_KIND(b)
            and memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), <size_t>length * <size_t>width) == 0)


cdef inline int same_scalar(object a, object b) except -1:
    """Whether two plain scalars are equal."""
    cdef double x, y
    if PyUnicode_CheckExact(a) or PyUnicode_CheckExact(b):
        return same_text(a, b)
    if a is None or b is None or PyBool_Check(a) or PyBool_Check(b):
        return a is b
    if PyFloat_CheckExact(a) and PyFloat_CheckExact(b):
        x, y = PyFloat_AS_DOUBLE(a), PyFloat_AS_DOUBLE(b)
        return x == y or (x != x and y != y)
    return PyObject_RichCompareBool(a, b, Py_EQ)


cdef inline int equal(object a, object b, int depth) except -1:
    """Whether two documents are equal; lists in order, dicts in any."""
    cdef int answer
    if a is b:
        return 1
    if not is_container(a) or not is_container(b):
        a, b = plain(a), plain(b)
    if is_dict(a) and is_dict(b):
        if len(<dict>a) != len(<dict>b):
            return 0
        enter(depth)
        try:
            answer = equal_members(<dict>a, <dict>b, depth + 1)
        finally:
            Py_LeaveRecursiveCall()
        return answer
    if is_list(a) and is_list(b):
        if len(<list>a) != len(<list>b):
            return 0
        enter(depth)
        try:
            answer = equal_items(held(<list>a), held(<list>b), depth + 1)
        finally:
            Py_LeaveRecursiveCall()
        return answer
    return not is_container(a) and not is_container(b) and same_scalar(a, b)


cdef inline int equal_members(dict a, dict b, int depth) except -1:
    cdef object key, x, y
    cdef PyObject *found = NULL
    for key, x in a.items():
        check_key(key)
        if not look_up(b, key, &found):
            return 0
        y = owned(found)
        if not (x is y or same_text(x, y) or equal(x, y, depth)):
            return 0
    return 1


cdef inline int equal_items(list a, list b, int depth) except -1:
    cdef Py_ssize_t i
    cdef object x, y
    if len(a) != len(b):  # one of them was changed meanwhile
        return 0
    for i in range(len(a)):
        x, y = a[i], b[i]
        if not (x is y or same_text(x, y) or equal(x, y, depth)):
            return 0
    return 1


cdef inline object copied(object value, int depth):
    """A copy that shares nothing mutable, as plain dicts and lists."""
    if not is_plain(value):
        value = converted(value)
    if not is_container(value):
        return value
    enter(depth)
    try:
        if is_dict(value):
            return copied_dict(<dict>value, depth + 1)
        return copied_list(<list>value, depth + 1)
    finally:
        Py_LeaveRecursiveCall()


cdef inline dict copied_dict(dict value, int depth):
    # A clone of the table and then its containers: most values are scalars, and the clone is one memcpy.
    cdef dict result = value.copy()
    for key, item in value.items():
        if not PyUnicode_CheckExact(key):
            return copied_members(value, depth)
        if not PyUnicode_CheckExact(item):
            result[key] = copied(item, depth)
    return result


cdef inline dict copied_members(dict value, int depth):
    """The copy of a dict some of whose names are no plain str."""
    cdef dict result = {}
    for key, item in value.items():
        check_key(key)
        result[plain(key)] = copied(item, depth)
    return result


cdef inline list copied_list(list value, int depth):
    cdef list result = list(value)
    cdef Py_ssize_t i
    for i in range(len(result)):
        if not PyUnicode_CheckExact(result[i]):
            result[i] = copied(result[i], depth)
    return result


cdef inline str pointer(list path):
    """The JSON pointer (RFC 6901) of a path."""
    cdef list parts = []
    for element in path:
        parts.append("/")
        if not PyUnicode_Check(element):
            parts.append(str(element))
        elif "~" in element or "/" in element:
            parts.append(element.replace("~", "~0").replace("/", "~1"))
        else:
            parts.append(element)
    return "".join(parts)
