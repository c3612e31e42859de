"""What our entry in managedFields says about an apply: does it take anything away?"""

import pytest

from fastcore.controller.managed import drops_nothing


def live(fields, *, manager="me", operation="Apply", version="v1", **entry):
    return {
        "apiVersion": "v1",
        "metadata": {
            "managedFields": [
                {"manager": manager, "operation": operation, "apiVersion": version, "fieldsV1": fields, **entry}
            ]
        },
    }


@pytest.mark.parametrize(
    ("fields", "desired", "nothing"),
    [
        ({"f:data": {"f:a": {}}}, {"data": {"a": "1"}}, True),
        ({"f:data": {"f:a": {}}}, {"data": {"a": "1", "b": "2"}}, True),
        ({"f:data": {"f:a": {}, "f:b": {}}}, {"data": {"a": "1"}}, False),
        ({"f:data": {".": {}, "f:a": {}}}, {"data": {"a": None}}, True),
        ({"f:data": {"f:a": {}}}, {"data": None}, False),
        ({"f:data": {"f:a": {}}}, {}, False),
        ({"f:metadata": {"f:annotations": {"f:x:y": {}}}}, {"metadata": {"annotations": {"x:y": ""}}}, True),
        ({"f:list": {'k:{"name":"a"}': {".": {}, "f:name": {}}}}, {"list": [{"name": "b"}, {"name": "a"}]}, True),
        ({"f:list": {'k:{"name":"a"}': {"f:x": {}}}}, {"list": [{"name": "a"}]}, False),
        ({"f:list": {'k:{"name":"a"}': {}}}, {"list": [{"name": "b"}]}, False),
        ({"f:list": {'k:{"name":"a"}': {}}}, {"list": {"name": "a"}}, False),
        ({"f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {}}}, {"ports": [{"containerPort": 80}]}, True),
        ({"f:set": {'v:"a"': {}, "v:1": {}}}, {"set": ["b", "a", 1]}, True),
        ({"f:set": {'v:"a"': {}}}, {"set": ["b"]}, False),
        ({"f:list": {"i:1": {"f:a": {}}}}, {"list": [0, {"a": 1}]}, True),
        ({"f:list": {"i:1": {}}}, {"list": [0]}, False),
        ({"q:new": {}}, {"new": 1}, False),
    ],
)
def test_field_sets(fields, desired, nothing):
    """WR-2: a field dropped from my next apply is deleted; every form of a fieldsV1 path is understood."""
    assert drops_nothing(live(fields), {"apiVersion": "v1", **desired}, "me") is nothing


@pytest.mark.parametrize(
    "obj",
    [
        {"metadata": {}},
        {"metadata": {"managedFields": None}},
        live({}, manager="other"),
        live({}, operation="Update"),
        live({}, version="v2"),
        live({}, subresource="status"),
        {"metadata": {"managedFields": live({})["metadata"]["managedFields"] * 2}},
    ],
)
def test_what_cannot_be_known_is_not_taken_for_granted(obj):
    assert not drops_nothing(obj, {"apiVersion": "v1"}, "me")


def test_the_status_has_owners_of_its_own():
    """WR-2: the status subresource has its own ownership entry."""
    obj = live({"f:status": {"f:phase": {}}}, subresource="status")
    assert drops_nothing(obj, {"apiVersion": "v1", "status": {"phase": "Ready"}}, "me", "status")
    assert not drops_nothing(obj, {"apiVersion": "v1", "status": {}}, "me", "status")
