"""Workspaces that come and go while a manager runs, and what is left of those that went: nothing."""

import asyncio
import gc
import tracemalloc
import weakref
from contextlib import asynccontextmanager

import pytest

from controller.scripted import until
from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ConnectionFailed
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, NAMESPACE, SECRET, Request, Result
from fastcore.controller.options import Options
from fastcore.controller.providers import KubeconfigContexts, NamesInFile, ObjectWorkspaces
from fastcore.controller.workspace import Server, Workspace
from fastcore.testing.apiserver import APIServer

OPTIONS = Options(max_concurrent_reconciles=2, shutdown_grace=5.0)


def config_map(name, **meta):
    return {"metadata": {"namespace": "default", "name": name, **meta}, "data": {}}


class Sets:
    """A provider that says what it is told to."""

    def __init__(self):
        self._next = asyncio.Queue()
        self.taken = 0
        self.closed = False

    def say(self, *workspaces):
        self._next.put_nowait(workspaces)

    async def changes(self):
        try:
            while True:
                wanted = await self._next.get()
                if isinstance(wanted[0] if wanted else None, Exception):
                    raise wanted[0]
                yield wanted
                self.taken += 1
        finally:
            self.closed = True


class World:
    def __init__(self, server, client, manager, controller, seen):
        self.server = server
        self.client = client
        self.manager = manager
        self.controller = controller
        self.seen = seen

    async def create(self, workspace, name, **meta):
        return await self.client.scoped(f"/clusters/{workspace}").create(CONFIG_MAP, config_map(name, **meta))

    def saw(self, workspace):
        return sorted({r.name for r in self.seen if r.workspace == workspace} - {"kube-root-ca.crt"})


@asynccontextmanager
async def engaging(make_provider, reconcile=None, owns=(), options=OPTIONS):
    """A manager with a provider over an embedded server, running; then nothing of it is left."""
    seen = []

    async def note(ctx, request):
        seen.append(request)
        return Result(requeue_after=1000.0)

    async with APIServer() as server, Client(ClientConfig(server.url)) as client:
        before = asyncio.all_tasks()
        manager = Manager(ClientConfig(server.url), workspaces=make_provider(server), handle_signals=False)
        builder = ControllerBuilder(manager, "maps").for_(CONFIG_MAP)
        for kind in owns:
            builder.owns(kind)
        controller = builder.with_options(options).complete(reconcile or note)
        running = asyncio.create_task(manager.run())
        try:
            yield World(server, client, manager, controller, seen)
        finally:
            manager.stop()
            await asyncio.wait([running])
        left = [t.get_name() for t in asyncio.all_tasks() - before]
        assert not [name for name in left if "engage" in name or "watch" in name or "informer" in name], left
        if not running.cancelled() and running.exception() is not None:
            raise running.exception()


@pytest.mark.parametrize("wildcard", [None, False])
async def test_workspaces_come_and_go(wildcard):
    """CT-1, IN-3: objects of one that comes are reconciled, those of one that went are not; others do not notice."""
    provider = Sets()
    async with engaging(lambda _: provider, owns=(SECRET,)) as world:
        opened = await Server.open(ClientConfig(world.server.url), wildcard=wildcard)
        blue, red = opened.workspace("blue"), opened.workspace("red")
        await world.create("blue", "a")
        await world.create("red", "a")
        assert world.manager.readiness["informers"]() == "no workspaces yet"
        provider.say(blue)
        await until(lambda: world.saw("blue") == ["a"])
        assert world.saw("red") == []
        assert world.manager.readiness["informers"]() is None
        provider.say(blue, red)
        await until(lambda: world.saw("red") == ["a"])
        assert sorted(world.manager.workspaces) == ["blue", "red"]
        provider.say(red)
        await until(lambda: provider.taken == 3)
        assert list(world.manager.workspaces) == ["red"]
        await world.create("blue", "b")
        await world.create("red", "b")
        await until(lambda: world.saw("red") == ["a", "b"])
        assert world.saw("blue") == ["a"]
        provider.say(red, blue)
        await until(lambda: world.saw("blue") == ["a", "b"])
        provider.say()
        await until(lambda: provider.taken == 5)
        assert world.manager.workspaces == {}
        await opened.client.close()
    assert provider.closed


@pytest.mark.parametrize("wildcard", [None, False])
async def test_nothing_is_left_of_a_workspace_that_went(wildcard):
    """Informers, scopes, keys and their delays, back-off, causes, recorders and what guards remember are gone."""
    provider = Sets()

    async def fail(ctx, request):
        ctx.events.event(ctx.get(CONFIG_MAP), "Warning", "Failed", "it always does")
        raise ConnectionFailed("no")

    async with engaging(lambda _: provider, reconcile=fail) as world:
        opened = await Server.open(ClientConfig(world.server.url), wildcard=wildcard)
        blue, red = opened.workspace("blue"), opened.workspace("red")
        await world.create("blue", "a")
        provider.say(blue, red)
        key = Request("blue", "default", "a")
        queue = world.controller.queue
        await until(lambda: queue.retries(key) > 3)
        scope = world.controller.scope("blue")
        held = [weakref.ref(scope.informers[CONFIG_MAP]), weakref.ref(blue), weakref.ref(scope.events)]
        del scope, blue
        provider.say(red)
        await until(lambda: provider.taken == 2)
        assert queue.state(key) is None
        assert queue.retries(key) == 0
        assert world.controller.pending_causes(key) is None
        assert world.controller.history.known(key) is None
        gc.collect()
        await asyncio.sleep(0)
        gc.collect()
        assert [ref() for ref in held] == [None] * 3
        await opened.client.close()


async def test_delayed_keys_of_a_workspace_that_went_give_back_their_memory():
    """A thousand keys with a long delay leave with their workspace, before their delays end."""
    provider = Sets()
    async with engaging(lambda _: provider) as world:
        opened = await Server.open(ClientConfig(world.server.url))
        blue, red = opened.workspace("blue"), opened.workspace("red")
        await world.create("blue", "a")
        await world.create("red", "a")
        provider.say(blue, red)
        await until(lambda: world.saw("blue") == ["a"] and world.saw("red") == ["a"])
        queue = world.controller.queue
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for n in range(1000):
                queue.add_after(Request("blue", "default", f"object-{n}"), 1000.0)
            await until(lambda: queue.stats().delayed >= 1001)
            grown = tracemalloc.get_traced_memory()[0] - before
            provider.say(red)
            await until(lambda: provider.taken == 2)
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert kept < grown / 4, (kept, grown)
        stats = queue.stats()
        assert (stats.depth, stats.processing) == (0, 0)
        assert queue.state(Request("blue", "default", "object-7")) is None
        assert queue.state(Request("red", "default", "a")).state == "delayed"
        await opened.client.close()


async def test_a_running_reconcile_ends_before_its_workspace_is_gone():
    """CT-10: it gets the grace of a stop, and its client still works."""
    provider, started, go_on, ended = Sets(), asyncio.Event(), asyncio.Event(), []

    async def slow(ctx, request):
        if request.name == "a":
            started.set()
            await go_on.wait()
            ended.append(await ctx.client.get(CONFIG_MAP, "default", "a"))

    async with engaging(lambda _: provider, reconcile=slow) as world:
        opened = await Server.open(ClientConfig(world.server.url))
        await world.create("blue", "a")
        provider.say(opened.workspace("blue"))
        await started.wait()
        provider.say()
        await until(lambda: world.controller.scope("blue") is None)
        assert provider.taken == 1, "the next set is not asked for as long as the workspace is in use"
        go_on.set()
        await until(lambda: provider.taken == 2)
        assert len(ended) == 1
        await opened.client.close()


async def test_a_workspace_that_does_not_sync_holds_up_nobody():
    """CT-7: of one that is broken only its own objects wait."""
    provider = Sets()
    options = Options(cache_sync_timeout=0.1)
    async with engaging(lambda _: provider, options=options) as world:
        opened = await Server.open(ClientConfig(world.server.url), wildcard=False)
        nowhere = await _nowhere()
        await world.create("blue", "a")
        provider.say(nowhere, opened.workspace("blue"))
        await until(lambda: world.saw("blue") == ["a"])
        assert list(world.manager.workspaces) == ["blue"]
        provider.say(opened.workspace("red"))
        await until(lambda: list(world.manager.workspaces) == ["red"])
        await nowhere.client.close()
        await opened.client.close()


async def _nowhere():
    return Workspace("nowhere", Client(ClientConfig("http://127.0.0.1:9")))


async def test_a_provider_that_fails_ends_the_manager():
    """With its own error."""
    provider = Sets()

    async def run():
        async with engaging(lambda _: provider) as world:
            provider.say(OSError("no list of tenants"))
            await until(lambda: world.manager.readiness["informers"]() == "stopping")

    with pytest.raises(OSError, match="no list of tenants"):
        await run()


async def test_names_in_a_file(tmp_path):
    path = tmp_path / "names"
    path.write_text("# tenants\nblue\n\n")
    async with engaging(lambda s: NamesInFile(ClientConfig(s.url), path, period=0.01)) as world:
        await world.create("blue", "a")
        await world.create("red", "a")
        await until(lambda: world.saw("blue") == ["a"])
        path.unlink()
        await asyncio.sleep(0.05)
        assert list(world.manager.workspaces) == ["blue"], "a file that is being replaced is no reason to stop"
        path.write_text("red # and blue no more\n")
        await until(lambda: world.saw("red") == ["a"])
        await until(lambda: list(world.manager.workspaces) == ["red"])
    with pytest.raises(ValueError, match="period must be > 0"):
        NamesInFile(ClientConfig("http://127.0.0.1:9"), path, period=0)


async def test_contexts_of_a_kubeconfig(tmp_path):
    path = tmp_path / "config"

    def write(server, *names):
        contexts = "\n".join(f"- name: {n}\n  context: {{cluster: c, user: u}}" for n in names)
        path.write_text(
            f"apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{server: '{server.url}'}}\n"
            f"users:\n- name: u\n  user: {{}}\ncontexts:\n{contexts}\n"
        )

    def provider(server):
        write(server, "one")
        return KubeconfigContexts(path, period=0.01)

    async with engaging(provider) as world:
        await world.client.create(CONFIG_MAP, config_map("a"))
        await until(lambda: world.saw("one") == ["a"])
        path.write_text("no: kubeconfig")
        await asyncio.sleep(0.05)
        assert list(world.manager.workspaces) == ["one"]
        write(world.server, "two")
        await until(lambda: world.saw("two") == ["a"])
        await until(lambda: list(world.manager.workspaces) == ["two"])


async def test_namespaces_with_a_label():
    """On a server without paths; here the names are paths of the server, as it has them."""
    async with engaging(lambda s: ObjectWorkspaces(ClientConfig(s.url), label_selector="team")) as world:
        await world.create("blue", "a")
        await world.client.create(NAMESPACE, {"metadata": {"name": "blue", "labels": {"team": "x"}}})
        await world.client.create(NAMESPACE, {"metadata": {"name": "grey"}})
        await until(lambda: world.saw("blue") == ["a"])
        assert list(world.manager.workspaces) == ["blue"]
        await world.client.patch(NAMESPACE, None, "blue", {"metadata": {"labels": {"team": None}}})
        await until(lambda: world.manager.workspaces == {})


async def test_a_thousand_workspaces_from_a_provider():
    """Tasks and requests do not depend on how many there are, once they are engaged."""
    counts = []
    for number in (10, 1000):
        provider = Sets()
        async with engaging(lambda _, provider=provider: provider) as world:
            opened = await Server.open(ClientConfig(world.server.url))
            provider.say(*(opened.workspace(f"w{i}") for i in range(number)))
            await until(lambda world=world, number=number: len(world.manager.workspaces) == number, 60)
            await asyncio.sleep(0.05)
            counts.append((len(asyncio.all_tasks()), sum(opened.client.stats.values())))
            provider.say()
            await until(lambda provider=provider: provider.taken == 2, 60)
            await opened.client.close()
    assert counts[0] == counts[1]
