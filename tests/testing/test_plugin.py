"""The fixtures that users' own tests get."""

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from fastcore.testing import plugin
from fastcore.testing.apiserver import APIServer
from fastcore.testing.kube import KubeServer


def test_embedded_server_is_new_and_answers(api_server: APIServer) -> None:
    with urllib.request.urlopen(f"{api_server.url}/api/v1/configmaps", timeout=10) as response:
        assert json.load(response)["items"] == []


@pytest.mark.kube
def test_real_server_is_one_of_kubernetes_own(kube_server: KubeServer) -> None:
    assert set(kube_server.pids) == {"etcd", "kube-apiserver"}
    assert kube_server.url.startswith("https://127.0.0.1:")


def test_absence_is_a_skip_unless_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCORE_REQUIRE", "redis")
    with pytest.raises(pytest.skip.Exception, match="no-such-binary not found"):
        plugin.need("kube", "no-such-binary")
    monkeypatch.setenv("FASTCORE_REQUIRE", "redis,kube")
    with pytest.raises(pytest.fail.Exception, match="names 'kube', but no-such-binary not found"):
        plugin.need("kube", "no-such-binary")


def test_missing_binaries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="etcd is neither in KUBEBUILDER_ASSETS=/nowhere nor on PATH"):
        KubeServer().start()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
def test_a_process_that_dies_is_reported_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plugin.need("openssl", "openssl")
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).write_text("#!/bin/sh\necho broken on purpose\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(RuntimeError, match=r"ended with status 3:\nbroken on purpose"):
        KubeServer(assets=str(tmp_path)).start()
