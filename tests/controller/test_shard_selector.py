"""Parts of a collection: the selector itself, and a reflector that mirrors one, whoever filters."""

import asyncio

import pytest

from controller.scripted import FakeSleep, answer, config_map, event, failure, listing, stream, until
from controller.test_reflector import HOLD, Sink, reflecting
from controller.widgets import serve_widgets
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CONFIG_MAP
from fastcore.controller.reflector import Reflector
from fastcore.controller.shard_selector import ShardSelector
from fastcore.testing.apiserver import APIServer
from fastcore.testing.apiserver.shards import parse_shard

MINE = ShardSelector.of(0, 2)


def named(name, revision=1):
    return config_map(name, revision, uid=f"{name}-uid-of-a-length")


INSIDE = next(name for name in map(str, range(99)) if MINE.holds(f"{name}-uid-of-a-length", ""))
OUTSIDE = next(name for name in map(str, range(99)) if not MINE.holds(f"{name}-uid-of-a-length", ""))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_disjoint_and_complete(count):
    parts = [ShardSelector.of(i, count) for i in range(count)]
    for number in range(200):
        assert sum(part.holds(f"uid-{number}", "") for part in parts) == 1
    assert parts[0].ranges[0][0] == 0
    assert parts[-1].ranges[0][1] == 1 << 64


@pytest.mark.parametrize("field", ["object.metadata.uid", "object.metadata.namespace"])
def test_the_text_is_the_servers_notation(field):
    selector = ShardSelector(field, ((0, 5), (1 << 63, 1 << 64)))
    theirs = parse_shard(str(selector))
    assert theirs.ranges == selector.ranges
    assert ShardSelector.parse(str(selector)) == selector
    for number in range(200):
        assert theirs.matches(f"u{number}", f"n{number}") == selector.holds(f"u{number}", f"n{number}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a=b",
        "shardRange(object.metadata.name, '0x0', '0x1')",
        "shardRange(object.metadata.uid, '0x1', '0x1')",
        "shardRange(object.metadata.uid, '0x0', '0x10000000000000001')",
        "shardRange(object.metadata.uid, '0x0', '0x1') || shardRange(object.metadata.namespace, '0x1', '0x2')",
    ],
)
def test_what_is_no_selector_is_refused(text):
    with pytest.raises(ValueError, match=r"shard"):
        ShardSelector.parse(text)


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_a_part_is_one_of_those_there_are(index, count):
    with pytest.raises(ValueError, match="index"):
        ShardSelector.of(index, count)
    with pytest.raises(ValueError, match="field"):
        ShardSelector.of(0, 1, field="object.metadata.name")


@pytest.mark.parametrize("first", [listing([], "1"), failure(400)])
async def test_a_server_without_shards_is_filtered_here(first):
    """The question is asked once; then the parameter is left out, and nothing of others reaches the sink."""
    changes = [event("ADDED", named(n, 3)) for n in (INSIDE, OUTSIDE)] + [event("DELETED", named(OUTSIDE, 4))]
    steps = [first, listing([named(INSIDE), named(OUTSIDE)], "2"), stream(*changes), HOLD]
    async with reflecting(*steps, shard=MINE) as run:
        await run.requests(4)
        assert run.asked == ["probe 0", "list 0", "watch 2", "watch 4"]
        assert ["shardSelector" in r.query for r in run.server.received] == [True, False, False, False]
        assert run.sink.calls[0] == ("replace", [INSIDE], "2")
        assert run.sink.applied == [("ADDED", INSIDE)]
        assert run.waits == []


async def test_a_server_with_shards_filters_for_us():
    """What it sends is taken as it is, and every request names the part."""
    told = answer(200, {"metadata": {"resourceVersion": "1", "shardInfo": {"selector": str(MINE)}}, "items": []})
    async with reflecting(
        told, listing([named(INSIDE)], "2"), stream(event("ADDED", named("x", 3))), HOLD, shard=MINE
    ) as run:
        await run.requests(4)
        assert {r.query["shardSelector"] for r in run.server.received} == {str(MINE)}
        assert run.sink.applied == [("ADDED", "x")]


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_parts_of_a_server_make_the_whole(streaming):
    """The embedded server has shards: two reflectors mirror everything between them, and nothing twice."""
    async with APIServer() as server, Client(ClientConfig(server.url)) as client:
        for number in range(20):
            await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": f"a{number}"}})
        sinks = [Sink(), Sink()]
        reflectors = [
            Reflector(
                client, CONFIG_MAP, "default", sink, shard=ShardSelector.of(i, 2), streaming=streaming,
                sleep=FakeSleep(),
            )
            for i, sink in enumerate(sinks)
        ]  # fmt: skip
        tasks = [asyncio.create_task(reflector.run()) for reflector in reflectors]
        await until(lambda: all(r.position for r in reflectors))
        await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "late"}})
        await until(lambda: sum("late" in sink.objects for sink in sinks) == 1)
        assert len(sinks[0].objects) + len(sinks[1].objects) == 21
        assert sinks[0].objects.keys().isdisjoint(sinks[1].objects)
        assert all(r.stats.streams == streaming for r in reflectors)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.mark.kube
async def test_parts_of_a_real_server(kube_server):
    """Whether it has sharded lists or not."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        widget = await serve_widgets(client, "parts.test")
        for number in range(8):
            await client.create(widget, {"metadata": {"namespace": "default", "name": f"a{number}"}})
        sinks = [Sink(), Sink()]
        tasks = [
            asyncio.create_task(Reflector(client, widget, None, sink, shard=ShardSelector.of(i, 2)).run())
            for i, sink in enumerate(sinks)
        ]
        await until(lambda: sum(len(sink.objects) for sink in sinks) == 8)
        assert sinks[0].objects.keys().isdisjoint(sinks[1].objects)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
