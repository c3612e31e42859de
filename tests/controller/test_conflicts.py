"""Conflicts of server-side apply: which field is whose, and what to do."""

import pytest

from fastcore.controller.client import Client
from fastcore.controller.conflicts import FieldConflict, advice, field_conflicts
from fastcore.controller.errors import ConflictError
from fastcore.controller.model import DEPLOYMENT, NAMESPACE


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('conflict with "one"', ("one", "Apply")),
        ('conflict with "kubectl" using apps/v1', ("kubectl", "Update", "", "apps/v1")),
        (
            'conflict with "kubectl-edit" using v1 at 2026-11-23T10:00:00Z',
            ("kubectl-edit", "Update", "", "v1", "2026-11-23T10:00:00Z"),
        ),
        (
            'conflict with "hpa" with subresource "scale" using autoscaling/v1',
            ("hpa", "Update", "scale", "autoscaling/v1"),
        ),
        ('conflict with "a \\"b\\" \\\\ using v1"', ('a "b" \\ using v1', "Apply")),
        ("something else", ("", "")),
        ("", ("", "")),
    ],
)
def test_each_cause_names_its_owner(message, expected):
    """WR-2: 409 whose causes are FieldManagerConflict per path."""
    causes = [("FieldManagerConflict", message, ".spec.x"), ("FieldValueInvalid", "no", ".spec.y")]
    assert field_conflicts(causes) == (FieldConflict(".spec.x", *expected),)


def test_what_to_do_is_said():
    conflicts = [FieldConflict(".spec.replicas", "hpa", "Update", "scale", "v1"), FieldConflict(".data.x", "", "")]
    assert advice(conflicts) == (
        ".spec.replicas belongs to 'hpa' (Update, scale, v1); .data.x belongs to another manager. Apply with "
        "force=True to take a field over, leave it out of what is applied to give it up, or apply the value that it "
        "has to share it"
    )


async def test_the_report_of_a_server(load):
    """WR-2: one conflict a field, with the manager, operation and version that the server names."""

    def deployment(**spec):
        container = {"name": "c", "image": "i"}
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
        meta = {"name": "d", "namespace": "conflicts"}
        return {"metadata": meta, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}

    async with Client(await load()) as client:
        await client.apply(NAMESPACE, {"metadata": {"name": "conflicts"}}, field_manager="test")
        await client.apply(DEPLOYMENT, deployment(replicas=1, minReadySeconds=5), field_manager="one")
        await client.patch(DEPLOYMENT, "conflicts", "d", {"spec": {"minReadySeconds": 6}}, field_manager="two")
        with pytest.raises(ConflictError) as caught:
            await client.apply(
                DEPLOYMENT, deployment(replicas=3, minReadySeconds=7), field_manager="three", force=False
            )
        obj = await client.get(DEPLOYMENT, "conflicts", "d")
        obj["metadata"]["resourceVersion"] = "1"
        with pytest.raises(ConflictError) as stale:
            await client.update(DEPLOYMENT, obj)
        await client.delete(DEPLOYMENT, "conflicts", "d")
    fields = {field.path: field for field in caught.value.fields}
    assert fields[".spec.replicas"] == FieldConflict(".spec.replicas", "one", "Apply")
    assert fields[".spec.minReadySeconds"][:5] == (".spec.minReadySeconds", "two", "Update", "", "apps/v1")
    assert str(caught.value).startswith("409 Conflict: .spec.")
    assert ".spec.replicas belongs to 'one' (Apply)" in str(caught.value)
    assert "force=True" in str(caught.value)
    assert stale.value.fields == ()
    assert "the object has been modified" in str(stale.value)
