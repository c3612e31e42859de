"""Writes without sockets: what only the embedded server promises, or what needs its insides to be seen."""

import json
from typing import Any

import pytest

from apiserver.conftest import CRDS, FOOS, MAPS, Local, brief, config_map, foo, foo_crd
from apiserver.http_client import JSON_PATCH
from fastcore.testing.apiserver.changes import unchanged
from fastcore.testing.apiserver.message import Request, Response

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JOBS = "/apis/batch/v1/namespaces/default/jobs"


def deployment(name: str, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def test_repeatable() -> None:
    """A seed and a clock make uids, generated names and times the same in every run."""
    made = [local.post(MAPS, {"metadata": {"generateName": "x-"}}).meta for local in (Local(), Local())]
    assert made[0] == made[1]
    assert made[0]["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert made[0]["name"].startswith("x-")


def test_noop_keeps_the_revision(local: Local) -> None:
    """WR-3: neither a revision nor an event, and the time of a manager alone does not count."""
    obj = config_map("a")
    created = local.post(MAPS, obj)
    stream = local.stream(MAPS, resourceVersion=created.revision)
    local.now += 60
    assert local.put(f"{MAPS}/a", obj).raw == created.raw
    assert local.patch(f"{MAPS}/a", {"data": {"k": "v"}}).raw == created.raw
    assert local.patch(f"{MAPS}/a", [{"op": "replace", "path": "/data/k", "value": "v"}], JSON_PATCH).raw == created.raw
    assert brief(stream) == []


def test_true_is_not_one() -> None:
    """WR-3: values of another JSON type are a change, though Python holds them equal."""
    live = {"metadata": {"name": "a"}, "spec": {"x": 1}}
    assert unchanged(live, {"metadata": {"name": "a"}, "spec": {"x": 1}})
    assert not unchanged(live, {"metadata": {"name": "a"}, "spec": {"x": True}})


def test_dry_run_leaves_nothing(local: Local) -> None:
    """Group 3: dryRun=All answers as if, and neither stores nor takes a revision."""
    created = local.post(MAPS, config_map("a"))
    before = local.api.store.revision
    assert "resourceVersion" not in local.post(MAPS, config_map("b"), dryRun="All").meta
    assert local.patch(f"{MAPS}/a", {"data": {"k": "2"}}, dryRun="All").revision == created.revision
    assert local.delete(f"{MAPS}/a", dryRun="All").code == 200
    assert local.apply(f"{MAPS}/c", config_map("c"), dryRun="All").code == 201
    assert local.api.store.revision == before
    assert local.get(MAPS).names == ["a"]


def test_failed_writes_leave_nothing(local: Local) -> None:
    created = local.post(MAPS, config_map("a"))
    before = local.api.store.revision
    assert local.put(f"{MAPS}/a", config_map("a", resourceVersion="1")).code == 409
    assert local.post(MAPS, config_map("a")).code == 409
    assert local.patch(f"{MAPS}/a", {"metadata": {"labels": {"-": "x"}}}).code == 422
    assert local.patch(f"{MAPS}/a", [{"op": "test", "path": "/data/k", "value": "z"}], JSON_PATCH).code == 422
    assert local.api.store.revision == before
    assert local.get(f"{MAPS}/a").raw == created.raw


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"name": "A"}, "metadata.name"),
        ({"name": "a" * 254}, "metadata.name"),
        ({"name": "a", "labels": {"a b": "x"}}, "metadata.labels"),
        ({"name": "a", "labels": {"a": "-x"}}, "metadata.labels"),
        ({"name": "a", "labels": {"a": "x" * 64}}, "metadata.labels"),
        ({"name": "a", "annotations": {"a b": "x"}}, "metadata.annotations"),
        ({"name": "a", "annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
        ({"name": "a", "finalizers": ["no spaces"]}, "metadata.finalizers"),
        (
            {"name": "a", "ownerReferences": [{"kind": "X", "name": "n", "uid": "u"}]},
            "metadata.ownerReferences[0].apiVersion",
        ),
        (
            {
                "name": "a",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "X", "name": "n", "uid": uid, "controller": True} for uid in "uv"
                ],
            },
            "metadata.ownerReferences",
        ),
    ],
)
def test_bad_metadata(local: Local, metadata: dict[str, Any], field: str) -> None:
    answer = local.post(MAPS, {"metadata": metadata})
    assert (answer.code, [cause["field"] for cause in answer.causes]) == (422, [field])


@pytest.mark.parametrize(
    "metadata",
    [
        "text",
        {"name": 1},
        {"name": "a", "labels": {"a": 1}},
        {"name": "a", "labels": []},
        {"name": "a", "finalizers": "x"},
        {"name": "a", "ownerReferences": [1]},
    ],
)
def test_unreadable_metadata(local: Local, metadata: Any) -> None:
    answer = local.post(MAPS, {"metadata": metadata})
    assert (answer.code, answer.reason) == (400, "BadRequest")


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"null", b"\xff", b'{"metadata":' * 5000, b"[" * 100_000])
def test_hostile_bodies(local: Local, body: bytes) -> None:
    assert local.call("POST", MAPS, body).code == 400
    local.post(MAPS, config_map("a"))
    assert local.call("PATCH", f"{MAPS}/a", body, "application/merge-patch+json").code in (400, 422)
    assert local.call("PATCH", f"{MAPS}/a", body, "application/apply-patch+yaml", fieldManager="m").code == 400


def test_size_limit(local: Local) -> None:
    """LI-5: bodies of at most 3 MiB, JSON patches of at most 10,000 operations."""
    assert local.call("POST", MAPS, b" " * (3 * 1024 * 1024 + 1)).code == 413
    local.post(MAPS, config_map("a"))
    steps = [{"op": "test", "path": "/data/k", "value": "v"}] * 10_001
    assert local.patch(f"{MAPS}/a", steps, JSON_PATCH).code == 413


def test_warnings_fit_into_headers(local: Local) -> None:
    """Unknown fields are named, but neither break the header nor flood it."""
    answer = local.call("POST", MAPS, {"metadata": {"name": "a"}, 'x\r\n"y': 1})
    assert answer.headers["warning"] == '299 - "unknown field \\"x??\\"y\\""'
    many = local.api.handle(
        Request(
            "POST", MAPS, "", {}, json.dumps({"metadata": {"name": "b"}, **{f"f{i}": 1 for i in range(9999)}}).encode()
        )
    )
    assert isinstance(many, Response)
    assert 10 < len(many.headers) < 300


def test_yaml_body(local: Local) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {when: 2020-01-01}\n"
    answer = local.call("POST", MAPS, body, "application/yaml")
    assert (answer.code, answer["data"]) == (201, {"when": "2020-01-01"})


def test_namespaces_that_stay(local: Local) -> None:
    assert local.delete("/api/v1/namespaces/default").code == 403
    assert local.post("/api/v1/namespaces/nope/configmaps", config_map("a")).code == 404


def test_generated_names_fit(local: Local) -> None:
    name = local.post(MAPS, {"metadata": {"generateName": "x" * 100}}).meta["name"]
    assert len(name) == 63


def test_job_is_tied_to_its_pods(local: Local) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
    job = local.post(JOBS, {"metadata": {"name": "j"}, "spec": {"template": template}})
    uid = job.meta["uid"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    # A job that is deleted without a policy leaves its pods.
    assert local.delete(f"{JOBS}/j").meta["finalizers"] == ["orphan"]


def test_service_gets_an_address(local: Local) -> None:
    path = "/api/v1/namespaces/default/services"
    service = local.post(path, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    address = service["spec"]["clusterIP"]
    assert address.startswith("10.0.")
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 81}], "clusterIP": address}}
    assert local.put(f"{path}/s", body)["spec"]["ports"][0]["targetPort"] == 81


def test_selector_text(local: Local) -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["y", "x"]},
        {"key": "b", "operator": "NotIn", "values": ["z"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]
    body = deployment("web")
    body["spec"]["selector"]["matchExpressions"] = expressions
    local.post(DEPLOYMENTS, body)
    scale = local.get(f"{DEPLOYMENTS}/web/scale")
    assert scale["status"]["selector"] == "app=web,a in (x,y),b notin (z),c,!d"


def test_crd_answers_serve_at_once(local: Local) -> None:
    """Group 8: no waiting between a CRD's creation and the first object."""
    assert local.post(CRDS, foo_crd()).code == 201
    assert local.post(FOOS, foo("a")).code == 201
    status = local.get(f"{CRDS}/foos.t.dev")["status"]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"NamesAccepted": "True", "Established": "True"}
    assert status["storedVersions"] == ["v1"]


def test_versions_share_their_objects(local: Local) -> None:
    crd = foo_crd()
    crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2", "storage": False})
    local.post(CRDS, crd)
    local.post(FOOS, foo("a"))
    other = FOOS.replace("/v1/", "/v2/")
    found = local.get(f"{other}/a")
    assert (found["apiVersion"], found["spec"]) == ("t.dev/v2", {"color": "red"})
    assert local.get(other)["items"][0]["apiVersion"] == "t.dev/v2"
    assert local.get("/apis/t.dev")["preferredVersion"]["version"] == "v2"
    crd["spec"]["versions"][1]["served"] = False
    local.put(f"{CRDS}/foos.t.dev", {**crd, "metadata": local.get(f"{CRDS}/foos.t.dev").meta})
    assert local.get(other).code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"group": ""},
        {"scope": "Galaxy"},
        {"versions": []},
        {"names": {"plural": "foos"}},
        {"names": {"plural": "bars", "kind": "Foo"}},
        {"versions": [{"name": "v1", "served": True, "storage": True}]},
        {
            "versions": [
                {"name": "v1", "served": True, "storage": False, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ]
        },
        {
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "string"}}}
            ]
        },
    ],
)
def test_bad_crds(local: Local, change: dict[str, Any]) -> None:
    crd = foo_crd()
    crd["spec"].update(change)
    assert local.post(CRDS, crd).code == 422
    assert local.get(FOOS).code == 404


def test_history_setting() -> None:
    local = Local(history=2)
    start = local.post(MAPS, config_map("a")).revision
    for index in range(5):
        local.patch(f"{MAPS}/a", {"data": {"k": str(index)}})
    answer = local.get(MAPS, resourceVersion=start, resourceVersionMatch="Exact")
    assert (answer.code, answer.reason) == (410, "Expired")


def test_expired_token_offers_another(local: Local) -> None:
    """Group 6: a token whose revision is gone is 410 and carries one that goes on without consistency."""
    for name in "abc":
        local.post(MAPS, config_map(name))
    token = local.get(MAPS, limit=1).meta["continue"]
    local.post(MAPS, config_map("aa"))
    local.api.store.compact()
    gone = local.get(MAPS, limit=1, **{"continue": token})
    assert (gone.code, gone.reason) == (410, "Expired")
    assert local.get(MAPS, **{"continue": gone.meta["continue"]}).names == ["aa", "b", "c"]


def test_token_holds_its_revision(local: Local) -> None:
    """Group 6: pages of one list show one revision, whatever is written in between."""
    for name in "abc":
        local.post(MAPS, config_map(name))
    first = local.get(MAPS, limit=1)
    local.delete(f"{MAPS}/b")
    local.post(MAPS, config_map("bb"))
    rest = local.get(MAPS, limit=5, **{"continue": first.meta["continue"]})
    assert rest.names == ["b", "c"]
    assert rest.revision == first.revision
