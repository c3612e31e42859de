"""Reads objects of the built-in kinds as the real server's decoder does: types checked, unknown fields dropped."""

from functools import cache
from typing import Any

from fastcore.testing.apiserver.builtin import definitions, name_of

_JSON_NAMES: dict[type, str] = {
    str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object",
}  # fmt: skip
_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "string"),
    "boolean": ((bool,), "bool"),
    "integer": ((int,), "int32"),
    "number": ((int, float), "float64"),
}
_REF = "#/components/schemas/"


class DecodeError(ValueError):
    """A field has the wrong JSON type; the text is what the real server says of it."""


class _Shape:
    """What may stand at one place of an object: exactly one of members, items, values and types is set, or none."""

    __slots__ = ("go_type", "items", "members", "name", "types", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, _Shape] | None = None
        self.items: _Shape | None = None
        self.values: _Shape | None = None
        self.types: tuple[type, ...] = ()
        self.go_type = ""


_ANYTHING = _Shape("")


@cache
def _component(name: str) -> _Shape:
    # Registered before it is filled: JSONSchemaProps refers to itself.
    shape = _Shape(name.rpartition(".")[2])
    _pending[name] = shape
    try:
        _fill(shape, definitions()[name])
    finally:
        del _pending[name]
    return shape


_pending: dict[str, _Shape] = {}


def _resolve(schema: dict[str, Any], owner: str) -> _Shape:
    reference = schema.get("$ref") or next((part.get("$ref") for part in schema.get("allOf", ())), None)
    if reference:
        name = reference.removeprefix(_REF)
        if name not in definitions():
            return _ANYTHING
        return _pending.get(name) or _component(name)
    shape = _Shape(owner)
    _fill(shape, schema)
    return shape


def _fill(shape: _Shape, schema: dict[str, Any]) -> None:
    kind = schema.get("type")
    if "properties" in schema:
        shape.members = {name: _resolve(child, shape.name) for name, child in schema["properties"].items()}
    elif kind == "array":
        shape.items = _resolve(schema.get("items", {}), shape.name)
    elif isinstance(schema.get("additionalProperties"), dict):
        shape.values = _resolve(schema["additionalProperties"], shape.name)
    elif kind in _SCALARS:
        shape.types, shape.go_type = _SCALARS[kind]
        if schema.get("format") == "int64":
            shape.go_type = "int64"


def decode(group: str, version: str, kind: str, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The object without nulls, empty lists and maps, and unknown fields, and the paths of the latter.

    Metadata is passed on as it is; metadata.py looks after it.

    Raises:
        DecodeError: a field has the wrong type.
    """
    name = name_of(group, version, kind)
    if name is None:
        return obj, []
    unknown: list[str] = []
    out = _members(_component(name), obj, "", unknown)
    return out, unknown


def _members(shape: _Shape, obj: dict[str, Any], path: str, unknown: list[str]) -> dict[str, Any]:
    out = {}
    assert shape.members is not None
    for key, value in obj.items():
        child = shape.members.get(key)
        here = f"{path}.{key}" if path else key
        if child is None:
            unknown.append(here)
        elif here == "metadata":
            out[key] = value
        elif value is not None:
            kept = _value(child, value, here, unknown, shape.name)
            if kept or (child.items is None and child.values is None):
                out[key] = kept
    return out


def _value(shape: _Shape, value: Any, path: str, unknown: list[str], owner: str) -> Any:
    if shape.members is not None:
        if isinstance(value, dict):
            return _members(shape, value, path, unknown)
        raise _wrong(value, owner, path, shape.name)
    if shape.items is not None:
        if isinstance(value, list):
            items = shape.items
            return [
                None if item is None else _value(items, item, f"{path}[{index}]", unknown, owner)
                for index, item in enumerate(value)
            ]
        raise _wrong(value, owner, path, f"[]{shape.items.go_type or shape.items.name}")
    if shape.values is not None:
        if isinstance(value, dict):
            values = shape.values
            return {
                key: ""
                if item is None and values.types == (str,)
                else _value(values, item, path if values.types else f"{path}.{key}", unknown, owner)
                for key, item in value.items()
            }
        raise _wrong(value, owner, path, f"map[string]{shape.values.go_type or shape.values.name}")
    if shape.types and (not isinstance(value, shape.types) or (isinstance(value, bool) and bool not in shape.types)):
        raise _wrong(value, owner, path, shape.go_type)
    return value


def _wrong(value: Any, owner: str, path: str, go_type: str) -> DecodeError:
    found = _JSON_NAMES.get(type(value), type(value).__name__)
    return DecodeError(f"json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {go_type}")
