# cython: freethreading_compatible=True
"""Read-only views of JSON documents: dicts and lists that refuse to be changed, and the decoder that makes them.

User code can run in `thaw`, as document.pxd says. The decoder reads bytes, which nobody changes.
"""

from cpython.dict cimport PyDict_SetItem
from cpython.list cimport PyList_Append

from fastcore._ext.document cimport copied
from fastcore._ext.jsonscan cimport (
    Place, Scan, complain, pass_space, pass_string, scan_end, scan_over, scan_value, text_of,
)

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, object overflow) except? -1.0
    object PyLong_FromString(const char *text, char **end, int base)
    object PyLong_FromLongLong(long long value)
    object PyFloat_FromDouble(double value)


cdef int refuse(object view) except -1:
    raise TypeError(
        f"this {type(view).__name__} is a read-only view that others share: change a copy, which fastcore.objects.thaw "
        "and copy.deepcopy make"
    )


cdef class FrozenDict(dict):
    """A dict that cannot be changed, nor can what is in it.

    It equals a dict of the same members, and whatever reads dicts reads it: json, msgspec, `fastcore.diff`. What would
    change it raises TypeError; `thaw` and `copy.deepcopy` make plain dicts and lists of it, `dict(view)` and
    `view.copy()` a plain dict whose values are still views. It pickles as plain dicts and lists.

    Thread safety: nothing changes, so any number of threads may read.

    Example:
        >>> from fastcore.objects import thaw, view
        >>> pod = view(b'{"spec": {"nodeName": "a"}}')
        >>> mine = thaw(pod)
        >>> mine["spec"]["nodeName"] = "b"
        >>> pod["spec"]["nodeName"]
        'a'
    """

    def __init__(self, *args, **kwargs):
        refuse(self)

    def __setitem__(self, key, value):
        refuse(self)

    def __delitem__(self, key):
        refuse(self)

    def __ior__(self, other):
        refuse(self)

    def clear(self):
        """Raise TypeError."""
        refuse(self)

    def pop(self, *args):
        """Raise TypeError."""
        refuse(self)

    def popitem(self):
        """Raise TypeError."""
        refuse(self)

    def setdefault(self, *args):
        """Raise TypeError."""
        refuse(self)

    def update(self, *args, **kwargs):
        """Raise TypeError."""
        refuse(self)

    def __copy__(self):
        return (<dict>self).copy()

    def __deepcopy__(self, memo):
        return copied(self, 0)

    def __reduce_ex__(self, protocol):
        return dict, ((<dict>self).copy(),)


cdef class FrozenList(list):
    """A list that cannot be changed, nor can what is in it; as `FrozenDict`."""

    def __init__(self, *args):
        refuse(self)

    def __setitem__(self, i, value):
        refuse(self)

    def __delitem__(self, i):
        refuse(self)

    def __iadd__(self, other):
        refuse(self)

    def __imul__(self, count):
        refuse(self)

    def append(self, *args):
        """Raise TypeError."""
        refuse(self)

    def clear(self):
        """Raise TypeError."""
        refuse(self)

    def extend(self, *args):
        """Raise TypeError."""
        refuse(self)

    def insert(self, *args):
        """Raise TypeError."""
        refuse(self)

    def pop(self, *args):
        """Raise TypeError."""
        refuse(self)

    def remove(self, *args):
        """Raise TypeError."""
        refuse(self)

    def reverse(self):
        """Raise TypeError."""
        refuse(self)

    def sort(self, **kwargs):
        """Raise TypeError."""
        refuse(self)

    def __copy__(self):
        return list(self)

    def __deepcopy__(self, memo):
        return copied(self, 0)

    def __reduce_ex__(self, protocol):
        return list, (list(self),)


def thaw(value, /):
    """A copy of a document as plain dicts and lists, which share nothing with it and may be changed.

    Args:
        value: a view, or any document.

    Raises:
        TypeError: there is something in it that no document holds.
        RecursionError: it is nested deeper than 256 levels.

    Complexity: O(size).

    Example:
        >>> from fastcore.objects import thaw, view
        >>> type(thaw(view(b'{"a": [1]}'))["a"])
        <class 'list'>
    """
    return copied(value, 0)


def view(text, /):
    """The read-only view of a JSON document: `FrozenDict`, `FrozenList`, or a scalar.

    Args:
        text: JSON as UTF-8 bytes.

    Raises:
        TypeError: `text` is not bytes.
        ObjectError: it is not JSON, or nested deeper than 256 levels, or has a number of more than 1,024 characters.

    Complexity: O(size).

    Example:
        >>> from fastcore.objects import view
        >>> view(b'{"replicas": 3}')
        {'replicas': 3}
    """
    cdef Scan scan
    if type(text) is not bytes:
        raise TypeError(f"JSON is given as bytes, not {type(text).__qualname__}")
    scan = scan_over(<bytes>text)
    if not scan_value(&scan, 0) or not scan_end(&scan):
        complain(&scan)
    return decode(<bytes>text)


cdef object decode(bytes text):
    """The view of text that has been checked."""
    cdef Scan scan = scan_over(text)
    return value_at(&scan.at, scan.end)


cdef object decode_slice(const unsigned char *at, const unsigned char *end):
    return value_at(&at, end)


cdef object value_at(Place *at, Place end):
    """Decode the value here, and move past it."""
    cdef unsigned char c
    cdef Place start
    cdef int flags = 0
    at[0] = start = pass_space(at[0])
    c = start[0]
    if c == c'"':
        at[0] = pass_string(start, end, &flags)
        return text_of(start + 1, at[0] - 1, flags)
    if c == c"{":
        return dict_at(at, end)
    if c == c"[":
        return list_at(at, end)
    if c == c"t":
        at[0] = start + 4
        return True
    if c == c"f":
        at[0] = start + 5
        return False
    if c == c"n":
        at[0] = start + 4
        return None
    return number_at(at, end)


cdef object dict_at(Place *at, Place end):
    cdef object members = FrozenDict.__new__(FrozenDict)
    cdef Place start
    cdef int flags = 0
    cdef unsigned char c = c","
    start = pass_space(at[0] + 1)
    if start[0] == c"}":
        at[0] = start + 1
        return members
    while c == c",":
        start = pass_space(start)
        at[0] = pass_string(start, end, &flags)
        name = text_of(start + 1, at[0] - 1, flags)
        at[0] = pass_space(at[0]) + 1       # the colon
        PyDict_SetItem(members, name, value_at(at, end))
        start = pass_space(at[0])
        c = start[0]
        start += 1
    at[0] = start
    return members


cdef object list_at(Place *at, Place end):
    cdef object items = FrozenList.__new__(FrozenList)
    cdef Place start
    cdef unsigned char c = c","
    start = pass_space(at[0] + 1)
    if start[0] == c"]":
        at[0] = start + 1
        return items
    at[0] = start
    while c == c",":
        PyList_Append(items, value_at(at, end))
        start = pass_space(at[0])
        c = start[0]
        at[0] = start + 1
    return items


cdef object number_at(Place *at, Place end):
    cdef Place start = at[0], stop = start
    cdef bint whole = True
    cdef long long value = 0
    cdef bytes text
    while stop < end:
        if c"0" <= stop[0] <= c"9":
            value = (value * 10 + (stop[0] - c"0")) if stop - start < 19 else 0
        elif stop[0] == c"." or stop[0] == c"e" or stop[0] == c"E":
            whole = False
        elif stop[0] != c"-" and stop[0] != c"+":
            break
        stop += 1
    at[0] = stop
    if whole and stop - start <= 18:
        return PyLong_FromLongLong(-value if start[0] == c"-" else value)
    text = (<const char *>start)[:stop - start]
    if whole:
        return PyLong_FromString(<const char *>text, NULL, 10)
    return PyFloat_FromDouble(PyOS_string_to_double(<const char *>text, NULL, <object>NULL))
