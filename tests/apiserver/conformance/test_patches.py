"""Group 4, first half: merge, JSON and strategic merge patches."""

from typing import Any

import pytest

from apiserver.http_client import JSON_PATCH, STRATEGIC, Client
from apiserver.objects import config_map, demo, deployment


def test_merge_patch(server: Client, maps: str) -> None:
    """Group 4: null removes, maps are merged."""
    first = server.post(maps, config_map("a", {"k": "1", "l": "2"}))
    answer = server.patch(f"{maps}/a", {"data": {"k": None, "m": "3"}})
    assert answer.code == 200
    assert answer["data"] == {"l": "2", "m": "3"}
    assert int(answer.revision) > int(first.revision)


def test_merge_patch_replaces_lists(server: Client, demos: str) -> None:
    """Group 4: a merge patch knows no list types."""
    server.post(demos, demo("a", {"image": "nginx", "set": ["a", "b"]}))
    assert server.patch(f"{demos}/a", {"spec": {"set": ["c"]}})["spec"]["set"] == ["c"]


def test_noop_patch(server: Client, maps: str) -> None:
    """WR-3: nothing changes, neither the revision nor the managers."""
    first = server.post(maps, config_map("a", {"k": "1"}))
    assert server.patch(f"{maps}/a", {"data": {"k": "1"}}, fieldManager="other").body == first.body


def test_patch_with_a_revision(server: Client, maps: str) -> None:
    """WR-1: a patch conflicts only if it names a resourceVersion."""
    first = server.post(maps, config_map("a", {"k": "1"}))
    server.patch(f"{maps}/a", {"data": {"k": "2"}})
    stale = server.patch(f"{maps}/a", {"metadata": {"resourceVersion": first.revision}, "data": {"k": "3"}})
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert server.patch(f"{maps}/a", {"data": {"k": "3"}}).code == 200


def test_patch_of_nothing(server: Client, maps: str) -> None:
    """Group 4: only an apply creates."""
    assert server.patch(f"{maps}/absent", {"data": {}}).code == 404


def test_patch_cannot_rename(server: Client, maps: str) -> None:
    """Group 4: the name on the URL counts."""
    server.post(maps, config_map("a"))
    assert server.patch(f"{maps}/a", {"metadata": {"name": "b"}}).code == 400


def test_json_patch(server: Client, maps: str) -> None:
    """Group 4: add, replace, remove, move, copy and test."""
    server.post(maps, config_map("a", {"k": "1", "l": "2"}, annotations={"x.dev/a": "3"}))
    answer = server.patch(
        f"{maps}/a",
        [
            {"op": "test", "path": "/data/k", "value": "1"},
            {"op": "replace", "path": "/data/k", "value": "9"},
            {"op": "remove", "path": "/data/l"},
            {"op": "move", "from": "/metadata/annotations/x.dev~1a", "path": "/data/n"},
            {"op": "copy", "from": "/data/n", "path": "/data/o"},
            {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}},
        ],
        JSON_PATCH,
    )
    assert answer.code == 200
    assert answer["data"] == {"k": "9", "n": "3", "o": "3"}
    assert answer.meta["labels"] == {"x": "y"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/k", "value": "other"},
        {"op": "remove", "path": "/data/absent"},
        {"op": "add", "path": "/metadata/labels/new", "value": "1"},
    ],
)
def test_json_patch_that_does_not_fit(server: Client, maps: str, operation: dict[str, Any]) -> None:
    """Group 4: 422, and nothing of the patch is done."""
    first = server.post(maps, config_map("a", {"k": "1"}))
    operations = [{"op": "add", "path": "/data/new", "value": "1"}, operation]
    answer = server.patch(f"{maps}/a", operations, JSON_PATCH)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert server.get(f"{maps}/a").body == first.body


def test_json_patch_in_lists(server: Client, demos: str) -> None:
    """Group 4: indexes and `-`."""
    server.post(demos, demo("a", {"image": "nginx", "plain": ["a", "b"]}))
    answer = server.patch(
        f"{demos}/a",
        [
            {"op": "add", "path": "/spec/plain/1", "value": "x"},
            {"op": "add", "path": "/spec/plain/-", "value": "z"},
            {"op": "remove", "path": "/spec/plain/0"},
        ],
        JSON_PATCH,
    )
    assert answer["spec"]["plain"] == ["x", "b", "z"]


def test_malformed_patches(server: Client, maps: str) -> None:
    """Group 4: 400."""
    server.post(maps, config_map("a"))
    assert server.patch(f"{maps}/a", {"op": "add"}, JSON_PATCH).code == 400
    assert server.patch(f"{maps}/a", b"{").code == 400
    assert server.patch(f"{maps}/a", b"{", STRATEGIC).code == 400


def test_strategic_patch_merges_lists_by_key(server: Client, deployments: str) -> None:
    """Group 4: containers and variables by name; what the patch does not name stays behind it."""
    server.post(deployments, deployment("a"))

    def patch(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = {"spec": {"template": {"spec": {"containers": containers}}}}
        answer = server.patch(f"{deployments}/a", body, STRATEGIC)
        assert answer.code == 200, answer
        return answer["spec"]["template"]["spec"]["containers"]

    containers = patch([{"name": "main", "env": [{"name": "A", "value": "1"}]}, {"name": "side", "image": "b:1"}])
    assert [(c["name"], c["image"]) for c in containers] == [("main", "nginx:1"), ("side", "b:1")]
    assert containers[0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    containers = patch([{"name": "main", "env": [{"name": "B", "value": "2"}]}])
    assert [e["name"] for e in containers[0]["env"]] == ["B", "A"]
    containers = patch([{"name": "main", "env": [{"name": "A", "$patch": "delete"}]}])
    assert [e["name"] for e in containers[0]["env"]] == ["B"]
    containers = patch([{"name": "main", "$patch": "delete"}])
    assert [c["name"] for c in containers] == ["side"]
    containers = patch([{"$patch": "replace"}, {"name": "new", "image": "c:1"}])
    assert [c["name"] for c in containers] == ["new"]


def test_strategic_patch_order(server: Client, deployments: str) -> None:
    """Group 4: $setElementOrder, as kubectl sends it."""
    server.post(deployments, deployment("a"))
    spec = {
        "$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
        "containers": [{"name": "side", "image": "b:1"}],
    }
    answer = server.patch(f"{deployments}/a", {"spec": {"template": {"spec": spec}}}, STRATEGIC)
    assert [c["name"] for c in answer["spec"]["template"]["spec"]["containers"]] == ["side", "main"]


def test_strategic_patch_of_primitive_lists(server: Client, maps: str) -> None:
    """Group 4: finalizers are merged as a set; $deleteFromPrimitiveList takes some out."""
    server.post(maps, config_map("a", finalizers=["x.dev/a", "x.dev/b"]))
    answer = server.patch(f"{maps}/a", {"metadata": {"finalizers": ["x.dev/c"]}}, STRATEGIC)
    assert sorted(answer.meta["finalizers"]) == ["x.dev/a", "x.dev/b", "x.dev/c"]
    answer = server.patch(f"{maps}/a", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.dev/b"]}}, STRATEGIC)
    assert sorted(answer.meta["finalizers"]) == ["x.dev/a", "x.dev/c"]


def test_strategic_patch_retains_keys(server: Client, deployments: str) -> None:
    """Group 4: $retainKeys drops what would no longer fit."""
    server.post(deployments, deployment("a"))
    body = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    answer = server.patch(f"{deployments}/a", body, STRATEGIC)
    assert answer["spec"]["strategy"] == {"type": "Recreate"}


def test_strategic_patch_of_maps(server: Client, maps: str) -> None:
    """Group 4: null removes, `$patch: replace` replaces."""
    server.post(maps, config_map("a", {"k": "1", "l": "2"}))
    assert server.patch(f"{maps}/a", {"data": {"k": None}}, STRATEGIC)["data"] == {"l": "2"}
    assert server.patch(f"{maps}/a", {"data": {"$patch": "replace", "z": "1"}}, STRATEGIC)["data"] == {"z": "1"}


def test_no_strategic_patch_of_custom_kinds(server: Client, demos: str) -> None:
    """Group 4: 415, which tells kubectl to use a merge patch."""
    server.post(demos, demo("a"))
    answer = server.patch(f"{demos}/a", {}, STRATEGIC)
    assert (answer.code, answer.reason) == (415, "UnsupportedMediaType")


def test_patches_are_validated(server: Client, demos: str) -> None:
    """Group 8: what a patch makes of the object must be valid."""
    server.post(demos, demo("a"))
    answer = server.patch(f"{demos}/a", {"spec": {"replicas": 99}})
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes[0]["field"] == "spec.replicas"
