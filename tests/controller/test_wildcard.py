"""Many workspaces over one watch: each sees its own, and costs nothing while it is quiet."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from controller.scripted import until
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.handlers import Watch, itself
from fastcore.controller.model import CONFIG_MAP, NAMESPACE
from fastcore.controller.predicates import Predicate
from fastcore.controller.sources import Sources
from fastcore.controller.workspace import Server, Wildcard, Workspaces
from fastcore.testing.apiserver import APIServer

MAPS = Watch(CONFIG_MAP, itself, Predicate())


def config_map(name, **data):
    return {"metadata": {"namespace": "default", "name": name}, "data": data}


class Log:
    """A handler that writes down what it is told."""

    def __init__(self):
        self.told = []

    def on_add(self, obj, initial):
        self.told.append(("add", obj["metadata"]["name"]))

    def on_update(self, old, new):
        self.told.append(("resync" if old is new else "update", new["metadata"]["name"]))

    def on_delete(self, obj):
        self.told.append(("delete", obj["metadata"]["name"]))


@asynccontextmanager
async def sharing(names, *, before=None, **options):
    """Sources over the named workspaces of an embedded server; `before` fills it."""
    async with APIServer() as server, Client(ClientConfig(server.url)) as client:
        if before is not None:
            await before(client)
        async with await Workspaces.for_server(ClientConfig(server.url), names, wildcard=True) as workspaces:
            sources = Sources(None, **options)
            informers = {w.name: sources.informer(w, MAPS, None) for w in workspaces}
            sources.start()
            try:
                for informer in informers.values():
                    await informer.wait_synced(10)
                yield server, client, workspaces, sources, informers
            finally:
                await sources.stop()


def names_of(informer):
    return sorted(obj["metadata"]["name"] for obj in informer.list() if obj["metadata"]["name"] != "kube-root-ca.crt")


@pytest.mark.parametrize("streaming", [True, False])
async def test_each_workspace_sees_its_own(streaming):
    """IN-1, RF-9: what was there, what comes, what changes and what goes; and nothing of the others."""

    async def fill(client):
        await client.scoped("/clusters/blue").create(CONFIG_MAP, config_map("a"))
        await client.scoped("/clusters/red").create(CONFIG_MAP, config_map("a", of="red"))
        await client.scoped("/clusters/grey").create(CONFIG_MAP, config_map("z"))

    async with sharing(["blue", "red"], before=fill, streaming=streaming) as (_, client, _, _, informers):
        blue, red = informers["blue"], informers["red"]
        log = Log()
        blue.add_handler(log)
        assert (names_of(blue), names_of(red)) == (["a"], ["a"])
        assert red.get("default", "a")["data"] == {"of": "red"}
        assert "annotations" not in red.get("default", "a")["metadata"], "it looks as if it was read by itself"
        scoped = client.scoped("/clusters/blue")
        await scoped.create(CONFIG_MAP, config_map("b"))
        await scoped.patch(CONFIG_MAP, "default", "b", {"data": {"k": "v"}})
        await client.scoped("/clusters/red").delete(CONFIG_MAP, "default", "a")
        await scoped.delete(CONFIG_MAP, "default", "a")
        await until(lambda: ("delete", "a") in log.told and names_of(red) == [])
        assert log.told == [("add", "a"), ("add", "b"), ("update", "b"), ("delete", "a")]
        assert names_of(blue) == ["b"]


async def test_a_workspace_that_comes_later_is_complete():
    """IN-3: it is listed once by itself, and then fed by the watch that runs, without a gap and without a ghost."""
    async with sharing(["blue"]) as (server, client, _, sources, informers):
        green = client.scoped("/clusters/green")
        for number in range(5):
            await green.create(CONFIG_MAP, config_map(f"a{number}"))
        opened = await Server.open(ClientConfig(server.url))
        workspace = opened.workspace("green")
        workspace.wildcard = next(iter(informers.values())).workspace.wildcard
        informer = sources.informer(workspace, MAPS, None)
        await green.delete(CONFIG_MAP, "default", "a0")
        await green.create(CONFIG_MAP, config_map("late"))
        await informer.wait_synced(10)
        await until(lambda: names_of(informer) == ["a1", "a2", "a3", "a4", "late"])
        await green.delete(CONFIG_MAP, "default", "a1")
        await until(lambda: "a1" not in names_of(informer))
        assert informer.stats().watches == 1
        await opened.client.close()


async def test_a_cut_of_the_shared_watch_is_survived_by_all():
    """RF-5: nothing is lost in any workspace, and 410 leaves no ghosts (RF-9)."""
    async with sharing(["blue", "red"]) as (server, client, _, _, informers):
        await client.scoped("/clusters/red").create(CONFIG_MAP, config_map("ghost"))
        await until(lambda: names_of(informers["red"]) == ["ghost"])
        server.cut_watches()
        await client.scoped("/clusters/red").delete(CONFIG_MAP, "default", "ghost")
        await client.scoped("/clusters/blue").create(CONFIG_MAP, config_map("new"))
        server.compact()
        await until(lambda: names_of(informers["blue"]) == ["new"])
        await until(lambda: names_of(informers["red"]) == [])
        assert informers["red"].stats().watches == informers["blue"].stats().watches > 1


async def test_a_removed_workspace_hears_nothing_and_the_last_one_ends_the_watch():
    """IN-1: the others go on; with the last informer the watch's task is gone, too."""
    async with sharing(["blue", "red"]) as (_, client, _, sources, informers):
        await sources.remove("blue")
        await client.scoped("/clusters/blue").create(CONFIG_MAP, config_map("a"))
        await client.scoped("/clusters/red").create(CONFIG_MAP, config_map("a"))
        await until(lambda: names_of(informers["red"]) == ["a"])
        assert names_of(informers["blue"]) == []
        assert len(sources) == 1
        before = len(asyncio.all_tasks())
        await sources.remove("red")
        await sources.remove("red")
        assert len(sources) == 0
        assert len(asyncio.all_tasks()) < before


async def test_our_own_writes_are_read_in_a_quiet_workspace():
    """RF-11: an answer is newer than what its own workspace has seen, wherever the shared watch is."""
    async with sharing(["blue", "red"]) as (_, client, _, _, informers):
        mine = await client.scoped("/clusters/red").create(CONFIG_MAP, config_map("mine"))
        for number in range(3):
            await client.scoped("/clusters/blue").create(CONFIG_MAP, config_map(f"a{number}"))
        await until(lambda: len(names_of(informers["blue"])) == 3)
        gone = await client.scoped("/clusters/red").delete(CONFIG_MAP, "default", "mine")
        await until(lambda: names_of(informers["red"]) == [])
        informers["red"].observe(mine)
        assert names_of(informers["red"]) == [], "a deletion that was seen is not undone"
        assert gone is not None


async def test_a_thousand_quiet_workspaces_cost_one_watch():
    """Tasks, connections and requests do not depend on how many workspaces there are."""
    counts = []
    for number in (10, 1000):
        async with sharing([f"w{i}" for i in range(number)]) as (_, client, workspaces, sources, informers):
            last = f"w{number - 1}"
            await client.scoped(f"/clusters/{last}").create(CONFIG_MAP, config_map("a"))
            await until(lambda informers=informers, last=last: names_of(informers[last]) == ["a"])
            requests = sum(workspaces["w0"].client.stats.values())
            counts.append((len(asyncio.all_tasks()), requests))
            assert len(sources) == number
    assert counts[0] == counts[1]
    assert counts[0][1] <= 4, "two questions, a stream, and no more"


async def test_namespaces_of_a_plain_server_share_a_watch_if_asked_to():
    """The kinds without namespaces cannot be told apart: they are watched as ever."""
    async with APIServer() as server, Client(ClientConfig(server.url)) as client:
        for name in ("blue", "red"):
            await client.create(NAMESPACE, {"metadata": {"name": name}})
            await client.create(CONFIG_MAP, {"metadata": {"namespace": name, "name": f"in-{name}"}})
        opened = Server(client, None, paths=False)
        assert opened.workspace("blue").wildcard is None
        wildcard = Wildcard(client, by_namespace=True)
        opened = Server(client, wildcard, paths=False)
        sources = Sources(None)
        informers = {n: sources.informer(opened.workspace(n), MAPS, None) for n in ("blue", "red")}
        whole = sources.informer(opened.workspace("blue"), Watch(NAMESPACE, itself, Predicate()), None)
        sources.start()
        for name, informer in informers.items():
            await informer.wait_synced(10)
            assert names_of(informer) == [f"in-{name}"]
            assert informer.shared
        await whole.wait_synced(10)
        assert not whole.shared
        await sources.stop()


async def test_a_shared_informer_is_not_run():
    async with sharing(["blue"]) as (_, _, _, _, informers):
        with pytest.raises(RuntimeError, match="shared watch"):
            await informers["blue"].run()
