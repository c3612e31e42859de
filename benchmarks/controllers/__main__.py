"""`python -m benchmarks.controllers`: the reference job done by fastcore, kopf and controller-runtime, side by side."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.controllers.bench import SCENARIOS, Bench, Run
from benchmarks.controllers.contestants import CONTESTANTS, NotHere
from benchmarks.controllers.judge import Verdict, judge
from benchmarks.controllers.servers import SERVERS
from benchmarks.controllers.states import differences

from fastcore.testing.kube import find_binary

_EPILOG = """\
What is run, on a fresh server for each controller:
  cold     the WebApps are created; the controller is there already
  update   every WebApp gets a new image
  burst    a tenth of them gets ten new images in a row each, of which one counts
  drift    every Deployment is deleted or its ConfigMap edited (not for kopf, which does not watch them)
  noisy    one tenant's WebApps change all the time; latency is that of another, costs are for each change
  restart  the controller starts again with everything in order
  passive  the same, among many ConfigMaps that are not its own

CPU is user and system time of the controller's process, peak memory its VmHWM; writes and reads are counted in the
server's audit log. "restart" and "passive" leave out what a start on an empty server costs. Everything ends in the same
state, which is compared object by object.

  python -m benchmarks.controllers --objects 100 --server embedded           a first look, a minute
  python -m benchmarks.controllers --objects 1000 --controllers fastcore --scenario cold update
  python -m benchmarks.controllers --objects 5000 --json build/controllers.json

The real server needs KUBEBUILDER_ASSETS (kube-apiserver, etcd) and openssl; controller-runtime needs go; kopf is
installed into build/controllers. Run it on an otherwise idle machine.

Exit status: 0 everything ran and ended in the same state, 1 something did not (with --strict also: a target was
missed), 2 bad usage.
"""


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    out = argparse.ArgumentParser(
        prog="python -m benchmarks.controllers",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("--objects", type=_count, default=1000, metavar="N", help="WebApps, at least 20 (default 1000)")
    out.add_argument("--passive", type=_none_or_more, default=50_000, metavar="N",
                     help="ConfigMaps of nobody's in the scenario passive (default 50000)")  # fmt: skip
    out.add_argument("--controllers", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME",
                     help=f"some of {', '.join(CONTESTANTS)} (default: all that can run here)")  # fmt: skip
    out.add_argument("--server", choices=SERVERS, help="default: real if it can be found, else embedded")
    out.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME",
                     help=f"some of {', '.join(SCENARIOS)} (default: all; cold is always run)")  # fmt: skip
    out.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS",
                     help="how long one scenario may take (default 600)")  # fmt: skip
    out.add_argument("--json", metavar="PATH", help="write the figures there as well")
    out.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    return out


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 20:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 20")
    return int(text)


def _none_or_more(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return int(text)


async def _run_one(name: str, command: list[str], options: argparse.Namespace) -> tuple[str, Run]:
    with tempfile.TemporaryDirectory(prefix="fastcore-bench-") as folder:
        async with SERVERS[options.server](Path(folder), sys.executable) as server:
            bench = Bench(
                CONTESTANTS[name],
                command,
                server,
                objects=options.objects,
                passive=options.passive,
                chosen=tuple(options.scenario),
                deadline=options.timeout,
            )
            return server.name, await bench.run()


def _table(runs: list[Run]) -> None:
    print(
        f"\n{'scenario':<9} {'controller':<19} {'objects':>7} {'per s':>7} {'p50 s':>7} {'p99 s':>7} "
        f"{'CPU ms':>7} {'writes':>7} {'reads':>7} {'peak MiB':>9}"
    )
    for scenario in SCENARIOS:
        for run in runs:
            for row in run.rows:
                if row.scenario == scenario:
                    times = f"{row.per_s:>7.0f} {row.p50_s:>7.3f} {row.p99_s:>7.3f}" if row.p99_s else " " * 23
                    print(
                        f"{scenario:<9} {run.controller:<19} {row.objects:>7} {times} {row.cpu_ms:>7.2f} "
                        f"{row.writes:>7.2f} {row.reads:>7.2f} {row.peak_mib:>9.0f}  {row.note}".rstrip()
                    )
    for run in runs:
        print(
            f"start     {run.controller:<19} {run.start_cpu_s:.2f} s CPU, {run.start_mib:.0f} MiB, on an empty server"
        )


def _verdicts(verdicts: list[Verdict]) -> None:
    if verdicts:
        met = sum(verdict.met for verdict in verdicts)
        print(f"\ntargets: {met} met, {len(verdicts) - met} missed")
    for verdict in verdicts:
        word = "met" if verdict.met else "MISSED"
        print(f"{word:<7} {verdict.what:<32} {verdict.measured:>8.2f}  {verdict.limit}")


async def _main(options: argparse.Namespace) -> int:
    runs: list[Run] = []
    failed = False
    server = ""
    for name in dict.fromkeys(options.controllers):
        try:
            command = await asyncio.to_thread(CONTESTANTS[name].prepare)
        except NotHere as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
            continue
        print(f"{name}: running", file=sys.stderr, flush=True)
        try:
            server, run = await _run_one(name, command, options)
        except Exception as error:
            failed = True
            print(
                f"{name}: failed: {type(error).__name__}: {error}",
                *getattr(error, "__notes__", ()),
                sep="\n",
                file=sys.stderr,
            )
            continue
        runs.append(run)
    print(f"{options.objects} WebApps on {server or options.server}, {platform.machine()}, {os.cpu_count()} processors")
    _table(runs)
    for run in runs[1:]:
        if found := differences(runs[0].states, run.states):
            failed = True
            print(f"\n{runs[0].controller} and {run.controller} end in different states:", *found, sep="\n  ")
    if len(runs) > 1 and not failed:
        print(
            f"\nfinal states: {len(runs[0].states)} objects, the same for {', '.join(run.controller for run in runs)}"
        )
    step = 1e3 / os.sysconf("SC_CLK_TCK") / options.objects
    print(f"\nCPU time is counted in steps, here {step:.2g} ms an object: take more objects for finer figures")
    verdicts = judge(runs)
    _verdicts(verdicts)
    if options.json:
        _write(Path(options.json), server, options, runs, verdicts)
    if failed or not runs:
        return 1
    return 1 if options.strict and not all(verdict.met for verdict in verdicts) else 0


def _write(path: Path, server: str, options: argparse.Namespace, runs: list[Run], verdicts: list[Verdict]) -> None:
    value: dict[str, Any] = {
        "server": server,
        "objects": options.objects,
        "passive": options.passive,
        "controllers": {
            run.controller: {
                "start_cpu_s": run.start_cpu_s,
                "start_mib": run.start_mib,
                "scenarios": [row._asdict() for row in run.rows],
            }
            for run in runs
        },
        "targets": [verdict._asdict() for verdict in verdicts],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; see the help for the exit status."""
    options = parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        print("this reads /proc: Linux only", file=sys.stderr)
        return 2
    there = all(find_binary(name) for name in ("kube-apiserver", "etcd", "openssl"))
    if options.server == "real" and not there:
        print("--server real needs kube-apiserver, etcd and openssl: set KUBEBUILDER_ASSETS", file=sys.stderr)
        return 2
    options.server = options.server or ("real" if there else "embedded")
    return asyncio.run(_main(options))


if __name__ == "__main__":
    sys.exit(main())
