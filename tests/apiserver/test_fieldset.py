"""Field sets: the algebra against plain sets of paths, and what an object names."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.testing.apiserver import fieldset
from fastcore.testing.apiserver.fieldset import TypedValueError, difference, intersection, union
from fastcore.testing.apiserver.typeschema import TypeSchema

Path = tuple[str, ...]
elements = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
path_sets = st.sets(st.lists(elements, min_size=1, max_size=4).map(tuple), max_size=12)


def tree(paths: set[Path]) -> dict[str, Any]:
    """The set in its JSON form, made from a set of paths one by one."""
    nodes: dict[str, Any] = {}
    for path in paths:
        node = nodes
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return tidy(nodes)


def tidy(node: dict[str, Any]) -> dict[str, Any]:
    return {name: {} if sub == {".": {}} else tidy(sub) for name, sub in node.items()}


def members(node: dict[str, Any], prefix: Path = ()) -> set[Path]:
    out = {prefix} if prefix and (not node or "." in node) else set()
    for element, sub in node.items():
        if element != ".":
            out |= members(sub, (*prefix, element))
    return out


@given(path_sets, path_sets)
def test_algebra(a: set[Path], b: set[Path]) -> None:
    """WR-2: union, difference and intersection are those of the paths, in the form that is written."""
    for operation, model in ((union, a | b), (difference, a - b), (intersection, a & b)):
        found = operation(tree(a), tree(b))
        assert members(found) == model
        assert found == tree(model)


@given(path_sets, path_sets)
def test_operands_stay(a: set[Path], b: set[Path]) -> None:
    """WR-2: stored sets are shared, so they are never changed."""
    left, right = tree(a), tree(b)
    for operation in (union, difference, intersection):
        operation(left, right)
    assert (left, right) == (tree(a), tree(b))


@given(path_sets)
def test_paths_name_every_member(a: set[Path]) -> None:
    """WR-2: conflicts name each field once."""
    assert len(list(fieldset.paths(tree(a)))) == len(a)


LISTS = TypeSchema.of(
    {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "flag": {"type": "boolean"},
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "ports": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["protocol", "port"],
                "items": {
                    "type": "object",
                    "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}},
                },
            },
        },
    }
)


def test_of_an_object() -> None:
    """WR-2: keys are canonical and sorted, defaults of keys stand in for missing ones, empty lists name nothing."""
    obj = {"text": "x", "set": ["b", "a"], "ports": [{"port": 1}], "count": None}
    assert fieldset.of(obj, LISTS) == {
        "f:text": {},
        "f:set": {'v:"b"': {}, 'v:"a"': {}},
        "f:ports": {'k:{"port":1,"protocol":"TCP"}': {".": {}, "f:port": {}}},
        "f:count": {},
    }
    assert fieldset.of({"set": []}, LISTS) == {}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"other": 1}, ".other: field not declared in schema"),
        ({"text": 1}, ".text: expected string, got 1"),
        ({"count": True}, ".count: expected numeric, got true"),
        ({"flag": "x"}, '.flag: expected boolean, got "x"'),
        ({"set": {}}, ".set: expected list, got {}"),
        ({"set": ["a", "a"]}, '.set: duplicate entries for key [="a"]'),
        ({"set": [{}]}, ".set[0]: associative list without keys has an element that's no scalar"),
        ({"ports": ["x"]}, ".ports[0]: associative list with keys may not have non-map elements"),
        ({"ports": [{"port": "x"}]}, '.ports[port="x",protocol="TCP"].port: expected numeric, got "x"'),
    ],
)
def test_misfits(obj: dict[str, Any], message: str) -> None:
    """WR-2: an object that does not fit its type names the place."""
    with pytest.raises(TypedValueError) as caught:
        fieldset.of(obj, LISTS)
    assert str(caught.value) == message


def test_item_without_any_key() -> None:
    """WR-2: an item that cannot be identified."""
    kind = TypeSchema.of(
        {
            "type": "object",
            "properties": {
                "l": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "x": {"type": "integer"}}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                }
            },
        }
    )
    with pytest.raises(TypedValueError, match="omits all key fields"):
        fieldset.of({"l": [{"x": 1}]}, kind)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.dictionaries(st.text(), s)))
def test_schemaless_objects(value: Any) -> None:
    """WR-2: any object has a field set, and survives JSON."""
    found = fieldset.of({"data": value}, TypeSchema.of(None))
    assert json.loads(json.dumps(found)) == found
