"""Sets of field paths in the form of `metadata.managedFields[].fieldsV1`, and their algebra.

A set is that JSON itself, never changed in place, so stored sets need no decoding and results may share structure:

```text
{"f:spec": {"f:replicas": {},                     .spec.replicas
            "f:ports": {'k:{"name":"a"}':         .spec.ports[name="a"] (".") and its .port
                {".": {}, "f:port": {}}}}}
```

Below the root a node is a member if it is empty or has "."; the empty root is the empty set. Elements are `f:name`,
`k:{keys of a list item}`, `v:value` of a set's item. Model: Kubernetes' structured merge and diff.
"""

import json
from collections.abc import Iterator
from typing import Any

from fastcore.testing.apiserver.typeschema import TypeSchema

Fields = dict[str, Any]
_canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode
_MEMBER = "."


class TypedValueError(ValueError):
    """An object does not fit its type.

    Attributes:
        path: where, such as ".spec.ports".
        why: what is wrong there.
    """

    def __init__(self, why: str) -> None:
        self.path = ""
        self.why = why
        super().__init__(why)

    def __str__(self) -> str:
        return f"{self.path}: {self.why}" if self.path else self.why


def _member(node: Fields) -> bool:
    return not node or _MEMBER in node


def _with_member(node: Fields) -> Fields:
    """The node as a member, in the form that is written."""
    return {_MEMBER: {}, **node} if node and _MEMBER not in node else node


def union(a: Fields, b: Fields) -> Fields:
    """What is in either set.

    Example:
        >>> union({"f:spec": {"f:a": {}}}, {"f:spec": {}})
        {'f:spec': {'.': {}, 'f:a': {}}}
    """
    if not a or not b:
        return a or b
    out = dict(a)
    for element, node in b.items():
        mine = out.get(element)
        if mine is None:
            out[element] = node
        elif not mine or not node:
            out[element] = _with_member(mine or node)
        else:
            out[element] = union(mine, node)
    return out


def difference(a: Fields, b: Fields) -> Fields:
    """What is in `a` and not in `b`; a member goes, what lies below it stays.

    Example:
        >>> difference({"f:spec": {".": {}, "f:a": {}}}, {"f:spec": {}})
        {'f:spec': {'f:a': {}}}
    """
    if not b:
        return a
    out = {}
    for element, node in a.items():
        other = b.get(element)
        if other is None:
            out[element] = node
        elif not node:
            if not _member(other):
                out[element] = node
        elif element != _MEMBER:
            rest = difference(node, other or {_MEMBER: {}})
            if rest:
                out[element] = {} if len(rest) == 1 and _MEMBER in rest else rest
    return out


def intersection(a: Fields, b: Fields) -> Fields:
    """What is in both sets.

    Example:
        >>> intersection({"f:a": {}, "f:b": {"f:c": {}}}, {"f:b": {".": {}, "f:c": {}}})
        {'f:b': {'f:c': {}}}
    """
    out: Fields = {}
    for element, node in a.items():
        other = b.get(element)
        if other is None:
            continue
        if not node or not other:
            if _member(node) and _member(other):
                out[element] = {}
        else:
            both = intersection(node, other)
            if both:
                out[element] = {} if len(both) == 1 and _MEMBER in both else both
    return out


def paths(fields: Fields, prefix: str = "") -> Iterator[str]:
    """Every member as the real server writes it in messages, members of a node before what lies below them.

    Example:
        >>> list(paths({"f:spec": {"f:ports": {'k:{"name":"a"}': {".": {}, "f:port": {}}}, "f:x": {}}}))
        ['.spec.x', '.spec.ports[name="a"]', '.spec.ports[name="a"].port']
    """
    elements = sorted(element for element in fields if element != _MEMBER)
    for element in elements:
        if _member(fields[element]):
            yield prefix + text(element)
    for element in elements:
        yield from paths(fields[element], prefix + text(element))


def text(element: str) -> str:
    """One element of a path as messages write it."""
    kind, value = element[0], element[2:]
    if kind == "f":
        return f".{value}"
    if kind == "k":
        return "[" + ",".join(f"{key}={_canonical(v)}" for key, v in json.loads(value).items()) + "]"
    return f"[={value}]"


def is_well_formed(fields: Any) -> bool:
    """Whether a JSON value from a client is a field set.

    Example:
        >>> is_well_formed({"f:spec": {".": {}, "v:1": {}}}), is_well_formed({"spec": {}}), is_well_formed({"k:x": {}})
        (True, False, False)
    """
    return isinstance(fields, dict) and all(_is_element(e) and is_well_formed(node) for e, node in fields.items())


def _is_element(element: str) -> bool:
    if element == _MEMBER or element.startswith("f:"):
        return True
    try:
        value = json.loads(element[2:])
    except ValueError:
        return False
    return element.startswith("v:") or (element.startswith("k:") and isinstance(value, dict))


def item_element(item: Any, kind: TypeSchema) -> str:
    """The path element of an item of a "set" or "map" list.

    Raises:
        TypedValueError: the item cannot be identified.
    """
    if kind.list_type == "set":
        if item is None or isinstance(item, dict | list):
            raise TypedValueError("associative list without keys has an element that's no scalar")
        return "v:" + _canonical(item)
    if not isinstance(item, dict):
        raise TypedValueError("associative list with keys may not have non-map elements")
    values = {key: item.get(key, kind.key_defaults.get(key)) for key in kind.keys}
    values = {key: value for key, value in values.items() if value is not None}
    if not values:
        raise TypedValueError("associative list with keys has an element that omits all key fields")
    return "k:" + _canonical(values)


def items_by_element(items: list[Any], kind: TypeSchema) -> dict[str, list[Any]]:
    """The items of a "set" or "map" list by their path elements, in order; several for a duplicate."""
    out: dict[str, list[Any]] = {}
    for item in items:
        out.setdefault(item_element(item, kind), []).append(item)
    return out


def of(value: Any, kind: TypeSchema) -> Fields:
    """The fields that an applied object names.

    Raises:
        TypedValueError: the object does not fit `kind`; the first place where it does not.

    Example:
        >>> of({"data": {"a": "1"}}, TypeSchema.of(None))
        {'f:data': {'.': {}, 'f:a': {}}}
    """
    return _below(value, kind) or {}


def _below(value: Any, kind: TypeSchema) -> Fields | None:
    """The set below a value; None if the value is owned as a whole."""
    if isinstance(value, dict) and kind.has_map:
        return None if kind.map_atomic else _map_fields(value, kind)
    if isinstance(value, list) and kind.item is not None:
        return None if kind.list_type == "atomic" else _list_fields(value, kind)
    if value is None:
        return {} if not kind.scalar else None
    _check_scalar(value, kind)
    return None


def _map_fields(value: dict[str, Any], kind: TypeSchema) -> Fields:
    out: Fields = {}
    for name, sub in value.items():
        sub_kind = kind.fields.get(name, kind.element)
        if sub_kind is None:
            error = TypedValueError("field not declared in schema")
            error.path = f".{name}"
            raise error
        try:
            node = _below(sub, sub_kind)
        except TypedValueError as error:
            error.path = f".{name}{error.path}"
            raise
        if not node:
            if node is None or sub is None or sub == {} or name not in kind.fields:
                out["f:" + name] = {}
        else:
            out["f:" + name] = node if name in kind.fields else _with_member(node)
    return out


def _list_fields(value: list[Any], kind: TypeSchema) -> Fields:
    assert kind.item is not None
    out: Fields = {}
    for index, item in enumerate(value):
        element = None
        try:
            element = item_element(item, kind)
            node = _below(item, kind.item)
        except TypedValueError as error:
            error.path = (f"[{index}]" if element is None else text(element)) + error.path
            raise
        if element in out:
            raise TypedValueError(f"duplicate entries for key {text(element)}")
        out[element] = _with_member(node) if node else {}
    return out


def _check_scalar(value: Any, kind: TypeSchema) -> None:
    if kind.scalar == "untyped":
        return
    expected = {"string": str, "numeric": int | float, "boolean": bool}.get(kind.scalar)
    fits = expected is not None and isinstance(value, expected)
    if not fits or (kind.scalar == "numeric" and isinstance(value, bool)):
        raise TypedValueError(f"expected {kind.scalar or ('list' if kind.item else 'map')}, got {_canonical(value)}")


def named_as_members(fields: Fields, kind: TypeSchema | None) -> Fields:
    """The set with every declared field that has something below it as a member too."""
    out: Fields = {}
    for element, node in fields.items():
        if not node or kind is None:
            out[element] = node
        elif element[0] == "f":
            named = kind.fields.get(element[2:])
            below = named_as_members(node, named or kind.element)
            out[element] = _with_member(below) if named is not None else below
        else:
            out[element] = named_as_members(node, kind.item)
    return out


def remove(value: Any, fields: Fields, kind: TypeSchema) -> Any:
    """The value without the members of the set; what is emptied by that becomes None."""
    if isinstance(value, dict) and kind.has_map:
        kept: Any = {}
        for name, sub in value.items():
            node = fields.get("f:" + name)
            if node is None:
                kept[name] = sub
            elif not _member(node):
                kept[name] = remove(sub, node, kind.field(name) or kind)
        return kept or None
    if isinstance(value, list) and kind.item is not None and kind.list_type != "atomic":
        kept = []
        for item in value:
            node = fields.get(item_element(item, kind))
            if node is None:
                kept.append(item)
            elif not _member(node):
                kept.append(remove(item, node, kind.item))
        return kept or None
    return value
