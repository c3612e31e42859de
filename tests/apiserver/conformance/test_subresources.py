"""Group 5: status and scale."""

from typing import Any

from apiserver.http_client import Client
from apiserver.objects import demo, deployment, managed


def test_status_is_separate(server: Client, demos: str) -> None:
    """WR-4: the main endpoint ignores the status, `/status` all but the status."""
    created = server.post(demos, {**demo("a"), "status": {"phase": "Mine"}})
    assert "status" not in created.body
    body = {**created.body, "status": {"phase": "Ready"}, "spec": {"image": "other"}}
    answer = server.put(f"{demos}/a/status", body)
    assert answer.code == 200
    assert answer["status"] == {"phase": "Ready"}
    assert answer["spec"] == created["spec"]
    answer = server.put(f"{demos}/a", {**answer.body, "status": {"phase": "Other"}})
    assert answer["status"] == {"phase": "Ready"}
    assert server.get(f"{demos}/a/status").body == server.get(f"{demos}/a").body


def test_metadata_through_the_status(server: Client, demos: str) -> None:
    """WR-4: labels and annotations of a custom kind do not change through `/status`."""
    server.post(demos, demo("a", labels={"l": "1"}))
    patch = {"metadata": {"labels": {"l": "2"}, "annotations": {"x": "y"}}, "status": {"phase": "Ready"}}
    answer = server.patch(f"{demos}/a/status", patch)
    assert answer.meta["labels"] == {"l": "1"}
    assert "annotations" not in answer.meta
    assert answer["status"] == {"phase": "Ready"}


def test_noop_status(server: Client, demos: str) -> None:
    """WR-3: the same status again changes nothing."""
    server.post(demos, demo("a"))
    first = server.patch(f"{demos}/a/status", {"status": {"phase": "Ready"}})
    assert server.patch(f"{demos}/a/status", {"status": {"phase": "Ready"}}).body == first.body


def test_stale_status(server: Client, demos: str) -> None:
    """WR-1: 409."""
    first = server.post(demos, demo("a")).body
    server.patch(f"{demos}/a", {"spec": {"replicas": 2}})
    answer = server.put(f"{demos}/a/status", {**first, "status": {"phase": "Ready"}})
    assert (answer.code, answer.reason) == (409, "Conflict")


def test_status_is_validated(server: Client, demos: str) -> None:
    """Group 8: the schema covers the status too."""
    server.post(demos, demo("a"))
    answer = server.patch(f"{demos}/a/status", {"status": {"replicas": "many"}})
    assert (answer.code, answer.causes[0]["field"]) == (422, "status.replicas")


def test_status_owner(server: Client, demos: str) -> None:
    """WR-2: managedFields name the subresource."""
    server.post(demos, demo("a"), fieldManager="poster")
    answer = server.patch(f"{demos}/a/status", {"status": {"phase": "Ready"}}, fieldManager="poster")
    assert managed(answer.body, "poster", "status") == {"f:status": {".": {}, "f:phase": {}}}


def test_status_of_a_deployment(server: Client, deployments: str) -> None:
    """WR-4: the same for a built-in kind."""
    created = server.post(deployments, {**deployment("a"), "status": {"replicas": 3}})
    assert created["status"] == {}
    answer = server.patch(f"{deployments}/a/status", {"status": {"replicas": 3}, "spec": {"replicas": 9}})
    assert (answer["status"]["replicas"], answer["spec"]["replicas"]) == (3, 1)
    answer = server.patch(f"{deployments}/a", {"status": {"replicas": 5}})
    assert answer["status"]["replicas"] == 3


def test_status_of_nothing(server: Client, demos: str) -> None:
    """Group 5: 404."""
    assert server.get(f"{demos}/absent/status").code == 404
    assert server.patch(f"{demos}/absent/status", {"status": {}}).code == 404


def test_no_such_subresource(server: Client, demos: str, maps: str) -> None:
    """Group 5: 404 for a subresource that the kind does not have."""
    for path in (f"{maps}/a/status", f"{demos}/a/other"):
        assert server.get(path).code == 404


def scale_of(answer: Any) -> tuple[Any, ...]:
    assert (answer["kind"], answer["apiVersion"]) == ("Scale", "autoscaling/v1")
    return answer["spec"].get("replicas", 0), answer["status"]["replicas"], answer["status"].get("selector")


def test_scale_of_a_custom_kind(server: Client, demos: str) -> None:
    """Group 5: the paths are the CRD's."""
    created = server.post(demos, demo("a", {"image": "nginx", "replicas": 2}))
    server.patch(f"{demos}/a/status", {"status": {"replicas": 1, "selector": "app=a"}})
    answer = server.get(f"{demos}/a/scale")
    assert scale_of(answer) == (2, 1, "app=a")
    assert answer.meta["uid"] == created.meta["uid"]
    answer = server.patch(f"{demos}/a/scale", {"spec": {"replicas": 4}}, fieldManager="scaler")
    assert (answer.code, scale_of(answer)) == (200, (4, 1, "app=a"))
    obj = server.get(f"{demos}/a")
    assert (obj["spec"]["replicas"], obj.meta["generation"]) == (4, 2)
    assert managed(obj.body, "scaler", "scale") == {"f:spec": {"f:replicas": {}}}


def test_scale_of_a_deployment(server: Client, deployments: str) -> None:
    """Group 5: GET and PUT, as the autoscaler does."""
    server.post(deployments, deployment("a"))
    scale = server.get(f"{deployments}/a/scale")
    assert scale_of(scale) == (1, 0, "app=a")
    answer = server.put(f"{deployments}/a/scale", {**scale.body, "spec": {"replicas": 3}})
    assert (answer.code, scale_of(answer)) == (200, (3, 0, "app=a"))
    assert server.get(f"{deployments}/a")["spec"]["replicas"] == 3
    stale = server.put(f"{deployments}/a/scale", {**scale.body, "spec": {"replicas": 5}})
    assert (stale.code, stale.reason) == (409, "Conflict")


def test_bad_scale(server: Client, deployments: str) -> None:
    """Group 5: replicas may not be negative."""
    server.post(deployments, deployment("a"))
    answer = server.patch(f"{deployments}/a/scale", {"spec": {"replicas": -1}})
    assert (answer.code, answer.reason) == (422, "Invalid")
