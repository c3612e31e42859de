"""`fastcore run`: the reference controller against a cluster."""

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastcore.controller.config import ClientConfig, ConfigError
from fastcore.controller.controller import CacheSyncTimeout
from fastcore.controller.errors import ApiError, ForbiddenError, NotFoundError
from fastcore.controller.leader import LeaderElection
from fastcore.controller.lease import LeaseLost
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, Kind
from fastcore.controller.shard import Sharding
from fastcore.controller.snapshot import Snapshots
from fastcore.controller.workspace import Workspace, Workspaces
from fastcore.errors import FastcoreError
from fastcore.observe.logs import Sampler, configure
from fastcore.reference import MANIFESTS, build
from fastcore.reference.webapp import WEBAPP

log = logging.getLogger("fastcore.run")

LEASE = "fastcore-webapp"
YOUNG = 20_000  # objects before the collector looks for cycles: a few reconciles make 700, and no cycle
EXIT_FAILED, EXIT_USAGE = 1, 2
NO_ADDRESS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)  # nothing can listen there


class NotPrepared(FastcoreError):
    """The cluster lacks the CRD or the rights; the message says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit status: 0 ended in order, 1 failed, 2 misused or not configured."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        _election(options), _sharding(options)
        if options.snapshots is not None:
            Snapshots(options.snapshots)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    configure(options.log_level, form=options.log_format, sampler=Sampler())
    gc.freeze()  # what has been imported stays
    gc.set_threshold(YOUNG)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(options))
    except (ConfigError, NotPrepared) as error:
        return _fail(error, EXIT_USAGE)
    except (ApiError, CacheSyncTimeout, LeaseLost, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_ADDRESS:
            error.add_note("choose another address with --metrics-addr HOST:PORT, or 0 for none")
        return _fail(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastcore run",
        description="Run the reference controller: each WebApp gets a ConfigMap, a Deployment and\na status. "
        "Exit status: 0 ended in order, 1 failed, 2 misused or not configured.",
        epilog=f"The cluster has to know WebApps first; the other manifests are beside this one:\n"
        f"  kubectl apply -f {MANIFESTS / 'crd.yaml'}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kubeconfig", metavar="PATH", help="default: $KUBECONFIG, ~/.kube/config, then the pod's own")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--context", metavar="C", nargs="+", action="extend", default=[],
        help="contexts of the kubeconfig, a workspace each; default: the current one",
    )  # fmt: skip
    where.add_argument(
        "--workspace", metavar="NAME", nargs="+", action="extend", default=[],
        help="workspaces of the current context: paths /clusters/NAME, or namespaces where the server has none",
    )  # fmt: skip
    parser.add_argument(
        "--workers", metavar="N", type=_at_least_one, help="reconciles at once; default: 2 per usable CPU, 1 to 10"
    )
    parser.add_argument(
        "--metrics-addr", metavar="HOST:PORT", type=_address, default="127.0.0.1:8080",
        help="where /metrics, /healthz and /readyz are; default 127.0.0.1:8080, 0 turns them off",
    )  # fmt: skip
    parser.add_argument(
        "--snapshots", metavar="DIR", type=Path,
        help="where the caches are saved, so that a restart asks for what has changed since; default: nowhere",
    )  # fmt: skip
    replicas = parser.add_mutually_exclusive_group()
    replicas.add_argument(
        "--leader-elect", action="store_true", help="of several replicas one works, the others stand by"
    )
    replicas.add_argument("--shards", metavar="GROUP", help="all replicas that name this group share the objects")
    parser.add_argument("--lease-name", metavar="NAME", default=LEASE, help=f"Lease of --leader-elect; default {LEASE}")
    parser.add_argument(
        "--lease-namespace", metavar="NS", help="namespace of the Leases; default: the pod's, or the context's"
    )
    parser.add_argument(
        "--lease-times", metavar="S", type=float, nargs=3, default=[15.0, 10.0, 2.0],
        help="seconds: lease duration, renew deadline, retry period; default 15 10 2, the same for all replicas",
    )  # fmt: skip
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info",
        help="default: info; PUT /debug/loglevel?level=debug at the metrics' address changes it for a while",
    )  # fmt: skip
    parser.add_argument(
        "--log-format", choices=["console", "json"], default="console", help="default: console; json for log shippers"
    )
    return parser


async def _run(options: argparse.Namespace) -> None:
    workspaces = await _workspaces(options)
    async with workspaces:
        for workspace in workspaces:
            await check_access(workspace)
        address: tuple[str, int] | None = options.metrics_addr
        host, port = address or ("127.0.0.1", None)
        manager = Manager(
            workspaces=workspaces,
            metrics_host=host,
            metrics_port=port,
            leader_election=_election(options),
            sharding=_sharding(options),
            snapshots=options.snapshots,
        )
        controller = build(manager, workers=options.workers)
        log.info(
            "workspaces: %s; workers: %d",
            ", ".join(w.name for w in workspaces), controller.options.max_concurrent_reconciles,
        )  # fmt: skip
        if manager.server is not None:
            log.info("metrics, health and readiness at http://%s:%d", host, port)
        await manager.run()
    log.info("ended in order")


def _timing(options: argparse.Namespace) -> dict[str, Any]:
    duration, deadline, retry = options.lease_times
    return {
        "namespace": options.lease_namespace,
        "lease_duration": duration,
        "renew_deadline": deadline,
        "retry_period": retry,
    }


def _election(options: argparse.Namespace) -> LeaderElection | None:
    return LeaderElection(name=options.lease_name, **_timing(options)) if options.leader_elect else None


def _sharding(options: argparse.Namespace) -> Sharding | None:
    return Sharding(group=options.shards, **_timing(options)) if options.shards else None


async def _workspaces(options: argparse.Namespace) -> Workspaces:
    if options.context:
        return await Workspaces.for_contexts(dict.fromkeys(options.context), options.kubeconfig)
    config = await ClientConfig.load(options.kubeconfig)
    if options.workspace:
        return await Workspaces.for_server(config, dict.fromkeys(options.workspace))
    return Workspaces.whole_server(config)


async def check_access(workspace: Workspace) -> None:
    """Ask for one object of each kind, so that what is missing is said at once and in words.

    Raises:
        NotPrepared: the CRD or a right is missing.
        ApiError: the server cannot be asked.
    """
    server = workspace.client.config.address + workspace.client.prefix
    for kind in (WEBAPP, CONFIG_MAP, DEPLOYMENT):
        try:
            await workspace.client.request("GET", kind.path(workspace.namespace), params={"limit": 1})
        except NotFoundError as error:
            raise NotPrepared(
                f"{server} does not know {_resource(kind)}: kubectl apply -f {MANIFESTS / 'crd.yaml'}"
            ) from error
        except ForbiddenError as error:
            where = f"in namespace {workspace.namespace!r}" if workspace.namespace else "in all namespaces"
            raise NotPrepared(
                f"{server} does not allow to list {_resource(kind)} {where} ({error.message}): grant get, list and "
                f"watch, as {MANIFESTS / 'rbac.yaml'} does"
            ) from error
        except ApiError as error:
            error.add_note(f"while listing {_resource(kind)} at {server}")
            raise


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory
    return None


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, not {text}")
    return int(text)


def _address(text: str) -> tuple[str, int] | None:
    """Host and port of "host:port", ":port" (every address) or "[::1]:port"; None for "0"."""
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, or 0 for none, not {text!r}")
    return host.strip("[]") or "0.0.0.0", int(port)


def _fail(error: BaseException, status: int) -> int:
    print(f"fastcore run: {error}", *getattr(error, "__notes__", ()), sep="\n  ", file=sys.stderr)
    return status
