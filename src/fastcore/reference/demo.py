"""`fastcore demo`: the whole scenario on a real API, and a table of what it cost.

Three parts run side by side: an API server (the embedded one, unless --kubeconfig names another), the controller
(`fastcore run`, a process of its own, so that its CPU time and memory are its own), and this driver, which creates,
changes and breaks objects and watches them converge. Everything that the controller sends goes through a relay, which
cuts all of its connections at once in the middle of a change.
"""

import argparse
import asyncio
import json
import math
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig, ConfigError
from fastcore.controller.errors import AlreadyExistsError
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION, NAMESPACE
from fastcore.controller.workspace import Workspace
from fastcore.errors import FastcoreError
from fastcore.reference import crd
from fastcore.reference.kubeconfig import redirected
from fastcore.reference.processes import Controller, Cost, Server
from fastcore.reference.report import Display
from fastcore.reference.scenario import Key, NotConverged, Scenario, open_places
from fastcore.testing.relay import Relay

MAX_OBJECTS = 100_000
MAX_WORKSPACES = 1000
INTERRUPTED = "interrupted"


@dataclass
class Phase:
    """One line of the summary."""

    name: str
    objects: int
    seconds: float
    p50_s: float
    p99_s: float
    requests: int
    writes: int
    cpu_ms_an_object: float


@dataclass
class Summary:
    """What `--json` prints; `converged` decides the exit status."""

    server: str
    objects: int
    workspaces: int
    converged: bool = False
    error: str = ""
    phases: list[Phase] = field(default_factory=list)
    start_cpu_s: float = 0.0
    peak_mib: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    connections_cut: int = 0


class Demo:
    """Runs the phases one after another and collects what each one cost."""

    def __init__(self, options: argparse.Namespace, display: Display, folder: Path) -> None:
        self._options = options
        self._display = display
        self._folder = folder
        self.summary = Summary("", options.objects, options.workspaces)

    async def run(self) -> None:
        """The whole scenario; what happened is in `summary`."""
        async with AsyncExitStack() as stack:
            config, kubeconfig = await self._server(stack)
            targets = await self._targets(stack, config)
            at = urlsplit(config.server)
            port = at.port or (443 if at.scheme == "https" else 80)
            relay = await stack.enter_async_context(Relay(at.hostname or "127.0.0.1", port))
            redirected(kubeconfig, self._folder / "relay.kubeconfig", relay.port)
            arguments = ["--kubeconfig", str(self._folder / "relay.kubeconfig")]
            if not self._options.kubeconfig:
                arguments += [word for workspace, _ in targets for word in ("--workspace", workspace.name)]
            places = await stack.enter_async_context(open_places(targets))
            scenario = Scenario(places, self._options.objects, self._options.timeout, self._display.progress)
            await self._phases(scenario, arguments, relay)
            self.summary.converged = True
            if self._options.serve:
                async with Controller(*arguments) as controller:
                    self._display.verdict(self.summary)
                    self._display.serve(kubeconfig, controller.url, targets)
                    await asyncio.Event().wait()

    async def _phases(self, scenario: Scenario, arguments: list[str], relay: Relay) -> None:
        keys = scenario.keys()
        some = keys[: max(2, len(keys) // 10)]  # neighbours: drift treats odd and even ones differently
        async with Controller(*arguments) as controller:
            # What a start costs without a single object is taken off the restart's figure below.
            self.summary.start_cpu_s = (await controller.cost()).cpu_s
            await self._phase(controller, "cold start", keys, scenario.create)
            if not scenario.has_deployment_controller(keys):
                await self._phase(controller, "rollout", keys, scenario.roll_out)
            await self._phase(controller, "new image", keys[::2], scenario.change_image)
            await self._phase(controller, "new config", keys[1::2], scenario.change_config)
            await self._phase(controller, "drift", some, scenario.drift)
            await self._phase(controller, "watches cut", keys[::5], self._cutting(relay, scenario.change_config))
            await self._phase(controller, "quiet", keys, _wait_quietly)
            if self.summary.phases[-1].writes:
                raise RuntimeError(f"{self.summary.phases[-1].writes} writes although everything was in order")
            self._note(await controller.cost())
            await controller.stop()
        async with Controller(*arguments) as controller:
            start = Cost(self.summary.start_cpu_s, 0, 0, 0, 0, 0)
            await self._phase(controller, "restart", keys, _wait_quietly, start)
            if self.summary.phases[-1].writes:
                raise RuntimeError(f"{self.summary.phases[-1].writes} writes after a restart with everything in order")
            if not self._options.serve:
                await self._phase(controller, "delete", keys, scenario.delete)
            self._note(await controller.cost())
            await controller.stop()

    async def _phase(
        self,
        controller: Controller,
        name: str,
        keys: list[Key],
        act: Callable[[list[Key]], Awaitable[list[float]]],
        before: Cost | None = None,
    ) -> None:
        before = before or await controller.cost()
        self._display.start(name, len(keys))
        start = time.perf_counter()
        try:
            latencies = await act(keys)
        except NotConverged as error:
            raise RuntimeError(f"{error}\nthe controller printed:\n{controller.log()}") from error
        seconds = time.perf_counter() - start
        cost = (await controller.settled()).since(before)
        self.summary.phases.append(
            Phase(
                name,
                len(keys),
                seconds,
                statistics.median(latencies) if latencies else 0.0,
                statistics.quantiles(latencies, n=100)[98] if len(latencies) > 1 else 0.0,
                cost.requests,
                cost.writes,
                cost.cpu_s * 1e3 / len(keys),
            )
        )
        self._display.finish(self.summary.phases[-1])

    def _cutting(
        self, relay: Relay, act: Callable[[list[Key]], Awaitable[list[float]]]
    ) -> Callable[[list[Key]], Awaitable[list[float]]]:
        """`act`, with every connection of the controller cut at its start and again while it runs."""

        async def run(keys: list[Key]) -> list[float]:
            self.summary.connections_cut += relay.cut()
            acting = asyncio.ensure_future(act(keys))
            await asyncio.sleep(0.1)
            self.summary.connections_cut += relay.cut()
            return await acting

        return run

    def _note(self, cost: Cost) -> None:
        self.summary.peak_mib = max(self.summary.peak_mib, cost.peak_bytes / 2**20)
        self.summary.cache_hits += cost.cache_hits
        self.summary.cache_misses += cost.cache_misses

    async def _server(self, stack: AsyncExitStack) -> tuple[ClientConfig, str]:
        if self._options.kubeconfig:
            kubeconfig = self._options.kubeconfig
        else:
            # The scenario reports the Deployments' replicas itself, so that a new object's writes can be told apart
            # from those of its rollout; a person who stays for a look gets a server that does it.
            without = () if self._options.serve else ("deployments",)
            server = await stack.enter_async_context(Server(self._folder, without=without))
            kubeconfig = str(server.kubeconfig)
        config = await ClientConfig.load(kubeconfig=kubeconfig)
        self.summary.server = f"{config.server} ({'kubeconfig' if self._options.kubeconfig else 'embedded'})"
        return config, kubeconfig

    async def _targets(self, stack: AsyncExitStack, config: ClientConfig) -> list[tuple[Workspace, str]]:
        """Where the objects go: workspaces of the embedded server, namespaces of any other."""
        count = self._options.workspaces
        if self._options.kubeconfig:
            client = await stack.enter_async_context(Client(config))
            await _install_crd(client)
            suffix = uuid.uuid4().hex[:6]
            names = [f"fastcore-demo-{suffix}-{i + 1}" for i in range(count)]
            if not self._options.serve:
                stack.push_async_callback(_remove_namespaces, client, names)
            return [(Workspace(name, client), name) for name in names]
        targets = []
        for i in range(count):
            name = f"team-{i + 1}"
            client = await stack.enter_async_context(Client(config, prefix=f"/clusters/{name}"))
            await _install_crd(client)
            targets.append((Workspace(name, client), "default"))
        return targets


async def _wait_quietly(keys: list[Key]) -> list[float]:
    await asyncio.sleep(2.0)
    return []


async def _install_crd(client: Client) -> None:
    """Create the CRD unless it is there, and wait until its objects are served."""
    try:
        await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
    except AlreadyExistsError:
        return
    name = crd()["metadata"]["name"]
    async with asyncio.timeout(30):
        while True:
            found = await client.get(CUSTOM_RESOURCE_DEFINITION, None, name)
            conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or ()}
            if conditions.get("Established") == "True":
                return
            await asyncio.sleep(0.1)


async def _remove_namespaces(client: Client, names: list[str]) -> None:
    for name in names:
        await client.delete(NAMESPACE, None, name)


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fastcore-demo-") as name:
        yield Path(name)


def parser() -> argparse.ArgumentParser:
    """The arguments of `fastcore demo`."""
    result = argparse.ArgumentParser(
        prog="fastcore demo",
        description="Create WebApps, change and break them, cut the watches, restart the controller, and show what "
        "each phase cost: progress on standard error, the table on standard output. Exit status: 0 every object "
        "converged and stayed quiet, 1 something did not, 2 bad usage or no configuration, "
        "130 interrupted.",
    )
    result.add_argument("--objects", type=_count(MAX_OBJECTS), default=500, metavar="N",
                        help=f"how many WebApps, 1 to {MAX_OBJECTS} (default 500)")  # fmt: skip
    result.add_argument("--workspaces", type=_count(MAX_WORKSPACES), default=5, metavar="N",
                        help=f"spread over how many, 1 to {MAX_WORKSPACES} (default 5)")  # fmt: skip
    result.add_argument("--kubeconfig", metavar="PATH", help="run on this cluster instead of the embedded API server; "
                        "its workspaces are namespaces fastcore-demo-*, removed at the end; the CRD stays")  # fmt: skip
    result.add_argument("--timeout", type=_seconds, default=120.0, metavar="SECONDS",
                        help="how long a phase may take (default 120)")  # fmt: skip
    result.add_argument("--serve", action="store_true", help="keep everything running at the end, for curl and kubectl")
    result.add_argument(
        "--json", action="store_true", help="print the summary as JSON on standard output, and nothing else"
    )
    return result


def _count(limit: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= limit:
            raise argparse.ArgumentTypeError(f"{text} is not between 1 and {limit}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds > 0")
    return value


async def _main(options: argparse.Namespace) -> int:
    display = Display(quiet=options.json)
    async with _folder() as folder:
        demo = Demo(options, display, folder)
        try:
            with display:
                await demo.run()
        except ConfigError as error:
            print(f"fastcore demo: {error}", file=sys.stderr)
            return 2
        except (FastcoreError, RuntimeError, ValueError, OSError) as error:
            demo.summary.error = str(error) or type(error).__name__
        except asyncio.CancelledError:
            if not demo.summary.converged:
                demo.summary.error = INTERRUPTED
    if options.json:
        print(json.dumps(asdict(demo.summary), indent=2))
    elif not (options.serve and demo.summary.converged):  # who stays has seen it
        display.verdict(demo.summary)
    if demo.summary.error == INTERRUPTED:
        return 130
    return 0 if demo.summary.converged else 1


def main(argv: Sequence[str]) -> int:
    """Run the demo; 0 if every object converged and stayed quiet."""
    options = parser().parse_args(argv)
    try:
        return asyncio.run(_main(options))
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
