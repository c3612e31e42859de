"""Merge patches (RFC 7386), made and applied: header only, for patch.

User code can run where document.pxd says.
"""

from cpython.object cimport PyObject

from fastcore._ext.document cimport (
    Py_LeaveRecursiveCall, check_key, copied, enter, equal, is_dict, look_up, owned, plain, pointer,
)


cdef inline dict merged_difference(dict a, dict b, list path, int depth):
    enter(depth)
    try:
        return merged_members(a, b, path, depth + 1)
    finally:
        Py_LeaveRecursiveCall()


cdef inline dict merged_members(dict a, dict b, list path, int depth):
    cdef dict patch = {}, inner
    cdef Py_ssize_t matched = 0
    cdef PyObject *found = NULL
    for key, old in a.items():
        check_key(key)
        if not look_up(b, key, &found):
            patch[key] = None
            continue
        new = owned(found)
        matched += 1
        if old is new:
            continue
        path.append(key)
        x, y = plain(old), plain(new)
        if is_dict(x) and is_dict(y):
            inner = merged_difference(<dict>x, <dict>y, path, depth)
            if inner:
                patch[key] = inner
        elif not equal(x, y, depth):
            refuse_nulls(new, path, depth)
            patch[key] = new
        path.pop()
    if matched != len(b):
        for key, new in b.items():
            check_key(key)
            if key not in a:
                path.append(key)
                refuse_nulls(new, path, depth)
                patch[key] = new
                path.pop()
    return patch


cdef inline int refuse_nulls(object value, list path, int depth) except -1:
    value = plain(value)
    if value is None:
        from fastcore.errors import PatchError
        raise PatchError(f"a merge patch cannot set {pointer(path)!r} to null: null removes")
    if is_dict(value):
        enter(depth)
        try:
            for key, item in (<dict>value).items():
                check_key(key)
                path.append(key)
                refuse_nulls(item, path, depth + 1)
                path.pop()
        finally:
            Py_LeaveRecursiveCall()
    return 0


cdef inline object merged(object target, object patch, int depth):
    patch = plain(patch)
    if not is_dict(patch):
        return copied(patch, depth)
    target = plain(target)
    if not is_dict(target):
        target = {}
    enter(depth)
    try:
        return merged_object(<dict>target, <dict>patch, depth + 1)
    finally:
        Py_LeaveRecursiveCall()


cdef inline dict merged_object(dict target, dict patch, int depth):
    cdef dict result = {}
    cdef PyObject *found = NULL
    for key, value in target.items():
        check_key(key)
        if not look_up(patch, key, &found):
            result[plain(key)] = copied(value, depth)
            continue
        change = owned(found)
        if change is not None:
            result[plain(key)] = merged(value, change, depth)
    for key, change in patch.items():
        check_key(key)
        if change is not None and key not in result:
            result[plain(key)] = merged(None, change, depth)
    return result
