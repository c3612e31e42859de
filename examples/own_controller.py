"""A controller of your own, whole: every Namespace labelled `quota: small` has a ConfigMap with its limits.

fastcore apiserver --kubeconfig /tmp/kubeconfig &
python examples/own_controller.py --kubeconfig /tmp/kubeconfig
kubectl --kubeconfig /tmp/kubeconfig label namespace default quota=small
"""

import argparse
import asyncio
import logging

from fastcore.controller import (
    CONFIG_MAP,
    NAMESPACE,
    ClientConfig,
    Context,
    ControllerBuilder,
    Manager,
    Options,
    Request,
    TerminalError,
)

LIMITS = {"small": {"cpu": "2", "memory": "4Gi"}, "large": {"cpu": "16", "memory": "64Gi"}}


def namespace_of(config_map: dict) -> list[tuple[str, str]]:
    """The ConfigMap `limits` concerns its namespace."""
    meta = config_map["metadata"]
    return [("", meta["namespace"])] if meta["name"] == "limits" else []


async def reconcile(ctx: Context, request: Request) -> None:
    """Bring the ConfigMap `limits` of one namespace in order."""
    namespace = ctx.get(NAMESPACE)
    if namespace is None or namespace["metadata"].get("deletionTimestamp"):
        return
    size = namespace["metadata"].get("labels", {}).get("quota")
    if size is None:
        return
    if size not in LIMITS:
        raise TerminalError(f"namespace {request.name}: quota {size!r} is none of {sorted(LIMITS)}")
    live = ctx.get(CONFIG_MAP, request.name, "limits")
    if live is None or live.get("data") != LIMITS[size]:
        desired = {"metadata": {"name": "limits", "namespace": request.name}, "data": LIMITS[size]}
        ctx.observe(CONFIG_MAP, await ctx.client.apply(CONFIG_MAP, desired, field_manager="quota"))
        ctx.log.info("limits of %s are %s", request.name, size)


async def main(kubeconfig: str | None) -> None:
    """Run until SIGTERM or Ctrl-C."""
    manager = Manager(await ClientConfig.load(kubeconfig), metrics_port=0)
    (
        ControllerBuilder(manager, "quota")
        .for_(NAMESPACE)
        .watches(CONFIG_MAP, namespace_of)
        .with_options(Options(max_concurrent_reconciles=4))
        .complete(reconcile)
    )
    await manager.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig")
    asyncio.run(main(parser.parse_args().kubeconfig))
