"""Groups 2 and 3: create, read, update and delete, and what the server keeps about each object."""

import re
from typing import Any

import pytest

from apiserver.http_client import Client
from apiserver.objects import config_map, demo, deployment

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_create_fills_in_metadata(server: Client, namespace: str, maps: str) -> None:
    """Group 2: uid, creationTimestamp, resourceVersion, managedFields."""
    answer = server.post(maps, config_map("a", {"k": "v"}), fieldManager="tester")
    assert answer.code == 201
    meta = answer.meta
    assert (meta["name"], meta["namespace"]) == ("a", namespace)
    assert UID.fullmatch(meta["uid"])
    assert TIME.fullmatch(meta["creationTimestamp"])
    assert int(meta["resourceVersion"]) > 0
    assert "generation" not in meta
    assert server.get(f"{maps}/a").body == answer.body
    (entry,) = meta["managedFields"]
    assert TIME.fullmatch(entry.pop("time"))
    assert entry == {
        "manager": "tester",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:k": {}}},
    }


def test_manager_defaults_to_the_user_agent(server: Client, maps: str) -> None:
    """Group 2: without fieldManager the first part of User-Agent is the manager."""
    answer = server.post(maps, config_map("a", {"k": "v"}))
    assert answer.meta["managedFields"][0]["manager"] == "conformance"


def test_one_rising_revision(server: Client, maps: str, demos: str) -> None:
    """Group 2: revisions rise over all kinds."""
    revisions = [
        int(server.post(path, obj).revision)
        for path, obj in ((maps, config_map("a")), (demos, demo("a")), (maps, config_map("b")))
    ]
    assert revisions == sorted(revisions)
    assert len(set(revisions)) == 3


def test_what_the_client_may_not_set(server: Client, maps: str) -> None:
    """Group 2: uid, creationTimestamp and generation of a create are the server's."""
    wanted = {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7, "selfLink": "x"}
    meta = server.post(maps, config_map("a", **wanted)).meta
    assert meta["uid"] != "mine"
    assert not meta["creationTimestamp"].startswith("2001")
    assert "selfLink" not in meta


def test_generate_name(server: Client, maps: str) -> None:
    """Group 3: generateName appends five characters."""
    names = [server.post(maps, {"metadata": {"generateName": "pre-"}}).meta["name"] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"pre-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)


def test_name_is_required(server: Client, maps: str) -> None:
    """Group 3: neither name nor generateName is 422."""
    answer = server.post(maps, config_map(""))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes == [
        {
            "reason": "FieldValueRequired",
            "message": "Required value: name or generateName is required",
            "field": "metadata.name",
        }
    ]


@pytest.mark.parametrize("name", ["Upper", "under_score", "-x", "x-", "a..b"])
def test_bad_names(server: Client, maps: str, name: str) -> None:
    """Group 3: a name that is no subdomain is 422."""
    answer = server.post(maps, config_map(name))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes[0]["field"] == "metadata.name"
    assert answer.causes[0]["message"].startswith(f'Invalid value: "{name}": a lowercase RFC 1123 subdomain')


def test_already_exists(server: Client, maps: str) -> None:
    """WR-6: 409 AlreadyExists, not Conflict."""
    server.post(maps, config_map("a"))
    answer = server.post(maps, config_map("a"))
    assert (answer.code, answer.reason) == (409, "AlreadyExists")
    assert answer.message == 'configmaps "a" already exists'
    assert answer["details"] == {"name": "a", "kind": "configmaps"}


def test_namespace_must_exist(server: Client) -> None:
    """Group 3: 404 for the namespace."""
    answer = server.post("/api/v1/namespaces/absent/configmaps", config_map("a"))
    assert (answer.code, answer.reason) == (404, "NotFound")
    assert answer["details"] == {"name": "absent", "kind": "namespaces"}


def test_namespace_of_path_and_body(server: Client, maps: str) -> None:
    """Group 3: they must agree."""
    answer = server.post(maps, config_map("a", namespace="other"))
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_malformed_bodies(server: Client, maps: str) -> None:
    """Group 3: 400 for what is no object of that kind."""
    for body in (b'{"a":', b"[]", {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}):
        assert server.post(maps, body).code == 400
    wrong = server.post(maps, {**config_map("a"), "data": {"a": 1}})
    assert (wrong.code, wrong.reason) == (400, "BadRequest")
    assert wrong.message.startswith('ConfigMap in version "v1" cannot be handled as a ConfigMap: ')


def test_revision_on_create(server: Client, maps: str) -> None:
    """Group 3: a create must not carry a resourceVersion."""
    answer = server.post(maps, config_map("a", resourceVersion="1"))
    assert (answer.code, answer.message) == (500, "resourceVersion should not be set on objects to be created")


def test_update(server: Client, maps: str) -> None:
    """Group 3: PUT replaces; without resourceVersion the last writer wins."""
    first = server.post(maps, config_map("a", {"k": "1"}))
    second = server.put(f"{maps}/a", config_map("a", {"k": "2"}))
    assert second.code == 200
    assert second["data"] == {"k": "2"}
    assert int(second.revision) > int(first.revision)
    assert second.meta["uid"] == first.meta["uid"]
    assert second.meta["creationTimestamp"] == first.meta["creationTimestamp"]


def test_stale_update(server: Client, maps: str) -> None:
    """WR-1, WR-6: 409 Conflict."""
    first = server.post(maps, config_map("a", {"k": "1"})).body
    server.put(f"{maps}/a", config_map("a", {"k": "2"}))
    answer = server.put(f"{maps}/a", {**first, "data": {"k": "3"}})
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert answer.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert answer["details"] == {"name": "a", "kind": "configmaps"}


def test_update_of_another_object(server: Client, maps: str) -> None:
    """Group 3: uid mismatch is 409, another name is 400, a missing object is 404."""
    server.post(maps, config_map("a"))
    answer = server.put(f"{maps}/a", config_map("a", uid="11111111-1111-1111-1111-111111111111"))
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert server.put(f"{maps}/a", config_map("b")).code == 400
    assert server.put(f"{maps}/absent", config_map("absent")).code == 404


def test_noop_update(server: Client, maps: str) -> None:
    """WR-3: a write that changes nothing keeps the resourceVersion."""
    first = server.post(maps, config_map("a", {"k": "1"}), fieldManager="one")
    again = server.put(f"{maps}/a", config_map("a", {"k": "1"}), fieldManager="one")
    other = server.put(f"{maps}/a", config_map("a", {"k": "1"}), fieldManager="two")
    assert first.revision == again.revision == other.revision
    assert other.body == first.body


def test_dry_run(server: Client, maps: str) -> None:
    """Group 3: dryRun=All answers as if, and stores nothing."""
    answer = server.post(maps, config_map("a", {"k": "1"}), dryRun="All")
    assert answer.code == 201
    assert UID.fullmatch(answer.meta["uid"])
    assert "resourceVersion" not in answer.meta
    assert server.get(f"{maps}/a").code == 404
    stored = server.post(maps, config_map("a", {"k": "1"}))
    changed = server.patch(f"{maps}/a", {"data": {"k": "2"}}, dryRun="All")
    assert changed["data"] == {"k": "2"}
    assert changed.revision == stored.revision
    assert server.delete(f"{maps}/a", dryRun="All").code == 200
    assert server.get(f"{maps}/a").body == stored.body
    wrong = server.post(maps, config_map("b"), dryRun="Some")
    assert (wrong.code, wrong.reason) == (422, "Invalid")
    assert wrong.causes[0]["field"] == "dryRun"


def test_delete(server: Client, maps: str) -> None:
    """Group 3: DELETE answers with a Status that names the object, then 404."""
    uid = server.post(maps, config_map("a")).meta["uid"]
    answer = server.delete(f"{maps}/a")
    assert answer.code == 200
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": uid},
    }
    assert server.get(f"{maps}/a").code == 404
    assert server.delete(f"{maps}/a").code == 404


def test_delete_preconditions(server: Client, maps: str) -> None:
    """Group 3: uid and resourceVersion must match."""
    created = server.post(maps, config_map("a"))
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        answer = server.delete(f"{maps}/a", {"preconditions": wrong})
        assert (answer.code, answer.reason) == (409, "Conflict")
    right = {"uid": created.meta["uid"], "resourceVersion": created.revision}
    assert server.delete(f"{maps}/a", {"preconditions": right}).code == 200


def test_finalizers(server: Client, maps: str) -> None:
    """WR-5: marked first, gone with the last finalizer, and none may be added meanwhile."""
    created = server.post(maps, config_map("a", finalizers=["x.dev/one", "x.dev/two"]))
    marked = server.delete(f"{maps}/a")
    assert marked.code == 200
    assert TIME.fullmatch(marked.meta["deletionTimestamp"])
    assert marked.meta["deletionGracePeriodSeconds"] == 0
    assert int(marked.revision) > int(created.revision)
    assert server.delete(f"{maps}/a").revision == marked.revision
    more = server.patch(f"{maps}/a", {"metadata": {"finalizers": ["x.dev/one", "x.dev/two", "x.dev/new"]}})
    assert (more.code, more.causes[0]["reason"]) == (422, "FieldValueForbidden")
    less = server.patch(f"{maps}/a", {"metadata": {"finalizers": ["x.dev/two"]}})
    assert (less.code, less.meta["deletionTimestamp"]) == (200, marked.meta["deletionTimestamp"])
    assert server.patch(f"{maps}/a", {"metadata": {"finalizers": None}}).code == 200
    assert server.get(f"{maps}/a").code == 404


def test_deletion_timestamp_is_the_servers(server: Client, maps: str) -> None:
    """WR-5: an update cannot undo a deletion."""
    server.post(maps, config_map("a", finalizers=["x.dev/one"]))
    marked = server.delete(f"{maps}/a").body
    answer = server.put(f"{maps}/a", config_map("a", {"k": "v"}, finalizers=["x.dev/one"]))
    assert answer.meta["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)],
)
def test_propagation_policy(server: Client, maps: str, policy: str, finalizers: list[str] | None) -> None:
    """WR-7: the policies that wait do so through finalizers."""
    server.post(maps, config_map("a", finalizers=["x.dev/one"]))
    answer = server.delete(f"{maps}/a", propagationPolicy=policy)
    assert answer.code == 200
    assert [f for f in answer.meta["finalizers"] if f != "x.dev/one"] == (finalizers or [])


def test_generation(server: Client, demos: str) -> None:
    """WR-4: rises with the spec, not with metadata or status, and once with the deletion."""
    generations = [server.post(demos, demo("a", finalizers=["x.dev/one"])).meta["generation"]]
    for path, patch in (
        (f"{demos}/a", {"metadata": {"labels": {"l": "1"}}}),
        (f"{demos}/a/status", {"status": {"phase": "Ready"}}),
        (f"{demos}/a", {"spec": {"replicas": 3}}),
        (f"{demos}/a", {"spec": {"replicas": 3}}),
    ):
        generations.append(server.patch(path, patch).meta["generation"])
    generations.append(server.delete(f"{demos}/a").meta["generation"])
    generations.append(server.delete(f"{demos}/a").meta["generation"])
    assert generations == [1, 1, 1, 2, 2, 3, 3]


def test_generation_of_a_built_in_kind(server: Client, deployments: str) -> None:
    """WR-4: the same for a Deployment."""
    generations = [server.post(deployments, deployment("a")).meta["generation"]]
    for path, patch in (
        ("", {"metadata": {"labels": {"l": "1"}}}),
        ("", {"spec": {"replicas": 3}}),
        ("/status", {"status": {"replicas": 1}}),
        ("", {"metadata": {"generation": 17}}),
    ):
        generations.append(server.patch(f"{deployments}/a{path}", patch).meta["generation"])
    assert generations == [1, 1, 2, 2, 2]


def test_delete_collection(server: Client, maps: str) -> None:
    """Group 3: deletes what the selectors pick."""
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        server.post(maps, config_map(name, labels={"colour": colour}))
    answer = server.delete(maps, labelSelector="colour=red")
    assert answer.code == 200
    assert server.get(maps).names == ["b"]
    assert server.delete(maps).code == 200
    assert server.get(maps).names == []


def test_bad_labels_and_owners(server: Client, maps: str) -> None:
    """Group 3: metadata is validated."""
    owner: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ""}
    for metadata, field in (
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"annotations": {"a b": "c"}}, "metadata.annotations"),
        ({"ownerReferences": [owner]}, "metadata.ownerReferences[0].uid"),
    ):
        answer = server.post(maps, config_map("a", **metadata))
        assert (answer.code, answer.reason) == (422, "Invalid")
        assert answer.causes[0]["field"] == field


def test_unknown_fields(server: Client, maps: str) -> None:
    """Group 3: fieldValidation decides whether they are dropped with a warning, silently, or refused."""
    body = {**config_map("a"), "nonsense": 1}
    strict = server.post(maps, body, fieldValidation="Strict")
    assert (strict.code, strict.reason) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "nonsense"' in strict.message
    warned = server.post(maps, body, dryRun="All", fieldValidation="Warn")
    assert warned.headers["warning"] == '299 - "unknown field \\"nonsense\\""'
    ignored = server.post(maps, body, fieldValidation="Ignore")
    assert ignored.code == 201
    assert "warning" not in ignored.headers
    assert "nonsense" not in ignored.body


def test_a_delete_with_a_body_reads_no_options_from_the_query(server: Client, maps: str) -> None:
    """Group 3: dryRun=All in the query of such a request deletes; in the body it does not."""
    server.post(maps, config_map("a"))
    options = {"apiVersion": "v1", "kind": "DeleteOptions"}
    assert server.call("DELETE", f"{maps}/a", {**options, "dryRun": ["All"]}).code == 200
    assert server.call("DELETE", f"{maps}/a", dryRun="All").code == 200
    assert server.get(f"{maps}/a").code == 200
    assert server.call("DELETE", f"{maps}/a", options, dryRun="All").code == 200
    assert server.get(f"{maps}/a").code == 404
