"""The table of the built-in kinds and the patches made with it, on a real kube-apiserver."""

import copy
import json
import uuid

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from apiserver.http_client import MERGE, STRATEGIC, Client
from diff.generate_kinds import PATH, download, text
from fastcore.testing.kube import KubeServer

word = st.sampled_from(["a", "b", "c"])
# A server drops empty maps and lists, so they are never asked for.
labels = st.dictionaries(word, word, min_size=1, max_size=3)


def unique(key, strategy):
    return st.lists(strategy, min_size=1, max_size=3, unique_by=lambda item: item[key])


env = unique("name", st.fixed_dictionaries({"name": word, "value": word}))
mounts = unique("mountPath", st.builds(lambda path: {"name": "v", "mountPath": f"/{path}"}, word))
containers = st.lists(
    st.fixed_dictionaries(
        {"name": word, "image": st.sampled_from(["web:1", "web:2"])},
        optional={
            "args": st.lists(word, min_size=1, max_size=3),
            "env": env,
            "volumeMounts": mounts,
            "ports": unique("containerPort", st.fixed_dictionaries({"containerPort": st.integers(80, 83)})),
            "resources": st.fixed_dictionaries(
                {"limits": st.dictionaries(st.sampled_from(["cpu", "memory"]), st.just("1"), min_size=1)}
            ),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda item: item["name"],
)
pod_specs = st.fixed_dictionaries(
    {
        "containers": containers,
        "volumes": st.sampled_from(
            [
                [{"name": "v", "emptyDir": {}}],
                [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "emptyDir": {}}],
            ]
        ),
    },
    optional={
        "hostAliases": unique("ip", st.builds(lambda n: {"ip": f"10.0.0.{n}", "hostnames": ["h"]}, st.integers(1, 3))),
        "imagePullSecrets": unique("name", st.fixed_dictionaries({"name": word})),
        "nodeSelector": labels,
        "tolerations": st.lists(
            st.fixed_dictionaries({"key": word, "operator": st.just("Exists")}), min_size=1, max_size=3
        ),
    },
)
deployment_specs = st.fixed_dictionaries(
    {
        "replicas": st.integers(0, 3),
        "selector": st.just({"matchLabels": {"app": "x"}}),
        "strategy": st.sampled_from(
            [{"type": "Recreate"}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}]
        ),
        "template": st.fixed_dictionaries({"metadata": st.just({"labels": {"app": "x"}}), "spec": pod_specs}),
    }
)
service_specs = st.fixed_dictionaries(
    {
        "ports": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["a", "b", "c", "d"]),
                    "port": st.integers(80, 82),
                    "protocol": st.sampled_from(["TCP", "UDP"]),
                }
            ),
            min_size=1,
            max_size=3,
            unique_by=(lambda port: port["name"], lambda port: (port["port"], port["protocol"])),
        )
    },
    optional={
        "selector": labels,
        "externalIPs": st.lists(st.sampled_from(["10.1.0.1", "10.1.0.2"]), min_size=1, unique=True),
    },
)
# Most of a pod may not change; what may is enough to see maps, sets and lists.
finalizers = st.lists(st.sampled_from(["x.dev/a", "x.dev/b", "x.dev/c"]), min_size=1, max_size=3, unique=True)
pod_metadata = st.fixed_dictionaries({}, optional={"finalizers": finalizers, "labels": labels, "annotations": labels})
pods = st.fixed_dictionaries({"metadata": pod_metadata, "image": st.sampled_from(["web:1", "web:2"])})


@pytest.fixture(scope="module")
def client(kube_server):
    client = Client(kube_server.url, kube_server.token, kube_server.ca)
    account = {"metadata": {"name": "default"}}
    client.call("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    yield client
    client.close()


@pytest.mark.kube
def test_the_table_is_that_of_a_real_server(kube_server: KubeServer) -> None:
    """DF4: merge keys and strategies are facts of the server; this is how drift shows."""
    assert text(*download(kube_server)) == PATH.read_text(encoding="utf-8")


def converge(impl, client, path, old, new):
    """Create `old`, patch it to `new` by what was read back, and check what the server made of it."""
    name = f"x{uuid.uuid4().hex[:12]}"
    old["metadata"]["name"] = new["metadata"]["name"] = name
    created = client.call("POST", path, old)
    assert created.code == 201, created
    live = created.body
    patch = impl.strategic.three_way_patch(old, live, new)
    patched = client.call("PATCH", f"{path}/{name}", patch, STRATEGIC)
    assert patched.code == 200, (patched, patch)
    expected = impl.strategic.apply_strategic_merge_patch(live, patch)
    reached = patched.body
    client.call("PATCH", f"{path}/{name}", {"metadata": {"finalizers": None}}, MERGE)
    client.call("DELETE", f"{path}/{name}")
    # What the server sets of itself, or clears where it means no more, is not the patch's.
    expected = {"spec": {member: expected["spec"][member] for member in new["spec"]}}
    assert impl.diff.covers(reached, new), (patch, reached)
    assert impl.diff.covers(reached, expected, list_keys={}), (patch, reached)
    assert reached["metadata"].get("finalizers", []) == new["metadata"].get("finalizers", [])
    again = impl.strategic.three_way_patch(new, reached, new)
    assert again == {}, again
    return reached


# No shrinking: a server that is asked a thousand times more tells no more.
reading = settings(max_examples=40, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.kube
@reading
@given(old=deployment_specs, new=deployment_specs, metadata=st.tuples(pod_metadata, pod_metadata))
def test_deployments_become_what_is_desired(impl, client, old, new, metadata):
    """DF4: a real server makes of our patch what we wanted, in the order that we wanted."""
    first, second = (
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": copy.deepcopy(meta), "spec": spec}
        for meta, spec in zip(metadata, (old, new), strict=True)
    )
    reached = converge(impl, client, "/apis/apps/v1/namespaces/default/deployments", first, second)
    names = [c["name"] for c in reached["spec"]["template"]["spec"]["containers"]]
    assert names == [c["name"] for c in new["template"]["spec"]["containers"]]


@pytest.mark.kube
@reading
@given(old=service_specs, new=service_specs)
def test_services_become_what_is_desired(impl, client, old, new):
    """DF4: also where the merge key, a port's number, is there twice."""
    first, second = ({"apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": spec} for spec in (old, new))
    reached = converge(impl, client, "/api/v1/namespaces/default/services", first, second)
    assert {port["name"] for port in reached["spec"]["ports"]} == {port["name"] for port in new["ports"]}


@pytest.mark.kube
@reading
@given(old=pods, new=pods)
def test_pods_become_what_is_desired(impl, client, old, new):
    """DF4: finalizers are a set whose order is kept."""
    first, second = (
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": copy.deepcopy(pod["metadata"]),
            "spec": {"containers": [{"name": "web", "image": pod["image"]}]},
        }
        for pod in (old, new)
    )
    reached = converge(impl, client, "/api/v1/namespaces/default/pods", first, second)
    assert [c["image"] for c in reached["spec"]["containers"]] == [new["image"]]


def test_the_table_has_what_the_statements_name(impl):
    """DF4: a few rows that everybody knows."""
    types = json.loads(PATH.read_text(encoding="utf-8"))["types"]
    assert types["core.v1.PodSpec"]["containers"] == ["core.v1.Container", "merge", "name"]
    assert types["core.v1.PodSpec"]["volumes"][1:] == ["merge,retainKeys", "name"]
    assert types["core.v1.ServiceSpec"]["ports"] == ["", "merge", "port"]
    assert types["meta.v1.ObjectMeta"]["finalizers"] == ["", "merge", ""]
    assert {"apps/v1 Deployment", "v1 ConfigMap", "batch/v1 CronJob", "v1 Node"} <= types.keys()
    assert "v1 PodList" not in types
    for members in types.values():
        assert all(kind in types or not kind for kind, _, _ in members.values())
