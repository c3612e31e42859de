"""kubectl on the embedded server and, for comparison, on a real one: no flags that a cluster would not need."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastcore.testing.apiserver import APIServer
from fastcore.testing.plugin import need

pytestmark = pytest.mark.kubectl

Kubectl = Callable[..., str]
GROUP = "kubectl.fastcore.dev"
WIDGET = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Widget",
    "metadata": {"name": "w", "labels": {"app": "w"}},
    "spec": {"image": "nginx", "ports": [80]},
}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wg"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Image", "type": "string", "jsonPath": ".spec.image"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["image"],
                                "properties": {
                                    "image": {"type": "string", "description": "What runs."},
                                    "ports": {"type": "array", "items": {"type": "integer"}},
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


def deployment(image: str) -> dict[str, Any]:
    containers = [{"name": "main", "image": image, "ports": [{"containerPort": 80}]}]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A kubeconfig of the embedded server."""
    need("kubectl", "kubectl")
    with APIServer(controllers=()) as server:
        yield server.kubeconfig(tmp_path_factory.mktemp("embedded") / "kubeconfig", ("a", "b"))


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.kube)])
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """A kubeconfig of each server."""
    need("kubectl", "kubectl")
    if request.param == "real":
        return str(request.getfixturevalue("kube_server").kubeconfig)
    return str(request.getfixturevalue("embedded"))


def runner(kubeconfig: str, home: Path) -> Kubectl:
    """Run kubectl with an empty cache; returns what it prints. `fails`: whether it must fail, None: it may."""

    def run(*arguments: str, stdin: Any = None, fails: bool | None = False) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            input=None if stdin is None else json.dumps(stdin),
            env={**os.environ, "KUBECONFIG": kubeconfig, "HOME": str(home), "USERPROFILE": str(home)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert fails is None or (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def kubectl(kubeconfig: str, tmp_path: Path) -> Kubectl:
    return runner(kubeconfig, tmp_path)


@pytest.fixture
def widgets(kubectl: Kubectl) -> Iterator[Kubectl]:
    """kubectl, the kind Widget, and nothing left behind."""
    kubectl("apply", "-f", "-", stdin=CRD)
    kubectl("wait", "--for=condition=Established", f"crd/widgets.{GROUP}", "--timeout=20s")
    yield kubectl
    kubectl("delete", "widgets", "--all")


@pytest.fixture
def web(kubectl: Kubectl) -> Iterator[Kubectl]:
    """kubectl, and a Deployment "web" that is deleted at the end."""
    yield kubectl
    kubectl("delete", "deployment", "web", "--ignore-not-found")


def test_apply(web: Kubectl) -> None:
    """created, unchanged, configured: three-way strategic merge over our OpenAPI."""
    assert web("apply", "-f", "-", stdin=deployment("nginx:1")) == "deployment.apps/web created\n"
    assert web("apply", "-f", "-", stdin=deployment("nginx:1")) == "deployment.apps/web unchanged\n"
    assert web("apply", "-f", "-", stdin=deployment("nginx:2")) == "deployment.apps/web configured\n"
    changed = deployment("nginx:2")
    del changed["spec"]["template"]["spec"]["containers"][0]["ports"]
    web("apply", "-f", "-", stdin=changed)
    container = json.loads(web("get", "deployment", "web", "-o", "json"))["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:2"
    assert "ports" not in container


def test_server_side_apply(web: Kubectl) -> None:
    """A conflict is explained, and can be forced."""
    apply = ("apply", "--server-side", "-f", "-")
    assert web(*apply, stdin=deployment("nginx:1")) == "deployment.apps/web serverside-applied\n"
    assert web(*apply, stdin=deployment("nginx:1")) == "deployment.apps/web serverside-applied\n"
    refused = web(*apply, "--field-manager=other", stdin=deployment("nginx:2"), fails=True)
    assert 'Apply failed with 1 conflict: conflict with "kubectl"' in refused
    assert '.spec.template.spec.containers[name="main"].image' in refused
    web(*apply, "--field-manager=other", "--force-conflicts", stdin=deployment("nginx:2"))
    assert web("get", "deployment", "web", "-o", "jsonpath={..image}") == "nginx:2"


def test_from_client_side_to_server_side_apply(web: Kubectl) -> None:
    """kubectl moves its own ownership over instead of conflicting with itself."""
    web("apply", "-f", "-", stdin=deployment("nginx:1"))
    out = web("apply", "--server-side", "-f", "-", stdin=deployment("nginx:2"))
    assert "serverside-applied" in out
    metadata = json.loads(web("get", "deployment", "web", "-o", "json", "--show-managed-fields"))["metadata"]
    managers = {(entry["manager"], entry["operation"]) for entry in metadata["managedFields"]}
    assert managers == {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")}
    annotation = json.loads(metadata["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    assert annotation["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"


def test_get_prints_tables(widgets: Kubectl) -> None:
    """Tables come from the server: printer columns of the CRD, and those of built-in kinds."""
    widgets("apply", "-f", "-", stdin=WIDGET)
    assert [line.split() for line in widgets("get", "wg").splitlines()] == [["NAME", "IMAGE"], ["w", "nginx"]]
    every = widgets("get", "widgets", "-A", "--show-labels").splitlines()
    assert every[0].split() == ["NAMESPACE", "NAME", "IMAGE", "LABELS"]
    assert every[1].split() == ["default", "w", "nginx", "app=w"]
    assert widgets("get", "namespace", "default").splitlines()[0].split() == ["NAME", "STATUS", "AGE"]
    assert widgets("get", "widgets", "-l", "app=w", "-o", "name") == f"widget.{GROUP}/w\n"
    assert widgets("get", "widgets", "-l", "app!=w", "-o", "name") == ""


def test_wait(widgets: Kubectl) -> None:
    """--for=condition, --for=jsonpath and --for=delete follow a watch."""
    widgets("apply", "-f", "-", stdin=WIDGET)
    status = {"status": {"phase": "Ready", "conditions": [{"type": "Synced", "status": "True"}]}}
    widgets("patch", "widget", "w", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    assert "condition met" in widgets("wait", "--for=condition=Synced", "widget/w", "--timeout=20s")
    assert "condition met" in widgets("wait", "--for=jsonpath={.status.phase}=Ready", "widget/w", "--timeout=20s")
    widgets("delete", "widget", "w", "--wait=false")
    widgets("wait", "--for=delete", "widget/w", "--timeout=20s")


def test_label_annotate_and_patch(widgets: Kubectl) -> None:
    """The small edits."""
    widgets("apply", "-f", "-", stdin=WIDGET)
    assert widgets("label", "widget", "w", "tier=front") == f"widget.{GROUP}/w labeled\n"
    assert widgets("annotate", "widget", "w", "note=hello") == f"widget.{GROUP}/w annotated\n"
    widgets("label", "widget", "w", "app-")
    widgets("patch", "widget", "w", "--type=merge", "-p", '{"spec": {"image": "other"}}')
    widgets("patch", "widget", "w", "--type=json", "-p", '[{"op": "add", "path": "/spec/ports/-", "value": 81}]')
    obj = json.loads(widgets("get", "widget", "w", "-o", "json"))
    assert obj["metadata"]["labels"] == {"tier": "front"}
    assert obj["metadata"]["annotations"]["note"] == "hello"
    assert obj["spec"] == {"image": "other", "ports": [80, 81]}


def test_strategic_patch_scale_and_set(web: Kubectl) -> None:
    """Edits of a built-in kind."""
    web("apply", "-f", "-", stdin=deployment("nginx:1"))
    containers = {"containers": [{"name": "main", "tty": True}]}
    web("patch", "deployment", "web", "-p", json.dumps({"spec": {"template": {"spec": containers}}}))
    web("scale", "deployment", "web", "--replicas=3")
    web("set", "image", "deployment/web", "main=nginx:9")
    spec = json.loads(web("get", "deployment", "web", "-o", "json"))["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (spec["replicas"], container["image"], container["tty"]) == (3, "nginx:9", True)


def test_validation(widgets: Kubectl) -> None:
    """An unknown field and an invalid value are refused with the field's name."""
    unknown = {**WIDGET, "spec": {"image": "nginx", "imag": "x"}}
    assert 'unknown field "spec.imag"' in widgets("apply", "-f", "-", stdin=unknown, fails=True)
    invalid = {**WIDGET, "spec": {"image": 5}}
    refused = widgets("apply", "-f", "-", stdin=invalid, fails=True)
    assert "spec.image" in refused
    assert "must be of type string" in refused


def test_explain(widgets: Kubectl) -> None:
    """Built-in kinds and custom ones, the latter with their descriptions."""
    text = widgets("explain", "deployment.spec.strategy")
    assert "DeploymentStrategy" in text
    assert "rollingUpdate" in text
    assert "progressDeadlineSeconds" in widgets("explain", "deployment", "--recursive")
    deadline = (
        time.monotonic() + 30
    )  # a real server publishes the schema of a CRD some seconds after it serves the kind
    while "What runs." not in (text := widgets("explain", "widget.spec.image", fails=None)):
        assert time.monotonic() < deadline, text
    assert "FIELD: image <string>" in text


def test_api_resources(widgets: Kubectl) -> None:
    """What there is."""
    lines = [line.split() for line in widgets("api-resources", "--no-headers").splitlines()]
    assert ["configmaps", "cm", "v1", "true", "ConfigMap"] in lines
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in lines
    assert ["widgets", "wg", f"{GROUP}/v1", "true", "Widget"] in lines
    assert f"{GROUP}/v1" in widgets("api-versions").split()


def test_diff_and_dry_run(widgets: Kubectl) -> None:
    """Both use dryRun=All."""
    widgets("apply", "-f", "-", stdin=WIDGET)
    assert widgets("diff", "-f", "-", stdin=WIDGET) == ""
    changed = {**WIDGET, "spec": {"image": "other"}}
    assert "+  image: other" in widgets("diff", "-f", "-", stdin=changed, fails=True)
    out = widgets("apply", "--dry-run=server", "-f", "-", stdin=changed)
    assert out == f"widget.{GROUP}/w configured (server dry run)\n"
    assert widgets("get", "widget", "w", "-o", "jsonpath={.spec.image}") == "nginx"


def test_delete(widgets: Kubectl) -> None:
    """By name, by file and by label."""
    for name in ("a", "b", "c"):
        widgets("apply", "-f", "-", stdin={**WIDGET, "metadata": {"name": name, "labels": {"name": name}}})
    assert widgets("delete", "widget", "a") == f'widget.{GROUP} "a" deleted\n'
    widgets("delete", "-f", "-", stdin={**WIDGET, "metadata": {"name": "b"}})
    widgets("delete", "widgets", "-l", "name=c")
    assert widgets("get", "widgets", "-o", "name") == ""
    assert "NotFound" in widgets("delete", "widget", "a", fails=True)


def test_replace_create_and_describe(widgets: Kubectl) -> None:
    """The rest that people type."""
    assert widgets("create", "-f", "-", stdin=WIDGET) == f"widget.{GROUP}/w created\n"
    assert "AlreadyExists" in widgets("create", "-f", "-", stdin=WIDGET, fails=True)
    widgets("replace", "-f", "-", stdin={**WIDGET, "spec": {"image": "other"}})
    text = widgets("describe", "widget", "w")
    assert "Image:  other" in text
    assert "Kind:         Widget" in text


def test_workspaces(embedded: str, tmp_path: Path) -> None:
    """Each context of the embedded server's kubeconfig is a workspace; a CRD of the root serves them all."""
    kubectl = runner(embedded, tmp_path)
    assert kubectl("config", "get-contexts", "-o", "name").split() == ["a", "b", "fastcore"]
    kubectl("apply", "-f", "-", stdin=CRD)
    kubectl("--context=a", "apply", "-f", "-", stdin=WIDGET)
    assert kubectl("--context=a", "get", "widgets", "-o", "name") == f"widget.{GROUP}/w\n"
    assert kubectl("--context=b", "get", "widgets", "-o", "name") == ""
    assert kubectl("get", "widgets", "-o", "name") == ""
    assert "What runs." in kubectl("--context=b", "explain", "widget.spec.image")
    kubectl("--context=b", "apply", "--server-side", "-f", "-", stdin={**WIDGET, "spec": {"image": "other"}})
    for context, image in (("a", "nginx"), ("b", "other")):
        assert kubectl(f"--context={context}", "get", "widget", "w", "-o", "jsonpath={.spec.image}") == image
    for context in ("a", "b"):
        kubectl(f"--context={context}", "delete", "widget", "w")
