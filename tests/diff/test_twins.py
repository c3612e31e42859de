"""The compiled functions and their twins: the same names, signatures, answers and errors."""

import inspect
from collections import OrderedDict
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diff.documents import documents, names, scalars, typed
from fastcore._ext import diff as ext_diff
from fastcore._ext import fingerprint as ext_fingerprint
from fastcore._ext import patch as ext_patch
from fastcore._ext import plan as ext_plan
from fastcore._ext import strategic as ext_strategic
from fastcore._py import diff as py_diff
from fastcore._py import fingerprint as py_fingerprint
from fastcore._py import patch as py_patch
from fastcore._py import plan as py_plan
from fastcore._py import strategic as py_strategic

PAIRS = [
    (ext_diff, py_diff),
    (ext_patch, py_patch),
    (ext_plan, py_plan),
    (ext_strategic, py_strategic),
    (ext_fingerprint, py_fingerprint),
]


class Text(str):
    pass


class Names(dict):
    pass


# Values that stand for plain ones, and values that no document holds.
odd = st.one_of(
    scalars,
    st.sampled_from([Text("x"), Text("y"), (), (1, "x"), float("nan")]),
    st.builds(OrderedDict, st.dictionaries(names, scalars, max_size=2)),
    st.builds(MappingProxyType, st.dictionaries(names, scalars, max_size=2)),
    st.builds(Names, st.dictionaries(names.map(Text), scalars, max_size=2)),
    st.sampled_from([{1, 2}, b"x", 1j, {1: 2}, {None: 1}, object]),
)
keyed = st.dictionaries(
    st.sampled_from(["env", "ports", "finalizers", "containers"]),
    st.lists(
        st.one_of(
            st.dictionaries(st.sampled_from(["name", "port", "containerPort", "protocol", "x"]), scalars, max_size=3),
            scalars,
        ),
        max_size=4,
    ),
    max_size=3,
)
anything = st.one_of(documents(odd), documents(), keyed, documents(keyed, max_leaves=4))
pointers = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "00", "m~0n", "a~1b", "~", ""]), max_size=3).map(
    lambda tokens: "".join("/" + token for token in tokens)
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "spam"]), "path": pointers},
    optional={"value": documents(max_leaves=3), "from": pointers},
)


def outcome(function, *args, **kwargs):
    """What a call gives, so that two calls can be compared: its answer, or its error."""
    try:
        answer = function(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)
    return repr(typed(answer))


@pytest.mark.parametrize(("ext", "py"), PAIRS, ids=["diff", "patch", "plan", "strategic", "fingerprint"])
def test_the_same_face(ext, py):
    assert ext.__all__ == py.__all__
    for name in ext.__all__:
        one, other = getattr(ext, name), getattr(py, name)
        if name.isupper():
            assert one == other
            continue
        assert inspect.getdoc(one) == inspect.getdoc(other)
        one, other = inspect.signature(one), inspect.signature(other)
        assert [(p.name, p.kind, p.default) for p in one.parameters.values()] == [
            (p.name, p.kind, p.default) for p in other.parameters.values()
        ]


@given(
    old=anything, new=anything, ignore=st.sampled_from([(), ["a"], ["a.b", "*.name"], [("env", ("name", "x"), "*")]])
)
def test_diff_and_covers_agree(old, new, ignore):
    for list_keys in (None, {}, {"a": "name", "b": ["=", ("name", ("ports", 1))]}):
        options = {"ignore": ignore, "list_keys": list_keys}
        assert outcome(ext_diff.diff, old, new, **options) == outcome(py_diff.diff, old, new, **options)
        assert outcome(ext_diff.covers, old, new, **options) == outcome(py_diff.covers, old, new, **options)


@given(current=st.dictionaries(names, anything, max_size=4), desired=st.dictionaries(names, anything, max_size=4))
def test_plans_agree(current, desired):
    for exact in (False, True):
        assert outcome(ext_plan.plan, current, desired, exact=exact) == outcome(
            py_plan.plan, current, desired, exact=exact
        )


@given(old=anything, new=anything)
def test_patches_agree(old, new):
    for name in ("json_patch", "merge_patch", "apply_merge_patch"):
        assert outcome(getattr(ext_patch, name), old, new) == outcome(getattr(py_patch, name), old, new)


@given(doc=anything, patch=st.lists(operations, max_size=4))
def test_applied_patches_agree(doc, patch):
    assert outcome(ext_patch.apply_json_patch, doc, patch) == outcome(py_patch.apply_json_patch, doc, patch)


TYPES = {
    "": {
        "a": ("A", "merge", "name"),
        "b": ("", "merge", ""),
        "name": ("A", "retainKeys", ""),
        "ports": ("", "replace", ""),
    },
    "A": {"*": ("", "merge,retainKeys", "name"), "b": ("", "merge", "")},
}
names_of_directives = st.sampled_from(
    [
        "$patch",
        "$retainKeys",
        "$setElementOrder/a",
        "$deleteFromPrimitiveList/b",
        "$setElementOrder/b",
        "a",
        "b",
        "name",
    ]
)
keyed_items = st.lists(
    st.one_of(st.fixed_dictionaries({"name": scalars}, optional={"x": scalars, "$patch": st.just("delete")}), scalars),
    max_size=3,
)
strategic_patches = st.recursive(
    st.one_of(scalars, keyed_items, st.sampled_from(["replace", "delete", "merge"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names_of_directives, inner, max_size=4)),
    max_leaves=10,
)


@given(one=strategic_patches, other=strategic_patches, third=strategic_patches)
def test_strategic_patches_agree(one, other, third):
    """DF4"""
    for types in (TYPES, {}):
        for name, args in (
            ("strategic_merge_patch", (one, other)),
            ("apply_strategic_merge_patch", (one, other)),
            ("three_way_patch", (one, other, third)),
        ):
            ext, py = getattr(ext_strategic, name), getattr(py_strategic, name)
            assert outcome(ext, *args, types=types) == outcome(py, *args, types=types)
    given_ = {"overwrite": False, "types": TYPES}
    ext, py = ext_strategic.three_way_patch, py_strategic.three_way_patch
    assert outcome(ext, one, other, third, **given_) == outcome(py, one, other, third, **given_)


@given(document=anything)
def test_fingerprints_agree(document):
    assert outcome(ext_fingerprint.fingerprint, document) == outcome(py_fingerprint.fingerprint, document)
