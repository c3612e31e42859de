"""The type of an object, walkable: what server-side apply and strategic merge need to know of an OpenAPI schema.

```text
TypeSchema  map:  fields {name: TypeSchema}, element (other keys), map_atomic, present (structs that always exist)
            list: item, list_type "atomic" | "set" | "map", keys, key_defaults
            scalar: "string" | "numeric" | "boolean" | "untyped"
            strategic merge: merge_key, strategies
```

A schema without a type allows all three. `DEDUCED` is the type of what nobody described: maps are merged key by key,
lists are atomic.
"""

from functools import cache
from typing import Any

# Fields that every object has, whether or not its CRD says so.
_STRING: dict[str, Any] = {"type": "string"}
_OBJECT_META = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OVERRIDES = ("x-kubernetes-map-type", "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key")


class TypeSchema:
    """One node of a type; made by `TypeSchema.of`, not to be changed.

    Attributes:
        fields: types of the declared members of a map.
        element: type of the members that are not declared, None if there may be none.
        map_atomic: the map has one owner, who replaces it as a whole.
        present: declared members that a typed decoder always creates (Go structs that are no pointers, required lists
            and maps), so they neither come nor go.
        item: type of the items of a list, None for something that cannot be a list.
        list_type: "atomic", "set" or "map" (items are identified by `keys`).
        key_defaults: what stands for a key that an item leaves out.
        scalar: "string", "numeric", "boolean", "untyped", or "" for something that cannot be a scalar.
        merge_key, strategies: of strategic merge patch ("merge", "replace", "retainKeys").
    """

    __slots__ = (
        "element",
        "fields",
        "has_map",
        "item",
        "key_defaults",
        "keys",
        "list_type",
        "map_atomic",
        "merge_key",
        "present",
        "scalar",
        "strategies",
    )

    def __init__(self) -> None:
        self.fields: dict[str, TypeSchema] = {}
        self.element: TypeSchema | None = None
        self.has_map = False
        self.map_atomic = False
        self.present: frozenset[str] = frozenset()
        self.item: TypeSchema | None = None
        self.list_type = "atomic"
        self.keys: tuple[str, ...] = ()
        self.key_defaults: dict[str, Any] = {}
        self.scalar = ""
        self.merge_key = ""
        self.strategies: frozenset[str] = frozenset()

    @staticmethod
    def of(openapi_schema: dict[str, Any] | None, definitions: dict[str, Any] | None = None) -> "TypeSchema":
        """The type of a whole object.

        Args:
            openapi_schema: an OpenAPI v3 schema or a CRD's structural schema; None if there is none.
            definitions: component schemas by name, which `$ref`s point to.

        `apiVersion`, `kind` and `metadata` are added where the schema leaves them out, as in a CRD.

        Example:
            >>> TypeSchema.of({"type": "object", "properties": {"spec": {"type": "object"}}}).fields["kind"].scalar
            'string'
        """
        builder = _Builder(definitions or {})
        schema = openapi_schema if openapi_schema is not None else {"x-kubernetes-preserve-unknown-fields": True}
        node = TypeSchema()
        whole = as_resource(schema)
        builder.fill(node, whole, False, typed=whole is schema)
        return node

    def field(self, name: str) -> "TypeSchema | None":
        """The type of the member `name` of a map, None if there may be no such member."""
        return self.fields.get(name, self.element)


class _Builder:
    """Turns schemas into types; each `$ref` once, so recursive definitions end."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions
        self.named: dict[tuple[Any, ...], TypeSchema] = {}

    def build(self, schema: dict[str, Any], preserve: bool) -> TypeSchema:
        name = reference(schema)
        if name:
            overrides = {key: schema[key] for key in _OVERRIDES if key in schema}
            known = (name, preserve, *overrides.items())
            if known not in self.named:
                target = self.definitions.get(name)
                if target is None:
                    return DEDUCED
                node = self.named[known] = TypeSchema()
                self.fill(node, {**target, **overrides}, preserve, typed=True)
            return self.named[known]
        node = TypeSchema()
        self.fill(node, schema, preserve)
        return node

    def fill(self, node: TypeSchema, schema: dict[str, Any], preserve: bool, *, typed: bool = False) -> None:
        """Set what `schema` says; `preserve`: an ancestor keeps unknown fields; `typed`: it is that of a Go struct."""
        if schema.get("x-kubernetes-embedded-resource"):
            schema = as_resource(schema)
        preserve = preserve or schema.get("x-kubernetes-preserve-unknown-fields") is True
        kind = schema.get("type", "")
        if kind in ("", "object"):
            self.fill_map(node, schema, preserve)
            if typed:
                node.present = _present(schema)
        if kind in ("", "array"):
            self.fill_list(node, schema, preserve)
        if kind in ("integer", "number"):
            node.scalar = "numeric"
        elif kind == "boolean":
            node.scalar = "boolean"
        elif kind == "string" and schema.get("format", "") in ("", "byte"):
            node.scalar = "string"
        elif kind in ("", "string"):
            node.scalar = "untyped"
        node.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
        node.strategies = frozenset(filter(None, schema.get("x-kubernetes-patch-strategy", "").split(",")))

    def fill_map(self, node: TypeSchema, schema: dict[str, Any], preserve: bool) -> None:
        properties = schema.get("properties", {})
        node.has_map = True
        node.map_atomic = schema.get("x-kubernetes-map-type") == "atomic"
        node.fields = {name: self.build(sub, preserve) for name, sub in properties.items()}
        other = schema.get("additionalProperties")
        if isinstance(other, dict):
            node.element = self.build(other, preserve)
        elif other or (other is None and (preserve or not properties)):
            node.element = DEDUCED

    def fill_list(self, node: TypeSchema, schema: dict[str, Any], preserve: bool) -> None:
        items = schema.get("items")
        node.item = self.build(items, preserve) if isinstance(items, dict) else DEDUCED
        merge_key = schema.get("x-kubernetes-patch-merge-key")
        if "x-kubernetes-list-type" in schema:
            node.list_type = schema["x-kubernetes-list-type"]
            node.keys = tuple(sorted(schema.get("x-kubernetes-list-map-keys", ())))
        elif "merge" in schema.get("x-kubernetes-patch-strategy", "").split(","):
            node.list_type = "map" if merge_key else "set"
            node.keys = (merge_key,) if merge_key else ()
        if node.keys:
            self.fill_key_defaults(node, items or {})

    def fill_key_defaults(self, node: TypeSchema, items: dict[str, Any]) -> None:
        name = reference(items)
        properties = (self.definitions.get(name, {}) if name else items).get("properties", {})
        for key in node.keys:
            if "default" in properties.get(key, {}):
                node.key_defaults[key] = properties[key]["default"]


def _present(schema: dict[str, Any]) -> frozenset[str]:
    required = schema.get("required", ())
    return frozenset(
        name
        for name, sub in schema.get("properties", {}).items()
        if (reference(sub) and sub.get("default") == {})
        or (name in required and sub.get("type") in ("array", "object"))
    )


def reference(schema: dict[str, Any]) -> str:
    """The name of the definition that a schema stands for, "" if it says itself what it is."""
    target = schema.get("$ref")
    if target is None and len(schema.get("allOf", ())) == 1:
        target = schema["allOf"][0].get("$ref")
    return target.rsplit("/", 1)[-1] if isinstance(target, str) else ""


def as_resource(schema: dict[str, Any]) -> dict[str, Any]:
    """A structural schema with the members that every object has, as the real server publishes it."""
    properties = schema.get("properties", {})
    if reference(properties.get("metadata", {})):
        return schema
    meta = {"allOf": [{"$ref": _OBJECT_META}]}
    return {**schema, "properties": {**properties, "apiVersion": _STRING, "kind": _STRING, "metadata": meta}}


@cache
def _deduced() -> TypeSchema:
    node, item = TypeSchema(), TypeSchema()
    item.has_map = item.map_atomic = True
    item.item = item.element = item
    node.has_map = True
    node.element, node.item = node, item
    node.scalar = item.scalar = "untyped"
    return node


DEDUCED = _deduced()
