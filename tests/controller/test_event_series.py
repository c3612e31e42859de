"""Events that repeat are a series: few writes, and none of its occurrences is lost silently."""

# ruff: noqa: SIM117 - the client is made inside the server

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller.scripted import ScriptedServer, Step, answer, config_map, failure, reset, silence, until
from controller.timeline import Timeline
from fastcore.controller import event_series as module
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.event_series import SeriesRecorder
from fastcore.controller.model import CONFIG_MAP, EVENT, EVENT_SERIES, NAMESPACE
from servers import Load

OK = answer(201, {"kind": "Event"})
A = config_map("a", 5)
MINUTE = 60.0


class Recording:
    """A recorder on a timeline, and the server that it writes to."""

    def __init__(self, recorder: SeriesRecorder, server: ScriptedServer, time: Timeline) -> None:
        self.recorder, self.server, self.time = recorder, server, time

    def report(self, obj: Any = A, reason: str = "Broken", message: str = "it is broken", **more: Any) -> None:
        self.recorder.event(obj, "Warning", reason, message, **more)

    def counts(self) -> tuple[int, int, int]:
        stats = self.recorder.stats
        return stats.written, stats.dropped, stats.failed

    async def settled(self, occurrences: int) -> None:
        await until(lambda: sum(self.counts()) == occurrences)

    @property
    def sent(self) -> list[tuple[str, int]]:
        """The writes and the count that each tells."""
        return [(r.method, r.json.get("series", {"count": 1})["count"]) for r in self.server.received]


@asynccontextmanager
async def recording(*steps: Step, **options: Any) -> AsyncIterator[Recording]:
    time = Timeline()
    async with ScriptedServer(list(steps)) as server:
        async with Client(server.config) as client:
            options = {"instance": "host-1", "now": time.now, "clock": time, "sleep": time.sleep, **options}
            async with SeriesRecorder(client, "webapps", **options) as recorder:
                yield Recording(recorder, server, time)


async def test_an_event_as_the_server_gets_it() -> None:
    async with recording(OK) as it:
        it.report(related=config_map("other", 7), action="Syncing")
        it.report(reason="Odd", message="x")
        await it.settled(2)
    full, short = it.server.received
    assert (full.method, full.path) == ("POST", "/apis/events.k8s.io/v1/namespaces/default/events")
    body = full.json
    assert body["metadata"].pop("name").startswith("a.")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "default"}
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "default"},
        "eventTime": "2026-11-23T12:30:45.000999Z",
        "regarding": {**reference, "name": "a", "uid": "uid-a", "resourceVersion": "5"},
        "related": {**reference, "name": "other", "uid": "uid-other", "resourceVersion": "7"},
        "type": "Warning",
        "reason": "Broken",
        "action": "Syncing",
        "note": "it is broken",
        "reportingController": "webapps",
        "reportingInstance": "host-1",
    }
    assert short.json["action"] == "Reconcile", "the API demands one"
    assert "related" not in short.json


async def test_the_first_repeat_makes_a_series_and_further_ones_wait() -> None:
    """EV-2: series after the first repeat."""
    async with recording(OK) as it:
        it.report()
        await it.settled(1)
        await it.time.pass_by(1)
        it.report()
        await it.settled(2)
        first, repeat = it.server.received
        assert "series" not in first.json
        assert (repeat.method, repeat.path.rpartition("/")[2]) == ("PATCH", first.json["metadata"]["name"])
        assert repeat.json == {"series": {"count": 2, "lastObservedTime": "2026-11-23T12:30:46.000999Z"}}
        for _ in range(50):
            await it.time.pass_by(1)
            it.report(message="the words of repeats are not kept")
        await it.time.pass_by(MINUTE)
        assert len(it.server.received) == 2
    assert it.sent[2:] == [("PATCH", 52)], "the end tells of all"
    assert it.server.received[2].json["series"]["lastObservedTime"] == "2026-11-23T12:31:36.000999Z"
    assert it.counts() == (52, 0, 0)


async def test_repeats_that_come_before_the_first_write_are_in_it() -> None:
    """EV-2."""
    async with recording(OK) as it:
        for _ in range(3):
            it.report()
        await it.settled(3)
    assert it.sent == [("POST", 3)]


async def test_a_series_that_is_quiet_for_six_minutes_is_finished() -> None:
    """EV-2: finished after 6 min idle; what comes then is a new event."""
    async with recording(OK) as it:
        for n in range(1, 4):
            it.report()
            await until(lambda n=n: len(it.server.received) == min(n, 2))
        await it.settled(2)
        await it.time.pass_by(6 * MINUTE - 1)
        assert len(it.server.received) == 2
        await it.time.pass_by(1)
        await it.settled(3)
        assert it.sent == [("POST", 1), ("PATCH", 2), ("PATCH", 3)]
        await until(lambda: it.time.sleeps() == [])
        it.report()
        await it.settled(4)
        assert it.sent[3:] == [("POST", 1)]
        names = [r.json["metadata"]["name"] for r in it.server.received if r.method == "POST"]
        assert names[0] != names[1]
        await it.time.pass_by(6 * MINUTE)
        it.report()
        await it.settled(5)
        assert it.sent[4:] == [("POST", 1)], "a single event is forgotten without a write"


async def test_a_series_that_goes_on_is_refreshed_every_thirty_minutes() -> None:
    """EV-2: refreshed each 30 min, which also keeps it from expiring on the server."""
    async with recording(OK) as it:
        it.report()
        await it.settled(1)
        it.report()
        await it.settled(2)
        for minute in range(1, 91):
            await it.time.pass_by(MINUTE)
            it.report()
            await until(lambda m=minute: len(it.server.received) == 2 + m // 30)
        await it.settled(91)
    assert it.sent == [("POST", 1), ("PATCH", 2), ("PATCH", 31), ("PATCH", 61), ("PATCH", 91), ("PATCH", 92)]
    assert it.counts() == (92, 0, 0)


async def test_each_series_has_its_own_times() -> None:
    """EV-2."""
    async with recording(OK) as it:
        for obj in (A, config_map("b", 5)):
            it.report(obj)
            it.report(obj)
            await it.time.pass_by(2 * MINUTE)
        await it.settled(4)
        it.report()
        await it.time.pass_by(4 * MINUTE)  # b is quiet for 6 minutes, a for 4
        it.report(config_map("b", 5))
        await it.settled(5)
        assert it.sent == [("POST", 2), ("POST", 2), ("POST", 1)]
        await it.time.pass_by(2 * MINUTE)
        await it.settled(6)
        assert it.sent[3:] == [("PATCH", 3)]


async def test_what_makes_an_event_another_one() -> None:
    async with recording(OK) as it:
        it.report()
        it.report(config_map("a", 6))  # another version of the same object
        it.report(reason="Other")
        it.report(action="Delete")
        it.report(related=config_map("b", 5))
        it.report(config_map("a", 5, uid="another"))
        it.recorder.event(A, "Normal", "Broken", "it is broken")
        await it.settled(7)
    assert it.sent == [("POST", 2)] + [("POST", 1)] * 5


async def test_the_queue_is_bounded_and_what_is_dropped_is_counted() -> None:
    """EV-2: queue 1,000, then dropped. EV-3: never blocks."""
    async with recording(silence) as it:
        for n in range(1100):
            it.report(config_map(f"m{n}", 5))
        assert it.counts() == (0, 100, 0)
        for n in range(1000):
            it.report(config_map(f"m{n}", 5))
        assert it.counts() == (0, 100, 0), "a repeat needs no place"
        await it.recorder.close(timeout=0.01)
        assert it.counts() == (0, 2100, 0), "each occurrence is accounted for"
        it.report()
        assert it.counts() == (0, 2101, 0)


async def test_a_repeat_that_finds_no_place_is_written_later() -> None:
    """EV-2."""
    holding = asyncio.Event()

    async def held(connection: Any, request: Any) -> None:
        await holding.wait()
        await OK(connection, request)

    async with recording(OK, held, OK, queue_size=1) as it:
        it.report()
        await it.settled(1)
        it.report(reason="Second")
        await until(lambda: len(it.server.received) == 2)
        it.report(reason="Third")
        it.report()  # becomes a series while there is no place
        holding.set()
        await it.settled(3)
        await it.time.pass_by(6 * MINUTE)
        await it.settled(4)
    assert it.sent == [("POST", 1), ("POST", 1), ("POST", 1), ("PATCH", 2)]


async def test_so_many_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was quiet longest is finished."""
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    async with recording(OK) as it:
        for n, reason in enumerate(["A", "A", "A", "B", "A", "C", "A", "B"], 1):
            it.report(reason=reason)
            await it.time.pass_by(1)
            await until(lambda n=n: it.recorder._waiting == {} and it.time.now_ns == n * 10**9)
            if n <= 2:
                await it.settled(n)
        await it.recorder.close()
    found = [(r.method, r.json.get("reason"), r.json.get("series", {}).get("count")) for r in it.server.received]
    assert found == [
        ("POST", "A", None), ("PATCH", None, 2), ("POST", "B", None), ("POST", "C", None), ("POST", "B", None),
        ("PATCH", None, 5),
    ]  # fmt: skip
    assert it.counts() == (8, 0, 0)


async def test_a_server_that_stays_away_costs_what_was_to_be_written() -> None:
    """EV-2: 12 tries, 10 s apart; the next write makes up for what was lost."""
    async with recording(*[reset] * 12, OK) as it:
        it.report()
        for n in range(1, 13):
            await until(lambda n=n: len(it.server.received) == n)
            if n < 12:
                await until(lambda: 10.0 in it.time.sleeps())
                await it.time.pass_by(10)
        await it.settled(1)
        assert it.counts() == (0, 0, 1)
        it.report()
        await it.settled(2)
    assert it.counts() == (1, 0, 1)
    assert it.sent[12:] == [("POST", 2)]
    assert len({r.json["metadata"]["name"] for r in it.server.received}) == 1, "so that no try makes another"


async def test_an_answer_that_was_lost_makes_no_second_event() -> None:
    async with recording(reset, failure(409, "AlreadyExists"), OK) as it:
        it.report()
        await until(lambda: it.time.sleeps()[:1] == [10.0])
        await it.time.pass_by(10)
        await it.settled(1)
        assert it.counts() == (1, 0, 0)
        it.report()
        await it.settled(2)
    assert [r.method for r in it.server.received] == ["POST", "POST", "PATCH"]


async def test_an_event_that_is_refused_is_not_sent_again_and_again() -> None:
    """EV-3: a namespace that is being deleted refuses events."""
    async with recording(failure(403, "Forbidden")) as it:
        it.report()
        await it.settled(1)
        for _ in range(3):
            it.report()
            await it.time.pass_by(1)
            await until(lambda: it.recorder.stats.failed >= 2)
        assert len(it.server.received) == 2
    assert [r.method for r in it.server.received] == ["POST"] * 3, "the last one when all ends"
    assert it.counts() == (0, 0, 4)


async def test_a_series_that_somebody_deleted_is_made_anew() -> None:
    async with recording(OK, failure(404), OK) as it:
        it.report()
        await it.settled(1)
        it.report()
        await it.settled(2)
    assert it.sent == [("POST", 1), ("PATCH", 2), ("POST", 2)]


async def test_an_event_about_nothing_does_not_fail_the_reconcile() -> None:
    """EV-3."""
    async with recording(OK) as it:
        it.report({})
        it.report(related=7)
        it.report(action=None)
    assert it.counts() == (0, 3, 0)
    assert it.server.received == []


@pytest.mark.parametrize("component", ["", "a b", "-a", "x" * 64, "A/b", "a/b/c"])
async def test_a_component_that_the_api_refuses(component: str) -> None:
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        with pytest.raises(ValueError, match=r"at most 63 letters, .* not '"):
            SeriesRecorder(client, component)
        SeriesRecorder(client, "fastcore.dev/webapps")


async def test_nothing_is_left_behind() -> None:
    """An idle recorder costs no task, one that is closed leaves none, and one whose events are forgotten one."""
    before = asyncio.all_tasks()
    async with recording(OK) as it:
        assert not any("events of" in task.get_name() for task in asyncio.all_tasks())
        it.report()
        await it.settled(1)
        assert sum("events of" in task.get_name() for task in asyncio.all_tasks()) == 2
        await it.time.pass_by(6 * MINUTE)
        await until(lambda: sum("events of" in task.get_name() for task in asyncio.all_tasks()) == 1)
        it.report()
        await it.settled(2)
    assert {task for task in asyncio.all_tasks() if "events of" in task.get_name()} <= before


async def test_servers_take_them_and_show_both_faces(load: Load) -> None:
    """EV-2: single events and series, on the embedded and on a real server."""
    time = Timeline()
    async with Client(await load()) as client:
        obj = await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "series"}})
        space = await client.get(NAMESPACE, None, "default")
        async with SeriesRecorder(client, "webapps", clock=time, now=time.now, sleep=time.sleep) as recorder:

            async def report(subject: Any, written: int) -> None:
                recorder.event(subject, "Warning", "Returning", "it is broken", action="Sync", related=space)
                await until(lambda: recorder.stats.written == written)

            await report(obj, 1)
            (single,) = (await client.list(EVENT_SERIES, "default", field_selector="reason=Returning")).items
            assert "series" not in single
            assert (single["note"], single["action"]) == ("it is broken", "Sync")
            assert single["related"]["kind"] == "Namespace"
            await report(obj, 2)
            recorder.event(obj, "Warning", "Returning", "again")
            recorder.event(obj, "Warning", "Returning", "again")  # another action: a series from the start
            await until(lambda: recorder.stats.written == 4)
            await time.pass_by(2)
            recorder.event(obj, "Warning", "Returning", "it is broken", action="Sync", related=space)
            await time.pass_by(6 * MINUTE)
            await until(lambda: recorder.stats.written == 5)
            recorder.event(space, "Normal", "Fine", "about an object without a namespace")
        assert (recorder.stats.failed, recorder.stats.dropped) == (0, 0)
        selector = f"involvedObject.uid={obj['metadata']['uid']}"
        found = {
            event["action"]: event for event in (await client.list(EVENT, "default", field_selector=selector)).items
        }
        assert found["Sync"]["series"] == {"count": 3, "lastObservedTime": "2026-11-23T12:30:47.000999Z"}
        assert found["Sync"]["eventTime"] == "2026-11-23T12:30:45.000999Z"
        assert found["Reconcile"]["series"]["count"] == 2
        assert found["Sync"]["reportingComponent"] == "webapps"
        (fine,) = (await client.list(EVENT_SERIES, "default", field_selector="reason=Fine")).items
        assert fine["regarding"]["kind"] == "Namespace"
