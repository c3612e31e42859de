"""Comparing and merging typed objects, apart from any server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.testing.apiserver import builtin, fieldset
from fastcore.testing.apiserver.typed import compare, merge
from fastcore.testing.apiserver.typeschema import TypeSchema

names = st.sampled_from("abc")
specs = st.fixed_dictionaries(
    {},
    optional={
        "text": names,
        "map": st.dictionaries(names, names, max_size=3),
        "set": st.lists(names, unique=True, max_size=3),
        "items": st.lists(names, unique=True, max_size=3).map(lambda keys: [{"name": k} for k in keys]),
        "atomic": st.lists(names, max_size=3),
    },
)
_TEXT = {"type": "string"}
KIND = TypeSchema.of(
    {
        "type": "object",
        "properties": {
            "text": _TEXT,
            "map": {"type": "object", "additionalProperties": _TEXT},
            "set": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
            "items": {
                "type": "array",
                "items": {"type": "object", "properties": {"name": _TEXT}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "atomic": {"type": "array", "items": _TEXT},
        },
    }
)


@given(specs)
def test_nothing_changed(spec: dict[str, Any]) -> None:
    """WR-3: an object is the same as itself, and applying it to itself changes nothing."""
    assert compare(spec, dict(spec), KIND).same
    assert merge(spec, spec, KIND) == spec


@given(specs, specs)
def test_merged_contains_what_was_applied(live: dict[str, Any], applied: dict[str, Any]) -> None:
    """WR-2: applying the result's own part again changes nothing; what only live has stays."""
    merged = merge(live, applied, KIND)
    assert merge(merged, applied, KIND) == merged
    assert compare(live, merged, KIND).removed == {}
    claimed = fieldset.of(applied, KIND)
    assert fieldset.intersection(fieldset.of(merged, KIND), claimed) == claimed or not all(applied.values())


@given(specs, specs)
def test_comparison_is_symmetric(a: dict[str, Any], b: dict[str, Any]) -> None:
    """WR-2: what came in one direction goes in the other."""
    there, back = compare(a, b, KIND), compare(b, a, KIND)
    assert (there.added, there.removed, there.modified) == (back.removed, back.added, back.modified)


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        ("ab", "ba", "ba"),
        ("abc", "c", "abc"),
        ("ab", "c", "abc"),
        ("abc", "ca", "bca"),
        ("ac", "abc", "abc"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
    ],
)
def test_order_of_a_merged_set(live: str, applied: str, merged: str) -> None:
    """WR-2: the applier's order; items of others go before the shared one that follows them."""
    assert "".join(merge({"set": list(live)}, {"set": list(applied)}, KIND)["set"]) == merged


def test_true_is_not_one() -> None:
    """WR-2: JSON tells them apart, Python does not."""
    kind = TypeSchema.of(None)
    assert compare({"a": 1}, {"a": True}, kind).modified == {"f:a": {}}
    assert compare({"a": {"b": 1}}, {"a": {"b": True}}, kind).modified == {"f:a": {"f:b": {}}}


def test_change_of_type() -> None:
    """WR-2: a map that becomes a scalar loses what was in it."""
    found = compare({"a": {"b": 1}}, {"a": "x"}, TypeSchema.of(None))
    assert found.modified == {"f:a": {}}
    assert found.removed == {"f:a": {"f:b": {}}}


def test_null_beside_a_container() -> None:
    """WR-2: null is empty beside a full container, but it is not an empty one."""
    kind = TypeSchema.of(None)
    assert compare({"a": {"b": 1}}, {"a": None}, kind).removed == {"f:a": {"f:b": {}}}
    assert compare({"a": None}, {"a": {"b": 1}}, kind).added == {"f:a": {"f:b": {}}}
    assert compare({"a": None}, {"a": {}}, kind).modified == {"f:a": {}}
    assert merge({"map": {"a": "b"}}, {"map": None}, KIND) == {"map": {"a": "b"}}
    assert merge({"text": "a"}, {"text": None}, KIND) == {"text": None}


def test_map_over_a_scalar() -> None:
    """WR-2: the applier wins."""
    assert merge({"a": 1}, {"a": {"b": 2}}, TypeSchema.of(None)) == {"a": {"b": 2}}


def test_fields_that_the_schema_does_not_know() -> None:
    """WR-2: what was stored before the schema changed is nobody's, and is replaced as a whole."""
    assert compare({"old": 1}, {"old": 2}, KIND).same
    assert merge({"old": {"a": 1}}, {"old": {"b": 2}}, KIND) == {"old": {"b": 2}}


def test_removal_of_what_is_no_container() -> None:
    """WR-2: a set may say more than there is."""
    fields = {"f:map": {"f:a": {}}, "f:set": {'v:"a"': {}}}
    assert fieldset.remove({"map": "x", "set": ["a", "b"]}, fields, KIND) == {"map": "x", "set": ["b"]}


def test_duplicates() -> None:
    """WR-2: plain writes may store duplicates, which have no identity of their own."""
    assert compare({"set": ["a", "a"]}, {"set": ["a", "a"]}, KIND).same
    assert compare({"set": ["a"]}, {"set": ["a", "a"]}, KIND).modified == {"f:set": {'v:"a"': {}}}


def test_structs_are_always_there() -> None:
    """WR-2: a Go struct neither comes nor goes."""
    kind = builtin.type_for("apps", "v1", "Deployment")
    assert kind is not None
    assert compare({}, {"spec": {"strategy": {}}, "status": {}}, kind).same
    added = compare({}, {"spec": {"strategy": {"type": "Recreate"}}}, kind).added
    assert added == {"f:spec": {"f:strategy": {"f:type": {}}}}


def test_recursive_definitions_end() -> None:
    """WR-2: JSONSchemaProps refers to itself."""
    kind = builtin.type_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    assert kind is not None
    version = kind.fields["spec"].fields["versions"].item
    assert version is not None
    schema = version.fields["schema"].fields["openAPIV3Schema"]
    assert (
        schema.fields["properties"].element is schema.fields["additionalProperties"] or schema.fields["not"] is not None
    )
