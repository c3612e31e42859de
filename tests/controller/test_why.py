"""Why an object is not reconciled, where the time goes, and what happened of late."""

import gc
import json
import tracemalloc
from typing import Any

import pytest

from controller.loops import ONE, Stage, config_map, running, settled, stage, until
from fastcore.controller.context import Context
from fastcore.controller.debug_pages import flight_page, why_page
from fastcore.controller.ledger import CollectorWatch
from fastcore.controller.model import Request, Result, TerminalError
from fastcore.controller.predicates import GenerationChanged, LabelChanged, Predicate, Where
from fastcore.controller.recorder import RECORD_BYTES, FlightRecorder
from fastcore.controller.turn import TURN
from fastcore.controller.why import as_text, why
from fastcore.observe import HttpRequest


def failing(*errors: Exception, **options: Any) -> Stage:
    left = list(errors)

    async def reconcile(ctx: Context, request: Request) -> Any:
        if left:
            raise left.pop(0)
        return Result(requeue_after=30)

    return stage(reconcile, **options)


class Slow:
    """A limiter that always says ten seconds."""

    def when(self, item: Any) -> float:
        return 10.0

    def forget(self, item: Any) -> None:
        return None

    def retries(self, item: Any) -> int:
        return 4


async def test_a_failing_key_says_so_and_when_it_comes_back() -> None:
    on = failing(OSError("no route to host"), limiter=Slow())
    on.primary.show(config_map(2))
    async with running(on.controller):
        await settled()
        found = why(on.controller, ONE)
    assert found["verdict"] == "next try in 10.000 s, after 4 failures in a row: no route to host"
    assert found["queue"]["state"] == "delayed"
    assert found["history"]["last_result"] == "error"
    assert found["causes"][0]["what"] == "ConfigMap created"
    assert found["caches"]["ConfigMap"]["lag"] == 0.5
    assert json.loads(json.dumps(found)) == found
    assert "no route to host" in as_text(found)


async def test_other_verdicts() -> None:
    on = failing(TerminalError("never"), quarantine_after=1)
    key = "blue/default/one"
    assert "no such object" in why(on.controller, ONE)["verdict"]
    assert "none of this manager's" in why(on.controller, ONE._replace(workspace="red"))["verdict"]
    on.primary.show(config_map(2))
    assert why(on.controller, ONE)["verdict"].startswith("ready since 0.000 s; 0 of 1 workers")
    async with running(on.controller):
        await settled()
        assert "terminal error and waits for a change: never" in why(on.controller, ONE)["verdict"]
        on.controller.enqueue(ONE)
        await settled()
        assert why(on.controller, ONE)["verdict"] == "comes back in 30.000 s, as its last reconcile asked for"
    on = failing(KeyError("spec"), quarantine_after=1)
    on.primary.show(config_map(2))
    async with running(on.controller):
        await settled()
        found = why(on.controller, ONE)
    assert found["verdict"].startswith("set aside after bugs in a row")
    assert found["key"] == key


async def test_the_predicate_that_dropped_an_event_is_named() -> None:
    on = failing(predicate=(GenerationChanged() | LabelChanged()) & Predicate())
    on.primary.show(config_map(5, 1))
    on.primary.show(config_map(6, 1, colour="red"))
    [drop] = why(on.controller, ONE)["dropped"]
    assert (drop["what"], drop["from"], drop["to"]) == ("ConfigMap updated", "5", "6")
    assert drop["by"] == "(GenerationChanged | LabelChanged)"
    assert drop["changed"] == ["data.colour"]
    assert why(on.controller, ONE._replace(name="two"))["dropped"] == []
    assert repr(~Where()) == "~Where"


async def test_the_page_answers_clients_on_the_same_host_alone() -> None:
    on = failing()

    class Manager:
        def __init__(self) -> None:
            self.controllers = {"loop": on.controller}

    manager: Any = Manager()
    on.primary.show(config_map(2))
    page, flight = why_page(manager), flight_page(manager)

    def ask(path: str, peer: str = "127.0.0.1", **query: list[str]) -> HttpRequest:
        return HttpRequest("GET", path, query, {}, peer)

    answer = page(ask("/debug/why/blue/default/one"))
    assert answer.status == 200
    assert answer.body.startswith(b"blue/default/one in controller loop\n  ready since")
    [found] = json.loads(page(ask("/debug/why/blue/default/one", format=["json"])).body)
    assert found["queue"]["state"] == "ready"
    assert page(ask("/debug/why/blue/default/one", controller=["other"])).body == b""
    assert page(ask("/debug/why/blue")).status == 400
    for peer, status in (
        ("10.0.0.9", 403),
        ("", 403),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("::ffff:10.0.0.9", 403),
    ):
        assert page(ask("/debug/why/blue/default/one", peer)).status == status
        assert flight(ask("/debug/flight", peer)).status == status
    [line] = flight(ask("/debug/flight")).body.decode().splitlines()
    assert json.loads(line)["what"] == "event"


async def test_the_flight_recorder_tells_a_reconcile_and_keeps_what_led_to_a_bug() -> None:
    on = failing(OSError("down"), KeyError("spec"))
    on.primary.show(config_map(2, password="hunter2"))
    async with running(on.controller):
        await until(lambda: on.controller.counters.requeue_after == 1)
    records = [json.loads(line) for line in on.controller.flight.lines("loop")]
    assert [record["what"] for record in records] == ["event", *["start", "end"] * 3]
    assert [record["result"] for record in records if record["what"] == "end"] == ["error", "panic", "requeue_after"]
    assert records[0]["request"] == ["blue", "default", "one"]
    assert records[-1]["delay"] == 30
    panic = [json.loads(line)["what"] for line in on.controller.flight.lines("loop", panic=True)]
    assert panic == ["event", "start", "end", "start"]
    assert "hunter2" not in "".join(on.controller.flight.lines("loop"))


def test_the_ring_keeps_within_its_bytes() -> None:
    limit = 1 << 20
    recorder = FlightRecorder(limit)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(5 * limit // RECORD_BYTES):
        request = Request("workspace", "namespace", f"name-{number:0100}")
        recorder.request(number * 10**9, request, "PATCH", f"/apis/apps/v1/namespaces/x/{number:0200}?a=b", 200, number)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(recorder) == limit // RECORD_BYTES
    assert used < limit


async def test_time_is_put_down_to_its_stage() -> None:
    """Parallel requests count once; a pause of the collector is not the server's, nor ours."""

    async def reconcile(ctx: Context, request: Request) -> None:
        turn = TURN.get()
        assert turn is not None

        class Answer:
            status = 200

        async def answer() -> Answer:
            on.clock.advance(2)
            turn.collected(500_000_000)
            return Answer()

        await turn.exchange(answer(), "PATCH", "/x")
        turn.waited(1)
        on.clock.advance(4)

    on = stage(reconcile)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: on.controller.counters.success == 1)
    seconds = on.controller.ledger.seconds(0.25)
    assert seconds == {"queue": 0.25, "limiter": 1.0, "server": 1.5, "decode": 0.0, "collector": 0.5, "user": 3.0}


def test_the_collector_is_watched_only_while_somebody_asks() -> None:
    before = list(gc.callbacks)
    watch = CollectorWatch()
    watch.start()
    watch.start()
    assert len(gc.callbacks) == len(before) + 1
    gc.collect()
    watch.stop()
    watch.stop()
    assert gc.callbacks == before


@pytest.mark.parametrize("switched_on", [True, False])
async def test_a_tracer_gets_a_span_a_reconcile(switched_on: bool) -> None:
    from contextlib import contextmanager

    spans: list[Any] = []

    class Tracer:
        @contextmanager
        def start_as_current_span(self, name: str, attributes: Any) -> Any:
            spans.append((name, attributes["k8s.object.name"]))
            yield

    on = failing(tracer=Tracer() if switched_on else None)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: on.controller.counters.requeue_after == 1)
    assert spans == ([("reconcile loop", "one")] if switched_on else [])
