"""Managers in replicas, in one process and on an embedded server: who starts what when, and who stops how."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controller.scripted import until
from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.fence import FencedError
from fastcore.controller.leader import LeaderElection
from fastcore.controller.lease import LeaseLost
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, LEASE, Request
from fastcore.controller.options import Options
from fastcore.controller.shard import Sharding
from fastcore.testing.apiserver import APIServer

TIMES: dict[str, Any] = {"lease_duration": 2.0, "renew_deadline": 1.0, "retry_period": 0.1}
MAP = {"metadata": {"namespace": "default", "name": "a"}}


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(manager.run())
    try:
        yield task
    finally:
        manager.stop()
        await asyncio.wait([task])


def leading(url: str, name: str, reconcile: Any, **options: Any) -> Manager:
    manager = Manager(
        ClientConfig(url),
        leader_election=LeaderElection(name="web", identity=name, **{**TIMES, **options}),
        handle_signals=False,
        registry=CollectorRegistry(),
    )
    ControllerBuilder(manager, f"maps-{name}").for_(CONFIG_MAP).complete(reconcile)
    return manager


async def test_a_standby_is_warm_and_ready_but_does_not_work(api_server: APIServer) -> None:
    """CT-8: its caches are full and its queue grows, readiness is true, and no reconcile runs before it leads."""
    seen: dict[str, list[Request]] = {"a": [], "b": []}

    def noting(name: str) -> Any:
        async def reconcile(ctx: Any, request: Request) -> None:
            seen[name].append(request)

        return reconcile

    first, second = (leading(api_server.url, name, noting(name)) for name in ("a", "b"))
    async with Client(ClientConfig(api_server.url)) as client, running(second) as other:
        await until(lambda: second.availability.elector is not None and second.availability.elector.leading)
        async with running(first):
            await client.create(CONFIG_MAP, MAP)
            await until(lambda: len(first.controllers["maps-a"].queue) > 0)
            assert first.readiness["informers"]() is None
            await until(lambda: any(r.name == "a" for r in seen["b"]))
            assert seen["a"] == []
            metrics = [generate_latest(m.export()).decode() for m in (first, second)]
            assert 'leader_election_master_status{name="web"} 0.0' in metrics[0]
            assert 'leader_election_master_status{name="web"} 1.0' in metrics[1]
            assert 'leader_election_slowpath_total{name="web"} 0.0' in metrics[1]
            second.stop()
            await other
            await until(lambda: any(r.name == "a" for r in seen["a"]))


async def test_a_controller_that_needs_no_lead_works_at_once(api_server: APIServer) -> None:
    """CT-8: and what it writes is not fenced."""
    done: list[str] = []

    async def reconcile(ctx: Any, request: Request) -> None:
        if request.name == "a":
            await ctx.client.patch(CONFIG_MAP, request.namespace, request.name, {"data": {"k": "v"}})
            done.append(request.name)

    async def nothing(ctx: Any, request: Request) -> None:
        raise AssertionError("this one does not lead")

    async with Client(ClientConfig(api_server.url)) as client:
        held = {"holderIdentity": "x", "leaseDurationSeconds": 3600}
        await client.create(LEASE, {"metadata": {"namespace": "default", "name": "web"}, "spec": held})
        manager = leading(api_server.url, "a", nothing)
        options = Options(needs_leader_election=False)
        ControllerBuilder(manager, "free").for_(CONFIG_MAP).with_options(options).complete(reconcile)
        async with running(manager):
            await client.create(CONFIG_MAP, MAP)
            await until(lambda: bool(done))


@pytest.mark.parametrize("on_lost", ["raise", "return"])
async def test_a_lost_lease_stops_running_reconciles_at_once(api_server: APIServer, on_lost: str) -> None:
    """CT-10, LE-6, LE-8: no grace, and no write any more."""
    begun, errors = asyncio.Event(), []

    async def reconcile(ctx: Any, request: Request) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            try:
                await ctx.client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "late"}})
            except FencedError as error:
                errors.append(error)
            raise

    manager = leading(api_server.url, "a", reconcile, on_lost=on_lost)
    async with Client(ClientConfig(api_server.url)) as client, running(manager) as task:
        await client.create(CONFIG_MAP, MAP)
        await begun.wait()
        await client.patch(LEASE, "default", "web", {"spec": {"holderIdentity": "thief"}})
        async with asyncio.timeout(10):
            if on_lost == "raise":
                with pytest.raises(LeaseLost, match="now held by thief"):
                    await task
            else:
                await task
        assert len(errors) == 1
        assert "late" not in [o["metadata"]["name"] for o in (await client.list(CONFIG_MAP)).items]
        lease = await client.get(LEASE, "default", "web")
        assert lease["spec"]["holderIdentity"] == "thief"  # what is another's is not given back


async def test_a_lease_is_kept_until_running_reconciles_have_ended(api_server: APIServer) -> None:
    """LE-7, CT-10: it is renewed through the grace, and given back after it."""
    begun, holders = asyncio.Event(), []

    async def reconcile(ctx: Any, request: Request) -> None:
        begun.set()
        await asyncio.sleep(1.3)  # longer than the renew deadline
        holders.append((await ctx.client.get(LEASE, "default", "web"))["spec"]["holderIdentity"])
        await ctx.client.patch(CONFIG_MAP, request.namespace, request.name, {"data": {"k": "v"}})
        holders.append("written")

    async with Client(ClientConfig(api_server.url)) as client:
        await client.create(CONFIG_MAP, MAP)
        manager = leading(api_server.url, "a", reconcile)
        async with running(manager) as task:
            await begun.wait()
            manager.stop()
            await task
        assert set(holders) == {"a", "written"}
        assert (await client.get(LEASE, "default", "web"))["spec"]["holderIdentity"] == ""


async def test_a_lease_is_not_given_back_while_a_thread_is_at_work(api_server: APIServer) -> None:
    """LE-7: nothing can stop a thread, so the Lease has to expire."""
    begun, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def reconcile(ctx: Any, request: Request) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30)

    async with Client(ClientConfig(api_server.url)) as client:
        await client.create(CONFIG_MAP, MAP)
        manager = Manager(
            ClientConfig(api_server.url),
            leader_election=LeaderElection(name="web", identity="a", **TIMES),
            handle_signals=False,
        )
        options = Options(shutdown_grace=0.1)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(options).complete(reconcile)
        async with running(manager) as task:
            await begun.wait()
            manager.stop()
            await task
        assert (await client.get(LEASE, "default", "web"))["spec"]["holderIdentity"] == "a"
        assert manager.availability.elector is not None
        assert manager.availability.elector.fence.closed
        release.set()


async def test_two_managers_share_the_keys_and_hand_them_over(api_server: APIServer) -> None:
    """LE-7: each key with one of them; when one leaves, the other looks at everything again."""
    seen: dict[str, set[str]] = {"a": set(), "b": set()}

    def sharing(name: str) -> Manager:
        async def reconcile(ctx: Any, request: Request) -> None:
            if request.namespace == "default":
                seen[name].add(request.name)

        manager = Manager(
            ClientConfig(api_server.url),
            sharding=Sharding(group="web", identity=name, **TIMES),
            handle_signals=False,
            registry=CollectorRegistry(),
        )
        ControllerBuilder(manager, f"maps-{name}").for_(CONFIG_MAP).complete(reconcile)
        return manager

    first, second = sharing("a"), sharing("b")

    def settled(manager: Manager, count: int) -> bool:
        member = manager.availability.member
        return member is not None and member.settled and len(member.roster.members) == count  # type: ignore[union-attr]

    names = {f"m{i}" for i in range(40)}
    async with Client(ClientConfig(api_server.url)) as client, running(first):
        async with running(second):
            await until(lambda: settled(first, 2) and settled(second, 2))
            for name in names:
                await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": name}})
            await until(lambda: seen["a"] | seen["b"] >= names)
            assert seen["a"] & seen["b"] & names == set()
            assert seen["a"]
            assert seen["b"]
            text = generate_latest(second.export()).decode()
            assert 'fastcore_shard_members{group="web"} 2.0' in text
            assert 'fastcore_shard_settled{group="web"} 1.0' in text
            assert 'fastcore_shard_handovers_total{group="web"}' in text
        await until(lambda: seen["a"] >= names)
        assert settled(first, 1)


async def test_a_lease_of_several_controllers_has_to_be_named(api_server: APIServer) -> None:
    async def reconcile(ctx: Any, request: Request) -> None:
        raise AssertionError("never started")

    manager = Manager(ClientConfig(api_server.url), leader_election=True, handle_signals=False)
    for name in ("one", "two"):
        ControllerBuilder(manager, name).for_(CONFIG_MAP).complete(reconcile)
    with pytest.raises(ValueError, match=r"needs LeaderElection\(name=\.\.\.\)"):
        await manager.run()


async def test_the_lease_of_one_controller_has_its_name(api_server: APIServer) -> None:
    async def reconcile(ctx: Any, request: Request) -> None:
        return None

    manager = Manager(ClientConfig(api_server.url, namespace="kube-system"), leader_election=True, handle_signals=False)
    ControllerBuilder(manager, "maps").for_(CONFIG_MAP).complete(reconcile)
    async with Client(ClientConfig(api_server.url)) as client, running(manager):
        await until(lambda: manager.availability.elector is not None and manager.availability.elector.leading)
        assert (await client.get(LEASE, "kube-system", "maps-leader"))["spec"]["leaseDurationSeconds"] == 15
