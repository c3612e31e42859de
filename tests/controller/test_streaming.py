"""Streamed starts: what the sink gets and when, and what a reflector does on servers that do not have them."""

import asyncio
from random import Random

import pytest

from controller.scripted import FakeSleep, ScriptedServer, bookmark, config_map, event, failure, listing, stream, until
from controller.test_reflector import A1, A2, B4, GONE, HOLD, REACHED, Sink, reflecting
from controller.widgets import serve_widgets
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CONFIG_MAP, SECRET
from fastcore.controller.reflector import Reflector

B2, C1 = config_map("b", 2), config_map("c", 1)


def end(revision):
    """The bookmark that ends the initial events."""
    meta = {"resourceVersion": str(revision), "annotations": {"k8s.io/initial-events-end": "true"}}
    return event("BOOKMARK", {"kind": "ConfigMap", "metadata": meta})


def streaming(*steps, **options):
    return reflecting(*steps, streaming=True, **options)


def added(*objects):
    return [event("ADDED", obj) for obj in objects]


async def test_one_stream_brings_the_objects_and_then_the_changes():
    """RF-2: the parameters, one atomic replace at the bookmark's revision, and the same stream goes on."""
    steps = [stream(*added(B2, A1), end(7), event("MODIFIED", config_map("a", 8)), end="hold")]
    async with streaming(*steps) as run:
        await until(lambda: len(run.sink.applied) == 1)
        assert run.sink.calls == [("replace", ["a", "b"], "7"), ("advance", "8"), ("MODIFIED", "a")]
        assert 300 <= int(run.server.received[0].query.pop("timeoutSeconds")) <= 600
        assert run.server.received[0].query == {
            "watch": "1",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
        }
        stats = run.reflector.stats
        assert (stats.lists, stats.streams, stats.watches, stats.failures) == (1, 1, 1, 0)
        assert len(run.server.received) == 1


async def test_nothing_is_handed_over_before_the_end_of_the_initial_events():
    """RF-2: a temporary store until the annotated bookmark."""
    last = asyncio.Event()
    async with streaming(stream(*added(A1, B2), last, end(7), end="hold")) as run:
        await until(lambda: run.reflector.stats.events.get("ADDED") == 2)
        assert run.sink.calls == []
        assert run.reflector.position is None
        last.set()
        await until(lambda: bool(run.sink.calls))


async def test_changes_among_the_initial_events_count():
    """RF-2: what changes while the present objects are sent is part of the first state."""
    changes = [event("MODIFIED", A2), event("DELETED", C1), event("ADDED", config_map("c", 5, uid="uid-new"))]
    async with streaming(stream(*added(A1, C1, B2), *changes, end(7), end="hold")) as run:
        await until(lambda: bool(run.sink.calls))
        assert run.sink.objects == {"a": A2, "b": B2, "c": config_map("c", 5, uid="uid-new")}


@pytest.mark.parametrize("how", ["close", "cut"])
async def test_a_stream_that_breaks_before_its_end_is_discarded(how):
    """RF-2: stream broken before that bookmark -> discard everything and start over; with a wait, RF-8."""
    async with streaming(stream(*added(A1), end=how), stream(*added(B2), end(7), end="hold")) as run:
        await until(lambda: bool(run.sink.calls))
        assert run.asked == ["watch -", "watch -"]
        assert run.sink.calls == [("replace", ["b"], "7")]
        assert len(run.waits) == 1


async def test_a_stream_that_breaks_again_and_again_is_given_up_for_a_list():
    """RF-2, RF-8: something on the way cuts long streams off; a list gets through."""
    broken = stream(*added(A1), end="cut")
    async with streaming(broken, broken, broken, listing([A1], "1"), HOLD) as run:
        await run.requests(5)
        assert run.asked == ["watch -", "watch -", "watch -", "list 0", "watch 1"]
        assert len(run.waits) == 3


async def test_a_later_start_is_a_stream_that_is_not_older_than_what_was_seen():
    """RF-1, RF-2: the sink is replaced, so no ghost stays."""
    first = stream(*added(A1), end(2), event("MODIFIED", config_map("a", 3)), event("ERROR", GONE))
    async with streaming(first, stream(*added(B4), end(4), end="hold")) as run:
        await until(lambda: list(run.sink.objects) == ["b"])
        assert run.asked == ["watch -", "watch 3"]
        assert run.server.received[1].query["sendInitialEvents"] == "true"
        assert run.waits == []


@pytest.mark.parametrize(
    "refusal", [failure(504, "Timeout", "Too large resource version: 3, current: 1"), stream(event("ERROR", GONE))]
)
async def test_a_later_start_that_no_server_can_give_asks_for_the_newest(refusal):
    """RF-1, RF-2."""
    first = stream(*added(A1), end(2), event("MODIFIED", config_map("a", 3)), event("ERROR", GONE))
    async with streaming(first, refusal, stream(*added(B4), end(4), end="hold")) as run:
        await until(lambda: list(run.sink.objects) == ["b"])
        assert run.asked == ["watch -", "watch 3", "watch -"]
        assert run.waits == []


async def test_a_stream_resumes_like_any_watch():
    """RF-2, RF-5: after its start the position is kept, whatever else breaks."""
    first = stream(*added(A1), end(2), bookmark(9), end="cut")
    async with streaming(first, REACHED, HOLD) as run:
        await run.requests(3)
        assert run.asked == ["watch -", "probe 9", "watch 9"]
        assert "sendInitialEvents" not in run.server.received[2].query


@pytest.mark.parametrize("status", [400, 405, 422, 501])
async def test_a_server_that_refuses_streams_is_listed_at_once(status):
    """RF-2: unsupported -> fall back to list, without a wait."""
    async with streaming(failure(status), listing([A1], "1"), HOLD) as run:
        await run.requests(3)
        assert run.asked == ["watch -", "list 0", "watch 1"]
        assert run.waits == []
        assert run.reflector.stats.failures == 0


@pytest.mark.parametrize("first", [[*added(A1), bookmark(5)], added(A1), []])
async def test_a_server_that_ignores_the_parameter_is_listed(first):
    """RF-2: it sends synthetic ADDED events and never their end: a bare bookmark or silence gives it away."""
    async with streaming(stream(*first, end="hold"), listing([A1], "1"), HOLD, idle_timeout=0.1) as run:
        await run.requests(3)
        assert run.asked[:3] == ["watch -", "list 0", "watch 1"]
        assert run.sink.calls[0] == ("replace", ["a"], "1")
        assert run.waits == []


async def test_what_a_server_lacks_is_remembered_for_its_group_and_version():
    """RF-2: the next reflector of this server does not ask again."""
    async with ScriptedServer([failure(422), listing([], "1"), HOLD, listing([], "1"), HOLD]) as server:
        config, sleep = server.config, FakeSleep()
        async with Client(config) as client:
            for count, kind in ((3, CONFIG_MAP), (5, SECRET)):
                reflector = Reflector(
                    client.scoped("/clusters/blue"), kind, None, Sink(), sleep=sleep, random=Random(1)
                )
                task = asyncio.create_task(reflector.run())
                await until(lambda count=count: len(server.received) == count)
                task.cancel()
                await asyncio.wait([task])
            assert ["sendInitialEvents" in r.query for r in server.received] == [True, False, False, False, False]


async def test_an_empty_collection_is_a_start_too():
    """RF-2."""
    async with streaming(stream(end(7), end="hold")) as run:
        await until(lambda: bool(run.sink.calls))
        assert run.sink.calls == [("replace", [], "7")]
        assert run.reflector.position == "7"


@pytest.mark.kube
async def test_a_real_server_streams(kube_server):
    """RF-2: objects, then changes, on one stream; and again after the position is lost."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        widget = await serve_widgets(client, "streaming.test")
        await client.create(widget, {"metadata": {"namespace": "default", "name": "old"}})
        sink = Sink()
        reflector = Reflector(client, widget, "default", sink, sleep=FakeSleep())
        task = asyncio.create_task(reflector.run())
        await until(lambda: "old" in sink.objects)
        await client.create(widget, {"metadata": {"namespace": "default", "name": "new"}})
        await until(lambda: "new" in sink.objects)
        stats = reflector.stats
        assert (stats.lists, stats.streams, stats.watches, stats.failures) == (1, 1, 1, 0)
        task.cancel()
        await asyncio.wait([task])
