"""The order of a batch: by object, by what needs what, in waves."""

from typing import Any

import pytest

from fastcore.controller.client import JSON_PATCH
from fastcore.controller.model import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    LEASE,
    NAMESPACE,
    SECRET,
    Kind,
)
from fastcore.controller.planner import PlanError, waves
from fastcore.controller.writes import Apply, Create, Delete, Patch, Update

WIDGET = Kind("example.org", "v1", "Widget", "widgets")
ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
SERVICE = Kind("", "v1", "Service", "services")
FOREIGN_DEPLOYMENT = Kind("example.org", "v1", "Deployment", "deployments")
WEBHOOK = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    namespaced=False,
)


def obj(name, owners=(), **fields):
    meta = {"namespace": "n", "name": name, "ownerReferences": list(owners)}
    return {"metadata": meta, **fields}


def order(*writes, live=None):
    """The places of the writes, wave by wave."""
    return [[chain.places for chain in wave] for wave in waves(writes, live or [None] * len(writes))]


def test_kinds_come_after_what_they_need():
    kinds = [WEBHOOK, WIDGET, DEPLOYMENT, SERVICE, SECRET, BINDING, ROLE, ACCOUNT, NAMESPACE]
    assert order(*[Apply(kind, obj("x")) for kind in kinds]) == [[[n]] for n in range(8, -1, -1)]


def test_another_group_s_kind_of_the_same_name_is_another_kind():
    assert order(Apply(FOREIGN_DEPLOYMENT, obj("x")), Apply(DEPLOYMENT, obj("x"))) == [[[1]], [[0]]]


def test_deletions_come_last_and_in_reverse():
    writes = [Delete(kind, "n", "gone") for kind in (NAMESPACE, CONFIG_MAP, DEPLOYMENT)]
    assert order(*writes, Apply(WIDGET, obj("x"))) == [[[3]], [[2]], [[1]], [[0]]]


def test_creations_come_before_changes_of_their_kind():
    writes = [
        Update(CONFIG_MAP, obj("a")),
        Apply(CONFIG_MAP, obj("b")),
        Apply(CONFIG_MAP, obj("c")),
        Create(LEASE, obj("l")),
    ]
    assert order(*writes, live=[None, obj("b"), None, None]) == [[[2]], [[0], [1]], [[3]]]


def test_writes_to_one_object_keep_their_order_and_are_one_chain():
    writes = [
        Delete(CONFIG_MAP, "n", "a"),
        Apply(CONFIG_MAP, obj("b")),
        Create(CONFIG_MAP, obj("a")),
        Patch(CONFIG_MAP, "n", "a", {"data": {}}),
    ]
    assert order(*writes) == [[[0, 2, 3], [1]]]


def test_what_is_said_twice_in_a_row_is_sent_once():
    one, other = Apply(CONFIG_MAP, obj("a", data={"x": "1"})), Apply(CONFIG_MAP, obj("a", data={"x": "2"}))
    ((chain,),) = waves([one, Apply(**_fields(one)), other, one, one], [None] * 5)
    assert (chain.places, chain.repeats) == ([0, 2, 3], {1: 0, 4: 3})


def _fields(write: Apply) -> dict[str, Any]:
    return {"kind": write.kind, "obj": {**write.obj}}


def test_a_json_patch_and_a_generated_name_are_never_the_same_twice():
    patch = Patch(CONFIG_MAP, "n", "a", [{"op": "add", "path": "/l/-", "value": 1}], JSON_PATCH)
    assert order(patch, patch) == [[[0, 1]]]
    generated = Create(CONFIG_MAP, {"metadata": {"namespace": "n", "generateName": "a-"}})
    assert order(generated, generated) == [[[0], [1]]]


def test_objects_come_after_their_owners():
    """WR-7: an owner is in the same namespace or in none."""
    owner = {"apiVersion": "example.org/v1", "kind": "Widget", "name": "w", "uid": "u"}
    owned, elsewhere = (
        Apply(CONFIG_MAP, obj("a", [owner])),
        Apply(CONFIG_MAP, {"metadata": {"namespace": "m", "name": "a", "ownerReferences": [owner]}}),
    )
    assert order(owned, elsewhere, Apply(WIDGET, obj("w"))) == [[[1]], [[2]], [[0]]]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "name": "x", "uid": "u"}
    assert order(Apply(SECRET, obj("s", [namespace])), Apply(NAMESPACE, obj("x"))) == [[[1]], [[0]]]


def test_after_decides_against_the_kinds():
    deployment = Apply(DEPLOYMENT, obj("d"))
    second = Apply(CONFIG_MAP, obj("c"), after=(deployment,))
    third = Apply(CONFIG_MAP, obj("e"), after=(second,))
    assert order(third, second, deployment, Apply(CONFIG_MAP, obj("f"))) == [[[3]], [[2]], [[1]], [[0]]]
    assert order(second) == [[[0]]], "what is not in the run is not waited for"


def test_custom_objects_come_after_their_definition():
    definition = {
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "names": {"kind": "Widget"}},
    }
    result = waves([Apply(WIDGET, obj("w")), Apply(CUSTOM_RESOURCE_DEFINITION, definition)], [None, None])
    (crd,), (widget,) = result
    assert (crd.defines, widget.needs) == (WIDGET, [crd])
    ((alone,),) = waves([Apply(CUSTOM_RESOURCE_DEFINITION, definition)], [None])
    assert alone.defines is None, "nobody waits for it"


def test_a_circle_is_refused_by_name():
    a = Apply(CONFIG_MAP, obj("a"))
    b = Apply(CONFIG_MAP, obj("b"), after=(a,))
    with pytest.raises(PlanError, match="ConfigMap n/a after Apply ConfigMap n/b after Apply ConfigMap n/a"):
        waves([Apply(CONFIG_MAP, obj("a"), after=(b,)), b], [None, None])


def test_an_object_does_not_wait_for_itself():
    a = Apply(CONFIG_MAP, obj("a"))
    assert order(a, Update(CONFIG_MAP, obj("a"), after=(a,))) == [[[0, 1]]]
