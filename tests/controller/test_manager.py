"""The manager from start to end, on a small API server that answers lists and watches."""

import asyncio
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controller.scripted import Connection, Received, ScriptedServer, answer, config_map, event, failure, listing, until
from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.controller import CacheSyncTimeout
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, SECRET, Request
from fastcore.controller.options import Options
from fastcore.controller.shard import Sharding
from fastcore.controller.workspace import Workspace


class Api:
    """Serves ConfigMaps and Secrets below any prefix: lists what `objects` holds, watches what `change` brings."""

    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.watches: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self.refused: set[str] = set()
        self.server = ScriptedServer([self._answer])

    async def __aenter__(self) -> "Api":
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.__aexit__()

    def change(self, path: str, type_: str, obj: dict[str, Any]) -> None:
        self.watches.setdefault(path, asyncio.Queue()).put_nowait(event(type_, obj))

    def lists(self, path: str) -> int:
        return sum(1 for r in self.server.received if r.path == path and "watch" not in r.query)

    async def _answer(self, connection: Connection, request: Received) -> None:
        if request.path in self.refused:
            await failure(403, "Forbidden", f"no list for {request.path}")(connection, request)
        elif request.method != "GET":
            await answer(201, {"metadata": {"name": "x"}})(connection, request)
        elif request.path.endswith("/api"):
            await answer(200 if request.path.startswith("/clusters") else 404, {})(connection, request)
        elif "sendInitialEvents" in request.query:
            await failure(422, "Invalid", "sendInitialEvents is not known here")(connection, request)
        elif "watch" not in request.query:
            await listing(self.objects.get(request.path, []), "10")(connection, request)
        else:
            changes = self.watches.setdefault(request.path, asyncio.Queue())
            await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                await connection.chunk(json.dumps(await changes.get()).encode() + b"\n")


MAPS, SECRETS = "/api/v1/configmaps", "/api/v1/secrets"
FAST = Options(max_concurrent_reconciles=2, shutdown_grace=5.0, cache_sync_timeout=10.0)


@asynccontextmanager
async def running(*managers: Manager) -> Any:
    """Run the managers until the block ends; then nothing of them may be left."""
    before = asyncio.all_tasks()
    tasks = [asyncio.create_task(manager.run()) for manager in managers]
    try:
        yield tasks[0]
    finally:
        for manager in managers:
            manager.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
    left = [task.get_coro().__qualname__ for task in asyncio.all_tasks() - before]  # type: ignore[union-attr]
    assert [name for name in left if not name.startswith("ScriptedServer")] == []


def collector() -> tuple[Callable[..., Any], list[Request]]:
    seen: list[Request] = []

    async def reconcile(ctx: Any, request: Request) -> None:
        seen.append(request)

    return reconcile, seen


async def fetch(url: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def test_reconciles_what_is_there_and_what_comes() -> None:
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1), config_map("b", 2)]
        reconcile, seen = collector()
        manager = Manager(api.server.config)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager):
            await until(lambda: len(seen) == 2)
            api.change(MAPS, "ADDED", config_map("c", 11))
            await until(lambda: len(seen) == 3)
        assert set(seen) == {Request("default", "default", name) for name in "abc"}


async def test_reads_come_from_the_informer_and_writes_go_to_it() -> None:
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1, {"k": "v"})]
        found: list[Any] = []

        async def reconcile(ctx: Any, request: Request) -> None:
            obj = ctx.get(CONFIG_MAP)
            found.append((obj["data"], len(ctx.list(CONFIG_MAP)), ctx.list(CONFIG_MAP, "other"), ctx.workspace.name))
            if len(found) == 1:
                ctx.observe(CONFIG_MAP, config_map("a", 12, {"k": "mine"}))

        manager = Manager(api.server.config)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager):
            await until(lambda: len(found) == 2)
        assert found == [({"k": "v"}, 1, [], "default"), ({"k": "mine"}, 1, [], "default")]
        assert api.lists(MAPS) == 1


async def test_informers_are_shared_by_workspace_kind_and_selector() -> None:
    async with Api() as api:
        reconcile, _ = collector()
        manager = Manager(api.server.config)
        options = Options(field_manager="us")
        ControllerBuilder(manager, "one").for_(CONFIG_MAP).owns(SECRET).with_options(options).complete(reconcile)
        ControllerBuilder(manager, "two").for_(CONFIG_MAP).with_options(options).complete(reconcile)
        ControllerBuilder(manager, "three").for_(CONFIG_MAP, label_selector="a=b").with_options(options).complete(
            reconcile
        )
        async with running(manager):
            await until(lambda: manager.readiness["informers"]() is None)
            assert (api.lists(MAPS), api.lists(SECRETS)) == (2, 1)


async def test_workspaces_by_name_are_paths_of_one_server() -> None:
    async with Api() as api:
        api.objects["/clusters/blue" + MAPS] = [config_map("a", 1)]
        api.objects["/clusters/red" + MAPS] = [config_map("b", 1)]
        reconcile, seen = collector()
        manager = Manager(api.server.config, workspaces=["blue", "red"])
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager):
            await until(lambda: len(seen) == 2)
        assert set(seen) == {Request("blue", "default", "a"), Request("red", "default", "b")}


async def test_workspaces_with_clients_of_their_own_stay_open() -> None:
    async with Api() as api, Client(api.server.config) as client:
        reconcile, seen = collector()
        api.objects["/api/v1/namespaces/team/configmaps"] = [config_map("a", 1)]
        manager = Manager(workspaces=[Workspace("team", client, namespace="team")])
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager):
            await until(lambda: len(seen) == 1)
        assert (await client.list(CONFIG_MAP)).items == []


async def test_ready_once_every_informer_is_synced() -> None:
    """IN-2 and /readyz; /healthz answers before."""
    async with Api() as api:
        api.refused.add(SECRETS)
        reconcile, _ = collector()
        manager = Manager(api.server.config, metrics_port=0)
        assert manager.server is not None
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).owns(SECRET).with_options(FAST).complete(reconcile)
        async with running(manager):
            await until(lambda: api.lists(SECRETS) > 0)
            url = f"http://127.0.0.1:{manager.server.port}"
            assert (await fetch(url + "/readyz")) == (503, "[-] informers failed: not synced: default/Secret\n")
            assert (await fetch(url + "/healthz")) == (200, "ok\n")
            api.refused.clear()
            while (await fetch(url + "/readyz"))[0] != 200:
                await asyncio.sleep(0.05)
            status, text = await fetch(url + "/metrics")
            assert status == 200
            assert 'controller_runtime_max_concurrent_reconciles{controller="maps"} 2.0' in text
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", manager.server.port)
        assert manager.readiness["informers"]() == "stopping"


async def test_a_cache_that_does_not_sync_fails_run() -> None:
    """CT-7: with the reason, and nothing left behind."""
    async with Api() as api:
        api.refused.add(MAPS)
        manager = Manager(api.server.config, metrics_port=0)
        options = Options(cache_sync_timeout=1.0)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(options).complete(collector()[0])
        async with running(manager) as task:
            with pytest.raises(CacheSyncTimeout, match=r"configmaps in default.*403"):
                await task


async def test_a_bug_in_the_reconciler_ends_run_if_told_to() -> None:
    """CT-5."""
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1)]

        async def reconcile(ctx: Any, request: Request) -> None:
            raise ZeroDivisionError("a bug")

        manager = Manager(api.server.config)
        options = Options(recover_panic=False)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(options).complete(reconcile)
        async with running(manager) as task:
            with pytest.raises(ZeroDivisionError):
                await task


async def test_cancelling_run_ends_in_order() -> None:
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1)]
        reconcile, seen = collector()
        manager = Manager(api.server.config, metrics_port=0)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager) as task:
            await until(lambda: len(seen) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_stop_from_another_thread() -> None:
    async with Api() as api:
        reconcile, _ = collector()
        manager = Manager(api.server.config)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager) as task:
            await until(lambda: manager.readiness["informers"]() is None)
            threading.Thread(target=manager.stop).start()
            await task
            assert task.exception() is None


@pytest.mark.skipif(sys.platform == "win32", reason="no process can send itself SIGTERM on Windows")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_run_in_order_and_the_handlers_are_put_back(number: signal.Signals) -> None:
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1)]
        started, ended = asyncio.Event(), []

        async def reconcile(ctx: Any, request: Request) -> None:
            started.set()
            await asyncio.sleep(0.05)
            ended.append(request)

        before = signal.getsignal(number)
        manager = Manager(api.server.config)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager) as task:
            await started.wait()
            os.kill(os.getpid(), number)
            await task
        assert len(ended) == 1
        assert signal.getsignal(number) is before


def test_a_loop_in_another_thread_leaves_signals_alone() -> None:
    async def main() -> None:
        async with Api() as api:
            reconcile, _ = collector()
            manager = Manager(api.server.config)
            ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
            async with running(manager):
                await until(lambda: manager.readiness["informers"]() is None)
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert done == [True]


async def test_a_stop_before_run_is_not_lost() -> None:
    async with Api() as api:
        manager = Manager(api.server.config)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(collector()[0])
        manager.stop()
        assert await manager.run() is None


async def test_what_cannot_run_is_refused() -> None:
    reconcile, _ = collector()
    config = ClientConfig("http://127.0.0.1:9")
    with pytest.raises(ValueError, match="no controller"):
        await Manager(config).run()
    with pytest.raises(ValueError, match="leader_election and sharding exclude each other"):
        Manager(config, leader_election=True, sharding=Sharding(group="g"))
    Manager(config, leader_election=False)
    with pytest.raises(ValueError, match="resync must be >= 1"):
        Manager(config, resync=0.5)
    empty = Manager(config, workspaces=[])
    ControllerBuilder(empty, "a").for_(CONFIG_MAP).complete(reconcile)
    with pytest.raises(ValueError, match="at least one workspace"):
        await empty.run()
    with pytest.raises(ValueError, match="runs once"):
        await empty.run()
    with pytest.raises(ValueError, match="comes too late"):
        ControllerBuilder(empty, "b").for_(CONFIG_MAP).complete(reconcile)


async def test_two_managers_share_a_process_and_a_registry() -> None:
    """Defect 92: no clash; CT-9: a name counts once in a registry."""
    async with Api() as api:
        registry = CollectorRegistry()
        managers = [Manager(api.server.config, registry=registry) for _ in range(2)]
        reconcile, seen = collector()
        api.objects[MAPS] = [config_map("a", 1)]
        for name, manager in zip(("one", "two"), managers, strict=True):
            ControllerBuilder(manager, name).for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        with pytest.raises(ValueError, match="'one' is taken by another manager"):
            ControllerBuilder(managers[1], "one")
        async with running(*managers):
            await until(lambda: len(seen) == 2)
        text = generate_latest(registry).decode()
        for name in ("one", "two"):
            assert f'controller_runtime_reconcile_total{{controller="{name}",result="success"}} 1.0' in text


@pytest.mark.parametrize(
    ("series", "collection"),
    [(False, "/api/v1/namespaces/default/events"), (True, "/apis/events.k8s.io/v1/namespaces/default/events")],
)
async def test_events_are_sent_before_the_end(series: bool, collection: str) -> None:
    """EV-2: in the API that the controller chose."""
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1)]

        async def reconcile(ctx: Any, request: Request) -> None:
            ctx.events.event(ctx.get(CONFIG_MAP), "Normal", "Seen", "hello")
            manager.stop()

        manager = Manager(api.server.config)
        options = replace(FAST, event_series=series)
        controller = ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(options).complete(reconcile)
        async with running(manager) as task:
            await task
        assert f"POST {collection}" in api.server.lines
        assert controller.counters.events.written == 1


async def test_resyncs_show_every_object_again_without_a_request() -> None:
    """IN-5."""
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1)]
        reconcile, seen = collector()
        manager = Manager(api.server.config, resync=1.0)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager):
            start = time.monotonic()
            await until(lambda: len(seen) >= 2)
            assert time.monotonic() - start > 0.5
        assert api.lists(MAPS) == 1


@pytest.mark.parametrize("streaming", [True, False])
async def test_streams_are_asked_for_unless_told_otherwise(streaming: bool) -> None:
    """RF-2."""
    async with Api() as api:
        api.objects[MAPS] = [config_map("a", 1)]
        reconcile, seen = collector()
        manager = Manager(api.server.config, streaming=streaming)
        ControllerBuilder(manager, "maps").for_(CONFIG_MAP).with_options(FAST).complete(reconcile)
        async with running(manager):
            await until(lambda: len(seen) == 1)
        assert any("sendInitialEvents" in r.query for r in api.server.received) == streaming
