"""The same random writes to both servers must get the same answers: objects, owners, conflicts, errors."""

import random
from typing import Any

import pytest

from apiserver.http_client import JSON_PATCH, STRATEGIC, Answer, Client
from apiserver.objects import DEMO_EXTRA, DEMO_SCHEMA, DEMO_SUBRESOURCES, GROUP, create_crd
from fastcore.diff import diff
from fastcore.testing.apiserver import APIServer
from fastcore.testing.kube import KubeServer

pytestmark = pytest.mark.kube

STEPS = 60
SEEDS = (*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 60)))
# Values that differ between any two servers.
_OWN = ("uid", "resourceVersion", "creationTimestamp", "time")
Request = tuple[str, str, Any, str, dict[str, str]]  # method, path behind the namespace, body, content type, query


@pytest.fixture(scope="module")
def pair(kube_server: KubeServer) -> Any:
    """A client of each server, both knowing the kind `Twin`."""
    with APIServer(controllers=()) as embedded:
        clients = Client(embedded.url), Client(kube_server.url, kube_server.token, kube_server.ca)
        for client in clients:
            create_crd(client, "twins", "Twin", DEMO_SCHEMA, subresources=DEMO_SUBRESOURCES, extra=DEMO_EXTRA)
        yield clients
        for client in clients:
            client.close()


class Writes:
    """Random writes of a few managers to a few objects, so that they meet often."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, values: list[Any]) -> list[Any]:
        return [value for value in values if self.random.random() < 0.5]

    def one(self, *values: Any) -> Any:
        return self.random.choice(values)

    def ports(self) -> list[dict[str, Any]]:
        out = []
        for port in self.some([1, 2, 3]):
            item = {"port": port}
            if self.random.random() < 0.4:
                item["name"] = self.one("a", "b")
            if self.random.random() < 0.3:
                item["protocol"] = "TCP"
            out.append(item)
        self.random.shuffle(out)
        return out

    def spec(self) -> dict[str, Any]:
        pool = {
            "image": self.one("one", "two"),
            "replicas": self.one(1, 2, 3),
            "mode": self.one("fast", "safe"),
            "config": {key: self.one("x", "y") for key in self.some(["k", "l", "m"])} or {"k": "x"},
            "plain": self.some(["a", "b"]) or ["a"],
            "set": self.random.sample(["a", "b", "c", "d"], self.one(1, 2, 3)),
            "ports": self.ports() or [{"port": 9}],
            "block": {key: self.one("x", "y") for key in self.some(["a", "b"])} or {"a": "x"},
            "anything": {"deep": {key: self.one(1, [1, {"z": 2}], "x") for key in self.some(["p", "q"])}, "flat": 1},
            "percent": self.one(5, "5%"),
            "nothing": self.one(None, "x"),
            "defaults": {"level": self.one("info", "debug")},
        }
        wanted = {name: pool[name] for name in self.some(list(pool))}
        return {"image": pool["image"], **wanted}

    def metadata(self, name: str) -> dict[str, Any]:
        out: dict[str, Any] = {"name": name}
        if self.random.random() < 0.5:
            out["labels"] = {key: self.one("x", "y") for key in self.some(["l", "m"])} or {"l": "x"}
        if self.random.random() < 0.3:
            out["annotations"] = {"note": self.one("x", "y")}
        if self.random.random() < 0.3:
            out["finalizers"] = self.some(["x.dev/a", "x.dev/b"]) or ["x.dev/a"]
        return out

    def custom(self) -> Request:
        """A write to a custom object."""
        name = self.one("a", "b")
        path = f"/apis/{GROUP}/v1/namespaces/NS/twins"
        kind = {"apiVersion": f"{GROUP}/v1", "kind": "Twin"}
        query = {"fieldManager": self.one("one", "two", "three")}
        match self.one("apply", "apply", "apply", "merge", "put", "json", "status", "patch status"):
            case "apply":
                body = {**kind, "metadata": self.metadata(name), "spec": self.spec()}
                force = self.one("true", "false")
                return "PATCH", f"{path}/{name}", body, "application/apply-patch+yaml", {**query, "force": force}
            case "merge":
                patch = {"spec": self.spec(), "metadata": self.metadata(name)}
                return "PATCH", f"{path}/{name}", patch, "application/merge-patch+json", query
            case "put":
                body = {**kind, "metadata": self.metadata(name), "spec": self.spec()}
                return "PUT", f"{path}/{name}", body, "application/json", query
            case "json":
                operation = self.one(
                    {"op": "add", "path": "/spec/config", "value": {"k": "z"}},
                    {"op": "remove", "path": "/spec/mode"},
                    {"op": "replace", "path": "/spec/image", "value": "two"},
                    {"op": "test", "path": "/spec/image", "value": "one"},
                )
                return "PATCH", f"{path}/{name}", [operation], JSON_PATCH, query
            case form:
                types = self.some(["Synced", "Ready"]) or ["Ready"]
                conditions = [{"type": kind, "status": self.one("True", "False")} for kind in types]
                status = {"phase": self.one("x", "y"), "conditions": conditions}
                if form == "patch status":
                    patch = {"status": status}
                    return "PATCH", f"{path}/{name}/status", patch, "application/merge-patch+json", query
                body = {**kind, "metadata": {"name": name}, "status": status}
                force = self.one("true", "false")
                return (
                    "PATCH", f"{path}/{name}/status", body, "application/apply-patch+yaml", {**query, "force": force},
                )  # fmt: skip

    def container(self, name: str) -> dict[str, Any]:
        out: dict[str, Any] = {"name": name, "image": self.one("i:1", "i:2")}
        env = [{"name": key, "value": self.one("x", "y")} for key in self.some(["A", "B", "C"])]
        ports = [{"containerPort": port} for port in self.some([80, 81])]
        return out | ({"env": env} if env else {}) | ({"ports": ports} if ports else {})

    def deployment(self) -> Request:
        """A write to a Deployment."""
        path = "/apis/apps/v1/namespaces/NS/deployments"
        query = {"fieldManager": self.one("one", "two", "three")}
        containers = [self.container(name) for name in (self.some(["main", "side"]) or ["main"])]
        self.random.shuffle(containers)
        labels = {"app": "d", **({"extra": "x"} if self.random.random() < 0.3 else {})}
        spec: dict[str, Any] = {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        }
        if self.random.random() < 0.5:
            spec["replicas"] = self.one(1, 2)
        if self.random.random() < 0.3:
            spec["strategy"] = self.one({"type": "Recreate"}, {"type": "RollingUpdate"})
        if self.random.random() < 0.3:
            spec["template"]["spec"]["nodeSelector"] = {self.one("k", "l"): "v"}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata("d"), "spec": spec}
        match self.one("apply", "apply", "strategic", "strategic", "put"):
            case "apply":
                force = self.one("true", "false")
                return "PATCH", f"{path}/d", body, "application/apply-patch+yaml", {**query, "force": force}
            case "put":
                return "PUT", f"{path}/d", body, "application/json", query
            case _:
                if self.random.random() < 0.4:
                    containers[0]["$patch"] = self.one("delete", "replace")
                if self.random.random() < 0.4:
                    order = self.random.sample(["main", "side"], 2)
                    spec["template"]["spec"]["$setElementOrder/containers"] = [{"name": name} for name in order]
                    containers.sort(key=lambda container: order.index(container["name"]))
                spec.pop("strategy", None)
                return "PATCH", f"{path}/d", {"spec": spec, "metadata": body["metadata"]}, STRATEGIC, query


def normal(value: Any) -> Any:
    """An answer without what differs between any two servers.

    The real server lists owners by their times and conflicts in the order of a hash map, so both become mappings.
    """
    if isinstance(value, list):
        return [normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {name: "*" if name in _OWN else normal(sub) for name, sub in value.items()}
    if "managedFields" in out:
        entries = out["managedFields"]
        out["managedFields"] = {f"{e['manager']} {e['operation']} {e.get('subresource')}": e for e in entries}
    if "causes" in out:
        out["causes"] = {f"{cause['field']} {cause['message']}": cause for cause in out["causes"]}
    return out


def same(answers: list[Answer]) -> None:
    embedded, real = answers
    assert embedded.code == real.code
    found, wanted = normal(embedded.body), normal(real.body)
    if real.code in (409, 422):  # several causes come in any order
        found["message"], wanted["message"] = sorted(found["message"]), sorted(wanted["message"])
    assert found == wanted, diff(found, wanted, list_keys={})


@pytest.mark.parametrize("kind", ["custom", "deployment"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_writes(pair: tuple[Client, Client], kind: str, seed: int) -> None:
    """WR-1 to WR-6: whatever is written, both answer alike."""
    namespace = f"twins-{kind}-{seed}"
    for client in pair:
        client.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
    writes = Writes(seed)
    codes = set()
    for _ in range(STEPS):
        method, path, body, content_type, query = getattr(writes, kind)()
        path = path.replace("NS", namespace)
        before = pair[1].get(path.partition("?")[0]).raw.decode()
        answers = [client.call(method, path, body, content_type, **query) for client in pair]
        try:
            same(answers)
        except AssertionError:
            print(method, path, query, body, before, *(answer.raw.decode() for answer in answers), sep="\n")
            raise
        codes.add(answers[0].code)
    assert {200, 201, 409} <= codes


def test_same_discovery(pair: tuple[Client, Client]) -> None:
    """Group 1: what the embedded server says of a kind is what the real one says of it."""
    paths = ["/api/v1", *(f"/apis/{v['groupVersion']}" for g in pair[0].get("/apis")["groups"] for v in g["versions"])]
    for path in paths:
        embedded, real = ({r["name"]: r for r in client.get(path)["resources"]} for client in pair)
        for resource in real.values():
            resource.pop("storageVersionHash", None)
        assert embedded == {name: real.get(name) for name in embedded}
