"""A small controller for tests of replicas: each source gets a child, applied in the name of the replica that did it.

usage: replica.py KUBECONFIG NAMESPACE REPLICA leader|shards
"""

import asyncio
import logging
import sys

from fastcore.controller import CONFIG_MAP, Client, ClientConfig, ControllerBuilder, Manager, Options, Workspace
from fastcore.controller.leader import LeaderElection
from fastcore.controller.shard import Sharding

TIMES = {"lease_duration": 3.0, "renew_deadline": 2.0, "retry_period": 0.4}


async def main(kubeconfig: str, namespace: str, replica: str, mode: str) -> None:
    async def reconcile(ctx, request):  # type: ignore[no-untyped-def]
        source = ctx.get(CONFIG_MAP)
        if source is None or "source" not in (source["metadata"].get("labels") or {}):
            return
        name = f"{request.name}-child"
        if ctx.get(CONFIG_MAP, request.namespace, name) is None:
            child = {"metadata": {"namespace": request.namespace, "name": name}, "data": {"a": "1"}}
            ctx.observe(CONFIG_MAP, await ctx.client.apply(CONFIG_MAP, child, field_manager=replica))

    async with Client(await ClientConfig.load(kubeconfig)) as client:
        election = sharding = None
        if mode == "leader":
            election = LeaderElection(name="web", namespace=namespace, identity=replica, **TIMES)
        else:
            sharding = Sharding(group="web", namespace=namespace, identity=replica, **TIMES)
        manager = Manager(
            workspaces=[Workspace("test", client, namespace=namespace)], leader_election=election, sharding=sharding
        )
        options = Options(max_concurrent_reconciles=2)
        ControllerBuilder(manager, "children").for_(CONFIG_MAP).with_options(options).complete(reconcile)
        await manager.run()


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s: %(message)s")
    asyncio.run(main(*sys.argv[1:]))
