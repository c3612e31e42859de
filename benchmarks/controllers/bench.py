"""Runs one controller through every scenario on one server, and collects what each one cost."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from benchmarks.controllers.contestants import Contestant
from benchmarks.controllers.process import Measured, Usage
from benchmarks.controllers.servers import DRIVER, Asked, BenchServer, Requests
from benchmarks.controllers.states import State, final_states

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION, NAMESPACE
from fastcore.controller.workspace import Workspace
from fastcore.reference import crd
from fastcore.reference.scenario import Key, Place, Scenario, open_places
from fastcore.reference.webapp import WEBAPP

NOISY, QUIET, PASSIVE = "bench-noisy", "bench-quiet", "bench-passive"
BURST = 10
PADDING = 700  # a WebApp is then about 1.1 KB as the server stores it
_WRITERS = 8
_POLL_S = 0.25
_HEAD_START_S = 1.0  # of the noise
_START_S = 60.0
_RESTLESS_S = 0.03  # CPU seconds within a poll that count as work

SCENARIOS = ("cold", "update", "burst", "drift", "restart", "passive", "noisy")


class Row(NamedTuple):
    """One scenario of one controller; requests are those that the server counted."""

    scenario: str
    objects: int
    per_s: float
    p50_s: float
    p99_s: float
    cpu_ms: float
    writes: float
    reads: float
    peak_mib: float
    note: str = ""


class Run(NamedTuple):
    """One controller's results."""

    controller: str
    rows: list[Row]
    start_cpu_s: float
    start_mib: float
    states: list[State]


class Bench:
    """One controller on one server.

    Args:
        contestant: the controller.
        command: how it is started.
        server: where it works.
        objects: WebApps, spread over two namespaces.
        passive: ConfigMaps of nobody's, for the scenario "passive".
        chosen: some of `SCENARIOS`; "cold" is always run, since the others need its objects.
        deadline: seconds that a scenario may take.
    """

    def __init__(
        self,
        contestant: Contestant,
        command: list[str],
        server: BenchServer,
        *,
        objects: int,
        passive: int,
        chosen: tuple[str, ...],
        deadline: float,
    ) -> None:
        self._contestant = contestant
        self._command = [*command, *contestant.arguments(server.kubeconfig)]
        self._server = server
        self._objects = objects
        self._passive = passive
        self._chosen = ("cold", *chosen)
        self._deadline = deadline
        self._requests = Requests(server.audit_log)
        self._start = Usage(0.0, 0, 0, 0)
        self.rows: list[Row] = []

    async def run(self) -> Run:
        """Every chosen scenario."""
        config = await ClientConfig.load(self._server.kubeconfig)
        async with Client(config, user_agent=DRIVER) as client:
            await prepare(client)
            targets = [(Workspace(name, client), name) for name in (NOISY, QUIET)]
            async with open_places(targets) as places:
                await self._scenarios(client, places)
            states = await final_states(client, (NOISY, QUIET))
        return Run(self._contestant.name, self.rows, self._start.cpu_s, self._start.peak_bytes / 2**20, states)

    async def _scenarios(self, client: Client, places: list[Place]) -> None:
        scenario = Scenario(places, self._objects, self._deadline, lambda done, total: None, padding=PADDING)
        keys = scenario.keys()
        async with self._controller() as process:
            self._start = await self._settled(process)
            await self._phase(process, "cold", keys, scenario.create)
            await self._phase(process, "update", keys, scenario.change_image)
            some = keys[: max(2, len(keys) // 10)]
            await self._phase(process, "burst", some, lambda keys: scenario.burst(keys, BURST))
            if self._contestant.repairs:
                await self._phase(process, "drift", keys, scenario.drift)
            await self._noisy(process, scenario, keys)
            # Whatever was run, the end is the same for everybody.
            await scenario.change_image(keys, "final")
            await self._settled(process)
        if "restart" in self._chosen:
            await self._restart("restart", keys)
        if "passive" in self._chosen and self._passive:
            await _fill(client, self._passive)
            await self._restart("passive", keys)

    async def _phase(
        self,
        process: Measured,
        name: str,
        keys: list[Key],
        act: Callable[[list[Key]], Awaitable[list[float]]],
    ) -> None:
        if name not in self._chosen:
            return
        before, asked = process.usage(), self._requests.read()
        begin = time.perf_counter()
        try:
            latencies = await act(keys)
        except Exception as error:
            error.add_note(f"{self._contestant.name} printed:\n{process.log()}")
            raise
        seconds = time.perf_counter() - begin
        after = await self._settled(process)
        self._row(name, len(keys), seconds, latencies, after, before.cpu_s, self._requests.read().since(asked))

    async def _noisy(self, process: Measured, scenario: Scenario, keys: list[Key]) -> None:
        """One tenant changes everything all the time; what does another one feel?"""
        if "noisy" not in self._chosen:
            return
        noisy = [key for key in keys if key.namespace == NOISY]
        quiet = [key for key in keys if key.namespace == QUIET][: max(2, len(keys) // 20)]
        alone = _p99(await scenario.change_image(quiet, "alone"))
        before, asked = await self._settled(process), self._requests.read()
        numbers = itertools.count()

        async def noise() -> None:
            for key in itertools.cycle(noisy):
                await scenario.set_image(key, f"noise-{next(numbers)}")

        begin = time.perf_counter()
        tasks = [asyncio.create_task(noise()) for _ in range(_WRITERS)]
        try:
            await asyncio.sleep(_HEAD_START_S)
            latencies = await scenario.change_image(quiet, "noisy")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await scenario.wait(keys)
        seconds = time.perf_counter() - begin
        changes = next(numbers) + len(quiet)
        after, note = await self._settled(process), f"p99 without noise {alone:.3f} s"
        self._row("noisy", changes, seconds, latencies, after, before.cpu_s, self._requests.read().since(asked), note)

    async def _restart(self, name: str, keys: list[Key]) -> None:
        asked = self._requests.read()
        begin = time.perf_counter()
        async with self._controller() as process:
            after = await self._settled(process)
            seconds = time.perf_counter() - begin
            note = f"{self._passive} objects of nobody's" if name == "passive" else "CPU above an empty start"
            self._row(name, len(keys), seconds, [], after, self._start.cpu_s, self._requests.read().since(asked), note)

    def _row(
        self,
        name: str,
        count: int,
        seconds: float,
        latencies: list[float],
        after: Usage,
        cpu_before: float,
        asked: Asked,
        note: str = "",
    ) -> None:
        self.rows.append(
            Row(
                name,
                count,
                count / seconds,
                statistics.median(latencies) if latencies else 0.0,
                _p99(latencies),
                (after.cpu_s - cpu_before) * 1e3 / count,
                asked.writes / count,
                asked.reads / count,
                after.peak_bytes / 2**20,
                "; ".join(filter(None, (note, f"{asked.refused} refused" if asked.refused else ""))),
            )
        )

    @asynccontextmanager
    async def _controller(self) -> AsyncIterator[Measured]:
        self._requests.read()
        self._requests.forget_watches()
        async with Measured(self._command, {"KUBECONFIG": self._server.kubeconfig}) as process:
            end = time.monotonic() + _START_S
            while WEBAPP.plural not in self._requests.watched:
                process.usage()
                self._requests.read()
                if time.monotonic() > end:
                    raise RuntimeError(f"no watch of WebApps within {_START_S:.0f} s; it printed:\n{process.log()}")
                await asyncio.sleep(0.05)
            yield process

    async def _settled(self, process: Measured) -> Usage:
        """Its usage once it has neither written nor worked for two polls: what trails belongs to the phase before."""
        before, asked, calm = process.usage(), self._requests.read(), 0
        async with asyncio.timeout(self._deadline):
            while calm < 2:
                await asyncio.sleep(_POLL_S)
                usage, now = process.usage(), self._requests.read()
                busy = now.writes != asked.writes or usage.cpu_s - before.cpu_s > _RESTLESS_S
                before, asked, calm = usage, now, 0 if busy else calm + 1
        return before


def _p99(latencies: list[float]) -> float:
    if len(latencies) < 2:
        return sum(latencies)
    return statistics.quantiles(latencies, n=100, method="inclusive")[98]


async def prepare(client: Client) -> None:
    """Install the CRD, and wait until its objects are served."""
    await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
    async with asyncio.timeout(30):
        while True:
            found = await client.get(CUSTOM_RESOURCE_DEFINITION, None, crd()["metadata"]["name"])
            conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or ()}
            if conditions.get("Established") == "True":
                break
            await asyncio.sleep(0.1)


async def _fill(client: Client, count: int) -> None:
    """So many ConfigMaps of about 1.1 KB that no WebApp owns."""
    await client.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PASSIVE}})
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            body: dict[str, Any] = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"passive-{number:06d}", "namespace": PASSIVE},
                "data": {"text": "x" * 800},
            }
            await client.create(CONFIG_MAP, body)

    async with asyncio.TaskGroup() as group:
        for _ in range(_WRITERS):
            group.create_task(work())
