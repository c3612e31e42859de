"""Group 8: custom kinds: served, validated, defaulted, pruned."""

from collections.abc import Callable
from typing import Any

import pytest

from apiserver.http_client import Client
from apiserver.objects import CRD, GROUP, demo, wait_until

OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def thing(plural: str, name: str, **members: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": plural.capitalize(), "metadata": {"name": name}, **members}


def test_established(server: Client, custom_kind: None) -> None:
    """Group 8: conditions and accepted names."""
    crd = server.get(f"{CRD}/demos.{GROUP}")
    conditions = {c["type"]: (c["status"], c["reason"]) for c in crd["status"]["conditions"]}
    assert conditions["Established"] == ("True", "InitialNamesAccepted")
    assert conditions["NamesAccepted"] == ("True", "NoConflicts")
    names = {"plural": "demos", "singular": "demo", "kind": "Demo", "listKind": "DemoList"}
    assert crd["status"]["acceptedNames"] == names == crd["spec"]["names"]
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["spec"]["conversion"] == {"strategy": "None"}


def test_defaults(server: Client, demos: str) -> None:
    """Group 8: filled in on writes, in lists too, and nested defaults need their parent."""
    spec = server.post(demos, demo("a", {"image": "nginx", "ports": [{"port": 1}]}))["spec"]
    assert spec["replicas"] == 1
    assert spec["defaults"] == {"level": "info"}
    assert spec["ports"] == [{"port": 1, "protocol": "TCP"}]


def test_pruning(server: Client, demos: str) -> None:
    """Group 8: unknown fields are dropped, but not where they are welcome."""
    body = {**demo("a", {"image": "nginx", "nonsense": 1, "anything": {"x": {"y": [1, {"z": None}]}}}), "junk": 1}
    answer = server.post(demos, body)
    assert answer.code == 201
    assert "junk" not in answer.body
    assert "nonsense" not in answer["spec"]
    assert answer["spec"]["anything"] == {"x": {"y": [1, {"z": None}]}}


def test_unknown_fields_are_reported(server: Client, demos: str) -> None:
    """Group 8: fieldValidation works for custom kinds."""
    body = demo("a", {"image": "nginx", "nonsense": 1})
    strict = server.post(demos, body, fieldValidation="Strict")
    assert (strict.code, strict.reason) == (400, "BadRequest")
    assert 'unknown field "spec.nonsense"' in strict.message
    warned = server.post(demos, body, fieldValidation="Warn")
    assert warned.headers["warning"] == '299 - "unknown field \\"spec.nonsense\\""'


def test_nulls(server: Client, demos: str) -> None:
    """Group 8: null is dropped unless the field is nullable; then the default applies."""
    spec = server.post(demos, demo("a", {"image": "nginx", "nothing": None, "mode": None, "replicas": None}))["spec"]
    assert spec["nothing"] is None
    assert "mode" not in spec
    assert spec["replicas"] == 1


def wrong_type(found: str, wanted: str) -> str:
    return f'Invalid value: "{found}": {{}} in body must be of type {wanted}: "{found}"'


BAD: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "image", "FieldValueRequired", "Required value"),
    ({"image": 5}, "image", "FieldValueTypeInvalid", wrong_type("integer", "string")),
    ({"image": ""}, "image", "FieldValueInvalid", 'Invalid value: "": {} in body should be at least 1 chars long'),
    ({"image": "a" * 21}, "image", "FieldValueTooLong", "Too long: may not be more than 20 bytes"),
    ({"image": "A"}, "image", "FieldValueInvalid", "Invalid value: \"A\": {} in body should match '^[a-z:0-9.]+$'"),
    (
        {"replicas": 99}, "replicas", "FieldValueInvalid",
        "Invalid value: 99: {} in body should be less than or equal to 10",
    ),
    ({"mode": "x"}, "mode", "FieldValueNotSupported", 'Unsupported value: "x": supported values: "fast", "safe"'),
    ({"config": {"a": 1}}, "config.a", "FieldValueTypeInvalid", wrong_type("integer", "string")),
    ({"config": []}, "config", "FieldValueTypeInvalid", wrong_type("array", "object")),
    ({"plain": ["a", 1]}, "plain[1]", "FieldValueTypeInvalid", wrong_type("integer", "string")),
    ({"set": ["a", "a"]}, "set[1]", "FieldValueDuplicate", 'Duplicate value: "a"'),
    (
        {"ports": [{"port": 1}, {"port": 1}]}, "ports[1]", "FieldValueDuplicate",
        'Duplicate value: {"port":1,"protocol":"TCP"}',
    ),
    ({"ports": [{"name": "x"}]}, "ports[0].port", "FieldValueRequired", "Required value"),
    ({"percent": True}, "percent", "FieldValueTypeInvalid", wrong_type("boolean", "integer,string")),
    ({"when": "today"}, "when", "FieldValueTypeInvalid", wrong_type("today", "date-time")),
    ({"weights": []}, "weights", "FieldValueInvalid", "Invalid value: 0: {} in body should have at least 1 items"),
    ({"weights": [1, 2, 3]}, "weights", "FieldValueTooMany", "Too many: 3: must have at most 2 items"),
    ({"limits": {}}, "limits", "FieldValueInvalid", "Invalid value: 0: {} in body should have at least 1 properties"),
    ({"limits": {"a": 1, "b": 2, "c": 3}}, "limits", "FieldValueTooMany", "Too many: 3: must have at most 2 items"),
    ({"ratio": 0.7}, "ratio", "FieldValueInvalid", "Invalid value: 0.7: {} in body should be a multiple of 0.5"),
    ({"ratio": -0.5}, "ratio", "FieldValueInvalid", "Invalid value: -0.5: {} in body should be greater than 0"),
    ({"object": {"kind": "X"}}, "object.apiVersion", "FieldValueRequired", "Required value"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "field", "reason", "message"), BAD, ids=lambda value: str(value)[:30])
def test_validation(server: Client, demos: str, spec: dict[str, Any], field: str, reason: str, message: str) -> None:
    """Group 8: 422 with the field, the reason and the words of the real server."""
    whole = spec if field == "image" else {"image": "nginx", **spec}
    answer = server.post(demos, demo("a", whole))
    assert (answer.code, answer.reason) == (422, "Invalid")
    where = f"spec.{field}"
    cause = {"reason": reason, "message": message.replace("{}", where, 1), "field": where}
    assert answer.causes == [cause]
    assert answer.message == f'Demo.{GROUP} "a" is invalid: {where}: {cause["message"]}'
    assert answer["details"] == {"name": "a", "group": GROUP, "kind": "Demo", "causes": [cause]}


LOGIC: list[tuple[dict[str, Any], str]] = [
    ({"either": {}}, '"spec.either" must validate one and only one schema (oneOf). Found none valid'),
    (
        {"either": {"a": "1", "b": "2"}},
        '"spec.either" must validate one and only one schema (oneOf). Found 2 valid alternatives',
    ),
    ({"some": 2}, '"spec.some" must validate at least one schema (anyOf)'),
    ({"every": 2}, '"spec.every" must validate all the schemas (allOf). None validated'),
    ({"never": 3}, '"spec.never" must not validate the schema (not)'),
    ({"small": 3_000_000_000}, "Checked value must be of type integer with format int32 in spec.small"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), LOGIC, ids=lambda value: str(value)[:30])
def test_validation_of_alternatives(server: Client, demos: str, spec: dict[str, Any], message: str) -> None:
    """Group 8: oneOf, anyOf, allOf and not have a cause without a field."""
    answer = server.post(demos, demo("a", {"image": "nginx", **spec}))
    assert (answer.code, answer.reason) == (422, "Invalid")
    cause = {"reason": "FieldValueInvalid", "message": f'Invalid value: "": {message}', "field": "<nil>"}
    assert cause in answer.causes


@pytest.mark.parametrize(
    "spec",
    [{"either": {"a": "1"}}, {"some": 1}, {"some": 6}, {"every": 5}, {"never": 4}, {"ratio": 1.5}, {"percent": "5%"}],
    ids=str,
)
def test_valid_alternatives(server: Client, demos: str, spec: dict[str, Any]) -> None:
    """Group 8: and what satisfies them passes."""
    assert server.post(demos, demo("a", {"image": "nginx", **spec})).code == 201


def test_several_causes(server: Client, demos: str) -> None:
    """Group 8: the message lists them all."""
    answer = server.post(demos, demo("a", {"image": "nginx", "plain": [1, None]}))
    assert [cause["field"] for cause in answer.causes] == ["spec.plain[0]", "spec.plain[1]"]
    assert answer.message.startswith(f'Demo.{GROUP} "a" is invalid: [spec.plain[0]: Invalid value: ')


def test_items_of_the_wrong_type(server: Client, demos: str) -> None:
    """Group 8: an item of a list by keys that is no object breaks two rules."""
    answer = server.post(demos, demo("a", {"image": "nginx", "ports": ["x"]}))
    assert [(cause["reason"], cause["field"]) for cause in answer.causes] == [
        ("FieldValueTypeInvalid", "spec.ports[0]"),
        ("FieldValueInvalid", "spec.ports[0]"),
    ]


def test_wrong_kind_or_version(server: Client, demos: str) -> None:
    """Group 8: the body must be of the kind of the path."""
    assert server.post(demos, {**demo("a"), "kind": "Other"}).code == 422
    assert server.post(demos, {**demo("a"), "apiVersion": f"{GROUP}/v9"}).code == 400
    assert server.post(demos, {"metadata": {"name": "a"}}).code == 400


def test_served_at_once(server: Client, crd: Callable[..., str], namespace: str) -> None:
    """Group 8: created, served, in discovery, its objects too."""
    plural = crd(OPEN)
    path = f"/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"
    assert server.post(path, thing(plural, "a", spec={"x": 1}))["spec"] == {"x": 1}
    wait_until(lambda: plural in {r["name"] for r in server.get(f"/apis/{GROUP}/v1")["resources"]})


def test_cluster_scope(server: Client, crd: Callable[..., str]) -> None:
    """Group 8: a kind without namespaces."""
    plural = crd(OPEN, scope="Cluster")
    answer = server.post(f"/apis/{GROUP}/v1/{plural}", thing(plural, "a"))
    assert answer.code == 201
    assert "namespace" not in answer.meta
    assert server.post(f"/apis/{GROUP}/v1/namespaces/default/{plural}", thing(plural, "b")).code == 404


def test_without_subresources(server: Client, crd: Callable[..., str], namespace: str) -> None:
    """WR-4: without the status subresource a status is a field like any other."""
    plural = crd(OPEN)
    path = f"/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"
    created = server.post(path, thing(plural, "a", status={"phase": "Mine"}))
    assert created["status"] == {"phase": "Mine"}
    assert server.get(f"{path}/a/status").code == 404
    assert server.patch(f"{path}/a", {"status": {"phase": "Other"}}).meta["generation"] == 2


def test_schema_change(server: Client, crd: Callable[..., str], namespace: str) -> None:
    """Group 8: an update of the CRD counts from then on."""
    plural = crd(
        {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}
    )
    path = f"/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"
    assert server.post(path, thing(plural, "a", spec={"b": "x"}))["spec"] == {}
    field = {"spec": {"versions": [{**server.get(f"{CRD}/{plural}.{GROUP}")["spec"]["versions"][0]}]}}
    properties = field["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["b"] = {"type": "string", "default": "filled"}
    answer = server.patch(f"{CRD}/{plural}.{GROUP}", field)
    assert (answer.code, answer.meta["generation"]) == (200, 2)
    wait_until(lambda: server.post(path, thing(plural, "b", spec={}), dryRun="All")["spec"] == {"b": "filled"})


def test_deletion(server: Client, crd: Callable[..., str], namespace: str) -> None:
    """Group 8: with the CRD go its objects and its endpoints."""
    plural = crd(OPEN)
    path = f"/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"
    server.post(path, thing(plural, "a"))
    assert server.delete(f"{CRD}/{plural}.{GROUP}").code == 200
    wait_until(lambda: server.get(f"{CRD}/{plural}.{GROUP}").code == 404)
    wait_until(lambda: server.get(path).code == 404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": {"name": "wrong.name.dev"}}, "metadata.name"),
        ({"spec": {"scope": "Nowhere"}}, "spec.scope"),
    ],
)
def test_bad_crds(server: Client, change: dict[str, Any], field: str) -> None:
    """Group 8: a CRD is validated too."""
    body: dict[str, Any] = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"bads.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "bads", "kind": "Bad"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": OPEN}}],
        },
    }
    for member, values in change.items():
        body[member].update(values)
    answer = server.post(CRD, body)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert field in {cause["field"] for cause in answer.causes}


def test_crd_name_is_taken(server: Client, custom_kind: None) -> None:
    """Group 8: AlreadyExists, as for any object."""
    body = server.get(f"{CRD}/demos.{GROUP}").body
    body["metadata"] = {"name": body["metadata"]["name"]}
    assert server.post(CRD, body).reason == "AlreadyExists"
