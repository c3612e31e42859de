"""What a strategic merge patch has to say of two documents: header only, for strategic.

Works on private copies of plain values (`document.copied`): their depth is known, and no user code runs but that of
mappings given as `types`.
"""

from cpython.bool cimport PyBool_Check

from fastcore._ext.document cimport equal, is_container, is_dict, is_list, pointer
from fastcore._ext.kinds cimport type_of

cdef enum:
    CHANGES = 1  # tell what is set
    DELETIONS = 2  # tell what is removed
    PLACES = 4  # tell the order of the lists that are merged


cdef inline bint is_directive(str name) except -1:
    return name == "$patch" or name == "$retainKeys" or is_parallel(name)


cdef inline bint is_parallel(str name) except -1:
    return name.startswith(("$deleteFromPrimitiveList/", "$setElementOrder/"))


cdef inline object token_of(object value):
    """A merge key or an item of a set as something to look up: 1 and 1.0 are one, true is another."""
    return (value,) if PyBool_Check(value) else value


cdef inline list grouped(list items, str key):
    """Items with the same key together, where the first stands: so the server keeps them."""
    cdef dict groups = {}
    for item in items:
        groups.setdefault(token_of((<dict>item)[key]), []).append(item)
    return [item for group in groups.values() for item in <list>group]


cdef inline object no_key(list path, str key):
    from fastcore.errors import PatchError
    return PatchError(f"an item of {pointer(path)!r} is no object with the merge key {key!r}")


cdef inline dict divergence(dict types, int say, list path, dict old, dict new, object members, bint retain):
    """The patch that leads from one object to another; with `retain` it clears what others have added."""
    cdef dict patch = {}
    cdef bint added = False
    for name, value in new.items():
        path.append(name)
        refuse(path, name)
        if name in old:
            diverged_member(types, say, path, old[name], value, members, patch)
        elif say & CHANGES:
            patch[name] = said(path, value)
        path.pop()
    for name, value in old.items():
        if name not in new:
            if say & DELETIONS:
                patch[name] = None
            added = added or value is not None
    if retain and (patch or added):
        kept = sorted([name for name, value in new.items() if value is not None])
        if kept:
            patch["$retainKeys"] = kept
    return patch


cdef inline int diverged_member(
    dict types, int say, list path, object was, object now, object members, dict patch
) except -1:
    cdef str name = path[len(path) - 1]
    cdef dict changed
    if not is_container(now):
        if say & CHANGES and not equal(was, now, 0):
            patch[name] = now
        return 0
    inner, strategy, retain, key = type_of(types, members, name)
    if is_dict(was) and is_dict(now) and strategy != "replace":
        changed = divergence(types, say, path, <dict>was, <dict>now, inner, retain)
        if changed:
            patch[name] = changed
    elif is_list(was) and is_list(now) and strategy == "merge":
        if key:
            diverged_keyed(types, say, path, <list>was, <list>now, inner, retain, key, patch)
        else:
            diverged_set(say, path, <list>was, <list>now, patch)
    elif say & CHANGES and not equal(was, now, 0):
        patch[name] = said(path, now)
    return 0


cdef inline int diverged_keyed(
    dict types, int say, list path, list was, list now, object members, bint retain, str key, dict patch
) except -1:
    """What changes in a list of objects that are merged by a key."""
    cdef dict old = by_key(path, was, key), new = by_key(path, now, key), changed
    cdef list told = []
    cdef str name = path[len(path) - 1]
    if len(old) != len(was) or len(new) != len(now):
        # A key twice: item by item it could not be told which is meant.
        was, now = grouped(was, key), grouped(now, key)
        if other_list(types, say, path, was, now, members, retain, key):
            patch[name] = [*said(path, now), {"$patch": "replace"}]
        return 0
    for token, item in new.items():
        if token in old:
            changed = divergence(types, say, path, old[token], item, members, retain)
            if changed:
                changed[key] = (<dict>item)[key]
                told.append(changed)
        elif say & CHANGES:
            told.append(said(path, item))
    if say & DELETIONS:
        gone = [(<dict>item)[key] for token, item in old.items() if token not in new]
        for value in sorted(gone, key=str):
            told.append({key: value, "$patch": "delete"})
    if told:
        patch[name] = told
    if say & PLACES and old and new and (told or moved(say, old, new)):
        patch["$setElementOrder/" + name] = [{key: (<dict>item)[key]} for item in now]
    return 0


cdef inline bint other_list(
    dict types, int say, list path, list was, list now, object members, bint retain, str key
) except -1:
    """Whether there is something to tell of two lists, item by item where they stand."""
    cdef Py_ssize_t i
    if len(was) != len(now):
        return say & CHANGES or len(was) > len(now)
    for i in range(len(now)):
        if token_of((<dict>was[i])[key]) != token_of((<dict>now[i])[key]):
            return True
        if divergence(types, say, path, <dict>was[i], <dict>now[i], members, retain):
            return True
    return False


cdef inline dict by_key(list path, list items, str key):
    cdef dict found = {}
    for item in items:
        value = (<dict>item).get(key) if is_dict(item) else None
        if value is None or is_container(value):
            raise no_key(path, key)
        found[token_of(value)] = item
    return found


cdef inline int diverged_set(int say, list path, list was, list now, dict patch) except -1:
    """What changes in a list of scalars that is a set; an item that is there twice counts once."""
    cdef str name = path[len(path) - 1]
    for item in [*was, *now]:
        if is_container(item):
            from fastcore.errors import PatchError
            raise PatchError(f"{pointer(path)!r} is a set and can hold no objects or arrays")
    old, new = {token_of(item): item for item in was}, {token_of(item): item for item in now}
    added = [item for token, item in new.items() if token not in old] if say & CHANGES else []
    removed = [item for token, item in old.items() if token not in new] if say & DELETIONS else []
    if added:
        patch[name] = added
    if removed:
        patch["$deleteFromPrimitiveList/" + name] = sorted(removed, key=str)
    if say & PLACES and old and new and (added or removed or moved(say, old, new)):
        patch["$setElementOrder/" + name] = now
    return 0


cdef inline bint moved(int say, dict old, dict new) except -1:
    """Whether what both lists have stands in another order: where others put theirs is theirs to say."""
    return say & CHANGES and [token for token in old if token in new] != [token for token in new if token in old]


cdef inline object said(list path, object value):
    """`value`, which the patch takes over; PatchError if it would be read as a directive."""
    if is_dict(value):
        for name, item in (<dict>value).items():
            path.append(name)
            refuse(path, name)
            said(path, item)
            path.pop()
    elif is_list(value):
        for item in <list>value:
            said(path, item)
    return value


cdef inline int refuse(list path, str name) except -1:
    if name.startswith("$") and is_directive(name):
        from fastcore.errors import PatchError
        raise PatchError(f"a strategic merge patch cannot set {pointer(path)!r}: it would be a directive")
    return 0
