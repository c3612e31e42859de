"""`fastcore run` as a person starts it: it works, it ends, and it says what is wrong."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.scripted import ScriptedServer, answer, failure
from fastcore.controller.client import APPLY_PATCH, Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ApiError, ForbiddenError
from fastcore.controller.model import CONFIG_MAP, SECRET
from fastcore.controller.workspace import Workspace
from fastcore.reference import MANIFESTS, run
from fastcore.reference.webapp import WEBAPP
from fastcore.testing.apiserver import APIServer
from fastcore.testing.kube import KubeServer, free_port
from reference.conftest import Load
from reference.world import World, install_crd, world


def kubeconfig(folder: Path, server: str) -> str:
    path = folder / "config"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("one", "two")],
        "current-context": "one",
    }
    path.write_text(json.dumps(config))
    return str(path)


def test_a_missing_kubeconfig_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--kubeconfig", "/no/such/file"]) == 2
    assert "/no/such/file" in capsys.readouterr().err


def test_a_missing_context_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--kubeconfig", kubeconfig(tmp_path, "http://127.0.0.1:9"), "--context", "three"]) == 2
    assert "three" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    assert run.main(["--kubeconfig", kubeconfig(tmp_path, server), "--metrics-addr", "0"]) == 1
    error = capsys.readouterr().err
    assert server in error
    assert "while listing webapps.apps.fastcore.dev" in error


def test_a_taken_metrics_address_says_how_to_choose_another(
    tmp_path: Path, api_server: APIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kubeconfig(tmp_path, api_server.url)
    create = urllib.request.Request(f"{api_server.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    create.add_header("Content-Type", "application/yaml")
    urllib.request.urlopen(create, (MANIFESTS / "crd.yaml").read_bytes(), timeout=10).close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run.main(["--kubeconfig", path, "--metrics-addr", address]) == 1
    error = capsys.readouterr().err
    assert address.split(":")[1] in error
    assert "--metrics-addr HOST:PORT" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "must be >= 1, not 0"),
        (["--metrics-addr", "here"], "HOST:PORT"),
        (["--metrics-addr", "127.0.0.1:70000"], "HOST:PORT"),
        (["--context", "a", "--workspace", "b"], "not allowed with"),
    ],
)
def test_misuse_is_explained(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        (":8080", ("0.0.0.0", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("0", None),
    ],
)
def test_addresses(text: str, address: Any) -> None:
    assert run._address(text) == address


async def checked(*steps: Any, namespace: str | None = None) -> str:
    async with ScriptedServer(list(steps)) as server, Client(server.config) as client:
        with pytest.raises(run.NotPrepared) as caught:
            await run.check_access(Workspace("test", client, namespace=namespace))
        return str(caught.value)


async def test_a_missing_crd_comes_with_the_command_that_installs_it() -> None:
    message = await checked(answer(404, b"404 page not found"))
    assert "does not know webapps.apps.fastcore.dev" in message
    assert f"kubectl apply -f {MANIFESTS / 'crd.yaml'}" in message


async def test_a_missing_right_is_named() -> None:
    refusal = failure(403, "Forbidden", "deployments.apps is forbidden")
    message = await checked(answer(200), answer(200), refusal)
    assert "does not allow to list deployments.apps in all namespaces" in message
    assert "deployments.apps is forbidden" in message
    assert "get, list and watch" in message
    assert "in namespace 'team'" in await checked(refusal, namespace="team")


async def test_other_failures_say_what_was_asked() -> None:
    broken = failure(500, "InternalError", "etcd is gone")
    async with ScriptedServer([broken]) as server, Client(server.config) as client:
        with pytest.raises(ApiError) as caught:
            await run.check_access(Workspace("test", client))
    assert caught.value.__notes__ == [f"while listing webapps.apps.fastcore.dev at {server.url}"]


async def applied(client: Client, manifest: str) -> None:
    """Apply every document of a manifest, as kubectl would."""
    for document in yaml.safe_load_all((MANIFESTS / manifest).read_text()):
        version, kind, meta = document["apiVersion"], document["kind"], document["metadata"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        where = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        await client.request(
            "PATCH",
            f"{base}{where}/{kind.lower()}s/{meta['name']}",
            params={"fieldManager": "test", "force": True},
            body=json.dumps(document).encode(),
            content_type=APPLY_PATCH,
        )


class Impersonating(ClientConfig):
    """The same credentials, acting as somebody else."""

    def __init__(self, config: ClientConfig, user: str) -> None:
        super().__init__(config.server, ssl_context=config.ssl_context)
        self._inner = config
        self._user = user

    async def headers(self, *, refused: bool = False) -> dict[str, str]:
        return {**await self._inner.headers(refused=refused), "Impersonate-User": self._user}


@pytest.mark.kube
async def test_the_role_allows_exactly_what_the_controller_does(kube_server: KubeServer) -> None:
    """Every manifest is accepted, and with the role's rights alone all of the job works."""
    admin = await ClientConfig.load(kube_server.kubeconfig)
    user = Impersonating(admin, "system:serviceaccount:fastcore-system:fastcore-controller")
    async with Client(admin) as client, Client(user) as restricted:
        await install_crd(client)
        for manifest in ("rbac.yaml", "deployment.yaml", "service.yaml", "crd.yaml", "webapp.yaml"):
            await applied(client, manifest)
        while True:  # the authorizer learns of the new role through a watch of its own
            try:
                await run.check_access(Workspace("test", restricted))
                break
            except run.NotPrepared:
                await asyncio.sleep(0.05)
        for kind, method in ((SECRET, "GET"), (CONFIG_MAP, "DELETE")):
            with pytest.raises(ForbiddenError):
                await restricted.request(method, kind.path("default"))
        await client.delete(WEBAPP, "default", "hello")
    async with world(admin) as w:
        await w.stop()
        w.config = user
        await w.start()
        await w.create("web", ports=[{"name": "a", "port": 1}, {"name": "b", "port": 1}])
        await w.failed("web", "InvalidSpec")
        await w.patch(WEBAPP, "web", {"spec": {"ports": []}})
        await w.synced("web")
        await w.patch(CONFIG_MAP, "web", {"data": {"A": "x", "foreign": "y"}})

        async def repaired() -> bool:
            return await w.data("web") == {"A": "1"}

        await w.until(repaired)
        await w.quiet()
        assert sorted(await w.events("web")) == [("Normal", "Recovered"), ("Warning", "InvalidSpec")]


@pytest.mark.kube
@pytest.mark.skipif(sys.platform == "win32", reason="no process can be sent SIGTERM on Windows")
async def test_the_command_converges_serves_its_pages_and_ends_in_order(kube_server: KubeServer) -> None:
    async with world(await ClientConfig.load(kube_server.kubeconfig)) as w:
        await w.stop()
        port = free_port()
        command = [sys.executable, "-X", "dev", "-m", "fastcore", "run", "--kubeconfig", kube_server.kubeconfig]
        process = subprocess.Popen(
            [*command, "--context", "fastcore", "--workers", "2", "--metrics-addr", f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONWARNINGS": "error"},
        )  # fmt: skip
        try:
            await w.create("web")
            await w.synced("web")
            assert (await page(port, "/readyz")).startswith("HTTP/1.1 200")
            metrics = await page(port, "/metrics")
            assert 'controller_runtime_max_concurrent_reconciles{controller="webapp"} 2.0' in metrics
            assert 'cache_requests_total{cache_name="webapp",result="miss"}' in metrics
            process.send_signal(signal.SIGTERM)
            out, err = await asyncio.to_thread(process.communicate, timeout=30)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, err
        assert out == ""
        assert "SIGTERM: stopping" in err
        assert "ended in order" in err
        assert "Traceback" not in err


async def page(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text


async def test_the_world_is_quiet_when_nobody_writes(load: Load) -> None:
    """The measure of the tests beside this one: an idle controller sends no write."""
    async with world(await load()) as w:
        assert isinstance(w, World)
        assert await w.quiet() == 0


def test_a_context_named_twice_is_one_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip on the command line ends in words, not in a traceback."""
    path = tmp_path / "kubeconfig"
    path.write_text(
        '{"clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [],'
        ' "contexts": [{"name": "a", "context": {"cluster": "a", "user": ""}}], "current-context": "a"}'
    )
    assert run.main(["--kubeconfig", str(path), "--context", "a", "a"]) == 1
    assert "GET to 127.0.0.1:1 failed" in capsys.readouterr().err
