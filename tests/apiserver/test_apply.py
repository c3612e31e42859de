"""Server-side apply and strategic merge as functions: inputs stay as they are, and kinds without a schema work."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.testing.apiserver import builtin
from fastcore.testing.apiserver.apply import ApplyConflict, server_side_apply, track_update
from fastcore.testing.apiserver.status import StatusError
from fastcore.testing.apiserver.strategic import strategic_merge
from fastcore.testing.apiserver.typeschema import TypeSchema

Object = dict[str, Any]


def apply(
    live: Object | None, manager: str, data: Any, *, force: bool = False, now: str = "t1", **members: Any
) -> Object:
    applied = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "data": data, **members}
    before = copy.deepcopy((live, applied))
    out = server_side_apply(live, applied, manager=manager, force=force, schema=None, subresource="", now=now)
    assert (live, applied) == before
    return out


def update(live: Object | None, manager: str, data: Any, now: str = "t1") -> Object:
    metadata = (live or {"metadata": {"name": "a"}})["metadata"]
    new = {"apiVersion": "x/v1", "kind": "X", "metadata": metadata, "data": data}
    before = copy.deepcopy((live, new))
    out = track_update(live, new, manager=manager, schema=None, subresource="", now=now)
    assert (live, new) == before
    return out


def owners(obj: Object) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", ())}


def times(obj: Object) -> dict[str, Any]:
    return {entry["manager"]: entry.get("time") for entry in obj["metadata"]["managedFields"]}


def test_without_a_schema() -> None:
    """WR-2: types are deduced: maps merge, lists are atomic."""
    first = apply(None, "one", {"a": {"b": 1}, "l": [1]})
    assert owners(first) == {"one": {"f:data": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:l": {}}}}
    second = apply(first, "two", {"a": {"c": 2}})
    assert second["data"] == {"a": {"b": 1, "c": 2}, "l": [1]}
    with pytest.raises(ApplyConflict) as caught:
        apply(second, "two", {"l": [2]})
    assert caught.value.causes == [(".data.l", "FieldManagerConflict", 'conflict with "one"')]


def test_times() -> None:
    """WR-3: only a write that changes the object moves its manager's time."""
    first = apply(None, "one", {"a": 1}, now="t1")
    assert times(apply(first, "one", {"a": 1}, now="t2")) == {"one": "t1"}
    assert apply(first, "one", {"a": 1}, now="t2") == first
    shared = apply(first, "two", {"a": 1}, now="t2")
    assert times(shared) == {"one": "t1", "two": None}
    assert times(apply(shared, "two", {"a": 1, "b": 2}, now="t3")) == {"one": "t1", "two": "t3"}
    patched = update(first, "three", {"a": 1, "c": 3}, now="t4")
    assert times(patched) == {"one": "t1", "three": "t4"}
    assert times(update(patched, "three", {"a": 1}, now="t5")) == {"one": "t1"}


def test_entries_are_sorted() -> None:
    """WR-2: appliers first, then by time, then by name."""
    obj = update(None, "z", {"z": 1}, now="t1")
    obj = update(obj, "y", {**obj["data"], "y": 1}, now="t0")
    obj = apply(obj, "x", {"x": 1}, now="t3")
    obj = apply(obj, "w", {"w": 1}, now="t2")
    assert [entry["manager"] for entry in obj["metadata"]["managedFields"]] == ["w", "x", "y", "z"]


def test_nothing_but_a_name() -> None:
    """WR-2: who claims nothing has no entry."""
    bare = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}}
    out = server_side_apply(None, bare, manager="one", force=False, schema=None, subresource="", now="t")
    assert "managedFields" not in out["metadata"]


def test_managed_fields_are_refused() -> None:
    """WR-2: 400."""
    with pytest.raises(StatusError) as caught:
        apply(None, "one", {}, metadata={"name": "a", "managedFields": [{"manager": "x"}]})
    assert caught.value.code == 400


def test_broken_entries_are_ignored() -> None:
    """WR-2: an entry without operation or fields is no owner."""
    live = {
        "apiVersion": "x/v1",
        "kind": "X",
        "metadata": {"name": "a", "managedFields": [{"manager": "x"}]},
        "data": {},
    }
    assert set(owners(apply(live, "one", {"a": 1}))) == {"one", "before-first-apply"}


def test_kubectl_takes_over_what_its_annotation_says() -> None:
    """WR-2: an apply by kubectl does not conflict with kubectl's own client-side apply."""
    text = '{"apiVersion":"x/v1","kind":"X","metadata":{"name":"a"},"data":{"a":"1","b":"1"}}'
    metadata = {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}
    new = {"apiVersion": "x/v1", "kind": "X", "metadata": metadata, "data": {"a": "1", "b": "other"}}
    live = track_update(None, new, manager="csa", schema=None, subresource="", now="t")
    changed = apply(live, "kubectl", {"a": "2"})
    assert changed["data"] == {"a": "2", "b": "other"}
    annotation = changed["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert annotation == '{"apiVersion":"x/v1","data":{"a":"2"},"kind":"X","metadata":{"annotations":{},"name":"a"}}\n'
    with pytest.raises(ApplyConflict):  # b has been changed since
        apply(live, "kubectl", {"b": "2"})
    with pytest.raises(ApplyConflict):
        apply(live, "other", {"a": "2"})


@pytest.mark.parametrize("text", ["", "{", '{"apiVersion":"x/v2","data":{"a":"1"}}'])
def test_unusable_annotations_allow_nothing(text: str) -> None:
    """WR-2: empty, malformed, or of another version."""
    metadata = {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}
    new = {"apiVersion": "x/v1", "kind": "X", "metadata": metadata, "data": {"a": "1"}}
    live = track_update(None, new, manager="csa", schema=None, subresource="", now="t")
    with pytest.raises(ApplyConflict):
        apply(live, "kubectl", {"a": "2"})


@pytest.mark.parametrize(
    "fields", [5, {"f:a": 5}, {"a": {}}, {"k:x": {}}, {"k:1": {}}, {"v:x": {}}, {"f:a": {"f:b": []}}]
)
def test_malformed_sets_of_a_client_are_ignored(fields: Any) -> None:
    """WR-2: the stored ones stay."""
    live = apply(None, "one", {"a": 1})
    entry = {
        "manager": "evil",
        "operation": "Apply",
        "apiVersion": "x/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    new = {**live, "metadata": {"name": "a", "managedFields": [entry]}}
    out = track_update(live, new, manager="two", schema=None, subresource="", now="t2")
    assert owners(out) == owners(live)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "$patch", "delete"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["items", "names", "name", "$patch", "$retainKeys", "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values, values)
def test_any_json(first: Any, second: Any) -> None:
    """LI-5: whatever a client sends, it gets an answer: a result or an error of the API."""
    for kind in (None, KIND, builtin.type_for("apps", "v1", "Deployment")):
        old, new = ({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "spec": v} for v in (first, second))
        live = track_update(None, old | {"items": first}, manager="one", schema=kind, subresource="", now="t")
        track_update(live, new | {"items": second}, manager="two", schema=kind, subresource="", now="t")
        for force in (True, False):
            with contextlib.suppress(StatusError, ApplyConflict):
                applied = server_side_apply(
                    live, new | {"items": second}, manager="three", force=force, schema=kind, subresource="", now="t"
                )
                assert isinstance(applied, dict)
        with contextlib.suppress(StatusError):
            strategic_merge(live, {"spec": second, "items": second, "$setElementOrder/items": first}, kind)


ITEMS = {"type": "array", "x-kubernetes-patch-strategy": "merge"}
KIND = TypeSchema.of(
    {
        "type": "object",
        "properties": {
            "items": {**ITEMS, "x-kubernetes-patch-merge-key": "name", "items": {"type": "object"}},
            "names": {**ITEMS, "items": {"type": "string"}},
            "other": {"type": "array", "items": {"type": "string"}},
        },
    }
)


def items(text: str) -> list[Object]:
    return [{"name": letter} for letter in text]


@pytest.mark.parametrize(
    ("live", "patch", "merged"),
    [
        ({"names": ["a", "b"]}, {"names": ["c", "a"]}, {"names": ["c", "a", "b"]}),
        ({"names": ["a", "b"]}, {"$deleteFromPrimitiveList/names": ["a"]}, {"names": ["b"]}),
        ({"other": ["a"]}, {"other": ["b"]}, {"other": ["b"]}),
        ({"items": items("ab")}, {"items": [{"name": "b", "$patch": "delete"}]}, {"items": items("a")}),
        ({"items": items("ab")}, {"items": [{"$patch": "replace"}, {"name": "c"}]}, {"items": items("c")}),
        ({"items": items("abc")}, {"$setElementOrder/items": items("cab")}, {"items": items("cab")}),
        ({"items": items("abc")}, {"$setElementOrder/items": items("cb")}, {"items": items("acb")}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"$patch": "delete"}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": {"$patch": "merge", "c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"$retainKeys": ["c"], "c": 3}}, {"a": {"c": 3}}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_strategic_merge(live: Object, patch: Object, merged: Object) -> None:
    """Group 4: each directive."""
    before = copy.deepcopy((live, patch))
    assert strategic_merge(live, patch, KIND) == merged
    assert (live, patch) == before


@pytest.mark.parametrize(
    "patch", [{"a": {"$patch": "explode"}}, {"items": [{"x": 1}]}, {"items": ["x"]}, {"$retainKeys": 1}]
)
def test_malformed_strategic_patches(patch: Object) -> None:
    """Group 4: 400."""
    with pytest.raises(StatusError) as caught:
        strategic_merge({"a": {}}, patch, KIND)
    assert caught.value.code == 400
