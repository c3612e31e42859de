# cython: freethreading_compatible=True
"""What differs between two documents, and whether one covers the other.

    diff:   pair(old, new) -> members | items -> pair ...      one walk, `is` first
            a change starts with an empty path, every level adds its element on the way back

User code can run where document.pxd, listmap.pxd and quantity.pxd say, and in a mapping given as `list_keys`.
Nothing is held between the steps of a walk but references.
"""

cimport cython
from cpython.dict cimport PyDict_CheckExact
from cpython.object cimport PyObject

from fastcore._ext.covers cimport DOUBTFUL, covered
from fastcore._ext.document cimport (
    Py_LeaveRecursiveCall, check_key, enter, equal, held, is_container, is_dict, is_list, look_up, owned, plain,
    same_scalar, same_text,
)
from fastcore._ext.listmap cimport ignored, keyed_by, selector, step
from fastcore._ext.quantity cimport is_quantity, same_amount

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["KUBERNETES", "QUANTITIES", "Change", "covers", "diff"]

KUBERNETES = {
    "claims": "name",
    "conditions": "type",
    "containerStatuses": "name",
    "containers": "name",
    "env": "name",
    "ephemeralContainerStatuses": "name",
    "ephemeralContainers": "name",
    "finalizers": "=",
    "hostAliases": "ip",
    "hostIPs": "ip",
    "imagePullSecrets": "name",
    "initContainerStatuses": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "ports": [("containerPort", ("protocol", "TCP")), ("port", ("protocol", "TCP")), "name"],
    "resourceClaims": "name",
    "schedulingGates": "name",
    "secrets": "name",
    "taints": ("key", "effect"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "versions": "name",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
    "webhooks": "name",
}
"""Lists of the built-in kinds that are maps or sets, by the name of the member that holds them.

A str is the field that names an item ("=": the item is its own name, so the list is a set); a tuple is fields that
name it together, each a str or a pair of field and default; a list is alternatives, of which the first counts whose
fields every item of both lists has, with no two items of a list the same.
"""

QUANTITIES = {
    "*": (
        "**.resources.limits.*",
        "**.resources.requests.*",
        "**.allocatedResources.*",
        "**.resourceFieldRef.divisor",
        "**.emptyDir.sizeLimit",
        "**.spec.overhead.*",
    ),
    "CSIStorageCapacity": ("capacity", "maximumVolumeSize"),
    "HorizontalPodAutoscaler": (
        "**.target.averageValue",
        "**.target.value",
        "**.current.averageValue",
        "**.current.value",
        "spec.behavior.*.tolerance",
    ),
    "LimitRange": (
        "spec.limits.*.default.*",
        "spec.limits.*.defaultRequest.*",
        "spec.limits.*.max.*",
        "spec.limits.*.maxLimitRequestRatio.*",
        "spec.limits.*.min.*",
    ),
    "Node": ("status.allocatable.*", "status.capacity.*"),
    "PersistentVolume": ("spec.capacity.*",),
    "PersistentVolumeClaim": ("status.capacity.*",),
    "Pod": (
        "status.nodeAllocatableResourceClaimStatuses.*.mapping.*.quantity",
        "status.nodeAllocatableResourceClaimStatuses.*.overhead.*.perContainer",
        "status.nodeAllocatableResourceClaimStatuses.*.overhead.*.perPod",
    ),
    "ResourceClaim": ("**.capacity.requests.*", "**.consumedCapacity.*"),
    "ResourceClaimTemplate": ("**.capacity.requests.*",),
    "ResourceQuota": ("spec.hard.*", "status.hard.*", "status.used.*"),
    "ResourceSlice": (
        "**.capacity.*.value",
        "**.counters.*.value",
        "**.requestPolicy.default",
        "**.requestPolicy.validValues.*",
        "**.requestPolicy.validRange.*",
        "**.mapping.capacityMultiplier",
        "**.mapping.deviceMultiplier",
        "**.overhead.perContainer",
        "**.overhead.perPod",
    ),
    "RuntimeClass": ("overhead.podFixed.*",),
    "StatefulSet": ("**.status.capacity.*",),
    "VolumeAttachment": ("spec.source.inlineVolumeSpec.capacity.*",),
}
"""Where quantities stand: kind ("*": any document) to patterns of paths.

A pattern is a str with dots, or a tuple of elements; "*" is any one element, "**" in front any number of them.
"""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Change(NamedTuple):
    """One difference between two documents: where, and what was and is there.

    `op` is "add", "remove" or "change". The path is a tuple: a str is the name of a member, an int the index in a
    list, and a tuple selects the item of a keyed list by its key fields, `("name", "web")` or `("containerPort", 80,
    "protocol", "TCP")`, or the item of a set, `("=", "value")`. `old` is None for "add", `new` is None for "remove".
    The values are those of the documents, not copies.
    """

    op: str
    path: tuple[Any, ...]
    old: Any
    new: Any

    @property
    def where(self) -> str:
        """The path as text for people, such as `spec.containers[name=web].args[0]`; it shows no values but keys."""
        parts: list[str] = []
        for element in self.path:
            if isinstance(element, tuple):
                pairs = zip(element[::2], element[1::2], strict=True)
                shown = [f"{'' if field == '=' else field}={value}" for field, value in pairs]
                parts.append(f"[{','.join(shown)}]")
            elif not isinstance(element, str):
                parts.append(f"[{element}]")
            elif _PLAIN_NAME.fullmatch(element):
                parts.append(f".{element}" if parts else element)
            else:
                parts.append(f"[{element!r}]")
        return "".join(parts)


def diff(old, new, /, *, ignore=(), list_keys=None, quantities=None):
    """What has to change in `old` to make it `new`; empty exactly when they are equal.

    Members are compared by name, in any order. A list that `list_keys` declares is compared by the keys of its items,
    in any order; every other list by index. Numbers are equal by value (1 and 1.0, and any NaN), true only to true.
    Values that are the same object are not entered.

    Args:
        old, new: two documents.
        ignore: paths to leave out, with everything below: "metadata.managedFields", or a tuple of path elements as in
            `Change.path` (for names with a dot). "*" is any one element: "spec.containers.*.image". What is added or
            removed above an ignored path is reported whole.
        list_keys: which lists are keyed, in the form of `KUBERNETES`; default (None): `KUBERNETES`. Use `{}` to
            compare every list by index.
        quantities: where quantities stand, in the form of `QUANTITIES`; default (None): `QUANTITIES`. Two that are the
            same amount (`500m` and `0.5`) are equal there. Use `{}` to compare them as text.

    Raises:
        TypeError: a type that JSON does not have, a member name that is not str, or a bad `ignore`, `list_keys` or
            `quantities`.
        ValueError: an empty path in `ignore`.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size), one walk; equal documents cost about what `old == new` costs. Keyed lists that are reordered on
    every level cost O(size x depth).
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import diff
        >>> old = {"containers": [{"name": "web", "image": "a:1"}]}
        >>> new = {"containers": [{"name": "log", "image": "b:1"}, {"name": "web", "image": "a:2"}]}
        >>> for change in diff(old, new):
        ...     print(change.op, change.where, change.old, "->", change.new)
        change containers[name=web].image a:1 -> a:2
        add containers[name=log] None -> {'name': 'log', 'image': 'b:1'}
    """
    cdef _Walk walk = _Walk.__new__(_Walk)
    cdef dict places = quantities_of(quantities)
    walk.list_keys = table_of(list_keys)
    walk.found = []
    walk.pair(old, new, None, ignored(ignore), 0)
    changes = []
    for op, path, was, now in walk.found:
        (<list>path).reverse()
        if op == "change" and same_amount(was, now) and is_quantity(places, kind_of(old, new), <list>path):
            continue
        changes.append(Change(op, tuple(<list>path), was, now))
    return changes


def covers(live, desired, /, *, ignore=(), list_keys=None, quantities=None):
    """Whether `live` already says everything that `desired` says, so that writing `desired` would change nothing.

    Members that only `live` has (defaults, status, what others own) do not count. A null in `desired` asks for an
    absent or null member. In a keyed list every desired item needs the live item of its key, and further live items
    do not count; any other list needs the same length, and each item is covered by the one at its place. An empty
    dict or list is asked for like any value. Order in keyed lists does not count: to notice that a member or an item
    has left the desired state, keep its `fingerprint`.

    Args:
        live: the object as the server shows it.
        desired: the object as it should be; fields that are not set are not asked for.
        ignore: paths that need not be covered, as for `diff`.
        list_keys: which lists are keyed, as for `diff`.
        quantities: where quantities stand, as for `diff`.

    Raises:
        What `diff` raises.

    Complexity: O(size of desired, and of the keyed lists of live that it names); times depth where lists differ
    on every level.
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import covers
        >>> live = {"spec": {"replicas": 2, "paused": False}, "status": {"replicas": 2}}
        >>> covers(live, {"spec": {"replicas": 2}}), covers(live, {"spec": {"replicas": 3}})
        (True, False)
    """
    return covers_with(live, desired, ignored(ignore), table_of(list_keys), quantities_of(quantities))


@cython.final
cdef class _Walk:
    cdef list found  # of (op, path from the end, old, new)
    cdef dict list_keys

    cdef int report(self, str op, object old, object new) except -1:
        self.found.append((op, [], old, new))
        return 0

    cdef int place(self, Py_ssize_t before, object element) except -1:
        """Put one more element in front of the paths of what was found since."""
        cdef Py_ssize_t i
        for i in range(before, len(self.found)):
            (<list>(<tuple>self.found[i])[1]).append(element)
        return 0

    cdef int pair(self, object old, object new, object field, list state, int depth) except -1:
        cdef object a = old, b = new
        if old is new:
            return 0
        if not is_container(a) or not is_container(b):
            a, b = plain(a), plain(b)
        if is_dict(a) and is_dict(b):
            enter(depth)
            try:
                self.members(<dict>a, <dict>b, state, depth + 1)
            finally:
                Py_LeaveRecursiveCall()
        elif is_list(a) and is_list(b):
            enter(depth)
            try:
                self.items(held(<list>a), held(<list>b), field, state, depth + 1)
            finally:
                Py_LeaveRecursiveCall()
        elif is_container(a) or is_container(b) or not same_scalar(a, b):
            self.report("change", old, new)
        return 0

    cdef int members(self, dict a, dict b, list state, int depth) except -1:
        cdef Py_ssize_t matched = 0, before
        cdef list inner = None
        cdef PyObject *found = NULL
        cdef bint there
        for key, old in a.items():
            check_key(key)
            there = look_up(b, key, &found)
            new = owned(found) if there else None
            matched += there
            if (new is old and there) or same_text(old, new):
                continue
            if state is not None:
                inner = step(state, key)
                if inner is not None and not inner:
                    continue
            before = len(self.found)
            if there:
                self.pair(old, new, key, inner, depth)
            else:
                self.report("remove", old, None)
            if len(self.found) != before:
                self.place(before, key)
        if matched == len(b):
            return 0
        for key, new in b.items():
            check_key(key)
            if key not in a:
                if state is not None:
                    inner = step(state, key)
                    if inner is not None and not inner:
                        continue
                self.found.append(("add", [key], None, new))
        return 0

    cdef int items(self, list a, list b, object field, list state, int depth) except -1:
        cdef Py_ssize_t same = 0
        if field is not None and field in self.list_keys:
            if state is None and len(a) == len(b):
                # Most lists have not changed: they are never asked for their keys.
                while same < len(a) and equal(a[same], b[same], depth):
                    same += 1
                if same == len(a):
                    return 0
            keyed = keyed_by(self.list_keys, field, a, b)
            if keyed is not None:
                return self.by_key(a, b, <tuple>keyed, same, state, depth)
        return self.by_index(a, b, same, state, depth)

    cdef int by_index(self, list a, list b, Py_ssize_t same, list state, int depth) except -1:
        cdef Py_ssize_t i, before
        cdef list inner = None
        for i in range(same, max(len(a), len(b))):
            if state is not None:
                inner = step(state, i)
                if inner is not None and not inner:
                    continue
            before = len(self.found)
            if i >= len(b):
                self.report("remove", a[i], None)
            elif i >= len(a):
                self.report("add", None, b[i])
            else:
                self.pair(a[i], b[i], None, inner, depth)
            if len(self.found) != before:
                self.place(before, i)
        return 0

    cdef int by_key(self, list a, list b, tuple keyed, Py_ssize_t same, list state, int depth) except -1:
        cdef list fields = keyed[0], old_tokens = keyed[1], new_tokens = keyed[2], inner = None
        cdef dict new_items = dict(zip(new_tokens, b))
        cdef Py_ssize_t i, before
        for i in range(same, len(old_tokens)):
            old = a[i]
            element = selector(fields, old)
            if state is not None:
                inner = step(state, element)
                if inner is not None and not inner:
                    continue
            before = len(self.found)
            token = old_tokens[i]
            if token in new_items:
                self.pair(old, new_items[token], None, inner, depth)
            else:
                self.report("remove", old, None)
            if len(self.found) != before:
                self.place(before, element)
        present = set(old_tokens)
        for i in range(len(new_tokens)):
            if new_tokens[i] in present:
                continue
            element = selector(fields, b[i])
            if state is not None:
                inner = step(state, element)
                if inner is not None and not inner:
                    continue
            self.found.append(("add", [element], None, b[i]))
        return 0


cdef dict table_of(object list_keys):
    if list_keys is None:
        return KUBERNETES
    if not isinstance(list_keys, Mapping):
        raise TypeError(f"list_keys maps names of lists to key fields, not {type(list_keys).__qualname__}")
    return list_keys if PyDict_CheckExact(list_keys) else dict(list_keys)


cdef dict quantities_of(object quantities):
    if quantities is None:
        return QUANTITIES
    if not isinstance(quantities, Mapping):
        raise TypeError(f"quantities maps kinds to patterns of paths, not {type(quantities).__qualname__}")
    return quantities if PyDict_CheckExact(quantities) else dict(quantities)


cdef object kind_of(object one, object other):
    """The kind of either document, None if they do not say it."""
    for document in (other, one):
        document = plain(document)
        if is_dict(document) and (<dict>document).get("kind") is not None:
            return (<dict>document)["kind"]
    return None


cdef bint covers_with(object live, object desired, list state, dict list_keys, dict quantities) except -1:
    cdef int answer = covered(live, desired, None, state, list_keys, None, 0)
    if answer == DOUBTFUL:
        # Only now it is worth while to know where a value stands.
        answer = covered(live, desired, None, state, list_keys, [(quantities, kind_of(live, desired))], 0)
    return answer == 1
