"""Group 10: the built-in kinds that controllers use."""

import base64
from typing import Any

from apiserver.http_client import Client
from apiserver.objects import deployment


def test_lease(server: Client, namespace: str) -> None:
    """LE-1, LE-4: a Lease is updated only with its resourceVersion; the loser of a race sees 409."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}
    body: dict[str, Any] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}}
    created = server.post(path, {**body, "spec": spec})
    assert created["spec"] == spec
    taken = server.put(f"{path}/a", {**created.body, "spec": {**spec, "holderIdentity": "two"}})
    assert taken["spec"]["holderIdentity"] == "two"
    lost = server.put(f"{path}/a", {**created.body, "spec": {**spec, "holderIdentity": "three"}})
    assert (lost.code, lost.reason) == (409, "Conflict")
    blind = server.put(f"{path}/a", {**body, "spec": spec})
    assert (blind.code, blind.reason) == (422, "Invalid")


def test_secret(server: Client, namespace: str) -> None:
    """Group 10: stringData becomes data; the type has a default."""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    answer = server.post(path, {"metadata": {"name": "a"}, "stringData": {"k": "v"}})
    assert answer["data"] == {"k": base64.b64encode(b"v").decode()}
    assert answer["type"] == "Opaque"
    assert "stringData" not in answer.body


def test_immutable_config_map(server: Client, maps: str) -> None:
    """Group 10: immutable data stays."""
    server.post(maps, {"metadata": {"name": "a"}, "data": {"k": "v"}, "immutable": True})
    answer = server.patch(f"{maps}/a", {"data": {"k": "w"}})
    assert (answer.code, answer.causes[0]["reason"]) == (422, "FieldValueForbidden")
    assert server.patch(f"{maps}/a", {"metadata": {"labels": {"l": "1"}}}).code == 200


def test_namespace(server: Client, namespace: str) -> None:
    """Group 10: phase, label and finalizer of a namespace."""
    answer = server.get(f"/api/v1/namespaces/{namespace}")
    assert answer["status"] == {"phase": "Active"}
    assert answer["spec"] == {"finalizers": ["kubernetes"]}
    assert answer.meta["labels"] == {"kubernetes.io/metadata.name": namespace}


def test_deployment_defaults(server: Client, deployments: str) -> None:
    """Group 10: what a drift detector must not take for drift."""
    spec = server.post(deployments, deployment("a"))["spec"]
    assert spec == {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "nginx:1",
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "resources": {},
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                        "imagePullPolicy": "IfNotPresent",
                    }
                ],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "securityContext": {},
                "schedulerName": "default-scheduler",
            },
        },
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


def test_deployment_rules(server: Client, deployments: str) -> None:
    """Group 10: the selector must fit the template and never changes."""
    wrong = deployment("a")
    wrong["spec"]["template"]["metadata"]["labels"] = {"other": "x"}
    answer = server.post(deployments, wrong)
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.template.metadata.labels")
    server.post(deployments, deployment("a"))
    changed = deployment("a")
    changed["spec"]["selector"]["matchLabels"]["more"] = changed["spec"]["template"]["metadata"]["labels"]["more"] = "x"
    answer = server.put(f"{deployments}/a", changed)
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.selector")


def test_containers(server: Client, deployments: str) -> None:
    """Group 10: a container has a name and an image; Recreate has no rolling update."""
    wrong = deployment("a")
    for container, missing in (({"name": "x"}, "image"), ({"image": "x"}, "name")):
        wrong["spec"]["template"]["spec"]["containers"][0] = container
        answer = server.post(deployments, wrong)
        assert [cause["field"] for cause in answer.causes] == [f"spec.template.spec.containers[0].{missing}"]
    server.post(deployments, deployment("a"))
    answer = server.patch(f"{deployments}/a", {"spec": {"strategy": {"type": "Recreate"}}})
    assert (answer.code, answer.causes[0]["field"]) == (422, "spec.strategy.rollingUpdate")


def test_events_in_both_groups(server: Client, namespace: str) -> None:
    """EV-1, EV-2: core/v1 and events.k8s.io/v1 are two faces of one Event."""
    new = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    old = f"/api/v1/namespaces/{namespace}/events"
    about = {"kind": "ConfigMap", "namespace": namespace, "name": "x", "apiVersion": "v1"}
    answer = server.post(
        new,
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "a"},
            "regarding": about,
            "reason": "Tested",
            "note": "it was tested",
            "type": "Normal",
            "action": "Test",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "x.dev/tester",
            "reportingInstance": "tester-1",
        },
    )
    assert answer.code == 201, answer
    seen = server.get(f"{old}/a")
    assert seen["kind"] == "Event"
    assert (seen["involvedObject"], seen["message"]) == (about, "it was tested")
    assert seen["reportingComponent"] == "x.dev/tester"
    assert server.get(new, fieldSelector="regarding.name=x").names == ["a"]
    assert server.get(old, fieldSelector="involvedObject.name=x,reason=Tested").names == ["a"]


def test_core_event(server: Client, namespace: str) -> None:
    """EV-1: repeats count up by a patch."""
    path = f"/api/v1/namespaces/{namespace}/events"
    answer = server.post(
        path,
        {
            "metadata": {"generateName": "e-"},
            "involvedObject": {"kind": "ConfigMap", "namespace": namespace, "name": "x"},
            "reason": "Tested",
            "message": "once",
            "type": "Warning",
            "count": 1,
        },
    )
    assert answer.code == 201, answer
    patched = server.patch(f"{path}/{answer.meta['name']}", {"count": 2, "lastTimestamp": "2026-01-01T00:00:00Z"})
    assert (patched["count"], patched["lastTimestamp"]) == (2, "2026-01-01T00:00:00Z")


def test_roles(server: Client, namespace: str) -> None:
    """Group 10: roles are stored; PUT creates them."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "a"}, "rules": rules}
    answer = server.put(f"{path}/a", body)
    assert (answer.code, answer["rules"]) == (201, rules)


def test_service(server: Client, namespace: str) -> None:
    """Group 10: a Service has an address and keeps it; ports are merged by port and protocol."""
    path = f"/api/v1/namespaces/{namespace}/services"
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    answer = server.apply(f"{path}/a", {**body, "spec": {"ports": [{"port": 80}], "selector": {"app": "a"}}})
    spec = answer["spec"]
    assert (spec["type"], spec["sessionAffinity"]) == ("ClusterIP", "None")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 80}]
    again = server.apply(f"{path}/a", {**body, "spec": {"ports": [{"port": 80}], "selector": {"app": "a"}}})
    assert again.body == answer.body
