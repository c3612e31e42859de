"""Structural schemas apart from any server: what the conformance suite does not reach."""

from typing import Any

import pytest

from fastcore.testing.apiserver import builtin
from fastcore.testing.apiserver.formats import fits
from fastcore.testing.apiserver.schema import Schema
from fastcore.testing.apiserver.validate import Rules


def schema(**properties: Any) -> Schema:
    return Schema({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})


def test_defaults_are_copies() -> None:
    """Group 8: two objects do not share a default."""
    made = schema(items={"type": "array", "default": [], "items": {"type": "string"}})
    first: dict[str, Any] = {"spec": {}}
    second: dict[str, Any] = {"spec": {}}
    made.default(first)
    first["spec"]["items"].append("x")
    made.default(second)
    assert second == {"spec": {"items": []}}


def test_defaults_in_lists_and_maps() -> None:
    """Group 8: and in the items of both; not where the parent is missing."""
    item = {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}}
    made = schema(
        list={"type": "array", "items": item}, map={"type": "object", "additionalProperties": item}, none=item
    )
    obj: dict[str, Any] = {"spec": {"list": [{}, {"x": 2}], "map": {"a": {}}}}
    made.default(obj)
    assert obj == {"spec": {"list": [{"x": 1}, {"x": 2}], "map": {"a": {"x": 1}}}}


def test_pruning_reports_paths() -> None:
    """Group 8: each unknown field with its place."""
    item = {"type": "object", "properties": {"x": {"type": "integer"}}}
    made = schema(list={"type": "array", "items": item}, bare={"type": "object"})
    obj = {"kind": "Demo", "junk": 1, "spec": {"list": [{"x": 1, "y": 2}], "bare": {"z": 1}, "n": None}}
    assert made.prune(obj) == ["junk", "spec.list[0].y", "spec.bare.z", "spec.n"]
    assert obj == {"kind": "Demo", "spec": {"list": [{"x": 1}], "bare": {}}}


def test_nulls_can_be_kept() -> None:
    """Group 4: what an apply leaves as null is refused, not dropped."""
    made = schema(text={"type": "string"})
    obj = {"spec": {"text": None}}
    made.prune(obj, keep_nulls=True)
    assert [cause.field for cause in made.validate(obj)] == ["spec.text"]
    made.prune(obj)
    assert obj == {"spec": {}}


def test_metadata_is_pruned_with_definitions() -> None:
    """Group 8: metadata has one shape for all kinds."""
    made = Schema({"type": "object"}, builtin.definitions())
    obj = {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "x", "junk": 1}}
    assert made.prune(obj) == ["metadata.junk"]


def test_recursive_definitions() -> None:
    """Group 8: JSONSchemaProps is checked to any depth."""
    crd = builtin.schema_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    assert crd is not None
    made = Schema(crd, builtin.definitions())
    inner: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {"b": {"type": 5}}}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": inner}}
    obj = {"spec": {"group": "g", "names": {"plural": "as", "kind": "A"}, "scope": "Cluster", "versions": [version]}}
    fields = [cause.field for cause in made.validate(obj)]
    assert fields == ["spec.versions[0].schema.openAPIV3Schema.properties.a.properties.b.type"]


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ("2026-01-02T03:04:05Z", "date-time", True),
        ("2026-01-02T03:04:05.123456789+01:00", "date-time", True),
        ("2026-13-02T03:04:05Z", "date-time", False),
        ("2026-01-02T03:04:05", "date-time", False),
        ("2026-01-02", "date", True),
        ("10.0.0.1", "ipv4", True),
        ("::1", "ipv4", False),
        ("::1", "ipv6", True),
        ("10.0.0.0/8", "cidr", True),
        ("aGk=", "byte", True),
        ("a*b", "byte", False),
        ("123e4567-e89b-12d3-a456-426614174000", "uuid", True),
        ("x", "uuid", False),
        ("anything", "unheard-of", True),
    ],
)
def test_formats(value: str, name: str, expected: bool) -> None:
    """Group 8: known formats are checked, unknown ones are not."""
    assert fits(value, name) is expected


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ({"type": "integer", "maximum": 5, "exclusiveMaximum": True}, 4, 5),
        ({"type": "string", "pattern": "^a$"}, "a", "a\n"),
        ({"type": "string", "pattern": r"^\d$"}, "1", "\u0661"),
        ({"type": "number"}, 1, "1"),
        ({"type": "integer"}, 2.0, 2.5),
        ({"type": "boolean"}, True, 1),
        ({"type": "integer"}, 1, True),
        ({"enum": [1]}, 1, True),
        ({"type": "integer", "format": "int64"}, 2**63 - 1, 2**63),
        ({"type": "string", "nullable": True}, None, 1),
    ],
)
def test_rules(rules: dict[str, Any], good: Any, bad: Any) -> None:
    """Group 8: the corners of each rule."""
    assert Rules(rules).check(good, "x") == []
    assert Rules(rules).check(bad, "x") != []


def test_rules_inside_alternatives() -> None:
    """Group 8: alternatives see what lies below."""
    rules = Rules({"anyOf": [{"properties": {"a": {"enum": [1]}}, "required": ["a"]}, {"required": ["b"]}]})
    assert rules.check({"a": 1}, "x") == []
    assert rules.check({"b": 1}, "x") == []
    assert [cause.field for cause in rules.check({"a": 2}, "x")] == ["<nil>", "x.a"]
