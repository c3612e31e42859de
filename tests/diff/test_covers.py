"""covers and plan: whether the live objects already say what is desired."""

from types import MappingProxyType

import pytest
from hypothesis import given

from diff.documents import deployment, documents


@pytest.mark.parametrize(
    ("live", "desired", "answer"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": "x"}, {"a": "y"}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ({"a": 1}, {"a": {"b": 1}}, False),
        ({"a": {"b": 1}}, {"a": 1}, False),
        ({"a": []}, {"a": {}}, False),
        ({"a": 1}, {}, True),
        # null asks for nothing or null
        ({}, {"a": None}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": 0}, {"a": None}, False),
        ({"a": None}, {"a": 0}, False),
        # empties are values
        ({}, {"a": {}}, False),
        ({}, {"a": []}, False),
        ({"a": {"b": 1}}, {"a": {}}, True),
        # lists without keys: the same length, and each item covered at its place
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": [{"x": 1, "default": 0}]}, {"a": [{"x": 1}]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        # keyed lists and sets: every desired item, in any order
        ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A"}]}, True),
        ({"env": [{"name": "B"}, {"name": "A"}]}, {"env": [{"name": "A"}]}, True),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "A"}, {"name": "B"}]}, False),
        ({"env": [{"name": "B", "v": 1}, {"name": "A", "v": 2}]}, {"env": [{"name": "A", "v": 1}]}, False),
        (
            {"env": [{"name": "A", "v": 1}, {"name": "B", "v": 1}]},
            {"env": [{"name": "B", "v": 1}, {"name": "A"}]},
            True,
        ),
        ({"finalizers": ["x", "y"]}, {"finalizers": ["y"]}, True),
        ({"finalizers": ["x"]}, {"finalizers": ["y"]}, False),
        ({"finalizers": ["x"]}, {"finalizers": []}, True),
        ({"ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"ports": [{"containerPort": 80}]}, True),
        ({"ports": [{"containerPort": 80, "protocol": "UDP"}]}, {"ports": [{"containerPort": 80}]}, False),
        # two items of one key: by place, or by the next alternative
        ({"env": [{"name": "A"}, {"name": "A"}]}, {"env": [{"name": "A"}]}, False),
        (
            {"ports": [{"port": 1, "name": "a", "x": 1}, {"port": 1, "name": "b", "x": 2}]},
            {"ports": [{"port": 1, "name": "b", "x": 2}, {"port": 1, "name": "a"}]},
            True,
        ),
        (None, None, True),
        ([1], [1], True),
        (MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}, True),
    ],
)
def test_covers(impl, live, desired, answer):
    """Every field that desired sets is satisfied by live; what only live has does not count."""
    assert impl.diff.covers(live, desired) is answer


def test_a_deployment_as_applied_and_as_shown(impl):
    """Defaults, status and bookkeeping of the server do not count; a drift does."""
    live = deployment()
    container = {"name": "web", "image": "registry.example.com/team/web:1.4.2", "ports": [{"containerPort": 8080}]}
    desired = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [container]}}},
    }
    assert impl.diff.covers(live, desired) is True
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "drifted"
    assert impl.diff.covers(live, desired) is False
    assert impl.diff.covers(live, desired, ignore=["spec.template.spec.containers.*.image"]) is True
    assert impl.diff.covers(live, desired, list_keys={}) is False


@given(live=documents(), desired=documents())
def test_equal_documents_cover_each_other(live, desired, impl):
    """Nothing to change means covered, in both directions."""
    assert impl.diff.covers(live, live)
    if not impl.diff.diff(live, desired):
        assert impl.diff.covers(live, desired)
        assert impl.diff.covers(desired, live)


def test_plan(impl):
    """Keys in the order of the desired mapping, what is to delete in that of the current one."""
    current = {"d2": {}, "same": {"n": 1, "default": 0}, "other": {"n": 1}, "d1": {}}
    desired = {"new": {}, "other": {"n": 2}, "same": {"n": 1}, "also": None}
    result = impl.plan.plan(current, desired)
    assert result == impl.plan.Plan(["new", "also"], ["other"], ["d2", "d1"], ["same"])
    create, update, delete, unchanged = result
    assert (create, update, delete, unchanged) == (result.create, result.update, result.delete, result.unchanged)


def test_plan_by_equality(impl):
    """With `exact` a field too many is a difference, unless it is ignored."""
    current, desired = {("ns", 1): {"n": 1, "extra": 0}}, {("ns", 1): {"n": 1}}
    assert impl.plan.plan(current, desired).unchanged == [("ns", 1)]
    assert impl.plan.plan(current, desired, exact=True).update == [("ns", 1)]
    assert impl.plan.plan(current, desired, exact=True, ignore=["extra"]).unchanged == [("ns", 1)]
    assert impl.plan.plan({1: {"env": [1]}}, {1: {"env": [1, 2]}}, list_keys={"env": "="}).update == [1]


def test_plan_wants_mappings(impl):
    for arguments in [([], {}), ({}, [])]:
        with pytest.raises(TypeError, match=r"^plan compares two mappings of key to object, not list$"):
            impl.plan.plan(*arguments)
    assert impl.plan.plan(MappingProxyType({"a": {}}), MappingProxyType({"a": {}})).unchanged == ["a"]
