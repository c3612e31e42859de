"""`python -m benchmarks.controllers.scale`: what an object and a workspace cost as they become more, as a curve."""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.controllers.bench import PADDING, prepare
from benchmarks.controllers.process import Measured, Usage
from benchmarks.controllers.servers import DRIVER, BenchServer, Requests, embedded

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.reference.webapp import WEBAPP

CPU_GROWTH = 1.25  # of the smallest size
KIB_AN_OBJECT = 8.0  # a WebApp is three objects: itself, its ConfigMap and its Deployment
OBJECTS_A_WEBAPP = 3
_SAMPLE = 1000  # WebApps that are changed, at every size
_WRITERS = 8
_CALM_S, _RESTLESS_S = 0.5, 0.03
_QUIET_S = 5.0
_DEADLINE_S = 3600.0


class Point(NamedTuple):
    """One size, and what it cost; everything is the controller's alone, the server is another process."""

    objects: int
    workspaces: int
    cold_ms: float
    update_ms: float
    quiet_ms_a_s: float
    peak_mib: float
    tasks: int
    sockets: int
    threads: int
    watches: int
    writes: float


class Scale:
    """One size on a server of its own."""

    def __init__(self, server: BenchServer, folder: Path, objects: int, workspaces: int) -> None:
        self._server = server
        self._folder = folder
        self._names = [f"w{number:04d}" for number in range(workspaces)]
        self._objects = objects
        self._requests = Requests(server.audit_log)

    async def run(self) -> Point:
        """Create all, change some, then watch it do nothing."""
        config = await ClientConfig.load(self._server.kubeconfig)
        async with Client(config, user_agent=DRIVER) as root, contextlib.AsyncExitStack() as stack:
            await prepare(root)
            clients = [
                await stack.enter_async_context(Client(config, user_agent=DRIVER, prefix=f"/clusters/{name}"))
                for name in self._names[:1]
            ]
            clients += [clients[0].scoped(f"/clusters/{name}") for name in self._names[1:]]
            for client in clients:  # a workspace comes into being when it is first named
                await client.request("GET", WEBAPP.path("default"), params={"limit": 1})
            return await self._measure(root, clients)

    async def _measure(self, root: Client, clients: list[Client]) -> Point:
        apps = [(clients[number % len(clients)], f"web-{number:06d}") for number in range(self._objects)]
        async with self._controller() as process:
            start = await self._settled(process)
            await _each(apps, lambda app: app[0].create(WEBAPP, _webapp(app[1])))
            cold = await self._settled(process)
            asked = self._requests.read()
            some = apps[: min(_SAMPLE, len(apps))]
            patch = {"spec": {"image": "registry.example/web:2"}}
            await _each(some, lambda app: app[0].patch(WEBAPP, "default", app[1], patch))
            update = await self._settled(process)
            await _check(root, self._objects)
            begin = time.monotonic()
            before = process.usage()
            await asyncio.sleep(_QUIET_S)
            quiet = (process.usage().cpu_s - before.cpu_s) * 1e3 / (time.monotonic() - begin)
            return Point(
                self._objects,
                len(clients),
                (cold.cpu_s - start.cpu_s) * 1e3 / self._objects,
                (update.cpu_s - cold.cpu_s) * 1e3 / len(some),
                quiet,
                update.peak_bytes / 2**20,
                await self._tasks(process),
                _sockets(process.pid),
                update.threads,
                self._requests.watches,
                asked.writes / self._objects,
            )

    @contextlib.asynccontextmanager
    async def _controller(self) -> AsyncIterator[Measured]:
        report = self._folder / "tasks.json"
        command = [sys.executable, "-m", "benchmarks.controllers.scale_controller"]
        command += [self._server.kubeconfig, str(report), *self._names]
        async with Measured(command) as process:
            end = time.monotonic() + 120
            while WEBAPP.plural not in self._requests.watched:
                process.usage()
                self._requests.read()
                if time.monotonic() > end:
                    raise RuntimeError(f"no watch of WebApps within 120 s; it printed:\n{process.log()}")
                await asyncio.sleep(0.05)
            yield process

    async def _settled(self, process: Measured) -> Usage:
        before, asked, calm = process.usage(), self._requests.read(), 0
        async with asyncio.timeout(_DEADLINE_S):
            while calm < 3:
                await asyncio.sleep(_CALM_S)
                usage, now = process.usage(), self._requests.read()
                busy = now.writes != asked.writes or usage.cpu_s - before.cpu_s > _RESTLESS_S
                before, asked, calm = usage, now, 0 if busy else calm + 1
        return before

    async def _tasks(self, process: Measured) -> int:
        report = self._folder / "tasks.json"
        process.send(signal.SIGUSR1)
        end = time.monotonic() + 30
        while not report.exists():
            if time.monotonic() > end:
                raise RuntimeError(f"it does not tell its tasks; it printed:\n{process.log()}")
            await asyncio.sleep(0.02)
        return int(json.loads(report.read_text(encoding="utf-8"))["tasks"])


def _webapp(name: str) -> dict[str, object]:
    return {
        "apiVersion": WEBAPP.api_version,
        "kind": WEBAPP.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "image": "registry.example/web:1",
            "replicas": 2,
            "config": {"PADDING": "x" * PADDING},
            "ports": [{"name": "http", "port": 8080}],
        },
    }


async def _each(apps: Iterable[tuple[Client, str]], act: Callable[[tuple[Client, str]], Awaitable[object]]) -> None:
    queue = iter(apps)

    async def work() -> None:
        for app in queue:
            await act(app)

    async with asyncio.TaskGroup() as group:
        for _ in range(_WRITERS):
            group.create_task(work())


async def _check(root: Client, expected: int) -> None:
    """Every WebApp of every workspace is synced to its generation."""
    found = 0
    token = ""
    while True:
        params = {"limit": 500, "continue": token}
        page = json.loads(await root.scoped("/clusters/*").request("GET", WEBAPP.path(None), params=params))
        for webapp in page["items"]:
            conditions = {c["type"]: c for c in webapp.get("status", {}).get("conditions", ())}
            synced = conditions.get("Synced", {})
            if (synced.get("status"), synced.get("observedGeneration")) != ("True", webapp["metadata"]["generation"]):
                raise RuntimeError(f"{webapp['metadata']['name']} has not converged: {webapp.get('status')}")
            found += 1
        token = page["metadata"].get("continue", "")
        if not token:
            break
    if found != expected:
        raise RuntimeError(f"there are {found} WebApps, not {expected}")


def _sockets(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(entry).startswith("socket:")
    return count


class Verdict(NamedTuple):
    """One statement about the curve."""

    what: str
    measured: str
    met: bool


def judge(points: list[Point]) -> list[Verdict]:
    """What the curve shows; empty for a single point."""
    if len(points) < 2:
        return []
    least = min(points, key=lambda point: (point.objects, point.workspaces))
    most = max(points, key=lambda point: point.cold_ms)
    out = [
        Verdict(
            f"cold CPU an object within {CPU_GROWTH - 1:.0%} of the smallest size",
            f"{least.cold_ms:.2f} ms, at most {most.cold_ms:.2f} ms",
            most.cold_ms <= CPU_GROWTH * least.cold_ms,
        )
    ]
    by_workspaces: dict[int, list[Point]] = {}
    for point in points:
        by_workspaces.setdefault(point.workspaces, []).append(point)
    for count, row in sorted(by_workspaces.items()):
        few, many = row[0], row[-1]
        if many.objects > few.objects:
            slope = (many.peak_mib - few.peak_mib) * 1024 / (many.objects - few.objects) / OBJECTS_A_WEBAPP
            what = f"memory an object, {count} workspaces, at most {KIB_AN_OBJECT:.0f} KiB"
            out.append(Verdict(what, f"{slope:.2f} KiB", slope <= KIB_AN_OBJECT))
    some = [point for point in points if point.objects == points[0].objects]
    if len({point.workspaces for point in some}) > 1:
        few, many = some[0], max(some, key=lambda point: point.workspaces)
        for name in ("tasks", "sockets", "threads", "watches"):
            low, high = getattr(few, name), getattr(many, name)
            # A workspace without work may cost nothing of its own; what is shared may differ a little.
            what = f"{name}, {few.workspaces} and {many.workspaces} workspaces"
            out.append(Verdict(what, f"{low} and {high}", high - low < max(16, many.workspaces // 20)))
    return out


def draw(points: list[Point], target: Path) -> None:
    """The curve as an SVG picture."""
    from benchmarks.plots import OURS, PEER, TEXT, TWIN, plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2))
    colours = itertools.cycle((OURS, TWIN, PEER, TEXT))
    for count in sorted({point.workspaces for point in points}):
        row = [point for point in points if point.workspaces == count]
        sizes, colour = [point.objects for point in row], next(colours)
        label = f"{count:,} workspace{'s' if count > 1 else ''}"
        left.plot(sizes, [point.cold_ms for point in row], "o-", color=colour, label=label)
        right.plot(sizes, [point.peak_mib for point in row], "o-", color=colour, label=label)
    left.set_ylim(bottom=0)
    for axes, title in ((left, "CPU ms a new WebApp"), (right, "peak memory, MiB")):
        axes.set_xscale("log")
        axes.set_xlabel("WebApps")
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(TEXT)
    right.set_yscale("log")
    left.legend(frameon=False)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    out = argparse.ArgumentParser(
        prog="python -m benchmarks.controllers.scale",
        description="Run the reference controller at several sizes on the embedded server, each in a process of its "
        "own, and print what an object costs the controller: CPU, memory, tasks, connections.",
        epilog="10,000 WebApps take a minute or two on 2 processors, 100,000 a quarter of an hour: "
        "--objects 1000 10000 100000. Exit status: 0 all ran (with --strict: and met the targets), 1 otherwise.",
    )
    out.add_argument("--objects", type=int, nargs="+", default=[1000, 10_000], metavar="N", help="default 1000 10000")
    out.add_argument("--workspaces", type=int, nargs="+", default=[1, 100, 1000], metavar="N",
                     help="over how many, 1 to 9999 (default 1 100 1000)")  # fmt: skip
    out.add_argument("--json", metavar="PATH", help="write the figures there as well")
    out.add_argument("--plot", metavar="PATH", help="draw the curve there, as SVG; needs matplotlib")
    out.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    return out


async def _main(options: argparse.Namespace) -> list[Point]:
    points = []
    print(f"{'objects':>8} {'workspaces':>10} {'cold ms':>8} {'update ms':>9} {'quiet ms/s':>10} {'peak MiB':>8} "
          f"{'tasks':>6} {'sockets':>7} {'threads':>7} {'watches':>7} {'writes':>7}")  # fmt: skip
    for objects, workspaces in itertools.product(sorted(options.objects), sorted(options.workspaces)):
        with tempfile.TemporaryDirectory(prefix="fastcore-scale-") as name:
            folder = Path(name)
            async with embedded(folder, sys.executable) as server:
                p = await Scale(server, folder, objects, workspaces).run()
        points.append(p)
        print(f"{p.objects:>8} {p.workspaces:>10} {p.cold_ms:>8.2f} {p.update_ms:>9.2f} {p.quiet_ms_a_s:>10.2f} "
              f"{p.peak_mib:>8.0f} {p.tasks:>6} {p.sockets:>7} {p.threads:>7} {p.watches:>7} {p.writes:>7.2f}",
              flush=True)  # fmt: skip
    return points


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; see the help for the exit status."""
    options = parser().parse_args(argv)
    if min(options.objects) < 1 or not 1 <= min(options.workspaces) <= max(options.workspaces) <= 9999:
        print("--objects must be at least 1, --workspaces in 1..9999", file=sys.stderr)
        return 2
    points = asyncio.run(_main(options))
    verdicts = judge(points)
    for verdict in verdicts:
        print(f"{'met' if verdict.met else 'MISSED':<7} {verdict.what}: {verdict.measured}")
    if options.json:
        value = {"points": [p._asdict() for p in points], "targets": [verdict._asdict() for verdict in verdicts]}
        Path(options.json).write_text(json.dumps(value, indent=1), encoding="utf-8")
    if options.plot:
        draw(points, Path(options.plot))
    return 1 if options.strict and not all(verdict.met for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
