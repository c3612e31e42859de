"""diff: what has to change in one document to make it another."""

import copy

import pytest
from hypothesis import given

from diff.documents import deployment, documents, typed


def rows(changes):
    return [tuple(change) for change in changes]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": float("nan")}, {"a": float("nan")}, []),
        ({"a": 1}, {"a": True}, [("change", ("a",), 1, True)]),
        ({"a": 0}, {"a": False}, [("change", ("a",), 0, False)]),
        ({"a": None}, {"a": 0}, [("change", ("a",), None, 0)]),
        ({"a": "1"}, {"a": 1}, [("change", ("a",), "1", 1)]),
        ({"a": None}, {}, [("remove", ("a",), None, None)]),
        ({}, {"a": None}, [("add", ("a",), None, None)]),
        ({"a": 2**70}, {"a": float(2**70)}, []),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("change", ("a", "b", "c"), 1, 2)]),
        ({"a": {}}, {"a": []}, [("change", ("a",), {}, [])]),
        ([1, 2], [1, 3, 4], [("change", (1,), 2, 3), ("add", (2,), None, 4)]),
        ([1, [2]], [1], [("remove", (1,), [2], None)]),
        (1, 2, [("change", (), 1, 2)]),
        (
            {"a": 1, "b": 1, "c": 1},
            {"d": 1, "c": 2, "a": 1},
            [("remove", ("b",), 1, None), ("change", ("c",), 1, 2), ("add", ("d",), None, 1)],
        ),
    ],
)
def test_changes(impl, old, new, expected):
    """DF3: members in any order, lists by index, numbers by value; order of old, then what is new."""
    assert typed(rows(impl.diff.diff(old, new))) == typed(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # by name, in any order, also where nothing is at its old place
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "C", "value": "3"}, {"name": "B", "value": "2"}, {"name": "A", "value": "9"}]},
            [
                ("change", ("env", ("name", "A"), "value"), "1", "9"),
                ("add", ("env", ("name", "C")), None, {"name": "C", "value": "3"}),
            ],
        ),
        (
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {"containers": [{"name": "b"}, {"name": "a"}]},
            [],
        ),
        (
            {"containers": [{"name": "a"}, {"name": "b"}]},
            {"containers": [{"name": "b"}]},
            [("remove", ("containers", ("name", "a")), {"name": "a"}, None)],
        ),
        # one key of two fields, one of which has a default
        (
            {"ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}]},
            {
                "ports": [
                    {"containerPort": 53, "protocol": "TCP", "name": "dns"},
                    {"containerPort": 53, "protocol": "UDP"},
                ]
            },
            [
                ("add", ("ports", ("containerPort", 53, "protocol", "TCP"), "protocol"), None, "TCP"),
                ("add", ("ports", ("containerPort", 53, "protocol", "TCP"), "name"), None, "dns"),
            ],
        ),
        # the next alternative, where the first does not fit
        (
            {"ports": [{"name": "a", "port": "x"}, {"name": "b"}]},
            {"ports": [{"name": "b"}, {"name": "a", "port": "y"}]},
            [("change", ("ports", ("name", "a"), "port"), "x", "y")],
        ),
        # a set
        (
            {"finalizers": ["a", "b"]},
            {"finalizers": ["c", "b"]},
            [("remove", ("finalizers", ("=", "a")), "a", None), ("add", ("finalizers", ("=", "c")), None, "c")],
        ),
        ({"finalizers": [1, True]}, {"finalizers": [True, 1]}, []),
        # no key fits: by index
        (
            {"env": [{"name": "A"}, {"name": "A", "value": "1"}]},
            {"env": [{"name": "A"}, {"name": "A", "value": "2"}]},
            [("change", ("env", 1, "value"), "1", "2")],
        ),
        ({"env": [{"name": "A"}, {"x": 1}]}, {"env": [{"name": "A"}, {"x": 2}]}, [("change", ("env", 1, "x"), 1, 2)]),
        ({"env": ["A", 1]}, {"env": ["A", 2]}, [("change", ("env", 1), 1, 2)]),
        ({"env": [{"name": None}]}, {"env": [{"name": 1}]}, [("change", ("env", 0, "name"), None, 1)]),
        ({"finalizers": ["a", "a"]}, {"finalizers": ["a", "b"]}, [("change", ("finalizers", 1), "a", "b")]),
        ({"finalizers": [[1]]}, {"finalizers": [[2]]}, [("change", ("finalizers", 0, 0), 1, 2)]),
        # keyed lists inside keyed lists, reordered on both levels
        (
            {"containers": [{"name": "a", "env": [{"name": "X"}, {"name": "Y", "value": "1"}]}, {"name": "b"}]},
            {"containers": [{"name": "b"}, {"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X"}]}]},
            [("change", ("containers", ("name", "a"), "env", ("name", "Y"), "value"), "1", "2")],
        ),
    ],
)
def test_keyed_lists(impl, old, new, expected):
    """DF3: keyed lists by merge key, sets by declaration."""
    assert typed(rows(impl.diff.diff(old, new))) == typed(expected)


def test_list_keys_can_be_replaced(impl):
    """DF3: the table is the caller's to extend, to leave out, or to write."""
    old = {"env": [{"name": "A"}, {"name": "B"}], "rules": [{"id": 1, "zone": "x"}, {"id": 2, "zone": "x"}]}
    new = {"env": [{"name": "B"}, {"name": "A"}], "rules": [{"id": 2, "zone": "x"}, {"id": 1, "zone": "x"}]}
    diff = impl.diff.diff
    assert [c.path for c in diff(old, new)] == [("rules", 0, "id"), ("rules", 1, "id")]
    assert diff(old, new, list_keys={**impl.diff.KUBERNETES, "rules": ("id", "zone")}) == []
    assert len(diff(old, new, list_keys={})) == 4


@pytest.mark.parametrize(
    ("list_keys", "message"),
    [
        ({"a": 1}, "list_keys['a']: 1 is not a key field, or a tuple of them"),
        ({"a": ()}, "list_keys['a']: () is not a key field, or a tuple of them"),
        ({"a": ["x", 2]}, "list_keys['a']: 2 is not a key field, or a tuple of them"),
        ([("a", "name")], "list_keys maps names of lists to key fields, not list"),
    ],
)
def test_bad_list_keys(impl, list_keys, message):
    for call in (impl.diff.diff, impl.diff.covers):
        with pytest.raises(TypeError) as caught:
            call({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, list_keys=list_keys)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("ignore", "paths"),
    [
        (
            (),
            ["metadata.resourceVersion", "metadata.annotations['a.b/c']", "spec.containers[name=x].image", "spec.l[0]"],
        ),
        (["metadata"], ["spec.containers[name=x].image", "spec.l[0]"]),
        (
            ["metadata.resourceVersion", ("metadata", "annotations", "a.b/c")],
            ["spec.containers[name=x].image", "spec.l[0]"],
        ),
        (["metadata", "metadata.annotations", "spec.containers.*.image"], ["spec.l[0]"]),
        (["metadata.annotations", "metadata", "spec.*"], []),
        (["*.resourceVersion", "*.annotations.*", ["spec", "l", 0]], ["spec.containers[name=x].image"]),
        (["metadata", "spec.l", ("spec", "containers", ("name", "x"), "image")], []),
        (["metadata", "spec.containers.*.name", "spec.l.*.x"], ["spec.containers[name=x].image", "spec.l[0]"]),
    ],
)
def test_ignored_paths(impl, ignore, paths):
    """Ignored paths leave out everything below; "*" stands for one element of any kind."""
    old = {
        "metadata": {"resourceVersion": "1", "annotations": {"a.b/c": "1"}},
        "spec": {"containers": [{"name": "x", "image": "1"}, {"name": "y"}], "l": [1, 2]},
    }
    new = {
        "metadata": {"resourceVersion": "2", "annotations": {"a.b/c": "2"}},
        "spec": {"containers": [{"name": "y"}, {"name": "x", "image": "2"}], "l": [3, 2]},
    }
    assert [change.where for change in impl.diff.diff(old, new, ignore=ignore)] == paths
    assert impl.diff.covers(old, new, ignore=ignore) is (not paths)


def test_ignored_items_come_and_go(impl):
    """An ignored member, item or index is neither added nor removed."""
    old = {"a": 1, "env": [{"name": "A"}, {"name": "B"}], "l": [1, 2, 3]}
    new = {"b": 1, "env": [{"name": "B"}, {"name": "C"}], "l": [1]}
    ignore = ["a", "b", ("env", ("name", "A")), ("env", ("name", "C")), ("l", 1)]
    assert rows(impl.diff.diff(old, new, ignore=ignore)) == [("remove", ("l", 2), 3, None)]
    assert rows(impl.diff.diff({}, {"a": {"b": 1}}, ignore=["a.b"])) == [("add", ("a",), None, {"b": 1})]


@pytest.mark.parametrize(
    ("ignore", "error", "message"),
    [
        ("status", TypeError, "ignore is a collection of paths, not str"),
        ([1], TypeError, "ignore: a path is a str or a tuple, not int"),
        ([()], ValueError, "ignore: an empty path would ignore the whole document"),
        ([""], ValueError, "ignore: '' has an empty element"),
        (["a..b"], ValueError, "ignore: 'a..b' has an empty element"),
    ],
)
def test_bad_ignore(impl, ignore, error, message):
    for call in (impl.diff.diff, impl.diff.covers):
        with pytest.raises(error) as caught:
            call({}, {}, ignore=ignore)
        assert str(caught.value) == message
    with pytest.raises(error):
        impl.plan.plan({}, {}, ignore=ignore)


def test_change_is_a_tuple_that_people_can_read(impl):
    """`where` shows the path; a Change unpacks, compares and matches like a tuple."""
    old, new = deployment(), deployment(image="other:2")
    (change,) = impl.diff.diff(old, new)
    op, path, was, now = change
    assert (op, was, now) == ("change", "registry.example.com/team/web:1.4.2", "other:2")
    assert path == ("spec", "template", "spec", "containers", ("name", "web"), "image")
    assert change.where == "spec.template.spec.containers[name=web].image"
    assert change == impl.diff.Change("change", path, was, now)
    odd = impl.diff.Change("add", ("a b", "", ("containerPort", 80, "protocol", "TCP"), 3, ("=", "x")), None, 1)
    assert odd.where == "['a b'][''][containerPort=80,protocol=TCP][3][=x]"
    assert impl.diff.Change("change", (), 1, 2).where == ""


def test_same_objects_are_not_entered(impl):
    """Identity comes before everything: what is shared may even hold what no document holds."""
    shared = {"x": object()}
    assert impl.diff.diff({"a": shared, "b": [shared]}, {"a": shared, "b": [shared]}) == []
    assert impl.diff.covers({"a": shared, "b": [shared]}, {"a": shared}) is True


def test_values_are_those_of_the_documents(impl):
    old, new = {"a": {"b": 1}}, {"c": [1]}
    removed, added = impl.diff.diff(old, new)
    assert removed.old is old["a"]
    assert added.new is new["c"]


def applied(document, changes):
    """The document that the changes make of another; the paths hold no selectors."""
    document = [copy.deepcopy(document)]
    # From the back of lists, so that indices hold.
    for op, path, _, new in sorted(
        changes, key=lambda c: c.op == "remove" and -max([-1, *filter(is_index, c.path[-1:])])
    ):
        parent, last = document, 0
        for element in path:
            parent, last = parent[last], element
        if op == "remove":
            del parent[last]
        elif op == "add" and isinstance(parent, list):
            parent.insert(last, new)
        else:
            parent[last] = new
    return document[0]


def is_index(element):
    return isinstance(element, int)


@given(old=documents(), new=documents())
def test_changes_lead_from_one_to_the_other(old, new, impl):
    """DF3: diff(a, b) applied to a gives b; a == b exactly when there is nothing to do."""
    changes = impl.diff.diff(old, new, list_keys={})
    assert (changes == []) == (typed(old) == typed(new))
    assert typed(applied(old, changes)) == typed(new)


@given(old=documents(), new=documents())
def test_two_ways(old, new, impl):
    """There and back: the same places, add for remove, old for new; keyed lists included."""
    turned = {"add": "remove", "remove": "add", "change": "change"}
    there = {(c.op, repr(c.path), repr(c.old), repr(c.new)) for c in impl.diff.diff(old, new)}
    back = {(turned[c.op], repr(c.path), repr(c.new), repr(c.old)) for c in impl.diff.diff(new, old)}
    assert len(there) == len(back)
    if "ports" not in repr((old, new)):
        # The selector shows the key of one side, which may write 1 where the other writes 1.0.
        assert there == back
