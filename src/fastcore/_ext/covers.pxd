"""Whether one document covers another: header only, for diff.

User code can run where document.pxd says.
"""

from cpython.dict cimport PyDict_CheckExact
from cpython.list cimport PyList_CheckExact

from fastcore._ext.document cimport (
    Py_LeaveRecursiveCall,
    check_key,
    enter,
    is_container,
    plain,
    same_scalar,
    same_text,
)
from fastcore._ext.listmap cimport keyed_by, selector, step


cdef inline int covered(object live, object desired, object field, list state, dict list_keys, int depth) except -1:
    cdef object a = live, b = desired
    cdef int answer
    if live is desired:
        return 1
    if not is_container(a) or not is_container(b):
        a, b = plain(a), plain(b)
    if PyDict_CheckExact(a) and PyDict_CheckExact(b):
        enter(depth)
        try:
            answer = covered_members(<dict>a, <dict>b, state, list_keys, depth + 1)
        finally:
            Py_LeaveRecursiveCall()
        return answer
    if PyList_CheckExact(a) and PyList_CheckExact(b):
        enter(depth)
        try:
            answer = covered_items(<list>a, <list>b, field, state, list_keys, depth + 1)
        finally:
            Py_LeaveRecursiveCall()
        return answer
    return not is_container(a) and not is_container(b) and same_scalar(a, b)


cdef inline int covered_members(dict a, dict b, list state, dict list_keys, int depth) except -1:
    cdef list inner = None
    for key, wanted in b.items():
        check_key(key)
        # A null asks for an absent or null member, so an absent one may be taken for null.
        present = a.get(key)
        if present is wanted or same_text(present, wanted):
            continue
        if state is not None:
            inner = step(state, key)
            if inner is not None and not inner:
                continue
        if not covered(present, wanted, key, inner, list_keys, depth):
            return 0
    return 1


cdef inline int covered_items(list a, list b, object field, list state, dict list_keys, int depth) except -1:
    cdef list inner = None, fields, live_tokens, desired_tokens
    cdef dict live_items = None
    cdef Py_ssize_t i
    keyed = keyed_by(list_keys, field, a, b)
    if keyed is None:
        if len(a) != len(b):
            return 0
        for i in range(len(b)):
            if state is not None:
                inner = step(state, i)
                if inner is not None and not inner:
                    continue
            if not covered(a[i], b[i], None, inner, list_keys, depth):
                return 0
        return 1
    fields, live_tokens, desired_tokens = <tuple>keyed
    if live_tokens is not desired_tokens:
        live_items = dict(zip(live_tokens, a))
    for i in range(len(desired_tokens)):
        wanted = b[i]
        if state is not None:
            inner = step(state, selector(fields, wanted))
            if inner is not None and not inner:
                continue
        if live_items is None:
            present = a[i]
        elif desired_tokens[i] in live_items:
            present = live_items[desired_tokens[i]]
        else:
            return 0
        if not covered(present, wanted, None, inner, list_keys, depth):
            return 0
    return 1
