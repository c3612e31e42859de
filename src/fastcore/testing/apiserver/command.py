"""`fastcore apiserver`: runs the embedded API server until it is told to stop."""

import argparse
import asyncio
import contextlib
import signal
import sys

from fastcore.testing.apiserver.controllers import BUILT_IN_CONTROLLERS
from fastcore.testing.apiserver.server import APIServer, new_loop

_EPILOG = """\
Everything is kept in memory: when the command ends, all objects are gone.

  fastcore apiserver --kubeconfig /tmp/kubeconfig &
  export KUBECONFIG=/tmp/kubeconfig
  kubectl create configmap hello --from-literal=a=b
  kubectl get configmaps --watch

Workspaces are whole clusters of their own below /clusters/NAME; they come into
being when first used:

  kubectl --server http://127.0.0.1:PORT/clusters/team-a get namespaces

All workspaces at once, to list and watch:

  curl 'http://127.0.0.1:PORT/clusters/*/api/v1/configmaps'

With --faults: the next three lists of ConfigMaps get 429. GET shows the faults,
DELETE ends them; docs/apiserver.md has all of them.

  curl --json '{"fault":"error","code":429,"retry_after":1,"verbs":["list"],
                "kind":"configmaps","count":3}' http://127.0.0.1:PORT/fastcore/faults
"""


def parser(prog: str = "fastcore apiserver") -> argparse.ArgumentParser:
    """The command's arguments."""
    out = argparse.ArgumentParser(
        prog=prog,
        description="A Kubernetes API server in one process, for tests, demos and development.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument(
        "--port", type=int, default=0, metavar="N", help="TCP port on loopback; 0, the default, takes a free one"
    )
    out.add_argument("--kubeconfig", metavar="PATH", help="write a kubeconfig there, readable by you only")
    out.add_argument(
        "--tls", action="store_true", help="serve HTTPS; the kubeconfig names the certificate authority (needs openssl)"
    )
    out.add_argument(
        "--faults", action="store_true", help="serve /fastcore/faults, where requests can be made to fail (see below)"
    )
    out.add_argument("--audit-log", metavar="PATH", help="append a line of JSON for each request: verb, object, status")
    out.add_argument("--token", help="bearer token that every request must carry (default: none needed)")
    out.add_argument(
        "--bookmark-period",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time between watch bookmarks (default 60)",
    )
    out.add_argument(
        "--history",
        type=int,
        default=20_000,
        metavar="EVENTS",
        help="events kept for each kind (default 20000); older ones answer 410",
    )
    out.add_argument(
        "--without",
        action="append",
        default=[],
        choices=BUILT_IN_CONTROLLERS,
        help="switch a built-in controller off; may be repeated",
    )
    return out


def main(argv: list[str] | None = None) -> int:
    """Run the server: print its URL, serve until SIGINT or SIGTERM, return the exit status."""
    arguments = parser().parse_args(argv)
    try:
        server = APIServer(
            arguments.port,
            token=arguments.token,
            history=arguments.history,
            bookmark_period=arguments.bookmark_period,
            tls=arguments.tls,
            audit_log=arguments.audit_log,
            faults_path=arguments.faults,
            controllers=tuple(name for name in BUILT_IN_CONTROLLERS if name not in arguments.without),
        )
    except ValueError as error:
        print(f"fastcore apiserver: {error}", file=sys.stderr)
        return 2
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner, contextlib.suppress(KeyboardInterrupt):
            runner.run(_serve(server, arguments.kubeconfig))
    except OSError as error:
        print(f"fastcore apiserver: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(server: APIServer, kubeconfig: str | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt instead
            signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.set))
            break
    async with server:
        if kubeconfig:
            server.kubeconfig(kubeconfig)
        print(server.url, flush=True)
        if kubeconfig:
            print(f"KUBECONFIG={kubeconfig}", flush=True)
        await stop.wait()
