"""How strategic merge patches treat the members of types: header only, for strategic.

`types` maps a type to its members, and a member to (type of its value or of its items, strategies, merge key). A kind
is the type "apps/v1 Deployment". A member that is not there has no strategy and no type; "*" is any member.

User code can run where document.pxd says, and in mappings given as the members of a type.
"""

from cpython.unicode cimport PyUnicode_CheckExact

from fastcore._ext.document cimport is_dict, plain


cdef inline str kind_of(object doc):
    """`apps/v1 Deployment`, "" for a document that does not say its kind."""
    doc = plain(doc)
    if not is_dict(doc):
        return ""
    version, kind = plain((<dict>doc).get("apiVersion")), plain((<dict>doc).get("kind"))
    return f"{version} {kind}" if PyUnicode_CheckExact(version) and PyUnicode_CheckExact(kind) else ""


cdef inline object members_of(dict types, tuple docs):
    """The members of the first document's kind that the table knows."""
    for doc in docs:
        members = types.get(kind_of(doc))
        if members is not None:
            return members
    return None


cdef inline tuple type_of(dict types, object members, str name):
    """The members of the value or of its items, the strategy ("", "merge" or "replace"), retainKeys, the merge key."""
    if members is None:
        return None, "", False, ""
    entry = members.get(name)
    if entry is None:
        entry = members.get("*")
        if entry is None:
            return None, "", False, ""
    if not isinstance(entry, (tuple, list)) or [isinstance(part, str) for part in entry] != [True, True, True]:
        raise TypeError(f"types: {entry!r} of {name!r} is not (type, strategies, merge key)")
    inner, strategies, key = entry
    parts = strategies.split(",")
    strategy = "merge" if "merge" in parts else "replace" if "replace" in parts else ""
    return types.get(inner), strategy, "retainKeys" in parts, key
