"""The reference job on real servers: it converges with the fewest writes that can do it, and stays quiet."""

import asyncio
from typing import Any

import pytest

from fastcore.controller.config import ClientConfig
from fastcore.controller.context import Context, Scope
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT
from fastcore.controller.workspace import Workspaces
from fastcore.reference import build, reconciler
from fastcore.reference.webapp import CONFIG_HASH, WEBAPP, config_hash, deployment
from fastcore.testing.apiserver import APIServer
from reference.conftest import Load
from reference.world import World, install_crd, world


async def test_a_new_webapp_costs_three_writes_and_then_none(load: Load) -> None:
    """Minimal writes: apply, apply, status."""
    async with world(await load()) as w:
        names = [f"web-{i}" for i in range(10)]
        for name in names:
            await w.create(name, ports=[{"name": "http", "port": 80}])
        await w.synced(*names)
        assert await w.quiet() == 30
        webapp = await w.get(WEBAPP, "web-3")
        assert webapp is not None
        assert webapp["status"]["phase"] == "Progressing"
        assert webapp["status"]["observedGeneration"] == 1
        assert webapp["status"]["readyReplicas"] == 0
        assert await w.data("web-3") == {"A": "1"}
        child = await w.get(DEPLOYMENT, "web-3")
        assert child is not None
        assert child["spec"]["replicas"] == 2
        owner = child["metadata"]["ownerReferences"][0]
        assert (owner["uid"], owner["controller"]) == (webapp["metadata"]["uid"], True)
        assert child["metadata"]["labels"] == {"app.kubernetes.io/name": "web-3"}
        template = child["spec"]["template"]
        assert template["metadata"]["annotations"][CONFIG_HASH] == config_hash({"A": "1"})
        assert template["spec"]["containers"][0]["ports"] == [{"name": "http", "containerPort": 80, "protocol": "TCP"}]
        managers = {(m["manager"], m["operation"]) for m in child["metadata"]["managedFields"]}
        assert managers == {("fastcore", "Apply")}
        assert await w.events("web-3") == []


async def test_a_restart_writes_nothing(load: Load) -> None:
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        await w.stop()
        await w.start()
        assert await w.quiet() == 0


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        (CONFIG_MAP, {"data": {"A": "edited"}}),
        (CONFIG_MAP, {"data": {"foreign": "key"}}),
        (CONFIG_MAP, {"data": None}),
        (CONFIG_MAP, {"metadata": {"labels": None}}),
        (DEPLOYMENT, {"spec": {"replicas": 7}}),
        (DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {CONFIG_HASH: "x"}}}}}),
    ],
)
async def test_drift_is_repaired_by_one_write(load: Load, kind: Any, patch: Any) -> None:
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        before = await w.quiet()
        await w.patch(kind, "web", patch)

        async def repaired() -> bool:
            child = await w.get(kind, "web")
            assert child is not None
            if not child["metadata"].get("labels"):
                return False
            if kind is CONFIG_MAP:
                return bool(child.get("data") == {"A": "1"})
            template = child["spec"]["template"]
            return bool(
                child["spec"]["replicas"] == 2
                and template["metadata"]["annotations"][CONFIG_HASH] == config_hash({"A": "1"})
            )

        await w.until(repaired)
        assert await w.quiet() == before + 1


@pytest.mark.parametrize("kind", [CONFIG_MAP, DEPLOYMENT])
async def test_a_deleted_child_is_made_anew_by_one_write(load: Load, kind: Any) -> None:
    """Defect 4."""
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        before = await w.quiet()
        await w.client.delete(kind, w.namespace, "web")

        async def back() -> bool:
            return await w.get(kind, "web") is not None

        await w.until(back)
        assert await w.quiet() == before + 1


async def test_the_same_drift_is_repaired_every_time(load: Load) -> None:
    """Defect 8: what was found to be in order before is remembered with its live state, so no drift hides behind it."""
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        for n in range(3):
            for look in range(2):  # the first finds nothing to do and remembers it, the second remembers
                await w.quiet()
                await w.patch(CONFIG_MAP, "web", {"metadata": {"annotations": {"looked-at": f"{n}.{look}"}}})
            await w.quiet()
            await w.patch(DEPLOYMENT, "web", {"spec": {"replicas": 9}})

            async def repaired() -> bool:
                child = await w.get(DEPLOYMENT, "web")
                return bool(child and child["spec"]["replicas"] == 2)

            await w.until(repaired)
        assert w.reconciler.settled.stats().hits > 0


async def test_a_new_config_restarts_the_pods(load: Load) -> None:
    async with world(await load()) as w:
        await w.create("web", config={"A": "1", "B": "2"})
        await w.synced("web")
        before = await w.quiet()
        await w.patch(WEBAPP, "web", {"spec": {"config": {"A": "new", "B": None}}})
        await w.synced("web")
        assert await w.data("web") == {"A": "new"}
        child = await w.get(DEPLOYMENT, "web")
        assert child is not None
        assert child["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH] == config_hash({"A": "new"})
        assert await w.quiet() == before + 3


async def test_what_leaves_the_spec_leaves_the_children(load: Load) -> None:
    async with world(await load()) as w:
        await w.create("web", ports=[{"name": "http", "port": 80}, {"name": "admin", "port": 81}])
        await w.synced("web")
        await w.patch(WEBAPP, "web", {"spec": {"config": {"A": None}, "ports": [{"name": "admin", "port": 81}]}})
        await w.synced("web")
        assert await w.data("web") == {}
        assert [p["name"] for p in (await w.container("web"))["ports"]] == ["admin"]
        await w.patch(WEBAPP, "web", {"spec": {"ports": []}})
        await w.synced("web")
        assert "ports" not in await w.container("web")


async def test_status_follows_the_deployment(load: Load) -> None:
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        before = await w.quiet()
        status = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
        await w.patch(DEPLOYMENT, "web", {"status": status}, subresource="status")

        async def ready() -> bool:
            return (await w.condition("web", "Ready")).get("status") == "True"

        await w.until(ready)
        webapp = await w.get(WEBAPP, "web")
        assert webapp is not None
        assert (webapp["status"]["phase"], webapp["status"]["readyReplicas"]) == ("Ready", 2)
        assert await w.quiet() == before + 1


async def test_an_invalid_spec_fails_with_an_event_and_recovers(load: Load) -> None:
    async with world(await load()) as w:
        await w.create("web", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 80}])
        await w.failed("web", "InvalidSpec")
        webapp = await w.get(WEBAPP, "web")
        assert webapp is not None
        assert webapp["status"]["phase"] == "Failed"
        assert "two ports have the number 80" in (await w.condition("web"))["message"]
        assert await w.quiet() == 2  # status and event, and no retry
        assert await w.events("web") == [("Warning", "InvalidSpec")]
        assert await w.get(DEPLOYMENT, "web") is None
        await w.patch(WEBAPP, "web", {"spec": {"ports": [{"name": "a", "port": 80}]}})
        await w.synced("web")
        assert await w.quiet() == 2 + 4
        assert sorted(await w.events("web")) == [("Normal", "Recovered"), ("Warning", "InvalidSpec")]


async def test_a_foreign_child_is_refused_until_it_is_gone(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 14: never adopted silently, although server-side apply would do it."""
    monkeypatch.setattr(reconciler, "RECHECK_FOREIGN_S", 0.2)
    async with world(await load()) as w:
        meta = {"name": "web", "namespace": w.namespace}
        await w.client.create(
            CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"mine": "yes"}}
        )
        await w.create("web")
        await w.failed("web", "ForeignObject")
        assert await w.quiet() == 2
        assert await w.data("web") == {"mine": "yes"}
        assert await w.get(DEPLOYMENT, "web") is None
        assert await w.events("web") == [("Warning", "ForeignObject")]
        await w.client.delete(CONFIG_MAP, w.namespace, "web")
        await w.synced("web")
        assert await w.data("web") == {"A": "1"}


async def test_a_foreign_child_that_the_cache_has_not_seen_is_refused_by_the_server(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 14: the first apply may only create, whatever the cache says."""
    read, lookup = Context.get, Scope.lookup
    monkeypatch.setattr(Context, "get", lambda ctx, kind: None if kind is CONFIG_MAP else read(ctx, kind))
    monkeypatch.setattr(
        Scope, "lookup", lambda scope, kind, *key: None if kind is CONFIG_MAP else lookup(scope, kind, *key)
    )
    async with world(await load()) as w:
        meta = {"name": "web", "namespace": w.namespace}
        await w.client.create(
            CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"B": "theirs"}}
        )
        await w.create("web")
        await w.failed("web", "ForeignObject")
        assert await w.data("web") == {"B": "theirs"}, "though no field is in dispute"


async def test_a_child_of_a_former_webapp_has_to_go_first(load: Load) -> None:
    """WR-7: nobody collects garbage on a bare API server, so the test does."""
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        await w.quiet()
        await w.client.delete(WEBAPP, w.namespace, "web")
        await w.create("web", config={"B": "2"})
        await w.failed("web", "WaitingForDeletion")
        assert await w.data("web") == {"A": "1"}
        await w.client.delete(CONFIG_MAP, w.namespace, "web")
        await w.client.delete(DEPLOYMENT, w.namespace, "web")
        await w.synced("web")
        assert await w.data("web") == {"B": "2"}
        assert await w.events("web") == []


async def test_what_the_server_rejects_fails_without_a_retry(load: Load) -> None:
    """A Deployment that is ours, but with a selector that no apply can change."""
    async with world(await load()) as w:
        await w.create("web", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 80}])
        await w.failed("web", "InvalidSpec")
        webapp = await w.get(WEBAPP, "web")
        assert webapp is not None
        child = deployment(webapp)
        child["spec"]["selector"]["matchLabels"]["extra"] = "x"
        child["spec"]["template"]["metadata"]["labels"]["extra"] = "x"
        del child["spec"]["template"]["spec"]["containers"][0]["ports"]
        await w.client.create(DEPLOYMENT, child)
        before = await w.quiet()
        await w.patch(WEBAPP, "web", {"spec": {"ports": []}})
        await w.failed("web", "Rejected")
        assert "selector" in (await w.condition("web"))["message"]
        assert await w.quiet() == before + 4  # apply, refused apply, status, event
        assert sorted(await w.events("web")) == [("Warning", "InvalidSpec"), ("Warning", "Rejected")]


async def test_a_deleted_webapp_is_left_to_the_garbage_collector(load: Load) -> None:
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        before = await w.quiet()
        await w.client.delete(WEBAPP, w.namespace, "web")
        await w.client.delete(DEPLOYMENT, w.namespace, "web")
        assert await w.quiet() == before
        assert await w.get(DEPLOYMENT, "web") is None


async def test_children_of_a_deleted_webapp_are_not_made_anew(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch of a child may be ahead of the WebApp's own: the cache still shows a WebApp that is gone."""
    async with world(await load()) as w:
        await w.create("web")
        await w.synced("web")
        before = await w.quiet()
        stale = await w.get(WEBAPP, "web")
        read = Context.get
        monkeypatch.setattr(Context, "get", lambda ctx, kind: stale if kind is WEBAPP else read(ctx, kind))
        await w.client.delete(WEBAPP, w.namespace, "web")
        await w.client.delete(DEPLOYMENT, w.namespace, "web")
        await w.create("web")  # the same name, another uid
        await w.client.delete(CONFIG_MAP, w.namespace, "web")
        assert await w.quiet() == before
        assert await w.get(CONFIG_MAP, "web") is None


async def test_with_a_cluster_s_controllers_it_becomes_ready_and_is_collected() -> None:
    """The embedded server plays the Deployment controller and the garbage collector."""
    with APIServer() as server:
        async with world(ClientConfig(server.url)) as w:
            await w.create("web")

            async def ready() -> bool:
                webapp = await w.get(WEBAPP, "web")
                return bool(webapp and (webapp.get("status") or {}).get("phase") == "Ready")

            await w.until(ready)
            before = await w.quiet()
            await w.client.delete(WEBAPP, w.namespace, "web")

            async def collected() -> bool:
                return await w.get(CONFIG_MAP, "web") is None and await w.get(DEPLOYMENT, "web") is None

            await w.until(collected)
            assert await w.quiet() == before


async def test_workspaces_are_kept_apart() -> None:
    """The same names in two workspaces are two WebApps; one process serves both over one pool of connections."""
    with APIServer(controllers=()) as server:
        config = ClientConfig(server.url)
        async with await Workspaces.for_server(config, ["blue", "red"]) as workspaces:
            for workspace in workspaces:
                await install_crd(workspace.client)
            manager = Manager(workspaces=workspaces)
            build(manager)
            running = asyncio.create_task(manager.run())
            for workspace in workspaces:
                w = World(config, workspace.client, "default")
                await w.create("web", config={"WORKSPACE": workspace.name})
            for workspace in workspaces:
                w = World(config, workspace.client, "default")
                await w.synced("web")
                assert await w.data("web") == {"WORKSPACE": workspace.name}
            manager.stop()
            await running
