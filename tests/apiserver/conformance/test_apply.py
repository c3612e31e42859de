"""Group 4, second half: server-side apply and field ownership."""

from typing import Any

from apiserver.http_client import APPLY, JSON_PATCH, Client
from apiserver.objects import config_map, demo, deployment, managed


def spec(server: Client, path: str, manager: str, name: str = "a", **fields: Any) -> dict[str, Any]:
    """Apply a Demo's spec; the spec that comes out."""
    answer = server.apply(f"{path}/{name}", demo(name, {"image": "nginx", **fields}), manager)
    assert answer.code in (200, 201), answer
    return answer["spec"]


def test_apply_creates(server: Client, demos: str) -> None:
    """WR-2: 201 first, 200 from then on."""
    answer = server.apply(f"{demos}/a", demo("a"), "one")
    assert answer.code == 201
    (entry,) = answer.meta["managedFields"]
    entry.pop("time")
    assert entry == {
        "manager": "one",
        "operation": "Apply",
        "apiVersion": answer["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:image": {}}},
    }
    assert answer["spec"] == {"image": "nginx", "replicas": 1, "defaults": {"level": "info"}}
    assert server.apply(f"{demos}/a", demo("a"), "one").code == 200


def test_repeated_apply(server: Client, demos: str) -> None:
    """WR-3: an apply that changes nothing keeps the revision, and the times."""
    first = server.apply(f"{demos}/a", demo("a"), "one")
    assert server.apply(f"{demos}/a", demo("a"), "one").body == first.body


def test_field_manager_is_required(server: Client, demos: str) -> None:
    """WR-2: 422 without fieldManager."""
    answer = server.call("PATCH", f"{demos}/a", demo("a"), APPLY)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes == [
        {
            "reason": "FieldValueRequired",
            "message": "Required value: is required for apply patch",
            "field": "fieldManager",
        }
    ]


def test_managed_fields_must_be_absent(server: Client, demos: str) -> None:
    """WR-2: 400 for metadata.managedFields."""
    body = server.apply(f"{demos}/a", demo("a"), "one").body
    answer = server.apply(f"{demos}/a", body, "one")
    assert (answer.code, answer.message) == (400, "metadata.managedFields must be nil")


def test_force_is_for_apply(server: Client, demos: str) -> None:
    """WR-2: force on another patch is 422."""
    server.apply(f"{demos}/a", demo("a"), "one")
    answer = server.patch(f"{demos}/a", {}, force=True)
    assert (answer.code, answer.causes[0]["field"]) == (422, "force")


def test_yaml(server: Client, maps: str) -> None:
    """WR-2: the body may be YAML."""
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v # comment\n"
    assert server.apply(f"{maps}/a", body, "one")["data"] == {"k": "v"}


def test_conflict(server: Client, demos: str) -> None:
    """WR-2: 409 with a cause for each field."""
    server.apply(f"{demos}/a", demo("a", {"image": "nginx", "mode": "fast"}), "one")
    answer = server.apply(f"{demos}/a", demo("a", {"image": "other"}), "two")
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "one": .spec.image'
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.image"}
    assert answer["details"] == {"causes": [cause]}
    answer = server.apply(f"{demos}/a", demo("a", {"image": "other", "mode": "safe"}), "two")
    assert answer.message == 'Apply failed with 2 conflicts: conflicts with "one":\n- .spec.image\n- .spec.mode'
    assert [cause["field"] for cause in answer.causes] == [".spec.image", ".spec.mode"]


def test_conflicts_with_two_managers(server: Client, demos: str) -> None:
    """WR-2: the message lists the fields by manager; those of one manager in the order of the field set."""
    fields = {"image": "nginx", "mode": "fast", "config": {"k": "v"}}
    server.apply(f"{demos}/a", demo("a", fields), "one")
    server.apply(f"{demos}/a", demo("a", {"image": "nginx"}), "two")
    answer = server.apply(f"{demos}/a", demo("a", {"image": "other", "config": {"k": "w"}}), "three")
    assert answer.message == (
        "Apply failed with 3 conflicts: "
        'conflicts with "one":\n- .spec.image\n- .spec.config.k\nconflicts with "two":\n- .spec.image'
    )
    assert sorted((cause["message"], cause["field"]) for cause in answer.causes) == [
        ('conflict with "one"', ".spec.config.k"),
        ('conflict with "one"', ".spec.image"),
        ('conflict with "two"', ".spec.image"),
    ]


def test_conflict_with_an_updater(server: Client, demos: str) -> None:
    """WR-2: plain writes own fields too."""
    server.post(demos, demo("a"), fieldManager="poster")
    answer = server.apply(f"{demos}/a", demo("a", {"image": "other"}), "two")
    assert answer.code == 409
    version = "conformance.fastcore.dev/v1"
    assert answer.message == f'Apply failed with 1 conflict: conflict with "poster" using {version}: .spec.image'


def test_conflict_paths_in_lists(server: Client, deployments: str) -> None:
    """WR-2: a list item is named by its keys."""
    server.apply(f"{deployments}/a", deployment("a"), "one")
    answer = server.apply(f"{deployments}/a", deployment("a", image="other:1"), "two")
    assert [cause["field"] for cause in answer.causes] == ['.spec.template.spec.containers[name="main"].image']


def test_force_takes_over(server: Client, demos: str) -> None:
    """WR-2: force=true moves the ownership."""
    server.apply(f"{demos}/a", demo("a", {"image": "nginx", "mode": "fast"}), "one")
    answer = server.apply(f"{demos}/a", demo("a", {"image": "other"}), "two", force=True)
    assert answer["spec"]["image"] == "other"
    assert managed(answer.body, "one") == {"f:spec": {"f:mode": {}}}
    assert managed(answer.body, "two") == {"f:spec": {"f:image": {}}}


def test_same_value_is_shared(server: Client, demos: str) -> None:
    """WR-2: managers that agree share a field."""
    spec(server, demos, "one")
    spec(server, demos, "two")
    body = server.get(f"{demos}/a").body
    assert managed(body, "one") == managed(body, "two") == {"f:spec": {"f:image": {}}}


def test_dropped_field_of_mine_is_deleted(server: Client, demos: str) -> None:
    """WR-2: deleted iff I was its only owner."""
    spec(server, demos, "one", mode="fast", config={"k": "v"})
    spec(server, demos, "two", config={"k": "v"})
    assert spec(server, demos, "one") == {
        "image": "nginx",
        "config": {"k": "v"},
        "replicas": 1,
        "defaults": {"level": "info"},
    }
    assert "config" not in spec(server, demos, "two")


def test_dropped_field_that_others_wrote_stays(server: Client, demos: str) -> None:
    """WR-2: a plain write shares or takes ownership too."""
    spec(server, demos, "one", config={"k": "v"})
    server.patch(f"{demos}/a", {"spec": {"config": {"l": "w"}}}, fieldManager="patcher")
    assert spec(server, demos, "one")["config"] == {"l": "w"}


def test_dropped_default_comes_back(server: Client, demos: str) -> None:
    """WR-2, group 8: a field with a default falls back to it."""
    assert spec(server, demos, "one", replicas=5)["replicas"] == 5
    assert spec(server, demos, "one")["replicas"] == 1


def test_atomic_list(server: Client, demos: str) -> None:
    """WR-2: a list of a CRD is atomic by default: one owner, replaced as a whole."""
    spec(server, demos, "one", plain=["a", "b"])
    answer = server.apply(f"{demos}/a", demo("a", {"image": "nginx", "plain": ["a", "b", "c"]}), "two")
    assert [cause["field"] for cause in answer.causes] == [".spec.plain"]
    assert managed(server.get(f"{demos}/a").body, "one") == {"f:spec": {"f:image": {}, "f:plain": {}}}


def test_set_list(server: Client, demos: str) -> None:
    """WR-2: a set is merged; everyone owns his items."""
    spec(server, demos, "one", set=["a", "b"])
    assert spec(server, demos, "two", set=["c", "b"])["set"] == ["a", "c", "b"]
    body = server.get(f"{demos}/a").body
    assert managed(body, "one")["f:spec"]["f:set"] == {'v:"a"': {}, 'v:"b"': {}}
    assert managed(body, "two")["f:spec"]["f:set"] == {'v:"b"': {}, 'v:"c"': {}}
    assert spec(server, demos, "one")["set"] == ["c", "b"]


def test_map_list(server: Client, demos: str) -> None:
    """WR-2: items are matched by their keys, defaults of keys included."""
    spec(server, demos, "one", ports=[{"port": 1, "name": "a"}, {"port": 2, "protocol": "UDP"}])
    ports = spec(server, demos, "two", ports=[{"port": 1}, {"port": 3}])["ports"]
    assert ports == [
        {"port": 1, "protocol": "TCP", "name": "a"},
        {"port": 2, "protocol": "UDP"},
        {"port": 3, "protocol": "TCP"},
    ]
    body = server.get(f"{demos}/a").body
    assert managed(body, "one")["f:spec"]["f:ports"] == {
        'k:{"port":1,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}},
        'k:{"port":2,"protocol":"UDP"}': {".": {}, "f:port": {}, "f:protocol": {}},
    }
    assert spec(server, demos, "one")["ports"] == [{"port": 1, "protocol": "TCP"}, {"port": 3, "protocol": "TCP"}]


def test_atomic_map(server: Client, demos: str) -> None:
    """WR-2: x-kubernetes-map-type atomic: replaced as a whole."""
    spec(server, demos, "one", block={"a": "1"})
    answer = server.apply(f"{demos}/a", demo("a", {"image": "nginx", "block": {"b": "2"}}), "two")
    assert [cause["field"] for cause in answer.causes] == [".spec.block"]
    answer = server.apply(f"{demos}/a", demo("a", {"image": "nginx", "block": {"b": "2"}}), "two", force=True)
    assert answer["spec"]["block"] == {"b": "2"}


def test_schemaless_part(server: Client, demos: str) -> None:
    """WR-2: below preserve-unknown-fields maps are merged key by key and lists are atomic."""
    spec(server, demos, "one", anything={"a": {"b": 1}, "l": [1]})
    assert spec(server, demos, "two", anything={"a": {"c": 2}})["anything"] == {"a": {"b": 1, "c": 2}, "l": [1]}
    answer = server.apply(f"{demos}/a", demo("a", {"image": "nginx", "anything": {"l": [2]}}), "two")
    assert [cause["field"] for cause in answer.causes] == [".spec.anything.l"]


def test_labels_and_owners(server: Client, maps: str) -> None:
    """WR-2: metadata is merged: labels by key, finalizers as a set, ownerReferences by uid."""
    owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": n, "uid": f"{n}-uid"} for n in ("x", "y")]
    server.apply(
        f"{maps}/a",
        config_map("a", labels={"l": "1"}, ownerReferences=owners[:1], finalizers=["x.dev/a"]),
        "one",
    )
    answer = server.apply(
        f"{maps}/a",
        config_map("a", labels={"m": "2"}, ownerReferences=owners[1:], finalizers=["x.dev/b"]),
        "two",
    )
    assert answer.meta["labels"] == {"l": "1", "m": "2"}
    assert [owner["name"] for owner in answer.meta["ownerReferences"]] == ["x", "y"]
    assert answer.meta["finalizers"] == ["x.dev/a", "x.dev/b"]
    answer = server.apply(f"{maps}/a", config_map("a", ownerReferences=owners[:1], finalizers=["x.dev/a"]), "one")
    assert answer.meta["labels"] == {"m": "2"}


def test_emptied_data_goes(server: Client, maps: str) -> None:
    """WR-2: of a built-in kind an emptied map is gone."""
    server.apply(f"{maps}/a", config_map("a", {"k": "v"}), "one")
    answer = server.apply(f"{maps}/a", config_map("a", {}), "one")
    assert answer.code == 200
    assert "data" not in answer.body
    assert managed(answer.body, "one") == {"f:data": {}}


def test_ownership_of_a_deployment(server: Client, deployments: str) -> None:
    """WR-2: an applier owns what it named; defaults belong to nobody."""
    answer = server.apply(f"{deployments}/a", deployment("a", replicas=2), "one")
    assert managed(answer.body, "one") == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"main"}': {
                            ".": {},
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {
                                'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                            },
                        }
                    }
                },
            },
        }
    }
    assert answer["spec"]["progressDeadlineSeconds"] == 600


def test_ownership_of_a_created_deployment(server: Client, deployments: str) -> None:
    """WR-2: a plain create owns the defaults too."""
    answer = server.post(deployments, deployment("a"), fieldManager="poster")
    assert managed(answer.body, "poster") == {
        "f:spec": {
            "f:progressDeadlineSeconds": {},
            "f:replicas": {},
            "f:revisionHistoryLimit": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"main"}': {
                            ".": {},
                            "f:image": {},
                            "f:imagePullPolicy": {},
                            "f:name": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                    "f:protocol": {},
                                },
                            },
                            "f:resources": {},
                            "f:terminationMessagePath": {},
                            "f:terminationMessagePolicy": {},
                        }
                    },
                    "f:dnsPolicy": {},
                    "f:restartPolicy": {},
                    "f:schedulerName": {},
                    "f:securityContext": {},
                    "f:terminationGracePeriodSeconds": {},
                },
            },
        }
    }


def test_scaling_beside_an_applier(server: Client, deployments: str) -> None:
    """WR-2: leaving replicas out lets an autoscaler own them."""
    server.apply(f"{deployments}/a", deployment("a"), "one")
    server.patch(f"{deployments}/a", {"spec": {"replicas": 7}}, fieldManager="autoscaler")
    answer = server.apply(f"{deployments}/a", deployment("a", image="nginx:2"), "one")
    assert answer["spec"]["replicas"] == 7


def test_status_has_its_own_owners(server: Client, demos: str) -> None:
    """WR-2: the status subresource is a separate entry of the same manager, and ignores the rest."""
    spec(server, demos, "one")
    body = {**demo("a"), "status": {"phase": "Ready"}}
    body.pop("spec")
    answer = server.apply(f"{demos}/a/status", body, "one")
    assert answer.code == 200
    assert answer["status"] == {"phase": "Ready"}
    assert managed(answer.body, "one", "status") == {"f:status": {"f:phase": {}}}
    assert managed(answer.body, "one") == {"f:spec": {"f:image": {}}}
    body["status"] = {"conditions": [{"type": "Synced", "status": "True"}]}
    answer = server.apply(f"{demos}/a/status", body, "one")
    assert answer["status"] == body["status"]
    assert managed(answer.body, "one", "status") == {
        "f:status": {"f:conditions": {'k:{"type":"Synced"}': {".": {}, "f:status": {}, "f:type": {}}}}
    }
    other = {**body, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    conditions = server.apply(f"{demos}/a/status", other, "two")["status"]["conditions"]
    assert [condition["type"] for condition in conditions] == ["Synced", "Ready"]


def test_conflict_on_the_status(server: Client, demos: str) -> None:
    """WR-2: the message names the subresource."""
    spec(server, demos, "one")
    status = {**demo("a"), "status": {"phase": "Ready"}}
    status.pop("spec")
    server.apply(f"{demos}/a/status", status, "one")
    answer = server.apply(f"{demos}/a/status", {**status, "status": {"phase": "Failed"}}, "two")
    assert answer.message == (
        'Apply failed with 1 conflict: conflict with "one" with subresource "status": .status.phase'
    )


def test_emptied_map_of_a_custom_kind(server: Client, demos: str) -> None:
    """WR-2: what an apply empties is left as null, which is not valid; leaving it out is."""
    spec(server, demos, "one", config={"k": "v"})
    answer = server.apply(f"{demos}/a", demo("a", {"image": "nginx", "config": {}}), "one")
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.config")
    assert "config" not in spec(server, demos, "one")


def test_status_on_the_main_endpoint(server: Client, demos: str) -> None:
    """WR-2, WR-4: an apply of the object does not own its status."""
    answer = server.apply(f"{demos}/a", {**demo("a"), "status": {"phase": "Ready"}}, "one")
    assert "status" not in answer.body
    assert managed(answer.body, "one") == {"f:spec": {"f:image": {}}}


def test_apply_of_an_unknown_field(server: Client, demos: str) -> None:
    """WR-2: an apply cannot own what the schema does not know."""
    answer = server.apply(f"{demos}/a", demo("a", {"image": "nginx", "nonsense": 1}), "one")
    assert answer.code == 500
    assert answer.message.endswith("Kind=Demo): .spec.nonsense: field not declared in schema")


def test_apply_of_invalid_values(server: Client, demos: str) -> None:
    """WR-2, group 8: validated like any write; duplicates in a set or map have no owner."""
    answer = server.apply(f"{demos}/a", demo("a", {"image": "NGINX"}), "one")
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.image")
    answer = server.apply(f"{demos}/a", demo("a", {"image": "nginx", "set": ["a", "a"]}), "one")
    assert answer.code == 500
    assert answer.message.endswith('.spec.set: duplicate entries for key [="a"]')


def test_apply_to_another_name_or_kind(server: Client, demos: str) -> None:
    """WR-2: 400."""
    assert server.apply(f"{demos}/a", demo("b"), "one").code == 400
    assert server.apply(f"{demos}/a", {**demo("a"), "kind": "Other"}, "one").code == 400


def test_apply_with_preconditions(server: Client, maps: str) -> None:
    """WR-2: a resourceVersion must match; a uid demands that the object exists."""
    server.apply(f"{maps}/a", config_map("a", {"k": "1"}), "one")
    answer = server.apply(f"{maps}/a", config_map("a", {"k": "2"}, resourceVersion="1"), "one")
    assert (answer.code, answer.reason) == (409, "Conflict")
    answer = server.apply(f"{maps}/b", config_map("b", uid="11111111-1111-1111-1111-111111111111"), "one")
    assert (answer.code, answer.reason) == (409, "Conflict")


def test_apply_that_may_only_create(server: Client, maps: str, demos: str) -> None:
    """WR-2: a resourceVersion does not keep an apply from creating, but from changing what exists."""
    for path, obj in ((maps, config_map("a", {"k": "1"})), (demos, demo("a"))):
        obj["metadata"]["resourceVersion"] = "1"
        assert server.apply(f"{path}/a", obj, "one").code == 201
        answer = server.apply(f"{path}/a", obj, "one", force=True)
        assert (answer.code, answer.reason) == (409, "Conflict")
        assert "causes" not in answer.body["details"]


def test_apply_to_one_object_only(server: Client, maps: str, demos: str) -> None:
    """WR-2: the uid is a member that no patch can change; a resourceVersion counts before it."""
    for path, obj in ((maps, config_map("a", {"k": "1"})), (demos, demo("a"))):
        created = server.apply(f"{path}/a", obj, "one")
        obj["metadata"]["uid"] = created.meta["uid"]
        assert server.apply(f"{path}/a", obj, "one").code == 200
        obj["metadata"]["uid"] = "another"
        answer = server.apply(f"{path}/a", obj, "one")
        assert (answer.code, answer.reason) == (422, "Invalid")
        assert {
            "reason": "FieldValueInvalid",
            "message": 'Invalid value: "another": field is immutable',
            "field": "metadata.uid",
        } in answer.causes
        obj["metadata"]["resourceVersion"] = "1"
        assert server.apply(f"{path}/a", obj, "one").code == 409


def test_updates_shift_ownership(server: Client, maps: str) -> None:
    """WR-2: a plain write takes what it changes, from appliers too, and gives up what it removes."""
    server.apply(f"{maps}/a", config_map("a", {"k": "1", "l": "1"}), "one")
    body = server.patch(f"{maps}/a", {"data": {"k": "2", "m": "3"}}, fieldManager="patcher").body
    assert managed(body, "one") == {"f:data": {"f:l": {}}}
    assert managed(body, "patcher") == {"f:data": {"f:k": {}, "f:m": {}}}
    body = server.patch(f"{maps}/a", {"data": {"k": None, "l": None}}, fieldManager="patcher").body
    assert managed(body, "one") == {}
    assert managed(body, "patcher") == {"f:data": {"f:m": {}}}


def test_managed_fields_can_be_cleared(server: Client, maps: str) -> None:
    """WR-2: `[{}]` clears them; the next apply first gives everything to "before-first-apply"."""
    server.apply(f"{maps}/a", config_map("a", {"k": "1", "l": "1"}), "one")
    body = server.patch(f"{maps}/a", {"metadata": {"managedFields": [{}]}}).body
    assert "managedFields" not in body["metadata"]
    body = server.apply(f"{maps}/a", config_map("a", {"k": "1"}), "two").body
    assert managed(body, "before-first-apply") == {"f:data": {".": {}, "f:k": {}, "f:l": {}}}
    assert managed(body, "two") == {"f:data": {"f:k": {}}}
    assert body["data"] == {"k": "1", "l": "1"}


def test_nobody_is_tracked_once_cleared(server: Client, maps: str) -> None:
    """WR-2: without managedFields plain writes are not tracked."""
    server.apply(f"{maps}/a", config_map("a", {"k": "1"}), "one")
    server.patch(f"{maps}/a", {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in server.patch(f"{maps}/a", {"data": {"k": "2"}}).meta


def test_managed_fields_can_be_edited(server: Client, maps: str) -> None:
    """WR-2: kubectl renames its entry this way when it goes over to server-side apply."""
    server.post(maps, config_map("a", {"k": "1"}), fieldManager="old")
    answer = server.patch(
        f"{maps}/a",
        [
            {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "new"},
            {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"},
        ],
        JSON_PATCH,
    )
    (entry,) = answer.meta["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("new", "Apply")


def test_many_updaters_are_folded(server: Client, maps: str) -> None:
    """WR-2: more than ten entries of plain writes are folded into one."""
    server.post(maps, config_map("a", {"k": "0"}), fieldManager="manager0")
    for number in range(1, 12):
        answer = server.patch(f"{maps}/a", {"data": {f"k{number}": "v"}}, fieldManager=f"manager{number}")
    managers = {entry["manager"] for entry in answer.meta["managedFields"]}
    assert len(managers) == 10
    assert "ancient-changes" in managers


def test_dry_run_apply(server: Client, demos: str) -> None:
    """Group 3: dryRun=All stores nothing, and still finds conflicts."""
    assert server.apply(f"{demos}/a", demo("a"), "one", dryRun="All").code == 201
    assert server.get(f"{demos}/a").code == 404
    spec(server, demos, "one")
    assert server.apply(f"{demos}/a", demo("a", {"image": "other"}), "two", dryRun="All").code == 409


def test_generation_of_an_apply(server: Client, demos: str) -> None:
    """WR-4: rises with the spec only."""
    assert server.apply(f"{demos}/a", demo("a"), "one").meta["generation"] == 1
    assert server.apply(f"{demos}/a", demo("a", labels={"l": "1"}), "one").meta["generation"] == 1
    assert server.apply(f"{demos}/a", demo("a", {"image": "b"}), "one").meta["generation"] == 2
