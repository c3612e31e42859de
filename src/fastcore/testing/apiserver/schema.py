"""Structural schemas: fill in defaults, prune what is unknown, say what is invalid, in the real server's words.

For CRDs, and for built-in kinds as far as OpenAPI describes them. Left out: CEL (`x-kubernetes-validations`), and
formats other than those of `formats.py`.
"""

import copy
from typing import Any

from fastcore.testing.apiserver.status import Cause
from fastcore.testing.apiserver.typeschema import reference
from fastcore.testing.apiserver.validate import Rules

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Schema:
    """Default, prune and validate the objects of one kind.

    Args:
        openapi_v3: the structural schema of a CRD's version, or a component schema.
        definitions: component schemas by name, which `$ref`s point to.

    Metadata is pruned only; its rules are those of every kind and no schema's business.

    Example:
        >>> schema = Schema({"type": "object", "properties": {"spec": {"type": "object", "required": ["image"],
        ...     "properties": {"image": {"type": "string"}, "replicas": {"type": "integer", "default": 1}}}}})
        >>> obj = {"kind": "Demo", "spec": {"replicas": "2", "other": 1}}
        >>> schema.prune(obj)
        ['spec.other']
        >>> schema.default(obj); obj
        {'kind': 'Demo', 'spec': {'replicas': '2'}}
        >>> for cause in schema.validate(obj): print(cause.field, cause.message)
        spec.image Required value
        spec.replicas Invalid value: "string": spec.replicas in body must be of type integer: "string"
    """

    def __init__(self, openapi_v3: dict[str, Any], definitions: dict[str, Any] | None = None) -> None:
        self._root = _Builder(definitions or {}).node(openapi_v3, resource=True)

    def default(self, obj: dict[str, Any]) -> None:
        """Fill in the defaults of absent fields, in place."""
        _default(obj, self._root)

    def prune(self, obj: dict[str, Any], *, keep_nulls: bool = False) -> list[str]:
        """Drop fields that the schema does not know, in place; returns their paths.

        Nulls of fields that are not nullable go too, unless `keep_nulls`: then they are there to be refused.
        """
        unknown: list[str] = []
        _prune(obj, self._root, "", keep_nulls, unknown)
        return unknown

    def validate(self, obj: dict[str, Any]) -> list[Cause]:
        """Everything that is wrong with the object, the metadata aside; empty if it is valid."""
        return self._root.rules.check({k: v for k, v in obj.items() if k != "metadata"}, "")


class _Node:
    """One schema of the tree.

    Attributes:
        properties: declared members; other: schema of further ones; items: of a list's items.
        keep: whether members that are not declared stay.
        defaults: of the declared members; fills: whether anything at or below this node has a default.
    """

    __slots__ = ("defaults", "fills", "items", "keep", "nullable", "other", "properties", "rules")

    def __init__(self) -> None:
        self.properties: dict[str, _Node] = {}
        self.other: _Node | None = None
        self.items: _Node | None = None
        self.keep = False
        self.nullable = False
        self.defaults: dict[str, Any] = {}
        self.fills = True  # until known: a recursive schema asks while it is built
        self.rules = Rules()


class _Builder:
    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions
        self.named: dict[str, _Node] = {}

    def node(self, schema: dict[str, Any], *, resource: bool = False, free: bool = False) -> _Node:
        """The node of a schema.

        Args:
            resource: it has apiVersion, kind and metadata, declared or not.
            free: without properties it keeps everything, as the definitions of built-in kinds mean it.
        """
        name = reference(schema)
        if not name:
            node = _Node()
            self.fill(node, schema, resource or bool(schema.get("x-kubernetes-embedded-resource")), free)
            return node
        if name not in self.named:
            node = self.named[name] = _Node()
            self.fill(node, self.definitions.get(name, {}), resource, True)
        return self.named[name]

    def fill(self, node: _Node, schema: dict[str, Any], resource: bool, free: bool) -> None:
        properties = schema.get("properties", {})
        declared = {name: self.node(sub, free=free) for name, sub in properties.items()}
        node.properties = declared
        other, items = schema.get("additionalProperties"), schema.get("items")
        if isinstance(other, dict):
            node.other = self.node(other, free=free)
        if isinstance(items, dict):
            node.items = self.node(items, free=free)
        untyped = "type" not in schema and not properties
        node.keep = (
            schema.get("x-kubernetes-preserve-unknown-fields") is True
            or other is True
            or untyped
            or (free and not properties and other is None)
        )
        node.nullable = schema.get("nullable") is True
        node.defaults = {name: sub["default"] for name, sub in properties.items() if "default" in sub}
        children = [*declared.values(), *filter(None, (node.other, node.items))]
        node.fills = bool(node.defaults) or any(child.fills for child in children)
        node.rules.load(
            schema,
            {name: child.rules for name, child in declared.items()},
            node.other.rules if node.other else None,
            node.items.rules if node.items else None,
        )
        if resource:
            for name in ("apiVersion", "kind"):
                node.properties.setdefault(name, _Node())
            node.properties["metadata"] = self.metadata()

    def metadata(self) -> _Node:
        if _META in self.definitions:
            return self.node({"$ref": "#/components/schemas/" + _META})
        node = _Node()
        node.keep, node.fills = True, False
        return node


def _default(value: Any, node: _Node) -> None:
    if not node.fills:
        return
    if isinstance(value, dict):
        for name, default in node.defaults.items():
            if name not in value or (value[name] is None and not node.properties[name].nullable):
                value[name] = copy.deepcopy(default)
        for name, sub in value.items():
            child = node.properties.get(name, node.other)
            if child is not None and child.fills:
                _default(sub, child)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            _default(item, node.items)


def _prune(value: Any, node: _Node, path: str, keep_nulls: bool, unknown: list[str]) -> None:
    if isinstance(value, dict):
        for name in list(value):
            child = node.properties.get(name, node.other)
            if child is None:
                if not node.keep:
                    del value[name]
                    unknown.append(path + name)
            elif value[name] is None:
                if not child.nullable and not keep_nulls:
                    del value[name]
            else:
                _prune(value[name], child, f"{path}{name}.", keep_nulls, unknown)
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            _prune(item, node.items, f"{path[:-1]}[{index}].", keep_nulls, unknown)
