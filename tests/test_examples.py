"""The programs in examples/ do what they say, each on an embedded API server where it needs one."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes import client, config

from fastcore.testing.apiserver import APIServer

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the installed package")


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", *command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*command: str) -> str:
    process = start(*command)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "kubeconfig"
    with APIServer() as server:
        server.kubeconfig(path)
        yield str(path)


@pytest.fixture
def api(kubeconfig: str) -> Iterator[client.CoreV1Api]:
    with config.new_client_from_config(kubeconfig) as connection:
        yield client.CoreV1Api(connection)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"it did not happen; the example printed:\n{process.communicate()[0]}")
        time.sleep(0.05)


def test_asyncio_service() -> None:
    output = run(str(EXAMPLES / "asyncio_service.py"))
    assert "1000 callers, 1 call of the backend" in output
    assert "backend down: 3 calls failed, 7 refused without a call" in output


def test_plain_client(kubeconfig: str) -> None:
    output = run(str(EXAMPLES / "plain_client.py"), "--kubeconfig", kubeconfig)
    assert "100 calls, 1 write, 3 requests" in output


def test_own_controller(kubeconfig: str, api: client.CoreV1Api) -> None:
    def limits() -> dict[str, str] | None:
        found = api.list_namespaced_config_map("default", field_selector="metadata.name=limits").items
        return found[0].data if found else None

    with start(str(EXAMPLES / "own_controller.py"), "--kubeconfig", kubeconfig) as process:
        api.patch_namespace("default", {"metadata": {"labels": {"quota": "small"}}})
        wait_until(lambda: limits() == {"cpu": "2", "memory": "4Gi"}, process)
        api.delete_namespaced_config_map("limits", "default")
        wait_until(lambda: limits() is not None, process)
        process.terminate()
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0 or sys.platform == "win32", output  # there it is killed


def test_kopf_operator(kubeconfig: str, api: client.CoreV1Api) -> None:
    command = ["-m", "kopf", "run", "--standalone", "-n", "default", "--log-format=plain"]
    with start(*command, str(EXAMPLES / "kopf_operator.py"), KUBECONFIG=kubeconfig) as process:
        api.create_namespaced_config_map("default", {"metadata": {"name": "web"}, "data": {"image": "web:1"}})
        assert process.stdout is not None
        for line in process.stdout:
            if "image of default/web is fine" in line:
                break
        else:
            pytest.fail("the handler did not run")
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode is not None


def test_inventory(kubeconfig: str, api: client.CoreV1Api, tmp_path: Path) -> None:
    """Rows come and go with the objects, in the file and in what is printed."""
    database = tmp_path / "inventory.db"

    def rows() -> set[str]:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            try:
                return {name for (name,) in connection.execute("SELECT name FROM fastcore_resources")}
            except sqlite3.OperationalError:
                return set()

    api.create_namespaced_config_map("default", {"metadata": {"name": "web-a"}})
    process = start(
        str(EXAMPLES / "inventory.py"),
        "--kubeconfig",
        kubeconfig,
        "--database",
        f"sqlite:///{database}",
        "--prefix",
        "web",
    )
    wait_until(lambda: "web-a" in rows(), process)
    api.create_namespaced_config_map("default", {"metadata": {"name": "web-b"}})
    wait_until(lambda: "web-b" in rows(), process)
    api.delete_namespaced_config_map("web-a", "default")
    wait_until(lambda: "web-a" not in rows(), process)
    time.sleep(1.0)  # longer than the watch's poll
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    lines = output.splitlines()
    assert "now: default/web-b" in lines
    assert "gone: default/web-a" in lines
