"""Merge patch, RFC 7386: made and applied."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diff.documents import containers_in, documents, endless, names, nested, scalars, typed
from fastcore.errors import PatchError

APPENDIX = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
MORE = [
    ({"a": 1}, {}, {"a": 1}),
    ("text", {}, {}),
    ({"a": [1]}, {"a": [None, {"b": None}]}, {"a": [None, {"b": None}]}),
    ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
    ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
]


@pytest.mark.parametrize(("doc", "patch", "expected"), APPENDIX + MORE)
def test_applies(impl, doc, patch, expected):
    """DF2"""
    before = copy.deepcopy((doc, patch))
    result = impl.patch.apply_merge_patch(doc, patch)
    assert typed(result) == typed(expected)
    assert (doc, patch) == before
    assert not containers_in(result) & (containers_in(doc) | containers_in(patch))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "c": 3}, {"b": None, "c": 3}),
        ({"a": {"b": 1, "c": [1]}}, {"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [1, 2]}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": None}, {"a": None}, {}),
        ({"a": None}, {}, {"a": None}),
        ({"a": 1}, {"a": [None]}, {"a": [None]}),
        ([1], [1], [1]),
        ({"a": 1}, None, None),
        ([1], {"a": 1}, {"a": 1}),
    ],
)
def test_makes(impl, old, new, expected):
    """DF2"""
    patch = impl.patch.merge_patch(old, new)
    assert typed(patch) == typed(expected)
    assert typed(impl.patch.apply_merge_patch(old, patch)) == typed(new)


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ({}, {"a": None}, "/a"),
        ({"a": {"b": 1}}, {"a": {"b": None}}, "/a/b"),
        ({"a": 1}, {"a": {"x/y": {"z": None}}}, "/a/x~1y/z"),
        ([], {"a": None}, "/a"),
    ],
)
def test_refuses_to_make_what_cannot_be_said(impl, old, new, pointer):
    """A patch that would remove what it should set to null is not made."""
    with pytest.raises(PatchError) as caught:
        impl.patch.merge_patch(old, new)
    assert str(caught.value) == f"a merge patch cannot set {pointer!r} to null: null removes"


@given(old=documents(), new=documents(scalars.filter(lambda v: v is not None)))
def test_what_is_made_applies(old, new, impl):
    """DF2: merge(create(a, b), a) == b when b has no nulls."""
    patch = impl.patch.merge_patch(old, new)
    assert typed(impl.patch.apply_merge_patch(old, patch)) == typed(new)


@given(old=st.dictionaries(names, documents()), new=st.dictionaries(names, documents()))
def test_made_right_or_refused(old, new, impl):
    """With nulls: what is made applies, whatever is in the way of it is refused."""
    try:
        patch = impl.patch.merge_patch(old, new)
    except PatchError:
        return
    assert typed(impl.patch.apply_merge_patch(old, patch)) == typed(new)


def test_depth_is_limited(impl):
    for args in [({}, nested(257)), (nested(257), {}), (endless(), {}), ({"a": 1}, endless())]:
        with pytest.raises(RecursionError, match="nested deeper than 256 levels, or contains itself"):
            impl.patch.apply_merge_patch(*args)
    with pytest.raises(RecursionError, match="nested deeper than 256 levels, or contains itself"):
        impl.patch.merge_patch(nested(257), nested(257))
    with pytest.raises(RecursionError, match="nested deeper than 256 levels, or contains itself"):
        impl.patch.merge_patch({}, endless())
    assert impl.patch.apply_merge_patch({}, nested(256)) == nested(256)
