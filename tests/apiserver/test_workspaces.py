"""Workspaces: clusters of their own in one store, and the wildcard over all of them."""

from typing import Any

import pytest

from apiserver.conftest import CRDS, FOOS, MAPS, Local, brief, config_map, foo, foo_crd, lines


@pytest.fixture
def team(local: Local) -> Any:
    other = Local.__new__(Local)
    other.__dict__ = {**local.__dict__, "base": "/clusters/team"}
    return other


@pytest.fixture
def everywhere(local: Local) -> Any:
    other = Local.__new__(Local)
    other.__dict__ = {**local.__dict__, "base": "/clusters/*"}
    return other


def test_objects_are_apart(local: Local, team: Local) -> None:
    """Group 10: the same name in two workspaces is two objects; revisions are shared."""
    first = local.post(MAPS, config_map("a", {"in": "root"}))
    second = team.post(MAPS, config_map("a", {"in": "team"}))
    assert (first.code, second.code) == (201, 201)
    assert first.meta["uid"] != second.meta["uid"]
    assert int(second.revision) > int(first.revision)
    assert local.get(f"{MAPS}/a")["data"] == {"in": "root"}
    team.delete(f"{MAPS}/a")
    assert local.get(MAPS).names == ["a"]
    assert team.get(MAPS).names == []


def test_made_when_first_used(team: Local) -> None:
    """Group 10: with the namespaces that every cluster has."""
    assert team.get("/api/v1/namespaces").names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert team.api.workspaces.names() == ["root", "team"]


def test_root_by_name(local: Local) -> None:
    local.post(MAPS, config_map("a"))
    assert local.get(f"/clusters/root{MAPS}/a").code == 200


@pytest.mark.parametrize("name", ["Team", "a b", "..", "-a", "a" * 254])
def test_bad_names(local: Local, name: str) -> None:
    answer = local.get(f"/clusters/{name.replace(' ', '%20')}/api/v1/namespaces")
    assert answer.code == 400
    assert local.api.workspaces.names() == ["root"]


def test_limit() -> None:
    local = Local(workspaces=2)
    assert local.get(f"/clusters/a{MAPS}").code == 200
    assert local.get(f"/clusters/b{MAPS}").code == 403
    assert local.get(f"/clusters/a{MAPS}").code == 200


def test_wildcard_list(local: Local, team: Local, everywhere: Local) -> None:
    """Group 10: items carry their workspace; objects read in their workspace do not."""
    local.post(MAPS, config_map("a"))
    team.post(MAPS, config_map("a", annotations={"x": "y"}))
    items = everywhere.get(MAPS)["items"]
    assert [item["metadata"]["annotations"] for item in items] == [
        {"kcp.io/cluster": "root"},
        {"kcp.io/cluster": "team", "x": "y"},
    ]
    assert everywhere.get("/api/v1/configmaps", limit=1)["metadata"]["remainingItemCount"] == 1
    assert "annotations" not in local.get(f"{MAPS}/a").meta


def test_wildcard_metadata_only(team: Local, everywhere: Local) -> None:
    team.post(MAPS, config_map("a"))
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    (item,) = everywhere.call("GET", MAPS, accept=accept)["items"]
    assert item["metadata"]["annotations"] == {"kcp.io/cluster": "team"}
    assert "data" not in item


def test_wildcard_pages(local: Local, team: Local, everywhere: Local) -> None:
    for workspace in (local, team):
        for name in "ab":
            workspace.post(MAPS, config_map(name))
    seen, token = [], ""
    while True:
        page = everywhere.get(MAPS, limit=3, **({"continue": token} if token else {}))
        seen += [(i["metadata"]["annotations"]["kcp.io/cluster"], i["metadata"]["name"]) for i in page["items"]]
        token = page.meta.get("continue", "")
        if not token:
            break
    assert seen == [("root", "a"), ("root", "b"), ("team", "a"), ("team", "b")]


def test_wildcard_watch(local: Local, team: Local, everywhere: Local) -> None:
    """Group 10: one watch over all workspaces, those included that are made later."""
    stream = everywhere.stream(MAPS, allowWatchBookmarks=True)
    local.post(MAPS, config_map("a"))
    team.post(MAPS, config_map("b"))
    events = lines(stream)
    assert [event["object"]["metadata"]["annotations"]["kcp.io/cluster"] for event in events] == ["root", "team"]
    assert brief(team.stream(MAPS)) == [("ADDED", "b")]


def test_wildcard_writes_nothing(local: Local, everywhere: Local) -> None:
    assert everywhere.post(MAPS, config_map("a")).code == 405
    local.post(MAPS, config_map("a"))
    assert everywhere.get(f"{MAPS}/a").code == 405
    assert everywhere.delete(MAPS).code == 405


def test_annotation_is_never_stored(local: Local, team: Local, everywhere: Local) -> None:
    """What a client read through the wildcard it may write back to the workspace without a trace."""
    team.post(MAPS, config_map("a"))
    (item,) = everywhere.get(MAPS)["items"]
    before = team.get(f"{MAPS}/a")
    answer = team.put(f"{MAPS}/a", {**item, "apiVersion": "v1", "kind": "ConfigMap"})
    assert answer.revision == before.revision, "nothing has changed (WR-3)"
    assert "annotations" not in answer.meta


def test_crd_of_root_serves_all(local: Local, team: Local, everywhere: Local) -> None:
    """A CRD applied without a prefix is served in every workspace; its objects go with it."""
    assert team.get(FOOS).code == 404
    local.post(CRDS, foo_crd())
    assert team.post(FOOS, foo("a"))["spec"] == {"color": "red"}
    assert team.get(CRDS).names == [], "served, but not there"
    assert [i["metadata"]["name"] for i in everywhere.get("/apis/t.dev/v1/foos")["items"]] == ["a"]
    watch = team.stream(FOOS)
    local.delete(f"{CRDS}/foos.t.dev")
    assert team.get(FOOS).code == 404
    assert brief(watch) == [("ADDED", "a"), ("DELETED", "a")]
    assert watch.ended


def test_crd_of_a_workspace(local: Local, team: Local, everywhere: Local) -> None:
    """A workspace's own CRD takes precedence there, and concerns nobody else."""
    local.post(CRDS, foo_crd("red"))
    team.post(CRDS, foo_crd("blue"))
    local.post(FOOS, foo("a"))
    assert team.post(FOOS, foo("a"))["spec"] == {"color": "blue"}
    local.delete(f"{CRDS}/foos.t.dev")
    assert local.get(FOOS).code == 404
    assert team.get(FOOS).names == ["a"]
    assert everywhere.get("/apis/t.dev/v1/foos").code == 200


def test_discovery_of_a_workspace(local: Local, team: Local, everywhere: Local) -> None:
    team.post(CRDS, foo_crd())
    groups = [{group["name"] for group in where.get("/apis")["groups"]} for where in (local, team, everywhere)]
    assert ["t.dev" in names for names in groups] == [False, True, True]


def test_garbage_stays_in_its_workspace(local: Local, team: Local) -> None:
    """WR-7: an owner of another workspace does not count."""
    owner = local.post(MAPS, config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.meta["uid"]}
    local.post(MAPS, config_map("child", ownerReferences=[reference]))
    team.post(MAPS, config_map("child", ownerReferences=[reference]))
    local.settle()
    assert local.get(MAPS).names == ["child", "owner"]
    assert team.get(MAPS).names == []
