"""What a soak does to a controller: users, drift, crashes and pauses, all from one seed; and who keeps it running."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from fastcore.controller.client import Client
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT
from fastcore.diff import covers
from fastcore.errors import FastcoreError
from fastcore.reference.processes import READS, fetch
from fastcore.reference.status import is_synced
from fastcore.reference.webapp import WEBAPP, config_map, deployment, is_owned
from fastcore.testing.kube import KubeServer, free_port

NAMESPACE = "soak"
NAMES = 120  # WebApps there can be at once: memory can only stay flat if the objects do not become more
DOWN = (FastcoreError, OSError, TimeoutError)


class Keeper:
    """Runs `fastcore run`, starts it again when it ends, and reads its memory and its writes."""

    def __init__(self, kubeconfig: str) -> None:
        self._command = [sys.executable, "-m", "fastcore", "run", "--kubeconfig", kubeconfig, "--log-level", "info"]
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._url = ""
        self._log = -1, ""

    def __enter__(self) -> Self:
        self._log = tempfile.mkstemp(prefix="fastcore-soak-", suffix=".log")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        os.close(self._log[0])
        os.unlink(self._log[1])

    def start(self) -> None:
        """Start it unless it runs; it ends by itself if the API server is away while it starts, as in a pod."""
        if self.process is None or self.process.poll() is not None:
            port = free_port()
            self._url = f"http://127.0.0.1:{port}/metrics"
            command = [*self._command, "--metrics-addr", f"127.0.0.1:{port}"]
            self.process = subprocess.Popen(command, stdout=self._log[0], stderr=subprocess.STDOUT)
            self.starts += 1

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def log(self) -> str:
        """The end of what it printed."""
        return Path(self._log[1]).read_text(encoding="utf-8", errors="replace")[-4000:]

    def rss_mib(self) -> float:
        """Its resident memory; 0 if it is just starting."""
        assert self.process is not None
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    async def writes(self) -> int:
        """Requests that it has sent and that change something; -1 if it does not answer."""
        text = await asyncio.to_thread(fetch, self._url)
        if text is None:
            return -1
        samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
        sent = (s for s in samples if s.name == "rest_client_requests_total" and s.labels["method"] not in READS)
        return int(sum(s.value for s in sent))


class Chaos:
    """Does one thing after another until `end`: what users do often, what breaks now and then."""

    def __init__(self, server: KubeServer, client: Client, keeper: Keeper, seed: int, end: float) -> None:
        self._server = server
        self._client = client
        self._keeper = keeper
        self._random = random.Random(seed)
        self._begin = time.monotonic()
        self._end = end
        self.done: dict[str, int] = {}
        self.rss: list[tuple[float, int, float]] = []  # when, which start of the controller, MiB

    async def run(self) -> None:
        """All of it at the same time; the servers and the controller run when this returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._often(0.05, self._use))
            group.create_task(self._often(0.3, self._disturb))
            group.create_task(self._often(6.0, self._break))
            group.create_task(self._often(1.0, self._look))

    async def _often(self, pause_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < self._end:
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * pause_s)
            await act()

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    async def _use(self) -> None:
        name = f"web-{self._random.randrange(NAMES):03d}"
        action = self._random.choices(("create", "update", "delete"), (3, 5, 1))[0]
        spec = {
            "image": f"registry.example/web:{self._random.randrange(1000)}",
            "replicas": self._random.randrange(4),
            "config": {f"KEY_{i}": str(self._random.random()) for i in range(self._random.randrange(4))},
        }
        with contextlib.suppress(*DOWN):
            if action == "create":
                meta = {"name": name, "namespace": NAMESPACE}
                await self._client.create(
                    WEBAPP, {"apiVersion": WEBAPP.api_version, "kind": WEBAPP.kind, "metadata": meta, "spec": spec}
                )
            elif action == "update":
                await self._client.patch(WEBAPP, NAMESPACE, name, {"spec": spec})
            else:
                await self._client.delete(WEBAPP, NAMESPACE, name)
            self._count(action)

    async def _disturb(self) -> None:
        name = f"web-{self._random.randrange(NAMES):03d}"
        with contextlib.suppress(*DOWN):
            if self._random.random() < 0.5:
                await self._client.delete(DEPLOYMENT, NAMESPACE, name)
            else:
                await self._client.patch(CONFIG_MAP, NAMESPACE, name, {"data": {"KEY_0": "edited by somebody"}})
            self._count("drift")

    async def _break(self) -> None:
        # In the second half the controller lives on, so that its memory can be compared.
        half = time.monotonic() > (self._begin + self._end) / 2
        parts = ("kube-apiserver", "etcd") if half else ("kube-apiserver", "etcd", "controller")
        part = self._random.choice(parts)
        if self._random.random() < 0.5:
            self._count(f"pause {part}")
            self._signal(part, signal.SIGSTOP)
            await asyncio.sleep(self._random.uniform(0.5, 6.0))
            self._signal(part, signal.SIGCONT)
            return
        self._count(f"kill -9 {part}")
        if part == "controller":
            self._keeper.send(signal.SIGKILL)
            assert self._keeper.process is not None
            await asyncio.to_thread(self._keeper.process.wait)
            self._keeper.start()
            return
        await asyncio.to_thread(self._server.kill, part)
        await asyncio.sleep(self._random.uniform(0.0, 3.0))
        await asyncio.to_thread(self._server.revive, part)
        await asyncio.to_thread(self._server.wait_ready)

    def _signal(self, part: str, number: signal.Signals) -> None:
        if part == "controller":
            self._keeper.send(number)
        else:
            os.kill(self._server.pids[part], number)

    async def _look(self) -> None:
        self._keeper.start()
        self.rss.append((time.monotonic(), self._keeper.starts, self._keeper.rss_mib()))


async def out_of_order(client: Client) -> dict[str, str]:
    """The WebApps that have not converged and the children that nobody asks for, each with what is wrong."""
    webapps, maps, deployments = [
        {obj["metadata"]["name"]: obj for obj in (await client.list(kind, NAMESPACE)).items}
        for kind in (WEBAPP, CONFIG_MAP, DEPLOYMENT)
    ]
    wrong: dict[str, str] = {}
    for name, webapp in webapps.items():
        children = ((maps.get(name), config_map(webapp)), (deployments.get(name), deployment(webapp)))
        reasons = [
            f"{wanted['kind']} {reason}" for live, wanted in children if (reason := _child(live, wanted, webapp))
        ]
        if not is_synced(webapp):
            reasons.append(f"status is of an older generation: {webapp.get('status')}")
        if (maps.get(name) or {}).get("data", {}) != webapp["spec"].get("config", {}):
            reasons.append(f"data {(maps.get(name) or {}).get('data')}, wanted {webapp['spec'].get('config')}")
        if reasons:
            wrong[name] = f"generation {webapp['metadata']['generation']}: {', '.join(reasons)}"
    for kind, children in (("ConfigMap", maps), ("Deployment", deployments)):
        for name in children.keys() - webapps.keys() - {"kube-root-ca.crt"}:
            wrong[name] = f"{kind} without a WebApp"
    return wrong


def _child(child: dict[str, Any] | None, wanted: dict[str, Any], webapp: dict[str, Any]) -> str:
    if child is None:
        return "missing"
    if not is_owned(child, webapp):
        return "of another WebApp"
    return "" if covers(child, wanted) else "differs"
