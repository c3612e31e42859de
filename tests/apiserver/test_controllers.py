"""The built-in controllers, step by step: garbage, namespaces, Deployments."""

from typing import Any

import pytest

from apiserver.conftest import CRDS, FOOS, MAPS, Local, brief, config_map, foo, foo_crd, lines
from apiserver.test_writes import DEPLOYMENTS, deployment
from fastcore.testing.apiserver.controllers import Controllers


def owned(local: Local, name: str, *owners: str, block: bool = False, **metadata: Any) -> None:
    """A ConfigMap with other ConfigMaps as owners."""
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner,
            "uid": local.get(f"{MAPS}/{owner}").meta["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    assert local.post(MAPS, config_map(name, ownerReferences=references, **metadata)).code == 201


@pytest.fixture
def family(local: Local) -> Local:
    """a owns b owns c."""
    local.post(MAPS, config_map("a"))
    owned(local, "b", "a", block=True)
    owned(local, "c", "b", block=True)
    local.settle()
    return local


def test_background(family: Local) -> None:
    """WR-7: the owner goes at once, its dependents after it."""
    assert family.delete(f"{MAPS}/a").body["status"] == "Success"
    assert family.get(MAPS).names == ["b", "c"]
    family.settle()
    assert family.get(MAPS).names == []


def test_foreground(family: Local) -> None:
    """WR-7: the owner waits until the last of those that block it is gone."""
    stream = family.stream(MAPS, resourceVersion=family.api.store.revision)
    answer = family.delete(f"{MAPS}/a", propagationPolicy="Foreground")
    assert answer.meta["finalizers"] == ["foregroundDeletion"]
    family.settle()
    assert family.get(MAPS).names == []
    assert [name for kind, name in brief(stream) if kind == "DELETED"] == ["c", "b", "a"]


def test_foreground_waits_for_a_finalizer(family: Local) -> None:
    """WR-7: a dependent that is held holds its owner."""
    family.patch(f"{MAPS}/c", {"metadata": {"finalizers": ["x/hold"]}})
    family.delete(f"{MAPS}/a", propagationPolicy="Foreground")
    family.settle()
    assert family.get(MAPS).names == ["a", "b", "c"]
    family.patch(f"{MAPS}/c", {"metadata": {"finalizers": None}})
    family.settle()
    assert family.get(MAPS).names == []


def test_foreground_does_not_wait_for_all(local: Local) -> None:
    """WR-7: only blockOwnerDeletion blocks."""
    local.post(MAPS, config_map("a"))
    owned(local, "b", "a", finalizers=["x/hold"])
    local.delete(f"{MAPS}/a", propagationPolicy="Foreground")
    local.settle()
    assert local.get(MAPS).names == ["b"]
    assert "deletionTimestamp" in local.get(f"{MAPS}/b").meta


def test_orphan(family: Local) -> None:
    """WR-7: the dependents stay and lose the reference."""
    family.delete(f"{MAPS}/a", propagationPolicy="Orphan")
    family.settle()
    assert family.get(MAPS).names == ["b", "c"]
    assert "ownerReferences" not in family.get(f"{MAPS}/b").meta


def test_one_of_two_owners(local: Local) -> None:
    """WR-7: who has another owner stays, without the dead reference."""
    local.post(MAPS, config_map("a"))
    local.post(MAPS, config_map("b"))
    owned(local, "c", "a", "b")
    local.delete(f"{MAPS}/a")
    local.settle()
    assert [owner["name"] for owner in local.get(f"{MAPS}/c").meta["ownerReferences"]] == ["b"]


def test_owner_by_uid(local: Local) -> None:
    """WR-7: an owner that was deleted and made again is another one."""
    local.post(MAPS, config_map("a"))
    owned(local, "b", "a")
    local.delete(f"{MAPS}/a")
    local.post(MAPS, config_map("a"))
    local.settle()
    assert local.get(MAPS).names == ["a"]


def test_unknown_owner_kind(local: Local) -> None:
    """Nobody can say that an owner of a kind that is not served is gone."""
    reference = {"apiVersion": "x.dev/v1", "kind": "X", "name": "x", "uid": "u"}
    local.post(MAPS, config_map("a", ownerReferences=[reference]))
    local.settle()
    assert local.get(MAPS).names == ["a"]


def test_never_there_owner(local: Local) -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}
    local.post(MAPS, config_map("a", ownerReferences=[reference]))
    local.settle()
    assert local.get(MAPS).names == []


def test_owner_in_another_namespace(local: Local) -> None:
    """WR-7: an owner is in the same namespace, or in none."""
    uid = local.post(MAPS, config_map("a")).meta["uid"]
    namespace = local.get("/api/v1/namespaces/default").meta["uid"]
    other = "/api/v1/namespaces/kube-public/configmaps"
    local.post(
        other, config_map("b", ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": uid}])
    )
    reference = {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": namespace}
    local.post(other, config_map("c", ownerReferences=[reference]))
    local.settle()
    assert local.get(other).names == ["c"]


def test_object_that_can_no_longer_be_written(local: Local, caplog: pytest.LogCaptureFixture) -> None:
    """A stricter schema stops neither the server nor the other work; the log says what was left undone."""
    local.post(CRDS, foo_crd())
    owner = local.post(MAPS, config_map("a")).meta["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": owner}
    local.post(FOOS, foo("f", ownerReferences=[reference]))
    owned(local, "b", "a")
    stricter = {
        "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string", "enum": ["blue"]}}}}
    }
    crd = foo_crd()
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].update(stricter)
    local.put(f"{CRDS}/foos.t.dev", {**crd, "metadata": local.get(f"{CRDS}/foos.t.dev").meta})
    local.delete(f"{MAPS}/a", propagationPolicy="Orphan")
    local.settle()
    assert "Unsupported value" in caplog.text
    assert local.get(MAPS).names == ["a", "b"]


def test_custom_owner(local: Local) -> None:
    """WR-7: with a CRD go its objects, and with them what they own."""
    local.post(CRDS, foo_crd())
    uid = local.post(FOOS, foo("a")).meta["uid"]
    reference = {"apiVersion": "t.dev/v1", "kind": "Foo", "name": "a", "uid": uid}
    local.post(MAPS, config_map("a", ownerReferences=[reference]))
    local.settle()
    local.delete(f"{CRDS}/foos.t.dev")
    local.settle()
    assert local.get(FOOS).code == 404
    assert local.get(MAPS).names == [], "its owner was seen to go, though its kind is not served any more"


def test_crd_waits_for_its_objects(local: Local) -> None:
    """Group 8: a CRD goes with the last of its objects, and no new ones come meanwhile."""
    local.post(CRDS, foo_crd())
    local.post(FOOS, foo("a", finalizers=["x/hold"]))
    local.delete(f"{CRDS}/foos.t.dev")
    assert local.post(FOOS, foo("b")).code == 403
    conditions = local.get(f"{CRDS}/foos.t.dev")["status"]["conditions"]
    assert conditions[-1]["type"] == "Terminating"
    local.patch(f"{FOOS}/a", {"metadata": {"finalizers": None}})
    assert local.get(f"{CRDS}/foos.t.dev").code == 404
    assert local.get(FOOS).code == 404


def test_namespace_goes_with_its_content(local: Local) -> None:
    """Group 9: content first, then the namespace; what is held holds it."""
    local.post("/api/v1/namespaces", {"metadata": {"name": "n"}})
    inside = "/api/v1/namespaces/n/configmaps"
    local.post(inside, config_map("a"))
    local.post(inside, config_map("b", finalizers=["x/hold"]))
    assert local.delete("/api/v1/namespaces/n")["status"]["phase"] == "Terminating"
    answer = local.post(inside, config_map("c"))
    assert (answer.code, answer.causes[0]["reason"]) == (403, "NamespaceTerminating")
    local.settle()
    assert local.get(inside).names == ["b"]
    assert local.get("/api/v1/namespaces/n").code == 200
    local.patch(f"{inside}/b", {"metadata": {"finalizers": None}})
    local.settle()
    assert local.get("/api/v1/namespaces/n").code == 404


def test_empty_namespace(local: Local) -> None:
    local.post("/api/v1/namespaces", {"metadata": {"name": "n", "finalizers": ["x/hold"]}})
    local.delete("/api/v1/namespaces/n")
    local.settle()
    assert local.get("/api/v1/namespaces/n")["spec"] == {}
    local.patch("/api/v1/namespaces/n", {"metadata": {"finalizers": None}})
    assert local.get("/api/v1/namespaces/n").code == 404


def test_deployments_become_ready(local: Local) -> None:
    """Group 9: the status follows the spec, and is written once for each change."""
    local.post(DEPLOYMENTS, deployment("web", replicas=2))
    local.settle()
    status = local.get(f"{DEPLOYMENTS}/web")["status"]
    counts = {name: status[name] for name in ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")}
    assert set(counts.values()) == {2}
    assert status["observedGeneration"] == 1
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"Available": "True", "Progressing": "True"}
    stream = local.stream(DEPLOYMENTS, resourceVersion=local.api.store.revision)
    local.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 0}})
    local.settle()
    events = lines(stream)
    assert len(events) == 2
    assert "readyReplicas" not in events[1]["object"]["status"]
    assert events[1]["object"]["metadata"]["generation"] == 2


def test_switched_off() -> None:
    """Group 9: each controller runs only if asked."""
    local = Local(controllers=("garbage",))
    local.post(DEPLOYMENTS, deployment("web"))
    local.settle()
    assert "observedGeneration" not in local.get(f"{DEPLOYMENTS}/web")["status"]


def test_late_start() -> None:
    """A controller that starts late knows what was there before."""
    local = Local(controllers=())
    local.post(MAPS, config_map("a"))
    owned(local, "b", "a")
    local.controllers = Controllers(local.api, ("garbage",))
    local.delete(f"{MAPS}/a")
    local.settle()
    assert local.get(MAPS).names == []


def test_unknown_controller(local: Local) -> None:
    with pytest.raises(ValueError, match="no built-in controller 'scheduler'"):
        Controllers(local.api, ("scheduler",))
