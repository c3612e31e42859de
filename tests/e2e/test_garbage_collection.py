"""Owner references are good for what they are set for: the cluster's own garbage collector takes the children."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fastcore.controller import CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION, DEPLOYMENT, Client, ClientConfig, Manager
from fastcore.controller.errors import NotFoundError
from fastcore.reference import WEBAPP, build, crd
from fastcore.testing.apiserver import APIServer
from fastcore.testing.kube import KubeServer

SPEC = {"image": "web:1", "replicas": 1, "config": {"A": "1"}, "ports": [{"name": "http", "port": 80}]}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.1)


async def check_children_follow_their_owner(config: ClientConfig, seconds: float) -> None:
    async with Client(config) as client:
        await client.create(CUSTOM_RESOURCE_DEFINITION, crd())

        async def served() -> bool:
            try:
                return (await client.list(WEBAPP)).items == []
            except NotFoundError:
                return False

        async def exist(name: str) -> list[bool]:
            found = []
            for kind in (CONFIG_MAP, DEPLOYMENT):
                listing = await client.list(kind, "default", field_selector=f"metadata.name={name}")
                found.append(bool(listing.items))
            return found

        async def all_exist() -> bool:
            return await exist("doomed") == [True, True] and await exist("kept") == [True, True]

        async def none_exists() -> bool:
            return await exist("doomed") == [False, False]

        await until(served, 30)
        manager = Manager(config, handle_signals=False)
        build(manager)
        running = asyncio.create_task(manager.run())
        try:
            for name in ("doomed", "kept"):
                await client.create(WEBAPP, {"metadata": {"name": name, "namespace": "default"}, "spec": SPEC})
            await until(all_exist, 30)
            await client.delete(WEBAPP, "default", "doomed")
            await until(none_exists, seconds)
            # Nobody brought them back, and the other WebApp kept its own.
            await asyncio.sleep(1)
            assert await exist("doomed") == [False, False]
            assert await exist("kept") == [True, True]
        finally:
            manager.stop()
            await running


async def test_embedded_collector(api_server: APIServer) -> None:
    """WR-7"""
    await check_children_follow_their_owner(ClientConfig(api_server.url), 10)


@pytest.mark.kube
async def test_kube_controller_manager(kube_cluster: KubeServer) -> None:
    """WR-7: the real collector learns of a new CRD only every 30 seconds."""
    await check_children_follow_their_owner(await ClientConfig.load(kube_cluster.kubeconfig), 80)
