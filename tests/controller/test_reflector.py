"""List and watch under every fault: what the sink ends up with, what was asked, and how long was waited."""

# ruff: noqa: SIM117 - the client is made inside the server

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from controller.scripted import (
    FakeSleep,
    ScriptedServer,
    answer,
    bookmark,
    config_map,
    event,
    failure,
    listing,
    reset,
    stream,
    until,
)
from controller.widgets import serve_widgets
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ConnectionFailed, DecodeError, ServerError
from fastcore.controller.model import CONFIG_MAP
from fastcore.controller.reflector import MAX_RETRY_AFTER_S, Reflector
from fastcore.objects import view

A1, A2, A3 = config_map("a", 1), config_map("a", 2), config_map("a", 3)
B4 = config_map("b", 4)
HOLD = stream(end="hold")
REACHED = listing([], "1")  # the answer to a probe
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


class Sink:
    """The collection, and each call."""

    def __init__(self):
        self.objects = {}
        self.calls = []

    def replace(self, items, revision):
        self.objects = {item.head.name: view(item.raw) for item in items}
        self.calls.append(("replace", sorted(self.objects), revision))

    def advance(self, revision):
        self.calls.append(("advance", revision))

    def apply(self, change, item):
        name = item.head.name
        if change == "DELETED":
            self.objects.pop(name)
        else:
            self.objects[name] = view(item.raw)
        self.calls.append((change, name))

    @property
    def applied(self):
        return [c for c in self.calls if c[0] in ("ADDED", "MODIFIED", "DELETED")]


class Run:
    """A running reflector with everything that a test looks at."""

    def __init__(self, server, reflector, sink, sleep):
        self.server = server
        self.reflector = reflector
        self.sink = sink
        self.waits = sleep.waits

    @property
    def asked(self):
        """Each request in short: "list 0", "watch 5"."""
        return [
            f"{'watch' if 'watch' in r.query else 'probe' if r.query.get('limit') == '1' else 'list'} "
            f"{r.query.get('resourceVersion', '-')}"
            for r in self.server.received
        ]

    async def requests(self, number):
        await until(lambda: len(self.server.received) >= number)


@asynccontextmanager
async def reflecting(*steps, clock=None, streaming=False, **options):
    sleep = FakeSleep()
    sink = Sink()
    if clock is not None:
        options["clock"] = clock
    async with ScriptedServer(list(steps)) as server:
        async with Client(server.config, sleep=sleep) as client:
            options = {"streaming": streaming, "sleep": sleep, "random": Random(1), **options}
            reflector = Reflector(client, CONFIG_MAP, "default", sink, **options)
            task = asyncio.create_task(reflector.run())
            try:
                yield Run(server, reflector, sink, sleep)
            finally:
                task.cancel()
                await asyncio.wait([task])
    assert task.cancelled(), task.exception()


# --- The usual course


async def test_first_list_takes_any_version_and_the_watch_starts_there():
    """RF-1, RF-7, RF-10: list at RV 0 in pages, then watch from its revision with bookmarks for 300 to 600 s."""
    async with reflecting(listing([A1], "1"), stream(event("MODIFIED", A2), event("DELETED", A3), end="hold")) as run:
        await until(lambda: len(run.sink.applied) == 2)
        assert run.sink.calls == [
            ("replace", ["a"], "1"),
            ("advance", "2"),
            ("MODIFIED", "a"),
            ("advance", "3"),
            ("DELETED", "a"),
        ]
        assert run.server.received[0].query == {"resourceVersion": "0", "limit": "500"}
        watch = run.server.received[1].query
        assert 300 <= int(watch.pop("timeoutSeconds")) <= 600
        assert watch == {"watch": "1", "resourceVersion": "1", "allowWatchBookmarks": "true"}
        stats = run.reflector.stats
        assert (stats.lists, stats.watches, stats.failures) == (1, 1, 0)
        assert stats.events == {"MODIFIED": 1, "DELETED": 1}
        assert run.reflector.position == "3"


async def test_the_length_of_watches_differs():
    """RF-7: timeoutSeconds is random in [300, 600], so that watches do not all end at once."""
    async with reflecting(listing([], "1"), *[stream(bookmark(n)) for n in range(2, 20)], HOLD) as run:
        await run.requests(20)
        lengths = {int(r.query["timeoutSeconds"]) for r in run.server.received[1:]}
        assert len(lengths) > 10
        assert min(lengths) >= 300
        assert max(lengths) <= 600


async def test_selectors_go_with_every_request():
    options = {"label_selector": "a=b", "field_selector": "metadata.name=a"}
    async with reflecting(listing([], "1"), stream(event("MODIFIED", A2)), HOLD, **options) as run:
        await run.requests(3)
        for request in run.server.received:
            assert request.path == "/api/v1/namespaces/default/configmaps"
            assert (request.query["labelSelector"], request.query["fieldSelector"]) == ("a=b", "metadata.name=a")


async def test_a_bookmark_moves_the_position_and_nothing_else():
    """RF-4: BOOKMARK changes only the RV."""
    async with reflecting(listing([A1], "1"), stream(bookmark(40)), HOLD) as run:
        await run.requests(3)
        assert run.asked == ["list 0", "watch 1", "watch 40"]
        assert run.sink.calls == [("replace", ["a"], "1"), ("advance", "40")]


async def test_a_watch_that_ended_after_events_resumes_at_once():
    """RF-6: it is resumed at once at the last RV."""
    async with reflecting(listing([A1], "1"), stream(event("MODIFIED", A2)), HOLD) as run:
        await run.requests(3)
        assert run.asked == ["list 0", "watch 1", "watch 2"]
        assert run.waits == []


async def test_a_long_quiet_watch_resumes_at_once(clock):
    """RF-6: only a watch of less than a second has failed."""

    async def quiet(connection, request):
        clock.advance(1)
        await stream()(connection, request)

    async with reflecting(listing([A1], "1"), quiet, HOLD, clock=clock) as run:
        await run.requests(3)
        assert run.asked == ["list 0", "watch 1", "watch 1"]
        assert run.waits == []


async def test_a_short_watch_without_events_is_a_failure():
    """RF-6: a watch that ends in < 1 s with no event is an error: back off."""
    async with reflecting(listing([A1], "1"), stream(), stream(), HOLD) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "watch 1", "watch 1"]
        assert len(run.waits) == 2
        assert isinstance(run.reflector.stats.last_error, ConnectionFailed)


async def test_an_empty_revision_does_not_let_synthetic_events_move_the_position():
    """RF-3: a watch from "" or "0" begins with ADDED in any order; only what follows them says where to resume."""
    added = [event("ADDED", config_map("x", 900)), event("ADDED", config_map("y", 7))]
    async with reflecting(listing([], "0"), stream(*added), stream(*added, bookmark(901)), HOLD) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 0", "watch 0", "watch 901"]
        assert run.sink.applied == [("ADDED", "x"), ("ADDED", "y")] * 2


async def test_an_unknown_event_type_moves_the_position_only():
    async with reflecting(listing([], "1"), stream(event("SYNCED", A2)), HOLD) as run:
        await run.requests(3)
        assert run.asked[-1] == "watch 2"
        assert run.sink.applied == []


# --- Gone


async def test_an_error_event_410_lists_again_not_older_than_what_was_seen():
    """RF-1, RF-5, RF-9, RF-10: relist at the last RV without pages; the sink is replaced, so no ghost stays."""
    steps = [listing([A1], "1"), stream(event("MODIFIED", A2), event("ERROR", GONE)), listing([B4], "4"), HOLD]
    async with reflecting(*steps) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "list 2", "watch 4"]
        assert "limit" not in run.server.received[2].query
        assert list(run.sink.objects) == ["b"]
        assert run.waits == [], "the watch had made progress, so there is nothing to wait for"
        assert run.reflector.stats.lists == 2


async def test_an_error_event_without_a_code_is_known_by_its_reason():
    """RF-5: some servers leave the code out."""
    gone = {"kind": "Status", "reason": "Expired"}
    steps = [listing([A1], "1"), stream(event("MODIFIED", A2), event("ERROR", gone)), listing([B4], "4"), HOLD]
    async with reflecting(*steps) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "list 2", "watch 4"]


async def test_a_410_of_the_watch_request_is_treated_alike():
    """RF-5: HTTP status 410 of the watch request lists again."""
    steps = [listing([A1], "1"), stream(event("MODIFIED", A2)), failure(410, "Expired"), listing([B4], "4"), HOLD]
    async with reflecting(*steps) as run:
        await run.requests(5)
        assert run.asked == ["list 0", "watch 1", "watch 2", "list 2", "watch 4"]
        assert run.waits == []


async def test_a_410_straight_after_a_list_backs_off():
    """RF-5, RF-8: list, 410, list, 410 must not become a loop at full speed."""
    async with reflecting(listing([A1], "1"), failure(410), listing([A1], "1"), failure(410), HOLD) as run:
        await run.requests(5)
        assert run.asked == ["list 0", "watch 1", "list 1", "watch 1", "list 1"]
        assert len(run.waits) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        failure(410, "Expired"),
        failure(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}], Retry_After="1"),
        failure(504, "Timeout", "Too large resource version: 9, current: 4", Retry_After="1"),
    ],
)
async def test_a_relist_that_no_server_can_answer_asks_for_the_newest(refusal):
    """RF-1: on 410/Expired or "Too large resource version" relist once with RV "", which reads consistently."""
    steps = [listing([A1], "1"), stream(event("MODIFIED", A2), event("ERROR", GONE)), refusal, listing([B4], "4")]
    async with reflecting(*steps, HOLD) as run:
        await run.requests(5)
        assert run.asked == ["list 0", "watch 1", "list 2", "list -", "watch 4"]
        assert run.server.received[3].query == {"limit": "500"}
        assert run.waits == []


async def test_a_newest_list_that_fails_too_backs_off():
    """RF-8."""
    async with reflecting(failure(410), failure(410), listing([A1], "1"), HOLD) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "list -", "list -", "watch 1"]
        assert len(run.waits) == 1


# --- Other errors


async def test_429_of_a_watch_keeps_the_position():
    """RF-5: 429 -> back off and re-watch at the same RV; the server's wait counts if it is longer."""
    steps = [listing([A1], "1"), failure(429, Retry_After="17"), failure(429), HOLD]
    async with reflecting(*steps) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "watch 1", "watch 1"]
        assert run.waits[0] == 17
        assert 1.6 <= run.waits[1] <= 3.2


async def test_an_error_event_429_keeps_the_position():
    """RF-5."""
    busy = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 9}}
    async with reflecting(listing([A1], "1"), stream(event("ERROR", busy)), HOLD) as run:
        await run.requests(3)
        assert run.asked == ["list 0", "watch 1", "watch 1"]
        assert run.waits == [9]


async def test_a_reset_keeps_the_position_and_backs_off():
    """RF-5: connection refused or reset -> back off and re-watch at the same RV."""
    async with reflecting(listing([A1], "1"), reset, reset, reset, reset, REACHED, HOLD) as run:
        await run.requests(7)
        assert set(run.asked[1:]) == {"watch 1", "probe 1"}
        assert run.waits
        assert run.reflector.stats.failures == len(run.waits)


async def test_500_keeps_the_position_for_a_minute_then_lists(clock):
    """RF-5: 500 -> retry the watch for a bounded time."""

    async def broken(connection, request):
        clock.advance(25)
        await failure(500)(connection, request)

    steps = [listing([A1], "1"), broken, broken, broken, broken, listing([A1], "1"), HOLD]
    async with reflecting(*steps, clock=clock) as run:
        await run.requests(7)
        assert run.asked == ["list 0", "watch 1", "probe 1", "probe 1", "probe 1", "list 1", "watch 1"]
        assert len(run.waits) == 4
        assert isinstance(run.reflector.stats.last_error, ServerError)


async def test_a_good_watch_ends_the_row_of_500s(clock):
    """RF-5: the bounded time is that of one row of failures."""

    async def broken(connection, request):
        clock.advance(40)
        await failure(500)(connection, request)

    steps = [listing([A1], "1"), broken, REACHED, stream(event("MODIFIED", A2)), broken, REACHED, HOLD]
    async with reflecting(*steps, clock=clock) as run:
        await run.requests(7)
        assert run.asked == ["list 0", "watch 1", "probe 1", "watch 1", "watch 2", "probe 2", "watch 2"]


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_anything_else_lists_again_after_a_wait(status):
    """RF-5: anything else -> relist."""
    async with reflecting(listing([A1], "1"), failure(status), listing([A1], "1"), HOLD) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "list 1", "watch 1"]
        assert len(run.waits) == 1


@pytest.mark.parametrize(
    "garbage", [b"not json\n", b"[]\n", b'{"type": 1}\n', b'{"type": "ADDED", "object": {}}\n', b"\xff\xfe\n"]
)
async def test_garbage_lists_again_after_a_wait(garbage):
    """RF-5: what is no event cannot be resumed behind."""
    steps = [listing([A1], "1"), stream(event("MODIFIED", A2), garbage), listing([B4], "4"), HOLD]
    async with reflecting(*steps) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "list 2", "watch 4"]
        assert len(run.waits) == 1
        assert isinstance(run.reflector.stats.last_error, DecodeError)


async def test_a_cut_in_the_middle_of_a_line_resumes_behind_the_last_whole_one():
    """RF-5: nothing is applied twice, nothing is lost."""
    first = stream(event("MODIFIED", A2), b'{"type": "MODIFIED", "object": {"metadata"', end="cut")
    async with reflecting(listing([A1], "1"), first, REACHED, stream(event("MODIFIED", A3), end="hold")) as run:
        await until(lambda: len(run.sink.applied) == 2)
        assert run.asked == ["list 0", "watch 1", "probe 2", "watch 2"]
        assert run.sink.objects["a"] == A3
        assert run.waits == []


async def test_a_silent_watch_is_opened_anew():
    """RF-7: the client must detect silence."""
    steps = [listing([A1], "1"), stream(event("MODIFIED", A2), end="hold"), REACHED, HOLD]
    async with reflecting(*steps, idle_timeout=0.05) as run:
        await run.requests(4)
        assert run.asked[:4] == ["list 0", "watch 1", "probe 2", "watch 2"]


async def test_a_list_that_fails_is_tried_again():
    """RF-8: 800 ms x2 with jitter 1.0; the server's Retry-After counts if it is longer."""
    steps = [failure(500), answer(200, b"{"), reset, failure(429, Retry_After="90"), listing([A1], "1"), HOLD]
    async with reflecting(*steps) as run:
        await run.requests(6)
        # aiohttp repeats the reset GET once by itself, so the next step is already its second try.
        assert run.waits[-1] == 90
        assert 0.8 <= run.waits[0] <= 1.6 <= run.waits[1] <= 3.2
        assert run.reflector.stats.lists == 1


async def test_credentials_that_cannot_be_had_are_a_failure_like_any_other():
    """RF-8: the reflector outlives an exec plugin that fails."""
    tries = 0

    async def source(_refused):
        nonlocal tries
        tries += 1
        if tries > 1:
            raise OSError("no plugin")
        return "Bearer one", None

    sleep = FakeSleep()
    async with ScriptedServer([failure(401), failure(401), listing([A1], "1"), HOLD]) as server:
        async with Client(ClientConfig(server.url, source=source)) as client:
            sink = Sink()
            task = asyncio.create_task(
                Reflector(client, CONFIG_MAP, "default", sink, sleep=sleep, streaming=False).run()
            )
            await until(lambda: bool(sink.calls))
            task.cancel()
            await asyncio.wait([task])
    assert len(sleep.waits) == 2


# --- Another history


@pytest.mark.parametrize("broken", [stream(event("MODIFIED", A2), end="cut"), failure(503)])
async def test_a_server_that_has_not_reached_the_position_is_listed_anew(broken):
    """RF-1: one restored from a backup would take a watch from the future, and say nothing until it is there."""
    future = failure(504, "Timeout", "Too large resource version: 2, current: 1")
    async with reflecting(listing([A1], "1"), broken, future, listing([B4], "4"), HOLD) as run:
        await run.requests(5)
        position = run.asked[2].split()[1]
        assert run.asked == ["list 0", "watch 1", f"probe {position}", "list -", "watch 4"]
        assert run.server.received[2].query == {
            "resourceVersion": position,
            "resourceVersionMatch": "NotOlderThan",
            "limit": "1",
        }
        assert list(run.sink.objects) == ["b"]


async def test_a_server_that_does_not_know_the_question_is_watched():
    """RF-5: what cannot be asked is no reason to list."""
    cut = stream(event("MODIFIED", A2), end="cut")
    async with reflecting(listing([A1], "1"), cut, failure(400), HOLD) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "probe 2", "watch 2"]
        assert run.waits == []


async def test_a_probe_that_is_put_off_is_asked_again():
    """RF-5: 429 keeps the position and the doubt."""
    cut = stream(event("MODIFIED", A2), end="cut")
    async with reflecting(listing([A1], "1"), cut, failure(429, Retry_After="17"), REACHED, HOLD) as run:
        await run.requests(5)
        assert run.asked == ["list 0", "watch 1", "probe 2", "probe 2", "watch 2"]
        assert run.waits == [17]


async def test_a_watch_that_ended_in_order_is_not_doubted():
    """RF-6: the usual course costs no further request."""
    async with reflecting(listing([A1], "1"), stream(bookmark(2)), stream(bookmark(3)), HOLD) as run:
        await run.requests(4)
        assert run.asked == ["list 0", "watch 1", "watch 2", "watch 3"]


# --- The real server


@pytest.mark.kube
async def test_a_real_410_is_survived(kube_server):
    """RF-1, RF-5: the position is older than what the server remembers; a list follows, and no event is lost."""
    async with Client(await ClientConfig.load(kube_server.kubeconfig)) as client:
        widget = await serve_widgets(client, "reflector.test")
        created = await client.create(widget, {"metadata": {"namespace": "default", "name": "old"}})
        sink = Sink()
        reflector = Reflector(client, widget, "default", sink, sleep=FakeSleep())
        # As after a long pause: the server's memory of widgets begins where their definition was made.
        reflector._position = reflector._list_from = "1"
        task = asyncio.create_task(reflector.run())
        await until(lambda: "old" in sink.objects)
        await client.create(widget, {"metadata": {"namespace": "default", "name": "new"}})
        await until(lambda: "new" in sink.objects)
        task.cancel()
        await asyncio.wait([task])
        assert int(reflector.position or 0) > int(created["metadata"]["resourceVersion"])
        assert reflector.stats.lists == 1
        gone = client.stats.get(("410", "GET", client.config.server.removeprefix("https://")), 0)
        assert gone + reflector.stats.events.get("ERROR", 0) >= 1, "the server did not answer 410"


@pytest.mark.parametrize("seconds", ["inf", "1e9"])
async def test_a_server_cannot_send_the_reflector_to_sleep_for_ever(seconds):
    """LI-1: its time is respected, within reason: a wrong date or clock must not stop the watch for days."""
    async with reflecting(failure(429, Retry_After=seconds), listing([A1], "1"), HOLD) as run:
        await until(lambda: bool(run.sink.calls))
        assert run.waits == [MAX_RETRY_AFTER_S]
