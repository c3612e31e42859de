"""JSON patch, RFC 6902: made and applied."""

import copy
import itertools
import random

import pytest
from hypothesis import given

from diff.documents import containers_in, deployment, documents, endless, nested, typed
from fastcore.errors import PatchError, PatchTestFailed

APPLIED = [
    # appendix A of the RFC, in its order
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo", "foo": "bar"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"g": {}}}], {"foo": "bar", "child": {"g": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
    # the whole document
    ({"a": 1}, [{"op": "add", "path": "", "value": [1]}], [1]),
    ({"a": 1}, [{"op": "replace", "path": "", "value": None}], None),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": ""}], {"b": 1}),
    ({"a": 1}, [{"op": "copy", "from": "", "path": "/b"}], {"a": 1, "b": {"a": 1}}),
    ("text", [{"op": "test", "path": "", "value": "text"}], "text"),
    ([], [], []),
    # members and indices
    ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
    ({"a": {"0": 1}}, [{"op": "add", "path": "/a/0", "value": 2}], {"a": {"0": 2}}),
    ({"a": None}, [{"op": "remove", "path": "/a"}], {}),
    ({"a": None}, [{"op": "replace", "path": "/a", "value": 1}], {"a": 1}),
    ({"-": 1}, [{"op": "remove", "path": "/-"}], {}),
    ([1, 2], [{"op": "add", "path": "/2", "value": 3}], [1, 2, 3]),
    ([1, 2], [{"op": "add", "path": "/0", "value": 0}], [0, 1, 2]),
    ([[1], [2]], [{"op": "replace", "path": "/1/0", "value": 3}], [[1], [3]]),
    ([1, 2, 3], [{"op": "remove", "path": "/0"}, {"op": "remove", "path": "/1"}], [2]),
    ([1, 2, 3], [{"op": "move", "from": "/2", "path": "/0"}], [3, 1, 2]),
    ([1, 2], [{"op": "move", "from": "/0", "path": "/-"}], [2, 1]),
    ([1, 2], [{"op": "copy", "from": "/0", "path": "/-"}], [1, 2, 1]),
    ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ({"ab": 1, "a": {}}, [{"op": "move", "from": "/ab", "path": "/a/b"}], {"a": {"b": 1}}),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/a"}], {"a": 1}),
    # equality of `test`
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
    (
        {"a": {"x": 1, "y": [2]}},
        [{"op": "test", "path": "/a", "value": {"y": [2.0], "x": 1}}],
        {"a": {"x": 1, "y": [2]}},
    ),
    ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
    # one operation sees what the ones before it did
    (
        {"a": {"b": 1}},
        [
            {"op": "copy", "from": "/a", "path": "/c"},
            {"op": "replace", "path": "/c/b", "value": 2},
            {"op": "test", "path": "/a/b", "value": 1},
        ],
        {"a": {"b": 1}, "c": {"b": 2}},
    ),
]

REFUSED = [
    ({"a": 1}, {"op": "add"}, "a JSON patch is a list of operations, not dict"),
    ({"a": 1}, None, "a JSON patch is a list of operations, not NoneType"),
    ({"a": 1}, ["add"], "operation 0: an operation is an object, not str"),
    ({"a": 1}, [{"path": "/a"}], "operation 0: the member 'op' is missing or not a string"),
    ({"a": 1}, [{"op": 1, "path": "/a"}], "operation 0: the member 'op' is missing or not a string"),
    ({"a": 1}, [{"op": "remove"}], "operation 0: the member 'path' is missing or not a string"),
    ({"a": 1}, [{"op": "remove", "path": None}], "operation 0: the member 'path' is missing or not a string"),
    (
        {"a": 1},
        [{"op": "spam", "path": "/a"}],
        "operation 0 (spam '/a'): 'op' is none of add, remove, replace, move, copy, test",
    ),
    ({"a": 1}, [{"op": "add", "path": "/b"}], "operation 0 (add '/b'): the member 'value' is missing"),
    ({"a": 1}, [{"op": "replace", "path": "/a"}], "operation 0 (replace '/a'): the member 'value' is missing"),
    ({"a": 1}, [{"op": "test", "path": "/a"}], "operation 0 (test '/a'): the member 'value' is missing"),
    ({"a": 1}, [{"op": "move", "path": "/b"}], "operation 0 (move '/b'): the member 'from' is missing or not a string"),
    ({"a": 1}, [{"op": "remove", "path": "a"}], "operation 0 (remove 'a'): the pointer 'a' does not start with '/'"),
    (
        {"a": 1},
        [{"op": "remove", "path": "/a~2"}],
        "operation 0 (remove '/a~2'): the pointer '/a~2' has a '~' that is not '~0' or '~1'",
    ),
    (
        {"a": 1},
        [{"op": "remove", "path": "/~"}],
        "operation 0 (remove '/~'): the pointer '/~' has a '~' that is not '~0' or '~1'",
    ),
    ({"a": 1}, [{"op": "remove", "path": "/b"}], "operation 0 (remove '/b'): there is nothing at '/b'"),
    (
        {"a": 1},
        [{"op": "replace", "path": "/b/c", "value": 1}],
        "operation 0 (replace '/b/c'): there is nothing at '/b'",
    ),
    ({"a": 1}, [{"op": "add", "path": "/a/b", "value": 1}], "operation 0 (add '/a/b'): there is nothing at '/a/b'"),
    ({"a": "x"}, [{"op": "remove", "path": "/a/0"}], "operation 0 (remove '/a/0'): there is nothing at '/a/0'"),
    ({"a": 1}, [{"op": "copy", "from": "/b", "path": "/c"}], "operation 0 (copy '/c'): there is nothing at '/b'"),
    ({"a": 1}, [{"op": "remove", "path": ""}], "operation 0 (remove ''): the whole document cannot be removed"),
    (
        {"a": {"b": {}}},
        [{"op": "move", "from": "/a", "path": "/a/b/c"}],
        "operation 0 (move '/a/b/c'): '/a' cannot move into itself",
    ),
    ([1], [{"op": "add", "path": "/2", "value": 1}], "operation 0 (add '/2'): the array index at '/2' is past the end"),
    ([1], [{"op": "remove", "path": "/1"}], "operation 0 (remove '/1'): the array index at '/1' is past the end"),
    ([1], [{"op": "remove", "path": "/-"}], "operation 0 (remove '/-'): '/-' does not end with an array index"),
    ([1], [{"op": "remove", "path": "/-1"}], "operation 0 (remove '/-1'): '/-1' does not end with an array index"),
    (
        [1],
        [{"op": "test", "path": "/00", "value": 1}],
        "operation 0 (test '/00'): '/00' does not end with an array index",
    ),
    (
        [1],
        [{"op": "test", "path": "/1e0", "value": 1}],
        "operation 0 (test '/1e0'): '/1e0' does not end with an array index",
    ),
    (
        [1],
        [{"op": "test", "path": "/\u0660", "value": 1}],
        "operation 0 (test '/\u0660'): '/\u0660' does not end with an array index",
    ),
    (
        [1],
        [{"op": "test", "path": "/0\n", "value": 1}],
        "operation 0 (test '/0\\n'): '/0\\n' does not end with an array index",
    ),
    (
        [1],
        [{"op": "test", "path": "/" + "9" * 5000, "value": 1}],
        f"operation 0 (test '/{'9' * 5000}'): the array index at '/{'9' * 5000}' is past the end",
    ),
    (
        {"a": 1},
        [{"op": "add", "path": "/b", "value": 2}, {"op": "remove", "path": "/c"}],
        "operation 1 (remove '/c'): there is nothing at '/c'",
    ),
    ({}, [{"op": "add", "path": "/a" * 257, "value": 1}], "the pointer has more than 256 tokens"),
]


@pytest.mark.parametrize(("doc", "patch", "expected"), APPLIED)
def test_applies(impl, doc, patch, expected):
    """DF1"""
    before = copy.deepcopy((doc, patch))
    result = impl.patch.apply_json_patch(doc, patch)
    assert typed(result) == typed(expected)
    assert (doc, patch) == before
    assert not containers_in(result) & (containers_in(doc) | containers_in(patch))


@pytest.mark.parametrize(("doc", "patch", "message"), REFUSED)
def test_refuses(impl, doc, patch, message):
    """DF1: a typed error that names the operation and the pointer; the document is untouched."""
    before = copy.deepcopy(doc)
    with pytest.raises(PatchError) as caught:
        impl.patch.apply_json_patch(doc, patch)
    assert str(caught.value).endswith(message)
    assert type(caught.value) is PatchError
    assert doc == before


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (1, True),
        (True, 1),
        (0, False),
        (None, False),
        ("1", 1),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 1, "b": None}),
        ({}, []),
    ],
)
def test_test_tells_types_apart(impl, found, expected):
    """DF1: `test` with true is not 1; the message holds neither value, which may be secret."""
    doc = {"a": [found]}
    patch = [{"op": "add", "path": "/b", "value": 1}, {"op": "test", "path": "/a/0", "value": expected}]
    with pytest.raises(PatchTestFailed, match=r"^operation 1 \(test '/a/0'\): the value there is another one$"):
        impl.patch.apply_json_patch(doc, patch)
    assert typed(doc) == typed({"a": [found]})


def test_the_answer_is_made_of_copies(impl):
    """DF1: nothing mutable is shared, not even between the two places of a `copy`."""
    value = {"x": [1]}
    doc = {"a": {"y": [2]}}
    patch = [{"op": "add", "path": "/b", "value": value}, {"op": "copy", "from": "/b", "path": "/c"}]
    result = impl.patch.apply_json_patch(doc, patch)
    result["b"]["x"].append(3)
    result["a"]["y"].append(4)
    assert result["c"] == {"x": [1]} == value
    assert doc == {"a": {"y": [2]}}


def test_a_patch_that_doubles_the_document_is_stopped(impl):
    """The `copy` operations of one patch have a limit in all: 64 of them would make 2**64 values."""
    patch = [{"op": "copy", "from": "", "path": f"/{i}"} for i in range(64)]
    with pytest.raises(PatchError, match=r"^operation \d+ \(copy '/\d+'\): the patch copies more than 1000000 values$"):
        impl.patch.apply_json_patch({}, patch)


def test_depth_is_limited_whatever_the_way_there(impl):
    """A value, a copy or a move that nests too deep is refused before it is done."""
    for patch in (
        [{"op": "add", "path": "/a/a/a", "value": nested(254)}],
        [{"op": "add", "path": "/b", "value": nested(254)}, {"op": "copy", "from": "/b", "path": "/a/a/a"}],
        [{"op": "add", "path": "/b", "value": nested(254)}, {"op": "move", "from": "/b", "path": "/a/a/a"}],
    ):
        with pytest.raises(RecursionError, match="nested deeper than 256 levels"):
            impl.patch.apply_json_patch({"a": {"a": {}}}, patch)
    for doc in (endless(), endless(list)):
        with pytest.raises(RecursionError, match="or contains itself"):
            impl.patch.apply_json_patch(doc, [])


MADE = [
    ({"a": 1}, {"a": 1.0}, []),
    ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}]),
    ({"a/b": {"m~n": 1}}, {"a/b": {"m~n": 2}}, [{"op": "replace", "path": "/a~1b/m~0n", "value": 2}]),
    (
        {"a": 1, "b": 2},
        {"b": 2, "c": None},
        [{"op": "remove", "path": "/a"}, {"op": "add", "path": "/c", "value": None}],
    ),
    ([1, 2, 3], [1, 9, 2, 3], [{"op": "add", "path": "/1", "value": 9}]),
    ([1, 9, 2, 3], [1, 2, 3], [{"op": "remove", "path": "/1"}]),
    (
        [1, 2, 3, 4],
        [4],
        [{"op": "remove", "path": "/2"}, {"op": "remove", "path": "/1"}, {"op": "remove", "path": "/0"}],
    ),
    ([], [1, 2], [{"op": "add", "path": "/0", "value": 1}, {"op": "add", "path": "/1", "value": 2}]),
    (
        [{"a": 1}, {"b": 1}],
        [{"a": 2}, {"b": 1}],
        [{"op": "replace", "path": "/0/a", "value": 2}],
    ),
    ({"a": []}, [], [{"op": "replace", "path": "", "value": []}]),
    ({"a": None}, {}, [{"op": "remove", "path": "/a"}]),
]


@pytest.mark.parametrize(("old", "new", "expected"), MADE)
def test_makes(impl, old, new, expected):
    patch = impl.patch.json_patch(old, new)
    assert typed(patch) == typed(expected)
    assert typed(impl.patch.apply_json_patch(old, patch)) == typed(new)


@given(old=documents(), new=documents())
def test_what_is_made_applies(old, new, impl):
    """DF3: apply(a, json_patch(a, b)) == b, and nothing to do exactly when they are equal."""
    patch = impl.patch.json_patch(old, new)
    assert typed(impl.patch.apply_json_patch(old, patch)) == typed(new)
    assert (patch == []) == (typed(old) == typed(new))


def naive(a, b):
    """The fewest items to change, remove and add, by trying everything."""
    if not a or not b:
        return len(a) + len(b)
    return min(naive(a[1:], b[1:]) + (a[0] != b[0]), naive(a[1:], b) + 1, naive(a, b[1:]) + 1)


def test_arrays_touch_the_fewest_items(impl):
    """Every pair of short arrays: as few operations as any order of them needs, or fewer by a move."""
    arrays = [list(items) for n in range(5) for items in itertools.product("abc", repeat=n)]
    generator = random.Random(1)
    for a, b in generator.sample(list(itertools.product(arrays, arrays)), 1500):
        patch = impl.patch.json_patch(a, b)
        assert impl.patch.apply_json_patch(a, patch) == b
        moves = sum(operation["op"] == "move" for operation in patch)
        assert len(patch) + moves == naive(a, b), (a, b, patch)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1, 2, 3, 4], [2, 3, 4, 5], [("remove", "/0"), ("add", "/3")]),
        ([1, 2, 3], [3, 1, 2], [("move", "/0")]),
        ([{"n": 1}, {"n": 2}, {"n": 3}], [{"n": 2}, {"n": 3}, {"n": 1}], [("move", "/2")]),
        ([[1], [2, 3], [4]], [[0], [1], [2, 9, 3], [4]], [("add", "/1/1"), ("add", "/0")]),
        ({"l": [1, True, 2]}, {"l": [True, 2, 1.0]}, [("move", "/l/2")]),
    ],
)
def test_items_that_move(impl, old, new, expected):
    patch = impl.patch.json_patch(old, new)
    assert impl.patch.apply_json_patch(old, patch) == new
    assert [(operation["op"], operation["path"]) for operation in patch] == expected


def test_big_arrays_have_a_bound(impl):
    """Beyond 40,000 pairs items that are there once keep their order; the time stays near that of sorting."""
    old = [{"name": f"n{i}", "value": i % 7} for i in range(3000)]
    new = [*old[1500:1510], *old[:1500], *old[1511:]]
    new[2000] = {"name": "x"}
    patch = impl.patch.json_patch(old, new)
    assert impl.patch.apply_json_patch(old, patch) == new
    assert len(patch) <= 24
    shuffled = [i % 5 for i in range(1000)]
    patch = impl.patch.json_patch(shuffled, shuffled[::-1])
    assert impl.patch.apply_json_patch(shuffled, patch) == shuffled[::-1]


def test_nested_arrays_do_not_double_the_work(impl):
    """Each level looks for items that moved; what was tried above is not tried again below."""
    old, new = [1, 2], [2, 3]
    for i in range(60):
        old, new = [i, old, "x"], ["x", new, i]
    assert impl.patch.apply_json_patch(old, impl.patch.json_patch(old, new)) == new


def test_no_longer_than_those_of_jsonpatch(impl):
    """On a corpus of changed deployments and arrays, in all; one by one it is nearly always shorter or the same."""
    jsonpatch = pytest.importorskip("jsonpatch")
    generator = random.Random(7)
    ours, theirs = 0, 0
    for _ in range(300):
        old = deployment()
        new = copy.deepcopy(old)
        spec = new["spec"]["template"]["spec"]
        env = spec["containers"][0]["env"]
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(len(env))
            change = generator.randrange(5)
            if change == 0:
                env.insert(at, {"name": f"NEW{generator.random()}", "value": "x"})
            elif change == 1 and len(env) > 1:
                del env[at]
            elif change == 2:
                env[at]["value"] = f"{generator.random()}"
            elif change == 3:
                env.insert(generator.randrange(len(env)), env.pop(at))
            else:
                spec["containers"].reverse()
        mine, other = impl.patch.json_patch(old, new), jsonpatch.make_patch(old, new).patch
        assert impl.patch.apply_json_patch(old, mine) == new
        assert len(mine) <= len(other) + 2, (mine, other)
        ours, theirs = ours + len(mine), theirs + len(other)
    assert ours <= theirs
