"""Whether one document covers another: header only, for diff.

User code can run where document.pxd says.
"""


from fastcore._ext.document cimport (
    Py_LeaveRecursiveCall, check_key, enter, equal, held, is_container, is_dict, is_list, plain, same_scalar,
    same_text,
)
from fastcore._ext.listmap cimport keyed_by, selector, step
from fastcore._ext.quantity cimport is_quantity, same_amount

cdef enum:
    DOUBTFUL = 2  # what differs may be quantities: ask again with a trail

# A trail is where quantities stand in a document of the kind, `(quantities, kind)`, and the path to where the walk is:
# kept only where the answer depends on it.


cdef inline int covered_at(
    object live, object desired, object field, list state, dict list_keys, list trail, object element, int depth
) except -1:
    cdef int answer
    if trail is None:
        return covered(live, desired, field, state, list_keys, None, depth)
    trail.append(element)
    answer = covered(live, desired, field, state, list_keys, trail, depth)
    trail.pop()
    return answer


cdef inline int covered(
    object live, object desired, object field, list state, dict list_keys, list trail, int depth
) except -1:
    cdef object a = live, b = desired
    cdef int answer
    if live is desired:
        return 1
    if not is_container(a) or not is_container(b):
        a, b = plain(a), plain(b)
    if is_dict(a) and is_dict(b):
        enter(depth)
        try:
            answer = covered_members(<dict>a, <dict>b, state, list_keys, trail, depth + 1)
        finally:
            Py_LeaveRecursiveCall()
        return answer
    if is_list(a) and is_list(b):
        enter(depth)
        try:
            answer = covered_items(held(<list>a), held(<list>b), field, state, list_keys, trail, depth + 1)
        finally:
            Py_LeaveRecursiveCall()
        return answer
    if is_container(a) or is_container(b):
        return 0
    if same_scalar(a, b):
        return 1
    if not same_amount(a, b):
        return 0
    return DOUBTFUL if trail is None else is_quantity(<dict>trail[0][0], trail[0][1], trail[1:])


cdef inline int covered_members(dict a, dict b, list state, dict list_keys, list trail, int depth) except -1:
    cdef list inner = None
    cdef int answer
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
        answer = covered_at(present, wanted, key, inner, list_keys, trail, key, depth)
        if answer != 1:
            return answer
    return 1


cdef inline int covered_items(
    list a, list b, object field, list state, dict list_keys, list trail, int depth
) except -1:
    cdef list inner = None, fields, live_tokens, desired_tokens
    cdef dict live_items = None
    cdef Py_ssize_t i
    cdef int answer
    if state is None and len(a) == len(b):
        # Most lists are as they should be: they are never asked for their keys.
        for i in range(len(b)):
            if not equal(a[i], b[i], depth):
                break
        else:
            return 1
    keyed = keyed_by(list_keys, field, a, b)
    if keyed is None:
        if len(a) != len(b):
            return 0
        for i in range(len(b)):
            if state is not None:
                inner = step(state, i)
                if inner is not None and not inner:
                    continue
            answer = covered_at(a[i], b[i], None, inner, list_keys, trail, None, depth)
            if answer != 1:
                return answer
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
        answer = covered_at(present, wanted, None, inner, list_keys, trail, None, depth)
        if answer != 1:
            return answer
    return 1
