"""The changes that a JSON patch is made of: header only, for patch.

A change is (operation, reversed path, value); that of a move is the index where the item was. It starts with an empty
path, and every level adds its element on the way back. User code can run where document.pxd says.
"""

from cpython.object cimport PyObject

from fastcore._ext.align cimport aligned
from fastcore._ext.document cimport (
    Py_LeaveRecursiveCall, check_key, enter, equal, held, is_container, is_dict, is_list, look_up, owned, plain,
    pointer, same_scalar, same_text,
)


cdef inline dict operation_of(str op, list path, object value):
    """The operation that a change is in a JSON patch."""
    path.reverse()
    cdef dict said = {"op": op, "path": pointer(path)}
    if op == "move":
        said["from"] = pointer([*path[:-1], value])
    elif op != "remove":
        said["value"] = value
    return said


cdef inline int pair(object old, object new, list found, bint careful, int depth) except -1:
    """Append what turns `old` into `new`; with `careful` nothing is tried that might have to be undone."""
    cdef object a = old, b = new
    if old is new:
        return 0
    if not is_container(a) or not is_container(b):
        a, b = plain(a), plain(b)
    if is_dict(a) and is_dict(b):
        enter(depth)
        try:
            members(<dict>a, <dict>b, found, careful, depth + 1)
        finally:
            Py_LeaveRecursiveCall()
    elif is_list(a) and is_list(b):
        enter(depth)
        try:
            arrays(held(<list>a), held(<list>b), found, careful, depth + 1)
        finally:
            Py_LeaveRecursiveCall()
    elif is_container(a) or is_container(b) or not same_scalar(a, b):
        found.append(("replace", [], new))
    return 0


cdef inline int members(dict a, dict b, list found, bint careful, int depth) except -1:
    cdef Py_ssize_t matched = 0
    cdef PyObject *value = NULL
    for key, old in a.items():
        check_key(key)
        if not look_up(b, key, &value):
            found.append(("remove", [key], None))
            continue
        new = owned(value)
        matched += 1
        if new is not old and not same_text(old, new):
            changed_at(key, old, new, found, careful, depth)
    if matched != len(b):
        for key, new in b.items():
            check_key(key)
            if key not in a:
                found.append(("add", [key], new))
    return 0


cdef inline bint changed_at(object element, object old, object new, list found, bint careful, int depth) except -1:
    """Whether there is a change at one element."""
    cdef Py_ssize_t before = len(found), i
    pair(old, new, found, careful, depth)
    for i in range(before, len(found)):
        (<list>(<tuple>found[i])[1]).append(element)
    return len(found) != before


cdef inline int arrays(list a, list b, list found, bint careful, int depth) except -1:
    cdef Py_ssize_t head = 0, old_end = len(a), new_end = len(b), before = len(found), touched = 0, last = 0, i
    cdef list pairs
    if old_end == new_end and not careful:
        # Nearly always one item has changed where it stands. Only if it is more is it asked whether items have moved.
        for i in range(old_end):
            if changed_at(i, a[i], b[i], found, False, depth):
                head, last = i if not touched else head, i
                touched += 1
        if touched < 2:
            return 0
        old_end = new_end = last + 1
        pairs = aligned(a[head:old_end], b[head:old_end], depth)
        if len(pairs) == old_end - head:
            return 0
        del found[before:]
    else:
        while head < old_end and head < new_end and equal(a[head], b[head], depth):
            head += 1
        while old_end > head and new_end > head and equal(a[old_end - 1], b[new_end - 1], depth):
            old_end -= 1
            new_end -= 1
        pairs = aligned(a[head:old_end], b[head:new_end], depth)
    return edits(a, b, pairs, head, old_end, new_end, found, depth)


cdef inline int edits(
    list a, list b, list pairs, Py_ssize_t head, Py_ssize_t old_end, Py_ssize_t new_end, list found, int depth
) except -1:
    cdef Py_ssize_t i, j
    cdef bint moved
    cdef set stay = set(), come = set()
    cdef list removed = [], added = []
    for i, j in pairs:
        changed_at(i + head, a[i + head], b[j + head], found, True, depth)
        stay.add(i + head)
        come.add(j + head)
    # From the back, so that the indices of the operations that follow still hold.
    for i in range(old_end - 1, head - 1, -1):
        if i not in stay:
            removed.append(i)
    for j in range(head, new_end):
        if j not in come:
            added.append(j)
    moved = removed and added and equal(a[removed[-1]], b[added[0]], depth)
    for i in removed[:len(removed) - moved]:
        found.append(("remove", [i], None))
    if moved:
        found.append(("move", [added[0]], removed[-1]))
    for j in added[moved:]:
        found.append(("add", [j], b[j]))
    return 0
