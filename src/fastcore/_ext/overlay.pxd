"""A strategic merge patch laid over a document, as the API server does it: header only, for strategic.

Works on private copies of plain values, which it takes apart: the answer is made of the same dicts and lists. No user
code runs but that of mappings given as `types`.
"""


from fastcore._ext.divergence cimport grouped, is_directive, is_parallel, no_key, token_of
from fastcore._ext.document cimport is_container, is_dict, is_list, pointer
from fastcore._ext.kinds cimport type_of


cdef inline object misfit(list path, str reason):
    from fastcore.errors import PatchError
    return PatchError(f"at {pointer(path)!r}: {reason}")


cdef inline dict overlaid(dict types, list path, dict live, dict patch, object members):
    cdef str name, target
    directive = patch.pop("$patch", "merge")
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    if directive != "merge":
        raise misfit(path, "'$patch' is none of replace, delete, merge")
    if "$retainKeys" in patch:
        retain_keys(path, live, patch)
    for name in [name for name in patch if name.startswith("$setElementOrder/")]:
        order = patch.pop(name)
        path.append(name[len("$setElementOrder/"):])
        ordered(types, path, live, patch, order, members)
        path.pop()
    for name, value in patch.items():
        target = name.removeprefix("$deleteFromPrimitiveList/")
        path.append(target)
        if target != name:
            delete_items(path, live, value)
        elif value is None:
            live.pop(name, None)
        else:
            overlaid_member(types, path, live, value, members)
        path.pop()
    return live


cdef inline int retain_keys(list path, dict live, dict patch) except -1:
    """Clear what `$retainKeys` does not name."""
    kept = patch.pop("$retainKeys")
    if not is_list(kept):
        raise misfit(path, "'$retainKeys' is not a list")
    for name, value in patch.items():
        if value is not None and not is_parallel(name) and name not in <list>kept:
            raise misfit(path, f"the patch sets {name!r}, which '$retainKeys' does not name")
    for name in [name for name in live if name not in <list>kept]:
        del live[name]
    return 0


cdef inline int overlaid_member(dict types, list path, dict live, object value, object members) except -1:
    cdef str name = path[len(path) - 1]
    was = live.get(name)
    if is_dict(value) and is_dict(was):
        inner, strategy, _, key = type_of(types, members, name)
        live[name] = value if strategy == "replace" else overlaid(types, path, <dict>was, <dict>value, inner)
    elif is_list(value) and is_list(was):
        inner, strategy, _, key = type_of(types, members, name)
        if strategy == "merge":
            value = merged_items(types, path, <list>was, <list>value, <list>value, inner, key)
        live[name] = value
    elif is_dict(value) and "$patch" in <dict>value:
        # A directive that has nothing to work on says nothing.
        live.pop(name, None)
    else:
        live[name] = without_directives(without_nulls(value))
    return 0


cdef inline int delete_items(list path, dict live, object value) except -1:
    name = path[len(path) - 1]
    if not is_list(value):
        raise misfit(path, "'$deleteFromPrimitiveList' is not a list")
    was = live.get(name)
    if is_list(was):
        gone = {scalar_token(path, item) for item in <list>value}
        live[name] = [item for item in <list>was if is_container(item) or token_of(item) not in gone]
    return 0


cdef inline object scalar_token(list path, object item):
    if is_container(item):
        raise misfit(path, "a set of scalars can hold no objects or arrays")
    return token_of(item)


cdef inline object item_token(list path, object item, str key):
    if not key:
        return scalar_token(path, item)
    value = (<dict>item).get(key) if is_dict(item) else None
    if value is None or is_container(value):
        raise no_key(path, key)
    return token_of(value)


cdef inline int ordered(dict types, list path, dict live, dict patch, object order, object members) except -1:
    """What `$setElementOrder` says, and the patch for the same list, at once."""
    cdef str name = path[len(path) - 1]
    cdef Py_ssize_t place = 0
    cdef bint there = name in live, patched = name in patch
    was, value = live.get(name, []), patch.pop(name, [])
    if not (is_list(order) and is_list(was) and is_list(value)):
        raise misfit(path, "'$setElementOrder', the list or its patch is not a list")
    inner, strategy, _, key = type_of(types, members, name)
    wanted = [item_token(path, item, key) for item in <list>order]
    for item in <list>value if wanted else []:
        if is_dict(item) and "$patch" in <dict>item:
            continue
        token = item_token(path, item, key)
        # Each item is sought behind the one before it.
        while place < len(wanted) and wanted[place] != token:
            place += 1
        if place == len(wanted):
            raise misfit(path, "the order of the patch is not that of '$setElementOrder'")
        place += 1
    if not patched:
        if there:
            live[name] = in_order(path, was, was, order, key)
    elif not there:
        live[name] = in_order(path, without_directives(value), [], order, key)
    elif strategy == "merge":
        live[name] = merged_items(types, path, was, value, order, inner, key)
    else:
        live[name] = in_order(path, value, was, order, key)
    return 0


cdef inline list merged_items(dict types, list path, list was, list value, list order, object members, str key):
    """A list that is merged, by its key or as a set; what `order` names stands in that order."""
    cdef list items = [], kept
    cdef dict places, both
    cdef Py_ssize_t i, stayed
    cdef bint replaced = False
    cdef set gone
    if not key:
        both = {}
        for item in [*was, *value]:
            both.setdefault(scalar_token(path, item), item)
        return in_order(path, list(both.values()), was, order, key)
    gone = set()
    for item in value:
        directive = (<dict>item).get("$patch", "merge") if is_dict(item) else "merge"
        if directive == "replace":
            # This item says no more than that; the others of the patch are the new list.
            replaced = True
        elif directive == "delete":
            gone.add(item_token(path, item, key))
        elif directive == "merge":
            items.append(item)
        else:
            raise misfit(path, "'$patch' is none of replace, delete, merge")
    if replaced:
        for item in items:
            item_token(path, item, key)
        items = grouped(items, key)
        return items if order is value else in_order(path, items, was, order, key)
    kept = [item for item in was if item_token(path, item, key) not in gone]
    stayed = len(kept)
    places = places_of(path, kept, key)
    for item in items:
        token = item_token(path, item, key)
        if token in places:
            i = places[token]
            kept[i] = overlaid(types, path, kept[i], item, members)
        else:
            places[token] = len(kept)
            kept.append(item)
    if order is value:
        return in_order(path, kept, kept[:stayed], items, key)
    # The server counts as many new items among the old ones as were deleted.
    return in_order(path, kept, kept[:len(was)], order, key)


cdef inline dict places_of(list path, list items, str key):
    """Where each key stands first."""
    cdef dict places = {}
    cdef Py_ssize_t i
    for i in range(len(items)):
        places.setdefault(item_token(path, items[i], key), i)
    return places


cdef inline list in_order(list path, list items, list was, list order, str key):
    """`items` in the order that `order` names, and each other one before those that it stood before in `was`."""
    cdef dict wanted = places_of(path, order, key), before = places_of(path, was, key)
    cdef list named = [], others = [], result = []
    cdef Py_ssize_t i, place, next_other = 0
    for i in range(len(items)):
        token = item_token(path, items[i], key)
        # An item that was not there before stands before none, and none before it.
        place = before.get(token, -1)
        if token in wanted:
            named.append((wanted[token], i, place))
        else:
            others.append((len(was) if place < 0 else place, i))
    named.sort()
    others.sort()
    for _, i, place in named:
        while next_other < len(others) and <Py_ssize_t>(<tuple>others[next_other])[0] < place:
            result.append(items[<Py_ssize_t>(<tuple>others[next_other])[1]])
            next_other += 1
        result.append(items[i])
    for _, i in others[next_other:]:
        result.append(items[i])
    return result


cdef inline object without_nulls(object value):
    if is_dict(value):
        return {name: without_nulls(item) for name, item in (<dict>value).items() if item is not None}
    return [without_nulls(item) for item in <list>value] if is_list(value) else value


cdef inline object without_directives(object value):
    """`value` without the directives in it and the objects that are one."""
    if is_dict(value):
        return {
            name: without_directives(item)
            for name, item in (<dict>value).items()
            if not is_directive(name) and not (is_dict(item) and "$patch" in <dict>item)
        }
    if is_list(value):
        return [
            without_directives(item)
            for item in <list>value
            if not (is_dict(item) and "$patch" in <dict>item)
        ]
    return value
