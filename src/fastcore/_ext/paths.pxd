"""Finds members in JSON text that has been checked, by path: header only, for intake and objects.

No user code runs here. Of a name that is there twice the first counts.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from fastcore._ext.frozen cimport decode_slice
from fastcore._ext.jsonscan cimport ESCAPED, Place, pass_space, pass_string, pass_value, text_of


cdef inline Place member_at(Place at, Place end, const char *name, Py_ssize_t length) noexcept:
    """The value of a member of the object here, NULL if it is none or has no such member; a name without escapes."""
    cdef Place start
    cdef int flags = 0
    at = pass_space(at)
    if at[0] != c"{":
        return NULL
    at = pass_space(at + 1)
    while at[0] == c'"':
        start = at + 1
        at = pass_string(at, end, &flags)
        if at - 1 - start == length and memcmp(start, name, length) == 0:
            return pass_space(pass_space(at) + 1)
        at = pass_space(pass_value(pass_space(at) + 1, end))
        if at[0] == c",":
            at = pass_space(at + 1)
    return NULL


cdef inline Place member_of(Place at, Place end, bytes name):
    """As `member_at`, also where the text writes the name with escapes."""
    cdef Place start, found = member_at(at, end, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    cdef int flags = 0
    if found != NULL:
        return found
    at = pass_space(at)
    if at[0] != c"{":
        return NULL
    at = pass_space(at + 1)
    while at[0] == c'"':
        start = at + 1
        at = pass_string(at, end, &flags)
        if flags & ESCAPED and text_of(start, at - 1, flags).encode("utf-8", "surrogatepass") == name:
            return pass_space(pass_space(at) + 1)
        at = pass_space(pass_value(pass_space(at) + 1, end))
        if at[0] == c",":
            at = pass_space(at + 1)
    return NULL


cdef inline Place item_of(Place at, Place end, Py_ssize_t number) noexcept:
    """Item `number` of the list here, NULL if it has fewer."""
    at = pass_space(at + 1)
    while at[0] != c"]":
        if number == 0:
            return at
        number -= 1
        at = pass_space(pass_value(at, end))
        if at[0] == c",":
            at = pass_space(at + 1)
    return NULL


cdef inline Place find(Place at, Place end, tuple steps):
    """The value at a path of names as bytes, NULL if there is none; a decimal name is an item's number in a list."""
    cdef bytes name
    at = pass_space(at)
    for name in steps:
        if at[0] == c"[":
            at = item_of(at, end, int(name)) if name.isdigit() and len(name) < 10 else NULL
        else:
            at = member_of(at, end, name)
        if at == NULL:
            return NULL
    return at


cdef inline object string_at(Place at, Place end):
    """The string here, None if it is anything else or nothing."""
    cdef int flags = 0
    cdef Place stop
    if at == NULL or at[0] != c'"':
        return None
    stop = pass_string(at, end, &flags)
    return text_of(at + 1, stop - 1, flags)


cdef inline bint same_value(Place one, Place one_end, Place other, Place other_end) noexcept:
    """Whether two values are written alike; two that are not there are."""
    cdef Py_ssize_t length
    if one == NULL or other == NULL:
        return one == other
    length = pass_value(one, one_end) - one
    return pass_value(other, other_end) - other == length and memcmp(one, other, length) == 0


cdef inline int gather(Place at, Place end, tuple steps, Py_ssize_t depth, list values) except -1:
    """Add every scalar at a path to `values`; a list on the way or at the end stands for each of its items."""
    cdef bytes name
    at = pass_space(at)
    if at[0] == c"[":
        at = pass_space(at + 1)
        while at[0] != c"]":
            gather(at, end, steps, depth, values)
            at = pass_space(pass_value(at, end))
            if at[0] == c",":
                at = pass_space(at + 1)
        return 0
    if depth < len(steps):
        name = steps[depth]
        at = member_of(at, end, name)
        return gather(at, end, steps, depth + 1, values) if at != NULL else 0
    if at[0] != c"{" and at[0] != c"n":
        values.append(decode_slice(at, end))
    return 0
