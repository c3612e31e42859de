"""Where a walk stands in lists that are maps, and among ignored paths: header only, for diff and covers.

User code can run where document.pxd says, in iterating `ignore`, and in hashing and comparing its elements.
"""

from cpython.bool cimport PyBool_Check
from cpython.unicode cimport PyUnicode_CheckExact

from fastcore._ext.document cimport is_container, is_dict, plain

# Ignored paths are a list of tries, each a dict of path element to trie, or to None where a path ends.


cdef inline list ignored(object ignore):
    if isinstance(ignore, str):
        raise TypeError("ignore is a collection of paths, not str")
    root = {}
    for path in ignore:
        if isinstance(path, str):
            elements = path.split(".")
            if "" in elements:
                raise ValueError(f"ignore: {path!r} has an empty element")
        elif isinstance(path, (tuple, list)):
            elements = list(path)
            if not elements:
                raise ValueError("ignore: an empty path would ignore the whole document")
        else:
            raise TypeError(f"ignore: a path is a str or a tuple, not {type(path).__qualname__}")
        node = root
        for element in elements[:-1]:
            node = node.setdefault(element, {})
            if node is None:
                break
        else:
            node[elements[-1]] = None
    return [root] if root else None


cdef inline list step(list state, object element):
    """The tries below an element: None where nothing more is ignored, [] where everything is."""
    cdef list below = []
    for trie in state:
        for name in (element, "*"):
            if name in <dict>trie:
                inner = (<dict>trie)[name]
                if inner is None:
                    return []
                below.append(inner)
    return below or None


# A keyed list is (fields, tokens of the one list's items, tokens of the other's); a field is (name, default or None).


cdef inline object keyed_by(dict list_keys, object field, list a, list b):
    """How the items of two lists under one name are keyed, or None where they go by index.

    Where both lists have the same keys in the same order, both token lists are one object.
    """
    cdef list fields, old_tokens, new_tokens
    if field is None:
        return None
    declared = list_keys.get(field)
    if declared is None:
        return None
    for alternative in declared if isinstance(declared, list) else (declared,):
        fields = fields_of(field, alternative)
        old_tokens = tokens_of(fields, a)
        if old_tokens is None:
            continue
        new_tokens = tokens_of(fields, b)
        if new_tokens is None or len(set(new_tokens)) != len(new_tokens):
            continue
        if old_tokens == new_tokens:
            return fields, new_tokens, new_tokens
        if len(set(old_tokens)) == len(old_tokens):
            return fields, old_tokens, new_tokens
    return None


cdef inline list fields_of(object field, object alternative):
    fields = []
    for part in alternative if isinstance(alternative, tuple) else (alternative,):
        name, default = part if isinstance(part, tuple) and len(part) == 2 else (part, None)
        if not isinstance(name, str):
            raise TypeError(f"list_keys[{field!r}]: {alternative!r} is not a key field, or a tuple of them")
        fields.append((name, default))
    if not fields:
        raise TypeError(f"list_keys[{field!r}]: {alternative!r} is not a key field, or a tuple of them")
    return fields


cdef inline list tokens_of(list fields, list items):
    """The key of each item as something hashable, or None if an item has none."""
    cdef list tokens = []
    for item in items:
        token = token_of(fields, item)
        if token is None:
            return None
        tokens.append(token)
    return tokens


cdef inline object token_of(list fields, object item):
    cdef list values
    cdef Py_ssize_t i
    if len(fields) == 1 and is_dict(item):
        # Nearly every key is one str; an "=" is no member's name, so it goes the long way.
        value = (<dict>item).get((<tuple>fields[0])[0])
        if PyUnicode_CheckExact(value) and (<tuple>fields[0])[0] != "=":
            return value
    values = key_values(fields, item)
    for i in range(len(values)):
        value = values[i]
        if PyUnicode_CheckExact(value):
            continue
        value = plain(value)
        if value is None or is_container(value) or value != value:
            return None
        # 1 and True are one key to a dict, and two to us.
        values[i] = (value,) if PyBool_Check(value) else value
    return values[0] if len(values) == 1 else tuple(values)


cdef inline list key_values(list fields, object item):
    cdef list values
    item = plain(item)
    if (<tuple>fields[0])[0] == "=":
        return [item]
    if not is_dict(item):
        return [None]
    values = []
    for name, default in fields:
        value = (<dict>item).get(name)
        values.append(default if value is None else value)
    return values


cdef inline tuple selector(list fields, object item):
    cdef list parts = []
    cdef Py_ssize_t i
    values = key_values(fields, item)
    for i in range(len(values)):
        parts.append((<tuple>fields[i])[0])
        parts.append(values[i])
    return tuple(parts)
