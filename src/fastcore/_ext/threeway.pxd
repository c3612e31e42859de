"""The patch that follows from three documents: header only, for strategic.

It makes the changes from live to desired, and the deletions from last applied to desired: what others set stays.
Works on private copies of plain values; no user code runs but that of mappings given as `types`.
"""


from fastcore._ext.divergence cimport CHANGES, DELETIONS, PLACES, divergence, is_parallel, token_of
from fastcore._ext.document cimport equal, is_container, is_dict, is_list
from fastcore._ext.kinds cimport type_of


cdef inline dict strategic(dict last, dict live, dict desired, dict types, object members):
    changes = divergence(types, CHANGES | PLACES, [], live, desired, members, False)
    deletions = divergence(types, DELETIONS | PLACES, [], last, desired, members, False)
    return both(deletions, changes, types, members)


cdef inline dict both(dict deletions, dict changes, dict types, object members):
    """One patch that says what two patches for the same desired document say."""
    cdef dict patch = dict(deletions)
    cdef str name
    for name, value in changes.items():
        said = patch.get(name)
        if is_dict(said) and is_dict(value):
            patch[name] = both(<dict>said, <dict>value, types, type_of(types, members, name)[0])
        elif is_list(said) and is_list(value) and not name.startswith("$"):
            inner, _, _, key = type_of(types, members, name)
            order = "$setElementOrder/" + name
            places = changes.get(order) or deletions.get(order) or []
            patch[name] = both_items(<list>said, <list>value, places, types, inner, key)
        else:
            patch[name] = value
    return patch


cdef inline list both_items(list deletions, list changes, list order, dict types, object members, str key):
    cdef dict items, place
    cdef list named = [], gone = []
    cdef Py_ssize_t i
    for replaced in (changes, deletions):
        if {"$patch": "replace"} in replaced:
            return replaced
    items = {}
    for item in deletions:
        if "$patch" in <dict>item:
            gone.append(item)
        else:
            items[token_of((<dict>item)[key])] = item
    for item in changes:
        token = token_of((<dict>item)[key])
        items[token] = both(items[token], item, types, members) if token in items else item
    place = {}
    for i in range(len(order)):
        place[token_of((<dict>order[i])[key])] = i
    for i, (token, item) in enumerate(items.items()):
        named.append((place.get(token, len(place)), i, item))
    named.sort()
    return [item for _, _, item in named] + gone


cdef inline dict both_plain(dict deletions, dict changes):
    """The same for two merge patches."""
    cdef dict patch = dict(deletions)
    for name, value in changes.items():
        said = patch.get(name)
        if is_dict(said) and is_dict(value):
            value = both_plain(<dict>said, <dict>value)
        patch[name] = value
    return patch


cdef inline bint conflict(object patch, object changed, dict types, object members, list path) except -1:
    """Whether a patch sets what was changed to something else meanwhile; then `path` leads there."""
    cdef str name
    if not is_dict(patch) or not is_dict(changed):
        return not equal(patch, changed, 0)
    if (<dict>patch).get("$patch") != (<dict>changed).get("$patch"):
        return True
    for name, value in (<dict>patch).items():
        if name == "$patch" or name == "$retainKeys" or is_parallel(name) or name not in <dict>changed:
            continue
        path.append(name)
        inner, strategy, _, key = type_of(types, members, name)
        other = (<dict>changed)[name]
        if is_list(value) and is_list(other):
            if lists_conflict(<list>value, <list>other, types, inner, strategy, key, path):
                return True
        elif not (is_dict(value) and is_dict(other) and strategy == "replace"):
            if conflict(value, other, types, inner, path):
                return True
        path.pop()
    return False


cdef inline bint lists_conflict(
    list patch, list changed, dict types, object members, str strategy, str key, list path
) except -1:
    cdef bint scalars = True
    cdef Py_ssize_t i
    cdef dict others
    if strategy != "merge":
        for item in [*patch, *changed]:
            scalars = scalars and not is_container(item)
        if len(patch) != len(changed) or scalars:
            return len(patch) != len(changed) or {token_of(item) for item in patch} != {token_of(x) for x in changed}
        for i in range(len(patch)):
            if conflict(patch[i], changed[i], types, members, path):
                return True
        return False
    if not key:
        return False
    others = {token_of((<dict>item).get(key)): item for item in changed}
    for item in patch:
        token = token_of((<dict>item).get(key))
        if token in others and conflict(item, others[token], types, members, path):
            return True
    return False


cdef inline dict changes_of(dict old, dict new):
    """The merge patch (RFC 7386) from one document to another, but what becomes null is left as it is."""
    cdef dict patch = {}, inner
    for name, value in new.items():
        was = old.get(name)
        if is_dict(was) and is_dict(value):
            inner = changes_of(<dict>was, <dict>value)
            if inner:
                patch[name] = inner
        elif value is not None and (name not in old or not equal(was, value, 0)):
            kept = without_null_members(value)
            if kept or not is_dict(value) or not value:
                patch[name] = kept
    return patch


cdef inline dict deletions_of(dict old, dict new):
    """The part of the merge patch from one document to another that removes members."""
    cdef dict patch = {name: None for name in old if name not in new}, inner
    for name, value in new.items():
        was = old.get(name)
        if is_dict(value):
            inner = deletions_of(<dict>was if is_dict(was) else {}, <dict>value)
            if inner:
                patch[name] = inner
        elif value is None and (name not in old or was is not None):
            patch[name] = None
    return patch


cdef inline object without_null_members(object value):
    """`value` without the nulls that are members, nor the objects that hold nothing else."""
    cdef dict kept
    if not is_dict(value):
        return value
    kept = {}
    for name, item in (<dict>value).items():
        inner = without_null_members(item)
        if item is not None and (inner is item or not is_dict(item) or inner or not item):
            kept[name] = inner
    return kept
