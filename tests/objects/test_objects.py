"""The object store: what it takes, keeps, finds and hands out; both twins, and the standard decoder as the oracle."""

import copy
import gc
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore import diff
from fastcore._ext import frozen as ext_frozen
from fastcore._ext import intake as ext_intake
from fastcore._ext import objects as ext_objects
from fastcore._py import frozen as py_frozen
from fastcore._py import intake as py_intake
from fastcore._py import objects as py_objects
from fastcore.errors import ObjectError, ReentrancyError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NAMES = st.sampled_from(["name", "metadata", "spec", "a.b", "é", "a&b"]) | st.text(max_size=3)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)


def obj(name="a", version=1, *, namespace="default", uid=None, **more):
    meta = {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": {**meta, **more.pop("metadata", {})}, **more}


def text(value, **options):
    return json.dumps(value, **options).encode()


def outcome(function, *arguments):
    """What a call gives, or the error that it raises, for comparison."""
    try:
        return function(*arguments)
    except (ValueError, TypeError) as error:
        return type(error), str(error)


def store(impl, *items, **options):
    made = impl.objects.ObjectStore(**options)
    made.replace(items)
    return made


def steps(changes):
    return [tuple(change) for change in changes]


# --- Decoding


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_views_say_what_the_standard_decoder_says(document, ascii, indent):
    written = text(document, ensure_ascii=ascii, indent=indent)
    for module in (ext_frozen, py_frozen):
        assert repr(module.view(written)) == repr(json.loads(written))


@given(DOCUMENTS, st.binary(max_size=3), st.integers(min_value=0))
def test_twins_agree_on_text_that_is_damaged(document, damage, where):
    written = text(document, ensure_ascii=False)
    where %= len(written) + 1
    for broken in (written[:where] + damage + written[where + 1 :], written[:where]):
        expected = outcome(py_frozen.view, broken)
        assert repr(outcome(ext_frozen.view, broken)) == repr(expected)
        for name in ("head", "split_list", "split_event"):
            assert outcome(getattr(ext_intake, name), broken) == outcome(getattr(py_intake, name), broken)


@pytest.mark.parametrize(
    ("written", "error"),
    [
        (b"", "no JSON at byte 0: the text ends too early"),
        (b'{"a":1,}', "no JSON at byte 7: a name was expected"),
        (b'{"a" 1}', "no JSON at byte 5: ':' was expected"),
        (b'{"a":1 "b":2}', "no JSON at byte 7: ',' or '}' was expected"),
        (b"[1 2]", "no JSON at byte 3: ',' or ']' was expected"),
        (b"[1] 2", "no JSON at byte 4: something follows the end"),
        (b"[NaN]", "no JSON at byte 1: a value was expected"),
        (b"[-]", "no JSON at byte 1: a value was expected"),
        (b'["\\x"]', "no JSON at byte 2: an unknown escape"),
        (b'["\\u12', "no JSON at byte 6: the text ends too early"),
        (b'["\t"]', "no JSON at byte 2: a control character in a string"),
        (b'["\xff"]', "no JSON at byte 2: this is not UTF-8"),
        (b'["\xed\xa0\x80"]', "no JSON at byte 2: this is not UTF-8"),
        (b"[" + b"1" * 1025 + b"]", "no JSON at byte 1: a number of more than 1024 characters"),
        (b"[" * 257 + b"]" * 257, "no JSON at byte 256: nested deeper than 256 levels"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(impl, written, error):
    with pytest.raises(ObjectError) as caught:
        impl.frozen.view(written)
    assert str(caught.value) == error


@pytest.mark.parametrize("written", [b"1e999", b"-0", b"-0.0", b"123456789012345678901", b'"\\ud83d\\ude00\\ud83d"'])
def test_values_at_the_edge_are_those_of_the_standard_decoder(impl, written):
    assert repr(impl.frozen.view(written)) == repr(json.loads(written))


# --- Views


def mutations(members, items):
    return [
        lambda: members.__setitem__("a", 1), lambda: members.__delitem__("a"), members.clear, members.popitem,
        lambda: members.pop("a"), lambda: members.setdefault("z", 1), lambda: members.update(a=2),
        lambda: members.__ior__({}), lambda: members.__init__({}), lambda: items.__init__([]),
        lambda: items.__setitem__(0, 1), lambda: items.__delitem__(0), lambda: items.append(1),
        lambda: items.extend([1]), lambda: items.insert(0, 1), items.pop, lambda: items.remove(1), items.clear,
        items.reverse, items.sort, lambda: items.__iadd__([1]), lambda: items.__imul__(2),
    ]  # fmt: skip


def test_views_refuse_every_change(impl):
    """IN-6: objects handed out are never mutated by anyone."""
    view = impl.frozen.view(b'{"a":{"b":[1,2]}}')
    for change in mutations(view["a"], view["a"]["b"]):
        with pytest.raises(TypeError, match=r"read-only view that others share: change a copy.*thaw"):
            change()
    assert view == {"a": {"b": [1, 2]}}


def test_copies_of_views_are_plain(impl):
    view = impl.frozen.view(b'{"a":{"b":[1,{}]}}')
    for mine in (impl.frozen.thaw(view), copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert mine == view
        assert [type(mine), type(mine["a"]), type(mine["a"]["b"]), type(mine["a"]["b"][1])] == [dict, dict, list, dict]
    assert type(copy.copy(view)) is type(view | {}) is type(view.copy()) is dict
    assert type(copy.copy(view["a"]["b"])) is list


def test_encoders_and_diff_read_views(impl):
    document = {"a": {"b": [1, {"c": None}]}, "d": "é"}
    view = impl.frozen.view(text(document))
    assert json.loads(json.dumps(view)) == json.loads(json.dumps(view, indent=1)) == document
    msgspec = pytest.importorskip("msgspec")  # not on every interpreter
    assert msgspec.json.decode(msgspec.json.encode(view)) == document
    assert isinstance(view, dict)
    assert diff.diff(document, view) == []
    assert diff.covers(view, {"a": {"b": [1, {"c": None}]}})
    assert diff.fingerprint(view) == diff.fingerprint(document)
    assert [tuple(c) for c in diff.diff(view, {**document, "d": "x"})] == [("change", ("d",), "é", "x")]


# --- What is kept


@given(DOCUMENTS, DOCUMENTS, st.sampled_from([None, 1]), st.sets(NAMES.filter(bool), max_size=3))
def test_twins_keep_the_same_bytes(spec, status, indent, names):
    item = text({"spec": spec, "metadata": {"name": "x", "labels": status}, "status": status}, indent=indent)
    paths = [("spec", *names), ("status", "spec"), ("metadata", "labels", "name")]
    for options in ({"drop": paths}, {"drop": (), "keep": paths}, {"metadata_only": True}, {"kind": "Pod"}):
        raws = [module.ObjectStore(**options).put(item)[0].new_raw for module in (ext_objects, py_objects)]
        assert raws[0] == raws[1]
        json.loads(raws[0])


def test_dropped_paths_leave_whole_json(impl):
    """A list on the way stands for each item; managedFields go by default."""
    item = {
        "a": 1, "spec": {"x": [{"env": 1, "name": "c"}, {"name": "d", "env": 2}, {"env": 3}], "y": 2},
        **obj(metadata={"managedFields": [{"manager": "m"}]}), "z": {"only": 1},
    }  # fmt: skip
    kept = {**obj(), "a": 1, "z": {"only": 1}, "spec": {"x": [{"name": "c"}, {"name": "d"}, {}], "y": 2}}
    paths = ("metadata.managedFields", "spec.x.env")
    assert store(impl, item, drop=paths).get("default/a") == kept
    assert store(impl, text(item, indent=2), drop=paths).get("default/a") == kept
    assert "managedFields" not in store(impl, item).get("default/a")["metadata"]
    assert store(impl, item, drop=("a", "z", "spec", "metadata.managedFields")).get("default/a") == obj()


def test_own_managed_fields_stay(impl):
    """WR-2: what our manager applied tells which fields an apply would take away."""
    ours = {"manager": "fastcore", "operation": "Apply", "fieldsV1": {"f:a": {}}}
    others = [{"manager": "kubelet", "operation": "Update"}, {"manager": "fastcore", "operation": "Update"}]
    for entries, kept in (([*others, ours], [ours]), ([others[0], ours, others[1], ours], [ours, ours])):
        made = store(impl, obj(metadata={"managedFields": entries}), field_manager="fastcore")
        assert made.get("default/a")["metadata"]["managedFields"] == kept
    for entries in (others, [], None):
        made = store(impl, obj(metadata={"managedFields": entries}), field_manager="fastcore")
        assert made.get("default/a") == obj()


def test_only_what_is_kept_and_what_names_it(impl):
    item = obj(kind="Pod", spec={"nodeName": "n", "x": 1}, status={}, metadata={"labels": {"l": "1"}, "finalizers": []})
    assert store(impl, item, metadata_only=True).get("default/a") == {
        "kind": "Pod", "metadata": item["metadata"],
    }  # fmt: skip
    assert store(impl, item, keep=("spec.nodeName", "metadata.labels")).get("default/a") == {
        **obj(metadata={"labels": {"l": "1"}}), "kind": "Pod", "spec": {"nodeName": "n"},
    }  # fmt: skip


def test_version_and_kind_are_put_in_where_they_lack(impl):
    made = store(impl, obj(), obj("b", kind="Other"), api_version="v1", kind="Pod")
    assert made.get("default/a") == {**obj(), "apiVersion": "v1", "kind": "Pod"}
    assert made.get("default/b") == {**obj("b"), "apiVersion": "v1", "kind": "Other"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"drop": ("metadata.name",)}, "an object cannot be stored without its metadata.name"),
        ({"drop": ("kind",)}, "an object cannot be stored without its kind"),
        ({"keep": ("",)}, "a path needs names, and no empty ones: ''"),
        ({"hot": -1}, "hot must be >= 0, got -1"),
        ({"keep": ("spec",), "metadata_only": True}, "give either keep or metadata_only"),
    ],
)
def test_options_that_cannot_work_are_refused(impl, options, error):
    with pytest.raises(ValueError) as caught:
        impl.objects.ObjectStore(**options)
    assert str(caught.value) == error


# --- Changes


def test_events_add_update_and_delete(impl):
    made = impl.objects.ObjectStore()
    one, two, three = (obj(version=n) for n in (1, 2, 3))
    line = text({"type": "ADDED", "object": one})
    assert steps(made.apply(line)) == [(None, one)]
    assert made.apply({"type": "MODIFIED", "object": one}) == [], "the same version"
    assert made.apply({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}) == []
    assert made.apply(("MODIFIED", two)) == [(one, two)]
    assert steps(made.apply(("DELETED", text(three)))) == [(three, None)]
    assert made.apply(("DELETED", three)) == []
    assert (len(made), made.stats().bytes) == (0, 0)


def test_replace_leaves_no_ghosts(impl):
    """RF-9: absent keys are deleted, equal versions are left alone. IN-7: another uid is two steps."""
    a, b, c = obj("a"), obj("b"), obj("c")
    made = store(impl, a, b, c)
    held = made.get("default/b")
    b_again, c2, other = obj("b"), obj("c", 2, uid="other"), obj("d")
    body = text({"kind": "List", "metadata": {"resourceVersion": "9"}, "items": [b_again, c2, other]})
    assert steps(made.replace(body)) == [(a, None), (c, None), (None, c2), (None, other)]
    assert made.get("default/b") is held
    assert made.keys() == [("default", "b"), ("default", "c"), ("default", "d")]


def test_an_object_without_a_version_is_compared_by_its_text(impl):
    made = impl.objects.ObjectStore()
    one, two = {"metadata": {"name": "a"}, "x": 1}, {"metadata": {"name": "a"}, "x": 2}
    made.put(one)
    assert made.put(one) == []
    assert steps(made.put(two)) == [(one, two)]


@pytest.mark.parametrize(
    "bad", [b'{"metadata":{}}', b"[]", b'{"metadata":{"name":"x"}', {"metadata": {"name": ""}}, b"7"]
)
def test_nothing_changes_when_something_is_no_object(impl, bad):
    made = store(impl, obj())
    for call in (lambda: made.put(bad), lambda: made.replace([obj("z"), bad]), lambda: made.apply(("ADDED", bad))):
        with pytest.raises(ObjectError):
            call()
    assert made.keys() == [("default", "a")]


def test_a_member_that_names_the_object_twice_is_refused(impl):
    with pytest.raises(ObjectError, match="no JSON at byte 25: this member is there twice"):
        impl.intake.head(b'{"metadata":{"name":"a", "name":"b"}}')


def test_an_error_event_is_no_object(impl):
    with pytest.raises(ObjectError, match="ADDED, MODIFIED, DELETED and BOOKMARK events, not 'ERROR'"):
        impl.objects.ObjectStore().apply({"type": "ERROR", "object": {"code": 410}})


# --- Reading


def test_a_view_stays_the_same_while_it_is_hot(impl):
    made = store(impl, obj("a"), obj("b"), obj("c"), hot=2)
    first = made.get("default/a")
    assert made.get(("default", "b")) == obj("b")
    assert made.get("default/a") is first, "hot"
    made.get("default/c")
    assert made.get("default/a") is first, "the one that was not read for longest went"
    assert made.stats().hot == 2
    made.put(obj("a", 2))
    assert made.get("default/a") == obj("a", 2)
    assert made.get("default/zzz", 7) == made.raw("default/zzz", 7) == 7


def test_paths_read_parts(impl):
    item = obj(spec={"replicas": 3, "x": [{"image": "i"}, None]}, metadata={"labels": {"a.b/c": "1", "<": "2"}})
    made = store(impl, text(item).replace(b'"<"', b'"\\u003c"'))
    paths = {
        "spec.replicas": 3, "spec.x.0.image": "i", "spec.x.1": None, "spec.x.7": "none", "spec.x.image": "none",
        "metadata.labels.a\\.b/c": "1", ("metadata", "labels", "<"): "2", "spec.replicas.x": "none",
    }  # fmt: skip
    assert {path: made.path("default/a", path, "none") for path in paths} == paths
    made_view = made.path("default/a", "spec")
    assert made_view == item["spec"]
    assert type(made_view).__name__ == "FrozenDict"
    assert made.path("default/zzz", "spec", 7) == 7


def test_keys_and_views_of_a_namespace(impl):
    made = store(impl, obj("a"), obj("b", namespace="other"), {"metadata": {"name": "node"}})
    assert made.keys("other") == [("other", "b")]
    assert list(made) == [("default", "a"), ("other", "b"), ("", "node")]
    assert made.views("default") == [obj("a")]
    assert "node" in made
    assert "default/zzz" not in made
    with pytest.raises(TypeError, match="a key is"):
        made.get(7)


# --- Indexes


def owned(name, version, *uids):
    return obj(name, version, metadata={"ownerReferences": [{"uid": uid} for uid in uids]})


@pytest.mark.parametrize(
    "by",
    ["metadata.ownerReferences.uid", lambda o: [r["uid"] for r in o["metadata"].get("ownerReferences", ())]],
    ids=["path", "function"],
)
def test_indexes_follow_every_change(impl, by):
    """IN-4: 0..n values; no value points at a stale object. IN-3: an index after the start is as one before it."""
    made = store(impl, owned("a", 1, "x"), owned("b", 1, "x", "y"), owned("c", 1))
    made.index("owner", by)
    keys = lambda value: sorted(name for _, name in made.keys_by_index("owner", value))  # noqa: E731
    assert [keys(v) for v in "xyz"] == [["a", "b"], ["b"], []]
    made.put(owned("a", 2, "y", "z"))
    assert [keys(v) for v in "xyz"] == [["b"], ["a", "b"], ["a"]]
    made.remove("default/b")
    assert [keys(v) for v in "xyz"] == [[], ["a"], ["a"]]
    made.replace([owned("c", 2, "z"), owned("d", 1, "z")])
    assert [keys(v) for v in "xyz"] == [[], [], ["c", "d"]]
    assert made.by_index("owner", "z") == [owned("c", 2, "z"), owned("d", 1, "z")]


def test_an_index_function_that_raises_changes_nothing(impl):
    made = store(impl, obj("a"))
    made.index("x", lambda o: [1 // (o["metadata"]["name"] != "bad")])
    for call in (lambda: made.put(obj("bad")), lambda: made.replace([obj("bad")])):
        with pytest.raises(ZeroDivisionError):
            call()
    assert (made.keys(), made.keys_by_index("x", 1)) == ([("default", "a")], [("default", "a")])


def test_an_index_function_must_not_write(impl):
    made = store(impl, obj("a"))
    versions = iter(range(2, 10_000))
    with pytest.raises(ReentrancyError, match="they must not write to it"):
        made.index("x", lambda o: made.put(obj("a", next(versions))) and [1])


def test_indexes_are_named_once_and_hold_plain_values(impl):
    made = store(impl, obj("a"))
    made.index("name", "metadata.name")
    with pytest.raises(ValueError, match="there is already an index 'name'"):
        made.index("name", "spec")
    with pytest.raises(ValueError, match=r"there is no index 'zzz', only \['name'\]"):
        made.by_index("zzz", 1)
    with pytest.raises(TypeError, match="objects are found by"):
        made.index("other", lambda _: [object()])


# --- Random histories


@given(st.lists(st.tuples(st.sampled_from("ADR"), st.sampled_from("abc"), st.integers(0, 3), st.sampled_from("xy"))))
def test_twins_tell_the_same_story(history):
    stores = [module.ObjectStore(hot=2) for module in (ext_objects, py_objects)]
    for made in stores:
        made.index("owner", "metadata.ownerReferences.uid")
    for what, name, version, owner in history:
        item = owned(name, version, owner)
        told = []
        for made in stores:
            if what == "R":
                told.append(steps(made.replace([item, owned("a", version, "y")])))
            else:
                told.append(steps(made.apply(("ADDED" if what == "A" else "DELETED", item))))
        assert told[0] == told[1]
        first, second = stores
        assert first.keys() == second.keys()
        assert first.stats()[:2] == second.stats()[:2]
        for value in "xy":
            assert sorted(first.keys_by_index("owner", value)) == sorted(second.keys_by_index("owner", value))


def test_the_collector_has_nothing_to_walk():
    """Design: what is stored is str and bytes, in dicts that the collector leaves alone."""
    made = ext_objects.ObjectStore()
    made.replace(text(obj(f"o{i}", spec={"a": [1, {}]})) for i in range(2000))
    gc.collect()
    before = len(gc.get_objects())
    made.replace(text(obj(f"n{i}", spec={"a": [1, {}]})) for i in range(4000))
    gc.collect()
    assert len(gc.get_objects()) - before < 100
