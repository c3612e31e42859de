"""What differs between two documents, and whether one covers the other."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastcore._py.covers import covered
from fastcore._py.document import ABSENT, MAX_DEPTH, check_key, equal, plain, same_scalar, too_deep
from fastcore._py.listmap import Keyed, ignored, keyed_by, selector, step
from fastcore._py.quantity import is_quantity, same_amount

__all__ = ["KUBERNETES", "QUANTITIES", "Change", "covers", "diff"]

KUBERNETES: dict[str, Any] = {
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

QUANTITIES: dict[str, Any] = {
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


def diff(
    old: Any,
    new: Any,
    /,
    *,
    ignore: Iterable[Any] = (),
    list_keys: Mapping[str, Any] | None = None,
    quantities: Mapping[str, Any] | None = None,
) -> list[Change]:
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
    walk, places = _Walk(_table(list_keys)), _quantities(quantities)
    walk.pair(old, new, None, ignored(ignore), 0)
    changes = []
    for op, path, was, now in walk.found:
        path.reverse()
        if op == "change" and same_amount(was, now) and is_quantity(places, _kind_of(old, new), path):
            continue
        changes.append(Change(op, tuple(path), was, now))
    return changes


def covers(
    live: Any,
    desired: Any,
    /,
    *,
    ignore: Iterable[Any] = (),
    list_keys: Mapping[str, Any] | None = None,
    quantities: Mapping[str, Any] | None = None,
) -> bool:
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
    trail = [(_quantities(quantities), _kind_of(live, desired))]
    return covered(live, desired, None, ignored(ignore), _table(list_keys), trail, 0)


class _Walk:
    """One walk over two documents.

    A change starts with an empty path, and every level adds its element on the way back: where nothing changed,
    nothing is done for paths.
    """

    def __init__(self, list_keys: dict[str, Any]) -> None:
        self.found: list[tuple[str, list[Any], Any, Any]] = []
        self.list_keys = list_keys

    def place(self, before: int, element: Any) -> None:
        for change in self.found[before:]:
            change[1].append(element)

    def pair(self, old: Any, new: Any, field: str | None, state: list[Any] | None, depth: int) -> None:
        if old is new:
            return
        a, b = plain(old), plain(new)
        if type(a) is dict and type(b) is dict:
            if depth == MAX_DEPTH:
                raise too_deep()
            self.members(a, b, state, depth + 1)
        elif type(a) is list and type(b) is list:
            if depth == MAX_DEPTH:
                raise too_deep()
            self.items(a, b, field, state, depth + 1)
        elif type(a) in (dict, list) or type(b) in (dict, list) or not same_scalar(a, b):
            self.found.append(("change", [], old, new))

    def members(self, a: dict[str, Any], b: dict[str, Any], state: list[Any] | None, depth: int) -> None:
        matched = 0
        inner = None
        for key, old in a.items():
            check_key(key)
            new = b.get(key, ABSENT)
            if new is not ABSENT:
                matched += 1
            if state is not None:
                inner = step(state, key)
                if inner == []:
                    continue
            before = len(self.found)
            if new is not ABSENT:
                self.pair(old, new, key, inner, depth)
            else:
                self.found.append(("remove", [], old, None))
            self.place(before, key)
        if matched == len(b):
            return
        for key, new in b.items():
            check_key(key)
            if key not in a and (state is None or step(state, key) != []):
                self.found.append(("add", [key], None, new))

    def items(self, a: list[Any], b: list[Any], field: str | None, state: list[Any] | None, depth: int) -> None:
        same = 0
        if field is not None and field in self.list_keys:
            if state is None and len(a) == len(b):
                # Most lists have not changed: they are never asked for their keys.
                while same < len(a) and equal(a[same], b[same], depth):
                    same += 1
                if same == len(a):
                    return
            keyed = keyed_by(self.list_keys, field, a, b)
            if keyed is not None:
                self.by_key(a, b, keyed, same, state, depth)
                return
        self.by_index(a, b, same, state, depth)

    def by_index(self, a: list[Any], b: list[Any], same: int, state: list[Any] | None, depth: int) -> None:
        inner = None
        for i in range(same, max(len(a), len(b))):
            if state is not None:
                inner = step(state, i)
                if inner == []:
                    continue
            before = len(self.found)
            if i >= len(b):
                self.found.append(("remove", [], a[i], None))
            elif i >= len(a):
                self.found.append(("add", [], None, b[i]))
            else:
                self.pair(a[i], b[i], None, inner, depth)
            self.place(before, i)

    def by_key(self, a: list[Any], b: list[Any], keyed: Keyed, same: int, state: list[Any] | None, depth: int) -> None:
        fields, old_tokens, new_tokens = keyed
        new_items = dict(zip(new_tokens, b, strict=False))
        inner = None
        for i in range(same, len(old_tokens)):
            token, old = old_tokens[i], a[i]
            element = selector(fields, old)
            if state is not None:
                inner = step(state, element)
                if inner == []:
                    continue
            before = len(self.found)
            if token in new_items:
                self.pair(old, new_items[token], None, inner, depth)
            else:
                self.found.append(("remove", [], old, None))
            self.place(before, element)
        present = set(old_tokens)
        for i in range(len(new_tokens)):
            if new_tokens[i] not in present:
                element = selector(fields, b[i])
                if state is None or step(state, element) != []:
                    self.found.append(("add", [element], None, b[i]))


def _table(list_keys: Mapping[str, Any] | None) -> dict[str, Any]:
    if list_keys is None:
        return KUBERNETES
    if not isinstance(list_keys, Mapping):
        raise TypeError(f"list_keys maps names of lists to key fields, not {type(list_keys).__qualname__}")
    return list_keys if type(list_keys) is dict else dict(list_keys)


def _quantities(quantities: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if quantities is None:
        return QUANTITIES
    if not isinstance(quantities, Mapping):
        raise TypeError(f"quantities maps kinds to patterns of paths, not {type(quantities).__qualname__}")
    return quantities


def _kind_of(one: Any, other: Any) -> Any:
    """The kind of either document, None if they do not say it."""
    for document in (other, one):
        document = plain(document)
        if type(document) is dict and document.get("kind") is not None:
            return document["kind"]
    return None
