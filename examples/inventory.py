"""An inventory of a cluster's ConfigMaps in SQL: a manager mirrors them, and anybody asks for pages of them.

fastcore apiserver --kubeconfig /tmp/kubeconfig &
python examples/inventory.py --kubeconfig /tmp/kubeconfig --database sqlite:////tmp/inventory.db
"""

import argparse
import asyncio

from fastcore.controller import ClientConfig, Manager
from fastcore.controller.model import CONFIG_MAP
from fastcore.store import Prefix, QueryOptions, ResourceStore


async def report(store: ResourceStore, workspace: str, prefix: str) -> None:
    """Print what there is, a page at a time, then every change."""
    since = await store.version()  # asked for before the list, so that nothing falls between the two
    cursor = None
    while True:
        options = QueryOptions(
            workspace, "ConfigMap", limit=100, cursor=cursor, order_by=["namespace", "name"],
            filters={"name": Prefix(prefix)} if prefix else {},
        )  # fmt: skip
        page = await store.list(options)
        for row in page.items:
            print(f"{row.namespace}/{row.name} since {row.created_at:%Y-%m-%d}", flush=True)
        cursor = page.cursor
        if cursor is None:
            break
    async for event in store.watch(workspace, "ConfigMap", since=since):
        name = event.resource.name
        if name.startswith(prefix):
            print(f"{'gone' if event.deleted else 'now'}: {event.resource.namespace}/{name}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig")
    parser.add_argument("--database", default="sqlite:///inventory.db", help="sqlite:///path or postgresql://...")
    parser.add_argument("--prefix", default="", help="only names that begin with it")
    options = parser.parse_args()
    async with await ResourceStore.open(options.database) as store:
        manager = Manager(await ClientConfig.load(options.kubeconfig))
        manager.mirror(store, CONFIG_MAP)
        reporting = asyncio.create_task(report(store, "default", options.prefix))
        try:
            await manager.run()  # until Ctrl-C or SIGTERM
        finally:
            reporting.cancel()
            await asyncio.wait([reporting])


if __name__ == "__main__":
    asyncio.run(main())
