"""Own writes against a server: read at once, and no reason for a reconcile (WR-8, WR-9)."""

import asyncio
from typing import Any

from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.context import Context
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, Request
from fastcore.testing.apiserver import APIServer


async def run(reconcile: Any, rounds: int = 1) -> Any:
    """Reconcile one ConfigMap `a` that owns another, until it has been reconciled `rounds` times and all is quiet."""
    async with APIServer() as server, Client(ClientConfig(server.url)) as client:
        manager = Manager(ClientConfig(server.url), handle_signals=False)
        controller = ControllerBuilder(manager, "owner").for_(CONFIG_MAP).owns(CONFIG_MAP).complete(reconcile)
        await client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "default"}})
        running = asyncio.create_task(manager.run())
        async with asyncio.timeout(30):
            while controller.counters.success < rounds or controller.counters.active_workers:
                await asyncio.sleep(0.01)
            # The watch has brought everything once it has brought a later write.
            await client.create(CONFIG_MAP, {"metadata": {"name": "z", "namespace": "default"}})
            while controller.history.known(Request("default", "default", "z")) is None:
                await asyncio.sleep(0.01)
        manager.stop()
        await running
        return controller


async def test_what_the_client_wrote_is_read_at_once_and_wakes_nobody() -> None:
    """WR-8, WR-9: by the client alone, without a batch."""
    reads: list[Any] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        original = ctx.get(CONFIG_MAP)
        if request.name != "a" or original is None:
            return
        child = {"name": "child", "namespace": "default", "ownerReferences": [CONFIG_MAP.owner_reference(original)]}
        await ctx.client.create(CONFIG_MAP, {"metadata": child})
        reads.append(ctx.get(CONFIG_MAP, "default", "child"))

    controller = await run(reconcile)
    assert len(reads) == 1
    assert reads[0] is not None
    story = controller.history.known(Request("default", "default", "a"))
    assert (story.reconciles, story.suppressed, controller.counters.own_events) == (1, 1, 1)
    assert controller.ledger.decode_ns > 0
    assert controller.ledger.server_ns > 0
    records = list(controller.flight.lines("owner"))
    assert any('"method": "POST"' in line and '"status": 201' in line for line in records)


async def test_an_unobserved_or_dry_write_leaves_the_cache_alone() -> None:
    """WR-8: opt-out per call."""
    reads: list[Any] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        if request.name == "a":
            for name, how in (("dry", {"dry_run": True}), ("quiet", {"observe": False})):
                meta = {"metadata": {"name": name, "namespace": "default"}}
                await ctx.client.apply(CONFIG_MAP, meta, field_manager="test", **how)
                reads.append(ctx.get(CONFIG_MAP, "default", name))

    await run(reconcile)
    assert reads == [None, None]
