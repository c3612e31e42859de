"""Go's tools look at a running controller."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION
from fastcore.observe.profiles.sampler import thread_clocks
from fastcore.reference import crd
from fastcore.reference.processes import Controller, Server
from fastcore.reference.webapp import WEBAPP
from fastcore.testing.plugin import need

SPEC = {"image": "a:1", "replicas": 2, "config": {"A": "x"}, "ports": [{"name": "http", "port": 8080}]}


async def test_go_tool_pprof_names_the_functions_of_a_running_controller(tmp_path: Path) -> None:
    """PF1, PF2, PF7: while it reconciles, the profile shows the reconciler and the HTTP client; goroutine its tasks."""
    need("go", "go")
    if not thread_clocks():
        pytest.skip("threads' processor time is not told here")
    async with Server(tmp_path) as server:
        config = await ClientConfig.load(str(server.kubeconfig))
        async with Client(config) as client:
            await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
            async with Controller("--kubeconfig", str(server.kubeconfig), "--log-level", "warning") as controller:
                url = f"{controller.url}/debug/pprof/profile?seconds=2"
                top = subprocess.Popen(
                    ["go", "tool", "pprof", "-top", "-nodecount=300", url],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    env={**os.environ, "PPROF_TMPDIR": str(tmp_path)},
                )  # fmt: skip
                number = 0
                while top.poll() is None:
                    metadata = {"name": f"w{number}", "namespace": "default"}
                    await client.create(
                        WEBAPP,
                        {"apiVersion": WEBAPP.api_version, "kind": WEBAPP.kind, "metadata": metadata, "spec": SPEC},
                    )
                    number += 1
                printed, complaints = top.communicate()
                assert top.returncode == 0, complaints
                print(printed)
                assert "Type: cpu" in printed
                reconciler, client_side = share(printed, r"reconciler\.\S+__call__"), share(printed, r"Client\._write")
                assert reconciler > 10, printed
                assert client_side > 5, printed


async def test_go_tool_pprof_reads_every_profile_of_a_running_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PF6, PF7: each kind is told as what it is, and names functions of the controller where it has any."""
    need("go", "go")
    monkeypatch.setenv("PYTHONTRACEMALLOC", "3")
    async with Server(tmp_path) as server:
        config = await ClientConfig.load(str(server.kubeconfig))
        async with Client(config) as client:
            await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
            async with Controller("--kubeconfig", str(server.kubeconfig), "--log-level", "warning") as controller:
                printed = {}
                for name in ("wall?seconds=1", "heap", "goroutine", "block", "mutex"):
                    process = await asyncio.create_subprocess_exec(
                        "go", "tool", "pprof", "-top", "-nodecount=1000", "-nodefraction=0",
                        f"{controller.url}/debug/pprof/{name}",
                        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                        env={**os.environ, "PPROF_TMPDIR": str(tmp_path)},
                    )  # fmt: skip
                    text, complaints = await process.communicate()
                    assert process.returncode == 0, complaints.decode()
                    printed[name.partition("?")[0]] = text.decode()
    types = {name: re.search(r"Type: (\w+)", text)[1] for name, text in printed.items()}  # type: ignore[index]
    assert types == {
        "wall": "wall", "heap": "inuse_space", "goroutine": "goroutine", "block": "delay", "mutex": "delay",
    }  # fmt: skip
    assert "Reflector.run" in printed["goroutine"]
    assert "reference.run.main" in printed["wall"]
    assert "fastcore.controller" in printed["heap"]


def share(printed: str, function: str) -> float:
    """Percent of all that was spent in a function or below it."""
    found = re.search(rf"([\d.]+)%  \S*{function}", printed)
    return 0.0 if found is None else float(found[1])
