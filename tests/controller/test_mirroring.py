"""A kind mirrored into the SQL store: what is there is there, what is gone is gone, whatever happened meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.manager import Manager
from fastcore.controller.mirroring import Mirror, stored_kind
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, SECRET
from fastcore.store import QueryOptions, Resource, ResourceStore
from fastcore.testing.apiserver import APIServer


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}, "data": {"a": "b"}}


async def rows(store: ResourceStore) -> dict[str, Resource]:
    page = await store.list(QueryOptions("default", "ConfigMap", 1000))
    return {row.name: row for row in page.items}


async def until_rows(store: ResourceStore, names: set[str]) -> dict[str, Resource]:
    async with asyncio.timeout(30):
        while set(found := await rows(store)) != names:
            await asyncio.sleep(0.02)
    return found


@asynccontextmanager
async def mirrored(server: APIServer, store: ResourceStore, **options: Any) -> AsyncIterator[Manager]:
    manager = Manager(ClientConfig(server.url), handle_signals=False)
    manager.mirror(store, CONFIG_MAP, **options)
    running = asyncio.create_task(manager.run())
    try:
        yield manager
    finally:
        manager.stop()
        await running


async def test_rows_follow_the_objects(tmp_path: Path) -> None:
    """Made, changed, deleted; and what was deleted while nobody looked goes when somebody does."""
    async with (
        await ResourceStore.open(f"sqlite:///{tmp_path / 'store.db'}") as store,
        Client(ClientConfig((server := APIServer(controllers=())).start().url)) as client,
    ):
        try:
            await client.create(CONFIG_MAP, config_map("a", app="web"))
            await client.create(CONFIG_MAP, config_map("b"))
            await store.upsert(Resource("default", "ConfigMap", "default", "ghost"))
            await store.upsert(Resource("default", "Other", "default", "ghost"))
            async with mirrored(server, store) as manager:
                found = await until_rows(store, {"a", "b"})
                assert found["a"].metadata["labels"] == {"app": "web"}
                assert found["a"].created_at is not None
                assert "b" not in str(found["a"].spec)
                await client.create(CONFIG_MAP, config_map("c"))
                await client.delete(CONFIG_MAP, "default", "a")
                await client.patch(CONFIG_MAP, "default", "b", {"metadata": {"labels": {"app": "new"}}})
                await until_rows(store, {"b", "c"})
                async with asyncio.timeout(30):
                    while (await rows(store))["b"].metadata.get("labels") != {"app": "new"}:
                        await asyncio.sleep(0.02)
                assert list(manager.controllers) == ["mirror-configmaps"]
            await client.delete(CONFIG_MAP, "default", "b")
            assert set(await rows(store)) == {"b", "c"}
            async with mirrored(server, store):
                await until_rows(store, {"c"})
            assert await store.count("default", "Other") == 1
        finally:
            server.stop()


async def test_a_store_that_fails_is_tried_again(tmp_path: Path) -> None:
    """A row that cannot be written now is written later; the rest goes on."""
    with APIServer(controllers=()) as server:
        async with (
            await ResourceStore.open(f"sqlite:///{tmp_path / 'store.db'}") as store,
            Client(ClientConfig(server.url)) as client,
        ):
            failures = iter([True, True])
            put = store.sync._backend.put

            def flaky(*arguments: Any) -> Any:
                if next(failures, False):
                    raise OSError("the disk is full")
                return put(*arguments)

            store.sync._backend.put = flaky  # type: ignore[method-assign]
            async with mirrored(server, store):
                await client.create(CONFIG_MAP, config_map("a"))
                await until_rows(store, {"a"})
            assert next(failures, None) is None


async def test_what_cannot_be_mirrored_is_refused(tmp_path: Path) -> None:
    async with await ResourceStore.open("sqlite://") as store:
        manager = Manager(handle_signals=False)
        with pytest.raises(ValueError, match="Secrets are not mirrored"):
            manager.mirror(store, SECRET)
        with pytest.raises(ValueError, match="sweep must be >= 1 second"):
            Mirror(store, CONFIG_MAP, sweep=0)
        manager.mirror(store, DEPLOYMENT)
        with pytest.raises(ValueError, match="the controller name 'mirror-deployments' is taken"):
            manager.mirror(store, DEPLOYMENT)
    assert (stored_kind(DEPLOYMENT), stored_kind(CONFIG_MAP)) == ("Deployment.apps", "ConfigMap")
