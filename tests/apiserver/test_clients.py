"""The clients that people use: the official one, synchronous and asynchronous, and kopf."""

import asyncio
from pathlib import Path
from typing import Any

import kopf
import pytest
from kubernetes import client as official
from kubernetes import config, dynamic, watch
from kubernetes.aio import client as aio_client
from kubernetes.aio import config as aio_config
from kubernetes.aio import watch as aio_watch
from kubernetes.client.exceptions import ApiException

from apiserver.conftest import CRDS, MAPS, config_map, foo, foo_crd
from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def kubeconfig(embedded: APIServer, tmp_path: Path) -> str:
    return embedded.kubeconfig(tmp_path / "kubeconfig", ("team-a",))


@pytest.fixture
def api(kubeconfig: str) -> Any:
    return config.new_client_from_config(kubeconfig)


def test_typed_objects(api: Any) -> None:
    core = official.CoreV1Api(api)
    body = official.V1ConfigMap(metadata=official.V1ObjectMeta(name="a", labels={"l": "1"}), data={"k": "v"})
    created = core.create_namespaced_config_map("default", body)
    created.data["k"] = "w"
    replaced = core.replace_namespaced_config_map("a", "default", created)
    assert (replaced.data, replaced.metadata.resource_version > created.metadata.resource_version) == ({"k": "w"}, True)
    core.patch_namespaced_config_map("a", "default", {"data": {"more": "x"}})
    listed = core.list_namespaced_config_map("default", label_selector="l=1", limit=10)
    assert [item.data for item in listed.items] == [{"k": "w", "more": "x"}]
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_config_map("default", body)
    assert caught.value.status == 409
    core.delete_namespaced_config_map("a", "default")
    with pytest.raises(ApiException):
        core.read_namespaced_config_map("a", "default")


def test_deployment_becomes_ready(api: Any) -> None:
    apps = official.AppsV1Api(api)
    labels = {"app": "web"}
    template = official.V1PodTemplateSpec(
        metadata=official.V1ObjectMeta(labels=labels),
        spec=official.V1PodSpec(containers=[official.V1Container(name="c", image="i")]),
    )
    spec = official.V1DeploymentSpec(
        replicas=2, selector=official.V1LabelSelector(match_labels=labels), template=template
    )
    body = official.V1Deployment(metadata=official.V1ObjectMeta(name="web"), spec=spec)
    apps.create_namespaced_deployment("default", body)
    for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", timeout_seconds=10):
        if event["object"].status.ready_replicas == 2:
            break
    else:
        pytest.fail("never became ready")
    apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 3}})
    assert apps.read_namespaced_deployment("web", "default").spec.replicas == 3


def test_dynamic_client(api: Any, client: Client) -> None:
    """Discovery, custom kinds and server-side apply through the dynamic client."""
    client.post(CRDS, foo_crd())
    foos = dynamic.DynamicClient(api).resources.get(api_version="t.dev/v1", kind="Foo")
    applied = foos.server_side_apply(foo("a"), name="a", namespace="default", field_manager="me", force_conflicts=True)
    assert applied.spec.color == "red"
    assert [item.metadata.name for item in foos.get(namespace="default").items] == ["a"]


def test_context_of_a_workspace(kubeconfig: str, client: Client) -> None:
    core = official.CoreV1Api(config.new_client_from_config(kubeconfig, context="team-a"))
    core.create_namespaced_config_map("default", config_map("a"))
    assert client.get(MAPS).names == []
    assert client.within("/clusters/team-a").get(MAPS).names == ["a"]


async def test_asynchronous_client(embedded: APIServer, tmp_path: Path) -> None:
    kubeconfig = embedded.kubeconfig(tmp_path / "kubeconfig")
    settings = aio_client.Configuration()
    await aio_config.load_kube_config(kubeconfig, client_configuration=settings)
    async with aio_client.ApiClient(settings) as api:
        core = aio_client.CoreV1Api(api)
        seen = []

        async def follow() -> None:
            async with aio_watch.Watch().stream(
                core.list_namespaced_config_map, "default", timeout_seconds=20
            ) as events:
                async for event in events:
                    seen.append((event["type"], event["object"].metadata.name))
                    if event["type"] == "DELETED":
                        return

        follower = asyncio.create_task(follow())
        await core.create_namespaced_config_map("default", config_map("a"))
        await core.delete_namespaced_config_map("a", "default")
        await asyncio.wait_for(follower, 20)
        assert ("DELETED", "a") in seen


async def test_kopf_operator(embedded: APIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kopf discovers a CRD that is applied while it runs, handles its object, and writes its status back."""
    monkeypatch.setenv("KUBECONFIG", embedded.kubeconfig(tmp_path / "kubeconfig"))
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**arguments: Any) -> Any:
        return kopf.login_with_kubeconfig(**arguments)

    @kopf.on.create("t.dev", "v1", "foos", registry=registry)
    async def made(spec: Any, patch: Any, **_: Any) -> None:
        patch.metadata.annotations["seen"] = spec["color"]

    stop, ready = asyncio.Event(), asyncio.Event()
    operator = asyncio.create_task(
        kopf.operator(
            registry=registry,
            stop_flag=stop,
            ready_flag=ready,
            clusterwide=True,
            standalone=True,
            settings=_quick_settings(),
        )
    )
    try:
        await asyncio.wait_for(ready.wait(), 20)
        await asyncio.to_thread(_make_foo, embedded.url)
        await asyncio.wait_for(asyncio.to_thread(check_annotation_appears, embedded.url), 30)
    finally:
        stop.set()
        await asyncio.wait_for(operator, 30)
    assert operator.exception() is None


def _quick_settings() -> Any:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.finalizer = "t.dev/kopf"
    settings.watching.server_timeout = 20
    return settings


def _make_foo(url: str) -> None:
    client = Client(url)
    client.post(CRDS, foo_crd())
    client.post("/apis/t.dev/v1/namespaces/default/foos", foo("a"))
    client.close()


def check_annotation_appears(url: str) -> None:
    client = Client(url)
    with client.watch("/apis/t.dev/v1/namespaces/default/foos") as events:
        next(e for e in events if e["object"]["metadata"].get("annotations", {}).get("seen") == "red")
    client.close()
