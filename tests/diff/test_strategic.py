"""Strategic merge patches and three-way patches, against the answers of Kubernetes' own library and on their own."""

import copy
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diff.documents import containers_in, endless, nested, typed
from diff.oracle_types import ITEM, TYPES, answer, judged
from fastcore.errors import PatchConflict, PatchError

TABLE = json.loads(gzip.decompress((Path(__file__).parent / "data" / "apimachinery.json.gz").read_bytes()))
ROWS = TABLE["rows"]
# Where we differ on purpose: a directive as a member of a document is refused, and a list with a key twice is replaced.
OTHERWISE = {"nested patch merge with empty list", "behavior of set element order for a merging list with duplicate"}

# Theirs names the order of a list that keeps its order; ours says nothing of it, with the same outcome.
SHORTER = {"retainKeys map nested merging int list with no change", "retainKeys map nested merging list with no change"}


def rows(kind):
    return [pytest.param(row, id=f"{i} {row['description']}") for i, row in enumerate(ROWS) if kind(row)]


def test_the_whole_table_is_there():
    """DF4"""
    assert TABLE["source"] == "k8s.io/apimachinery v0.37.2"
    assert len({row["description"] for row in ROWS if row["table"] == "strategicpatch"}) >= 130
    assert sum(row["table"] == "jsonmergepatch" for row in ROWS) == 38
    assert {row["description"] for row in ROWS} >= OTHERWISE | SHORTER


@pytest.mark.parametrize("row", rows(lambda row: "patch" in row))
def test_applies_as_kubernetes_does(impl, row):
    """DF4: patches that the library's own tests write by hand."""
    got = answer(impl.strategic.apply_strategic_merge_patch, row["original"] or {}, row["patch"] or {}, types=TYPES)
    assert judged(got) == judged(row["applied"])


@pytest.mark.parametrize("row", rows(lambda row: "made" in row and row["description"] not in OTHERWISE))
def test_makes_what_kubernetes_makes(impl, row):
    """DF4: two-way and three-way, with and without overwriting, and what becomes of the document."""
    last, live, desired = row["original"] or {}, row["current"] or {}, row["modified"] or {}
    before = copy.deepcopy((last, live, desired))
    for name, function, args, options in (
        ("made", "strategic_merge_patch", (last, desired), {}),
        ("applied", "apply_strategic_merge_patch", (last, row["made"].get("is")), {}),
        ("three", "three_way_patch", (last, live, desired), {"overwrite": False}),
        ("forced", "three_way_patch", (last, live, desired), {}),
    ):
        if name in ("three", "forced") and row["description"] in SHORTER:
            continue
        got = answer(getattr(impl.strategic, function), *args, types=TYPES, **options)
        assert judged(got) == judged(row[name]), name
    for patch in (row["forced"]["is"], impl.strategic.three_way_patch(last, live, desired, types=TYPES)):
        got = answer(impl.strategic.apply_strategic_merge_patch, live, patch, types=TYPES)
        assert judged(got) == judged(row["result"])
    assert (last, live, desired) == before


@pytest.mark.parametrize("row", rows(lambda row: row["table"] == "jsonmergepatch"))
def test_three_way_for_kinds_without_a_strategy(impl, row):
    """DF4: the table of jsonmergepatch."""
    got = answer(impl.strategic.three_way_patch, row["original"], row["current"], row["modified"] or {}, types={})
    assert judged(got) == judged(row["three"])


values = st.sampled_from(["x", "y", 1, True])
items = st.recursive(
    st.fixed_dictionaries({}, optional={"name": st.sampled_from(["a", "b", "c", 1]), "value": values, "other": values}),
    lambda inner: st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "b", "c", "d", 1, True])},
        optional={
            "value": values,
            "mergingList": st.lists(inner, max_size=4),
            "nonMergingList": st.lists(inner, max_size=3),
            "mergingIntList": st.lists(st.integers(1, 4), max_size=4),
            "nonMergingIntList": st.lists(st.integers(1, 4), max_size=3),
            "simpleMap": st.dictionaries(st.sampled_from(["k", "l/m"]), values, max_size=2),
            "replacingItem": st.dictionaries(st.sampled_from(["k", "l"]), values, max_size=2),
            "retainKeysMap": st.fixed_dictionaries({}, optional={"name": values, "value": values}),
            "retainKeysMergingList": st.lists(inner, max_size=3),
        },
    ),
    max_leaves=8,
)


def complete(value):
    """Whether Kubernetes could have it: each item that is merged has a name, no set holds an item twice."""
    if not isinstance(value, dict):
        return True
    for name, inner in value.items():
        if name in ("mergingList", "retainKeysMergingList") and not all("name" in item for item in inner):
            return False
        if name == "mergingIntList" and len(set(inner)) != len(inner):
            return False
        if not all(map(complete, inner if isinstance(inner, list) else [inner])):
            return False
    return True


whole = items.filter(complete)


def together(value):
    """`value` with the items of a merged list that have the same key side by side, as the server keeps them."""
    if isinstance(value, list):
        return [together(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: together(inner) for name, inner in value.items()}
    for name in ("mergingList", "retainKeysMergingList"):
        keys = [json.dumps(item["name"]) for item in kept.get(name, ())]
        if keys:
            kept[name].sort(key=lambda item, keys=keys: keys.index(json.dumps(item["name"])))
    return kept


@given(old=whole, new=whole)
def test_what_is_made_applies(impl, old, new):
    """DF4: apply(make(a, b), a) == b in every order of lists, and equal documents need no patch."""
    patch = impl.strategic.strategic_merge_patch(old, new, types=TYPES)
    reached = impl.strategic.apply_strategic_merge_patch(old, patch, types=TYPES)
    assert typed(together(reached)) == typed(together(new))
    assert (patch == {}) == (typed(together(old)) == typed(together(new)))


@given(last=whole, live=whole, desired=whole)
def test_three_ways_meet(impl, last, live, desired):
    """DF4: where nobody else wrote, the outcome is what is desired; a second patch finds nothing to do."""
    impl = impl.strategic
    for first in (last, None):
        patch = impl.three_way_patch(first, live, desired, types=TYPES)
        reached = impl.apply_strategic_merge_patch(live, patch, types=TYPES)
        assert impl.three_way_patch(desired, reached, desired, types=TYPES) == {}
    patch = impl.three_way_patch(last, last, desired, types=TYPES, overwrite=False)
    reached = impl.apply_strategic_merge_patch(last, patch, types=TYPES)
    assert typed(together(reached)) == typed(together(desired))


def deployment(**spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}


def test_kinds_that_kubernetes_has(impl):
    """The table of the built-in kinds: a container by its name, a volume that changes its source, a strategy."""

    def pods(containers, volumes):
        return {"template": {"spec": {"containers": containers, "volumes": volumes}}}

    old = deployment(
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        **pods([{"name": "web", "image": "a:1", "args": ["x", "y"]}, {"name": "log"}], [{"name": "v", "emptyDir": {}}]),
    )
    new = deployment(
        strategy={"type": "Recreate"},
        **pods([{"name": "web", "image": "a:2", "args": ["x"]}], [{"name": "v", "configMap": {"name": "c"}}]),
    )
    patch = impl.strategic.strategic_merge_patch(old, new)
    assert patch == {
        "spec": {
            "strategy": {"type": "Recreate", "rollingUpdate": None, "$retainKeys": ["type"]},
            "template": {
                "spec": {
                    "containers": [
                        {"name": "web", "image": "a:2", "args": ["x"]},
                        {"name": "log", "$patch": "delete"},
                    ],
                    "$setElementOrder/containers": [{"name": "web"}],
                    "volumes": [
                        {
                            "name": "v",
                            "configMap": {"name": "c"},
                            "emptyDir": None,
                            "$retainKeys": ["configMap", "name"],
                        }
                    ],
                    "$setElementOrder/volumes": [{"name": "v"}],
                }
            },
        }
    }
    assert impl.strategic.apply_strategic_merge_patch(old, patch) == new
    assert impl.strategic.patch_type(old) == "application/strategic-merge-patch+json"


def test_a_key_twice_replaces_the_list(impl):
    """One port number for two protocols is one merge key twice: item by item it could not be told."""
    old = {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}
    new = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "SCTP"}]}
    service = {"apiVersion": "v1", "kind": "Service"}
    old, new = {**service, "spec": old}, {**service, "spec": new}
    patch = impl.strategic.strategic_merge_patch(old, new)
    assert patch == {"spec": {"ports": [*new["spec"]["ports"], {"$patch": "replace"}]}}
    assert impl.strategic.apply_strategic_merge_patch(old, patch) == new
    assert impl.strategic.strategic_merge_patch(old, copy.deepcopy(old)) == {}


def test_a_custom_kind_is_merged_plainly(impl):
    """No type: objects are merged, lists replaced, and the media type says merge patch."""
    old = {"apiVersion": "x.dev/v1", "kind": "WebApp", "spec": {"ports": [{"name": "a"}], "image": "a", "n": 1}}
    new = {**old, "spec": {"ports": [{"name": "b"}], "image": "a"}}
    expected = {"spec": {"ports": [{"name": "b"}], "n": None}}
    for patch in (
        impl.strategic.strategic_merge_patch(old, new),
        impl.strategic.three_way_patch(old, old, new),
    ):
        assert patch == expected
        assert impl.patch.apply_merge_patch(old, patch) == new
    assert impl.strategic.patch_type(old) == "application/merge-patch+json"
    assert impl.strategic.patch_type({}) == "application/merge-patch+json"


def test_types_of_ones_own(impl):
    """`types` may be any mapping; "*" is any member, so maps of objects are reached."""
    types = {
        "x/v1 Set": {"parts": ("By name", "", "")},
        "By name": {"*": ("Part", "", "")},
        "Part": {"l": ("", "merge", "")},
    }
    old = {"apiVersion": "x/v1", "kind": "Set", "parts": {"p": {"l": [1, 2]}}}
    new = {"apiVersion": "x/v1", "kind": "Set", "parts": {"p": {"l": [2, 3]}}}
    patch = impl.strategic.strategic_merge_patch(old, new, types=types)
    assert patch == {"parts": {"p": {"l": [3], "$deleteFromPrimitiveList/l": [1], "$setElementOrder/l": [2, 3]}}}
    assert impl.strategic.apply_strategic_merge_patch(old, patch, types=types) == new


@pytest.mark.parametrize(
    ("last", "live", "desired", "pointer"),
    [
        ({"value": "a"}, {"value": "b"}, {"value": "c"}, "/value"),
        ({"value": "a"}, {"value": "b"}, {}, "/value"),
        ({"simpleMap": {"k/l": "a"}}, {"simpleMap": {"k/l": "b"}}, {"simpleMap": {"k/l": "c"}}, "/simpleMap/k~1l"),
        (
            {"mergingList": [{"name": "a", "value": "1"}]},
            {"mergingList": [{"name": "a", "value": "2"}]},
            {"mergingList": [{"name": "a", "value": "3"}]},
            "/mergingList/value",
        ),
    ],
)
def test_a_conflict_names_its_pointer(impl, last, live, desired, pointer):
    """Only with overwrite=False, for both forms of patch, and without a value, which may be secret."""
    for types in (TYPES, {}):
        with pytest.raises(PatchConflict) as caught:
            impl.strategic.three_way_patch(last, live, desired, overwrite=False, types=types)
        assert str(caught.value) == (
            f"{pointer!r} has been changed by others since it was last applied: give overwrite=True to replace what "
            "they have set, desire their value to keep it, or drop it from last_applied and desired to leave it"
        )
        assert impl.strategic.three_way_patch(last, live, desired, types=types)
        # What others changed to what is desired is no conflict.
        impl.strategic.three_way_patch(last, desired, desired, overwrite=False, types=types)


@pytest.mark.parametrize(
    ("doc", "patch", "message"),
    [
        ({}, {"$patch": "spam"}, "at '': '$patch' is none of replace, delete, merge"),
        (
            {"mergingList": [{"name": 1}]},
            {"mergingList": [{"value": 1}]},
            "an item of '/mergingList' is no object with the merge key 'name'",
        ),
        (
            {"mergingList": [1]},
            {"mergingList": [{"name": 1}]},
            "an item of '/mergingList' is no object with the merge key 'name'",
        ),
        (
            {"mergingList": []},
            {"mergingList": [{"name": 1, "$patch": "spam"}]},
            "at '/mergingList': '$patch' is none of replace, delete, merge",
        ),
        (
            {"mergingIntList": [1]},
            {"mergingIntList": [[1]]},
            "at '/mergingIntList': a set of scalars can hold no objects or arrays",
        ),
        ({"l": [1]}, {"$deleteFromPrimitiveList/l": 1}, "at '/l': '$deleteFromPrimitiveList' is not a list"),
        ({"l": [1]}, {"$setElementOrder/l": 1}, "at '/l': '$setElementOrder', the list or its patch is not a list"),
        ({"l": 1}, {"$setElementOrder/l": [1]}, "at '/l': '$setElementOrder', the list or its patch is not a list"),
        (
            {"mergingIntList": [1, 2]},
            {"$setElementOrder/mergingIntList": [1, 2], "mergingIntList": [2, 1]},
            "at '/mergingIntList': the order of the patch is not that of '$setElementOrder'",
        ),
        ({"simpleMap": {}}, {"simpleMap": {"$retainKeys": "k"}}, "at '/simpleMap': '$retainKeys' is not a list"),
        (
            {"simpleMap": {}},
            {"simpleMap": {"$retainKeys": ["k"], "l": 1}},
            "at '/simpleMap': the patch sets 'l', which '$retainKeys' does not name",
        ),
    ],
)
def test_refuses_to_apply(impl, doc, patch, message):
    """DF4: a typed error that names the place, and neither argument is changed."""
    before = copy.deepcopy((doc, patch))
    with pytest.raises(PatchError) as caught:
        impl.strategic.apply_strategic_merge_patch(doc, patch, types=TYPES)
    assert str(caught.value) == message
    assert (doc, patch) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({}, {"$patch": "delete"}, "a strategic merge patch cannot set '/$patch': it would be a directive"),
        (
            {},
            {"a": [{"$retainKeys": []}]},
            "a strategic merge patch cannot set '/a/$retainKeys': it would be a directive",
        ),
        (
            {"mergingList": [{"value": 1}]},
            {"mergingList": []},
            "an item of '/mergingList' is no object with the merge key 'name'",
        ),
        (
            {"mergingIntList": [1]},
            {"mergingIntList": [{}]},
            "'/mergingIntList' is a set and can hold no objects or arrays",
        ),
    ],
)
def test_refuses_to_make(impl, old, new, message):
    with pytest.raises(PatchError) as caught:
        impl.strategic.strategic_merge_patch(old, new, types=TYPES)
    assert str(caught.value) == message


def test_bad_arguments(impl):
    impl = impl.strategic
    with pytest.raises(TypeError, match="a strategic merge patch is about objects, not list"):
        impl.strategic_merge_patch([], {})
    with pytest.raises(TypeError, match="types maps types to their members, not list"):
        impl.strategic_merge_patch({}, {}, types=[])
    with pytest.raises(TypeError, match=r"types: \('', 'merge'\) of 'a' is not \(type, strategies, merge key\)"):
        impl.strategic_merge_patch({"a": [1]}, {"a": [2]}, types={"": {"a": ("", "merge")}})
    with pytest.raises(TypeError, match="a document holds dict, list, str, int, float, bool and None, not set"):
        impl.apply_strategic_merge_patch({}, {"a": {1}})
    for deep in (endless(), nested(257)):
        with pytest.raises(RecursionError, match="nested deeper than 256 levels, or contains itself"):
            impl.three_way_patch({}, {}, deep)
    assert impl.strategic_merge_patch(nested(256, 1), nested(256, 2)) == nested(256, 2)
    assert impl.apply_strategic_merge_patch(nested(256, 1), nested(256, 2)) == nested(256, 2)


def test_answers_are_made_of_copies(impl):
    doc = {"mergingList": [{"name": "a", "mergingIntList": [1]}], "nonMergingList": [{"name": "x"}]}
    patch = {"mergingList": [{"name": "b", "mergingIntList": [2]}], "simpleMap": {"k": "v"}}
    result = impl.strategic.apply_strategic_merge_patch(doc, patch, types=TYPES)
    assert result["mergingList"] == [{"name": "b", "mergingIntList": [2]}, {"name": "a", "mergingIntList": [1]}]
    assert not containers_in(result) & (containers_in(doc) | containers_in(patch))
    made = impl.strategic.strategic_merge_patch(doc, result, types={"": ITEM})
    assert not containers_in(made) & (containers_in(doc) | containers_in(result))
