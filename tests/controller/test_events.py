"""The event recorder: it never waits, never raises, counts repeats, and forgets nothing silently."""

# ruff: noqa: SIM117 - the client is made inside the server

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from controller.scripted import FakeSleep, ScriptedServer, answer, config_map, failure, reset, silence, until
from fastcore.controller import events as module
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.events import EventRecorder
from fastcore.controller.model import CONFIG_MAP, EVENT
from fastcore.testing.clock import VirtualClock

OK = answer(201, {"kind": "Event"})
A = config_map("a", 5)
NOW = datetime(2026, 11, 23, 12, 30, 45, 999, tzinfo=UTC)


@asynccontextmanager
async def recording(*steps, **options):
    async with ScriptedServer(list(steps)) as server:
        async with Client(server.config) as client:
            options = {"instance": "host-1", "now": lambda: NOW, "sleep": FakeSleep(), **options}
            recorder = EventRecorder(client, "webapps", **options)
            recorder.server = server
            async with recorder:
                yield recorder


def counts(recorder):
    return (recorder.stats.written, recorder.stats.dropped, recorder.stats.failed)


async def test_an_event_as_the_server_gets_it():
    async with recording(OK) as recorder:
        recorder.event(A, "Normal", "Synced", "all is well")
        await until(lambda: recorder.stats.written == 1)
    (request,) = recorder.server.received
    assert (request.method, request.path) == ("POST", "/api/v1/namespaces/default/events")
    body = request.json
    name = body["metadata"].pop("name")
    assert name.startswith("a.")
    assert body == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "default"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": "default",
            "name": "a",
            "uid": "uid-a",
            "resourceVersion": "5",
        },
        "type": "Normal",
        "reason": "Synced",
        "message": "all is well",
        "source": {"component": "webapps"},
        "reportingComponent": "webapps",
        "reportingInstance": "host-1",
        "firstTimestamp": "2026-11-23T12:30:45Z",
        "lastTimestamp": "2026-11-23T12:30:45Z",
        "count": 1,
    }


async def test_repeats_that_wait_become_one_event_and_later_ones_a_patch():
    """EV-1: repeats PATCH count."""
    async with recording(OK) as recorder:
        for _ in range(3):
            recorder.event(A, "Normal", "Synced", "all is well")
        recorder.event(A, "Warning", "Synced", "all is well")
        await until(lambda: recorder.stats.written == 4)
        for _ in range(2):
            recorder.event(A, "Normal", "Synced", "all is well")
        await until(lambda: recorder.stats.written == 6)
    first, other, patch = recorder.server.received
    assert (first.json["count"], other.json["count"]) == (3, 1)
    assert (patch.method, patch.path.rpartition("/")[2]) == ("PATCH", first.json["metadata"]["name"])
    assert patch.json == {"count": 5, "lastTimestamp": "2026-11-23T12:30:45Z"}


async def test_what_was_tried_and_what_it_has_to_do_with():
    async with recording(OK) as recorder:
        recorder.event(A, "Normal", "Synced", "x", action="Sync", related=config_map("b", 6))
        await until(lambda: recorder.stats.written == 1)
    body = recorder.server.received[0].json
    assert (body["action"], body["related"]["name"], body["related"]["uid"]) == ("Sync", "b", "uid-b")


async def test_an_answer_that_was_lost_makes_no_second_event():
    """EV-2: tried again under the same name."""
    async with recording(reset, failure(409, "AlreadyExists"), OK) as recorder:
        recorder.event(A, "Normal", "Synced", "x")
        await until(lambda: recorder.stats.written == 1)
        recorder.event(A, "Normal", "Synced", "x")
        await until(lambda: recorder.stats.written == 2)
    first, again, patch = recorder.server.received
    assert first.json["metadata"]["name"] == again.json["metadata"]["name"] == patch.path.rpartition("/")[2]
    assert counts(recorder) == (2, 0, 0)


async def test_recorders_that_start_at_the_same_moment_use_other_names():
    """On Windows that is within 16 ms."""
    async with recording(OK) as one, recording(OK) as other:
        for recorder in (one, other):
            recorder.event(A, "Normal", "Synced", "x")
            await until(lambda recorder=recorder: recorder.stats.written == 1)
    names = {recorder.server.received[0].json["metadata"]["name"] for recorder in (one, other)}
    assert len(names) == 2


async def test_an_event_that_expired_is_made_anew():
    async with recording(OK, failure(404), OK) as recorder:
        recorder.event(A, "Normal", "Synced", "x")
        await until(lambda: recorder.stats.written == 1)
        recorder.event(A, "Normal", "Synced", "x")
        await until(lambda: recorder.stats.written == 2)
    assert [r.method for r in recorder.server.received] == ["POST", "PATCH", "POST"]
    assert recorder.server.received[2].json["count"] == 1


async def test_the_queue_is_bounded_and_what_is_dropped_is_counted():
    """EV-3: never blocks. EV-2: queue 1,000, then dropped."""
    async with recording(silence) as recorder:
        for n in range(1100):
            recorder.event(config_map(f"m{n}", 5), "Normal", "Synced", "all is well")
        assert counts(recorder) == (0, 100, 0)
        recorder.event(config_map("m7", 5), "Normal", "Synced", "all is well")
        assert counts(recorder) == (0, 100, 0), "a repeat of a waiting event needs no place"
        await recorder.close(timeout=0.01)
        assert counts(recorder) == (0, 1101, 0), "each occurrence is accounted for"
        recorder.event(A, "Normal", "Synced", "after the end")
        assert counts(recorder) == (0, 1102, 0)


@pytest.mark.parametrize(
    "obj", [{}, None, {"metadata": {"name": "x"}}, {"kind": "X", "apiVersion": "v1", "metadata": 7}]
)
async def test_an_event_about_nothing_does_not_fail_the_reconcile(obj):
    """EV-3."""
    async with recording(OK) as recorder:
        recorder.event(obj, "Normal", "Synced", "x")
        recorder.event(A, "Normal", None, "x")
        recorder.event(A, "Normal", "X", 7)
    assert counts(recorder) == (0, 3, 0)
    assert recorder.server.received == []


async def test_a_server_that_refuses_loses_that_event_only():
    """EV-3: a namespace that is being deleted refuses events."""
    async with recording(failure(403, "Forbidden"), OK) as recorder:
        recorder.event(A, "Normal", "Synced", "one")
        recorder.event(A, "Normal", "Synced", "two")
        await until(lambda: sum(counts(recorder)) == 2)
    assert counts(recorder) == (1, 0, 1)


async def test_a_server_that_is_away_is_tried_again():
    sleep = FakeSleep()
    async with recording(reset, reset, OK, sleep=sleep) as recorder:
        recorder.event(A, "Normal", "Synced", "one")
        await until(lambda: recorder.stats.written == 1)
    assert sleep.waits == [10, 10]


async def test_a_server_that_stays_away_costs_the_event():
    """EV-2: 12 tries, 10 s apart."""
    sleep = FakeSleep()
    async with recording(reset, sleep=sleep) as recorder:
        recorder.event(A, "Normal", "Synced", "one")
        await until(lambda: recorder.stats.failed == 1)
    assert sleep.waits == [10] * 11


async def test_close_sends_what_waits():
    async with recording(OK) as recorder:
        for n in range(20):
            recorder.event(A, "Normal", "Synced", f"message {n}")
        await recorder.close()
        assert counts(recorder) == (20, 0, 0)
        await recorder.close()


async def test_events_from_before_the_start_are_sent():
    async with ScriptedServer([OK]) as server, Client(server.config) as client:
        recorder = EventRecorder(client, "webapps")
        recorder.event(A, "Normal", "Synced", "early")
        assert server.received == []
        recorder.start()
        recorder.start()
        await until(lambda: recorder.stats.written == 1)
        await recorder.close()


async def test_a_recorder_that_never_started_closes():
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        recorder = EventRecorder(client, "webapps")
        recorder.event(A, "Normal", "Synced", "early")
        await recorder.close()
        recorder.start()
        assert counts(recorder) == (0, 1, 0)


async def test_threads_may_record():
    """EV-3: reconcilers that are plain functions run in threads."""
    async with recording(OK) as recorder:

        def reconcile(number):
            for n in range(50):
                recorder.event(config_map(f"m{number}-{n}", 5), "Normal", "Synced", "all is well")

        threads = [threading.Thread(target=reconcile, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        await until(lambda: recorder.stats.written == 200)
        for thread in threads:
            thread.join()
    assert counts(recorder) == (200, 0, 0)


async def test_texts_and_names_are_cut_to_what_the_server_takes():
    long = config_map("n" * 253, 5)
    async with recording(OK) as recorder:
        recorder.event(long, "Normal", "R" * 200, "m" * 5000)
        cluster_scoped = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}
        recorder.event(cluster_scoped, "Normal", "Synced", "x")
        await until(lambda: recorder.stats.written == 2)
    body = recorder.server.received[0].json
    assert (len(body["metadata"]["name"]), len(body["reason"]), len(body["message"])) == (253, 128, 1024)
    assert recorder.server.received[1].path == "/api/v1/namespaces/default/events"


async def test_so_many_events_are_remembered_and_no_more(monkeypatch):
    """EV-1: LRU 4,096, here 2: the one used longest ago is made anew."""
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    async with recording(OK) as recorder:
        for number, message in enumerate(["a", "b", "a", "c", "b", "a"]):
            recorder.event(A, "Normal", "Synced", message)
            await until(lambda n=number: recorder.stats.written == n + 1)
    assert [r.method for r in recorder.server.received] == ["POST", "POST", "PATCH", "POST", "POST", "POST"]


@pytest.mark.parametrize(
    ("options", "message"), [({"queue_size": 0}, "queue_size must be >= 1, not 0"), ({"component": ""}, "a component")]
)
async def test_arguments_are_checked(options, message):
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        with pytest.raises(ValueError, match=message):
            EventRecorder(client, **{"component": "c", **options})


async def test_many_that_are_alike_become_one():
    """EV-1: more than 10 similar (all but the message) in 600 s aggregate into one, with the latest message."""
    clock = VirtualClock()
    async with recording(OK, clock=clock) as recorder:
        for n in range(13):
            recorder.event(A, "Warning", "Broken", f"pod {n} fails")
            await until(lambda n=n: recorder.stats.written == n + 1)
        recorder.event(A, "Warning", "Other", "this is another one")
        await until(lambda: recorder.stats.written == 14)
        clock.advance(601)
        recorder.event(A, "Warning", "Broken", "pod 99 fails")
        await until(lambda: recorder.stats.written == 15)
    *alone, combined, first_patch, second_patch, other, late = [r.json for r in recorder.server.received]
    assert [body["message"] for body in alone] == [f"pod {n} fails" for n in range(10)]
    assert (combined["message"], combined["count"]) == ("(combined from similar events): pod 10 fails", 1)
    assert (first_patch["message"], first_patch["count"]) == ("(combined from similar events): pod 11 fails", 2)
    assert second_patch["count"] == 3
    assert other["message"] == "this is another one"
    assert late["message"] == "pod 99 fails"


async def test_an_object_that_never_stops_is_cut_down():
    """EV-1: burst 25, refill 1 per 300 s, for each object of its own; also repeats."""
    clock = VirtualClock()
    async with recording(OK, clock=clock) as recorder:
        for _ in range(40):
            recorder.event(A, "Warning", "Broken", "it is broken")
        assert recorder.stats.suppressed == 15
        recorder.event(config_map("b", 5), "Warning", "Broken", "it is broken")
        await until(lambda: recorder.stats.written == 26)
        clock.advance(299)
        recorder.event(A, "Warning", "Broken", "it is broken")
        assert recorder.stats.suppressed == 16
        clock.advance(1)
        recorder.event(A, "Warning", "Broken", "it is broken")
        await until(lambda: recorder.stats.written == 27)
    assert (counts(recorder), recorder.stats.suppressed) == ((27, 0, 0), 16)


async def test_a_thousand_idle_recorders_cost_no_task_and_no_connection():
    """One for each workspace: it begins with the first event."""
    async with ScriptedServer([OK]) as server, Client(server.config) as client:
        before = asyncio.all_tasks()
        recorders = [EventRecorder(client.scoped(f"/clusters/w{n}"), "webapps") for n in range(1000)]
        for recorder in recorders:
            recorder.start()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        assert server.connections == 0
        recorders[7].event(A, "Normal", "Synced", "all is well")
        await until(lambda: recorders[7].stats.written == 1)
        assert sum("events of" in task.get_name() for task in asyncio.all_tasks()) == 1
        for recorder in recorders:
            await recorder.close()


async def test_what_is_recorded_right_before_the_end_is_sent():
    async with recording(OK) as recorder:
        recorder.event(A, "Normal", "Synced", "the last one")
    assert counts(recorder) == (1, 0, 0)


@pytest.mark.kube
async def test_a_real_server_takes_them(kube_server):
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        obj = await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "events"}})
        async with EventRecorder(client, "webapps") as recorder:
            for _ in range(3):
                recorder.event(obj, "Warning", "Broken", "it is broken")
                await asyncio.sleep(0)
            await until(lambda: recorder.stats.written == 3)
            recorder.event(obj, "Warning", "Broken", "it is broken")
        selector = f"involvedObject.uid={obj['metadata']['uid']}"
        ((event,), _) = await client.list(EVENT, "default", field_selector=selector)
        assert (event["count"], event["reason"], event["source"]["component"]) == (4, "Broken", "webapps")
