"""The informer as controllers use it: sync, reads, handlers, own writes, faults; on scripted and real servers."""

# ruff: noqa: SIM117 - the client is made inside the server

import asyncio
from contextlib import asynccontextmanager
from copy import deepcopy
from random import Random

import pytest

from controller.scripted import (
    FakeSleep,
    ScriptedServer,
    config_map,
    event,
    failure,
    listing,
    silence,
    stream,
    until,
)
from controller.widgets import serve_widgets
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import ServerError
from fastcore.controller.informer import Informer
from fastcore.controller.model import CONFIG_MAP, NAMESPACE
from fastcore.controller.workspace import Workspace
from fastcore.errors import WaitTimeout
from fastcore.objects import thaw
from fastcore.testing.relay import Relay

A1, A2, A3 = (config_map("a", n) for n in (1, 2, 3))
B2 = config_map("b", 2)
HOLD = stream(end="hold")


class Recorder:
    """A handler that writes down what it is told."""

    def __init__(self, informer=None):
        self.told = []
        self.informer = informer

    def on_add(self, obj, initial):
        self.note("initial" if initial else "add", obj)

    def on_update(self, old, new):
        self.note("resync" if old is new else "update", new)

    def on_delete(self, obj):
        self.note("delete", obj)

    def note(self, what, obj):
        meta = obj["metadata"]
        self.told.append(f"{what} {meta['name']} {meta['resourceVersion']}")
        if self.informer is not None:
            held = self.informer.get(meta["namespace"], meta["name"])
            assert (held is None) == (what == "delete"), "the store is updated before handlers see the event"


@asynccontextmanager
async def informing(*steps, sync=True, kind=CONFIG_MAP, workspace_namespace=None, **options):
    async with ScriptedServer(list(steps)) as server:
        async with Client(server.config) as client:
            informer = Informer(
                Workspace("blue", client, workspace_namespace),
                kind,
                random=Random(1),
                **{"sleep": FakeSleep(), "streaming": False, **options},
            )
            informer.server = server
            task = asyncio.create_task(informer.run())
            try:
                if sync:
                    await informer.wait_synced(5)
                yield informer
            finally:
                await informer.stop()
                await task


# --- Sync and reads


async def test_reads_after_the_first_list():
    async with informing(listing([A1, B2], "5"), HOLD) as informer:
        assert informer.synced
        assert informer.get("default", "a") == A1
        assert informer.get("default", "zzz") is None
        assert informer.get(None, "a") is None
        assert informer.list() == [A1, B2]
        assert informer.list("default") == [A1, B2]
        assert informer.list("other") == []


async def test_not_synced_before_the_list_is_in():
    """IN-2: HasSynced is true only after the initial snapshot was delivered to the store."""
    async with informing(silence, sync=False) as informer:
        with pytest.raises(
            WaitTimeout, match=r"the informer of configmaps in blue did not sync within 0.05 s; last error: none"
        ):
            await informer.wait_synced(0.05)
        assert not informer.synced
        assert informer.list() == []


async def test_a_sync_that_fails_says_why():
    async with informing(failure(500, "InternalError", "etcd is gone"), sync=False) as informer:
        await until(lambda: informer.stats().failures > 0)
        with pytest.raises(WaitTimeout, match="etcd is gone") as caught:
            await informer.wait_synced(0)
        assert isinstance(caught.value.__cause__, ServerError)


async def test_waiting_ends_when_the_informer_stops_before_it_synced():
    async with informing(silence, sync=False) as informer:
        waiting = asyncio.create_task(informer.wait_synced(60))
        await until(lambda: bool(informer.server.received))
        await informer.stop()
        with pytest.raises(WaitTimeout, match="stopped before it synced"):
            await waiting


async def test_handlers_are_through_the_first_list_when_it_is_synced():
    """IN-2: per-handler sync means the handler consumed the initial snapshot."""
    seen = []
    async with informing(listing([A1, B2], "5"), HOLD, sync=False) as informer:

        class Slow(Recorder):
            def note(self, what, obj):
                super().note(what, obj)
                seen.append(informer.synced)

        informer.add_handler(Slow())
        await informer.wait_synced(5)
    assert seen == [False, False]


async def test_stop_ends_run_and_what_is_stored_stays():
    async with informing(listing([A1], "5"), HOLD) as informer:
        await informer.stop()
        await informer.stop()
        assert informer.get("default", "a") == A1


async def test_an_informer_runs_once_at_a_time():
    async with informing(listing([A1], "5"), HOLD) as informer:
        with pytest.raises(RuntimeError, match="already running"):
            await informer.run()
        assert informer.get("default", "a") == A1


async def test_cancelling_run_stops_the_informer():
    async with ScriptedServer([listing([A1], "5"), HOLD]) as server:
        async with Client(server.config) as client:
            informer = Informer(Workspace("blue", client), CONFIG_MAP, streaming=False)
            task = asyncio.create_task(informer.run())
            await informer.wait_synced(5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(asyncio.all_tasks()) <= 3, "the test, and the server's connections"


@pytest.mark.parametrize(
    ("kind", "workspace_namespace", "namespace", "path"),
    [
        (CONFIG_MAP, None, None, "/api/v1/configmaps"),
        (CONFIG_MAP, "w", None, "/api/v1/namespaces/w/configmaps"),
        (CONFIG_MAP, "w", "n", "/api/v1/namespaces/n/configmaps"),
        (NAMESPACE, "w", None, "/api/v1/namespaces"),
    ],
)
async def test_the_workspace_says_where(kind, workspace_namespace, namespace, path):
    options = {"kind": kind, "workspace_namespace": workspace_namespace, "namespace": namespace}
    async with informing(listing([], "5"), HOLD, **options) as informer:
        assert informer.server.received[0].path == path


async def test_stats_tell_what_happened(clock):
    steps = [listing([A1], "1"), stream(event("MODIFIED", A2)), failure(500), listing([], "2"), HOLD]
    async with informing(*steps, clock=clock) as informer:
        await until(lambda: informer.stats().watches == 2)
        clock.advance(7)
        stats = informer.stats()
        assert (stats.objects, stats.synced, stats.lists, stats.watches, stats.failures) == (1, True, 1, 2, 1)
        assert (stats.events, stats.revision, stats.handler_errors) == ({"MODIFIED": 1}, "2", 0)


# --- Transform


def managed(*managers):
    return [{"manager": m, "operation": o, "fieldsV1": {}} for m, o in managers]


async def test_managed_fields_are_dropped_but_for_our_own():
    entries = managed(("kubectl", "Apply"), ("fastcore", "Apply"), ("fastcore", "Update"))
    ours, foreign = config_map("a", 1, managedFields=entries), config_map("b", 1, managedFields=entries[:1])
    async with informing(listing([ours, foreign], "1"), HOLD) as informer:
        assert informer.get("default", "a")["metadata"]["managedFields"] == entries[1:2]
        assert "managedFields" not in informer.get("default", "b")["metadata"]
        answer = config_map("a", 9, managedFields=entries)
        informer.observe(answer)
        assert informer.get("default", "a")["metadata"]["managedFields"] == entries[1:2]
        assert answer["metadata"]["managedFields"] == entries, "the caller's answer is not changed"


async def test_a_transform_of_ones_own():
    def transform(obj):
        obj["data"].pop("big", None)
        return obj

    async with informing(
        listing([config_map("a", 1, {"big": "x", "small": "y"})], "1"), HOLD, transform=transform
    ) as i:
        assert i.get("default", "a")["data"] == {"small": "y"}
        answer = config_map("a", 9, {"big": "z"})
        i.observe(answer)
        assert i.get("default", "a")["data"] == {}
        assert answer["data"] == {"big": "z"}, "the caller's answer is not changed"


async def test_a_transform_that_fails_costs_no_object(caplog):
    def transform(obj):
        raise RuntimeError("bad transform")

    async with informing(listing([A1], "1"), HOLD, transform=transform) as informer:
        assert informer.get("default", "a") == A1
        assert informer.stats().handler_errors == 1
    assert "bad transform" in caplog.text


# --- Handlers


async def test_handlers_hear_of_everything_in_order():
    """IN-1: the store is updated before handlers see the event; delivery is in order."""
    gate = asyncio.Event()
    events = [event("ADDED", B2), event("MODIFIED", A3), event("DELETED", config_map("b", 4))]
    async with informing(listing([A1], "1"), stream(gate, *events, end="hold")) as informer:
        one, two = Recorder(informer), Recorder(informer)
        informer.add_handler(one)
        informer.add_handler(two)
        gate.set()
        await until(lambda: len(one.told) == 4)
        assert one.told == two.told == ["initial a 1", "add b 2", "update a 3", "delete b 4"]


async def test_handlers_from_before_the_start_see_the_list_as_initial():
    """IN-1, RF-9: the first list is initial, a relist tells what changed and tombstones what is gone."""
    gone = {"kind": "Status", "code": 410, "reason": "Expired"}
    gate = asyncio.Event()
    steps = [listing([A1, B2], "2"), stream(gate, event("MODIFIED", A3), event("ERROR", gone))]
    steps += [listing([A3, config_map("c", 9)], "9"), HOLD]
    async with informing(*steps, sync=False) as informer:
        recorder = Recorder(informer)
        informer.add_handler(recorder)
        await informer.wait_synced(5)
        gate.set()
        await until(lambda: len(recorder.told) == 5)
        assert recorder.told == ["initial a 1", "initial b 2", "update a 3", "delete b 2", "add c 9"]
        assert informer.stats().lists == 2


async def test_a_handler_that_fails_does_not_disturb_the_others(caplog):
    """IN-1: handlers are independent."""

    class Broken(Recorder):
        def note(self, what, obj):
            raise RuntimeError("bad handler")

    async with informing(listing([A1], "1"), HOLD) as informer:
        fine = Recorder()
        informer.add_handler(Broken())
        informer.add_handler(fine)
        informer.observe(A2)
        assert fine.told == ["initial a 1", "update a 2"]
        assert informer.stats().handler_errors == 2
    assert "bad handler" in caplog.text


async def test_a_handler_that_causes_a_change_does_not_mix_the_order_up():
    """IN-1: per handler delivery is sequential, also when a handler writes into the store."""

    class Writer(Recorder):
        def note(self, what, obj):
            super().note(what, obj)
            if what == "update" and obj is not None and obj["metadata"]["resourceVersion"] == "2":
                self.informer.observe(A3)

        informer = None

    async with informing(listing([A1], "1"), HOLD) as informer:
        first, second = Writer(), Recorder()
        first.informer = informer
        informer.add_handler(first)
        informer.add_handler(second)
        informer.observe(A2)
        assert first.told == second.told == ["initial a 1", "update a 2", "update a 3"]


async def test_a_handler_added_by_a_handler_misses_nothing_and_hears_nothing_twice():
    """IN-3: no gap, and no duplicate."""
    late = Recorder()

    class Adder(Recorder):
        def note(self, what, obj):
            super().note(what, obj)
            if what == "update" and late not in self.informer._handlers:
                self.informer.observe(A3)
                self.informer.add_handler(late)

    async with informing(listing([A1], "1"), HOLD) as informer:
        adder = Adder()
        informer.add_handler(adder)
        adder.informer = informer
        informer.observe(A2)
        assert adder.told == ["initial a 1", "update a 2", "update a 3"]
        assert late.told == ["initial a 3"]


async def test_a_late_index_is_filled_and_an_owner_index_is_built_in():
    """IN-3, IN-4."""
    owned = config_map("c", 3, ownerReferences=[{"uid": "u1"}, {"uid": "u2"}])
    async with informing(listing([A1, owned], "3"), HOLD) as informer:
        informer.add_index("name", lambda obj: [obj["metadata"]["name"]])
        assert informer.by_index("name", "a") == [A1]
        assert informer.by_owner("u1") == informer.by_owner("u2") == [owned]
        assert informer.by_owner("u3") == []
        informer.observe(config_map("c", 4, ownerReferences=None))
        assert informer.by_owner("u1") == []


async def test_resync_shows_every_object_again_without_a_request():
    """IN-5: handler gets update(obj, obj) for each stored key, no API call; the period has ±10 % jitter."""
    sleep = FakeSleep()
    turns = asyncio.Semaphore(0)

    async def paced(seconds):
        await sleep(seconds)
        await turns.acquire()

    async with informing(listing([A1, B2], "5"), HOLD, resync=10, sleep=paced) as informer:
        recorder = Recorder()
        informer.add_handler(recorder)
        turns.release()
        await until(lambda: len(recorder.told) == 4)
        assert recorder.told[2:] == ["resync a 1", "resync b 2"]
        assert [r.query.get("watch") for r in informer.server.received] == [None, "1"]
        await until(lambda: len(sleep.waits) == 2)
        assert all(9 <= wait <= 11 for wait in sleep.waits)


@pytest.mark.parametrize("resync", [0, 0.5, -1, float("nan")])
async def test_a_resync_is_not_shorter_than_a_second(resync):
    """IN-5: >= 1 s."""
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        with pytest.raises(ValueError, match="resync must be >= 1 second or None, not"):
            Informer(Workspace("blue", client), CONFIG_MAP, resync=resync)


# --- Our own writes


async def test_observe_ignores_what_is_not_in_the_informers_namespace():
    async with informing(listing([A1], "1"), HOLD, namespace="default") as informer:
        informer.observe({**A2, "metadata": {**A2["metadata"], "namespace": "other"}})
        assert informer.list() == [A1]


async def test_objects_are_never_changed():
    """IN-6: nobody mutates an object that was handed out, whatever happens to its key."""
    gate = asyncio.Event()
    events = [event("MODIFIED", A2), event("DELETED", A3)]
    async with informing(listing([A1], "1"), stream(gate, *events, end="hold")) as informer:
        held = informer.get("default", "a")
        before = deepcopy(held)
        gate.set()
        await until(lambda: informer.list() == [])
        assert held == before


async def test_objects_cannot_be_changed():
    """IN-6: whichever way they are handed out; a thawed copy can."""
    labelled = config_map("a", 1, labels={"app": "web"})
    async with informing(listing([labelled], "1"), HOLD) as informer:
        recorder = Recorder()
        informer.add_handler(recorder)
        informer.add_index("app", lambda obj: obj["metadata"]["labels"].values())
        for held in (informer.get("default", "a"), *informer.list(), *informer.by_index("app", "web")):
            with pytest.raises(TypeError, match=r"read-only view.*thaw"):
                held["metadata"]["labels"]["app"] = "db"
            with pytest.raises(TypeError, match="read-only"):
                del held["metadata"]
        mine = thaw(held)
        mine["metadata"]["labels"]["app"] = "db"
        assert informer.get("default", "a") == labelled


async def test_our_own_managed_fields_stay_and_those_of_others_do_not():
    """WR-2: of what the server remembers only our own part is held."""
    ours = {"manager": "fastcore", "operation": "Apply", "fieldsV1": {"f:data": {}}}
    others = [{**ours, "manager": "other"}, {**ours, "operation": "Update"}]
    tracked, foreign = config_map("a", 1, managedFields=[*others, ours]), config_map("b", 2, managedFields=others)
    async with informing(listing([tracked, foreign], "2"), HOLD) as informer:
        assert informer.get("default", "a")["metadata"]["managedFields"] == [ours]
        assert "managedFields" not in informer.get("default", "b")["metadata"]


# --- The real server


@asynccontextmanager
async def mirrored(config, kind=CONFIG_MAP, **options):
    async with Client(config) as client:
        informer = Informer(Workspace("blue", client), kind, **options)
        recorder = Recorder()
        informer.add_handler(recorder)
        task = asyncio.create_task(informer.run())
        try:
            await informer.wait_synced(10)
            yield client, informer, recorder
        finally:
            await informer.stop()
            await task


def wanted(name, **data):
    return {"metadata": {"namespace": "default", "name": name, "labels": {"t": "informer"}}, "data": data}


@pytest.mark.kube
async def test_a_real_server_is_mirrored(kube_server):
    """IN-1, IN-7, RF-11: writes by others and by us, own answers ahead of events, deletion and recreation."""
    config = await ClientConfig.load(kube_server.kubeconfig)
    async with mirrored(config, label_selector="t=informer") as (client, informer, recorder):
        await client.apply(CONFIG_MAP, wanted("x", a="1"), field_manager="other")
        await until(lambda: informer.get("default", "x") is not None)
        for turn in range(20):
            answer = await client.apply(CONFIG_MAP, wanted("x", a=str(turn)), field_manager="fastcore")
            informer.observe(answer)
            assert informer.get("default", "x")["data"]["a"] == str(turn), "we read what we wrote"
        await client.delete(CONFIG_MAP, "default", "x")
        answer = await client.create(CONFIG_MAP, wanted("x", a="new"))
        informer.observe(answer)
        await until(lambda: recorder.told[-1:] == [f"add x {answer['metadata']['resourceVersion']}"])
        kinds = [line.split()[0] for line in recorder.told]
        assert kinds == ["add"] + ["update"] * 20 + ["delete", "add"], "each version once, in order"
        await client.patch(CONFIG_MAP, "default", "x", {"metadata": {"labels": {"t": None}}})
        await until(lambda: informer.list() == [])
        await client.delete(CONFIG_MAP, "default", "x")


@pytest.mark.kube
async def test_connections_that_are_cut_lose_no_event(kube_server):
    """RF-5, RF-6: every kind of end of a watch, and the mirror is complete each time."""
    port = int(kube_server.url.rpartition(":")[2])
    direct = await ClientConfig.load(kube_server.kubeconfig)
    async with Relay("127.0.0.1", port) as relay:
        through = ClientConfig(
            f"https://127.0.0.1:{relay.port}", token=kube_server.token, ssl_context=direct.ssl_context
        )
        async with mirrored(through, label_selector="t=informer", sleep=FakeSleep()) as (_, informer, recorder):
            async with Client(direct) as client:
                for turn in range(5):
                    await client.apply(CONFIG_MAP, wanted("cut", turn=str(turn)), field_manager="me")
                    if turn % 2:
                        await until(lambda: informer.stats().watches > 0)
                    assert relay.cut() or turn
                    await until(lambda n=str(turn): (informer.get("default", "cut") or {}).get("data") == {"turn": n})
                await client.delete(CONFIG_MAP, "default", "cut")
                await until(lambda: recorder.told[-1].startswith("delete cut"))
        assert informer.stats().lists == 1, "no cut costs a list"


@pytest.mark.kube
async def test_objects_that_went_while_nobody_watched_are_told_as_deleted(kube_server):
    """RF-9: tombstones after a real 410 with what was last known; no ghosts."""
    async with mirrored(await ClientConfig.load(kube_server.kubeconfig)) as (client, _, _):
        widget = await serve_widgets(client, "informer.test")
        informer = Informer(Workspace("blue", client), widget, sleep=FakeSleep())
        recorder = Recorder()
        informer.add_handler(recorder)
        for name in ("goes", "stays"):
            await client.create(widget, {"metadata": {"namespace": "default", "name": name}})
        task = asyncio.create_task(informer.run())
        await informer.wait_synced(10)
        await informer.stop()
        await task
        await client.delete(widget, "default", "goes")
        await client.create(widget, {"metadata": {"namespace": "default", "name": "comes"}})
        informer._reflector._position = "1"  # as if the pause had been longer than the server's memory
        task = asyncio.create_task(informer.run())
        await until(lambda: informer.stats().lists == 2)
        await informer.stop()
        await task
        assert sorted(line.split()[:2] for line in recorder.told) == [
            ["add", "comes"],
            ["delete", "goes"],
            ["initial", "goes"],
            ["initial", "stays"],
        ]


async def test_observe_ignores_an_answer_of_another_kind():
    """The answer of a write to /scale is a Scale, and that of a deletion a Status: neither belongs in the cache."""
    async with informing(listing([A1], "1"), HOLD) as informer:
        informer.observe({"kind": "Scale", "metadata": {"namespace": "default", "name": "a", "resourceVersion": "2"}})
        informer.observe({"kind": "Status", "metadata": {}, "status": "Success"})
        assert informer.list() == [A1]


@pytest.mark.parametrize("junk", [{}, {"metadata": None}, {"metadata": {"resourceVersion": "2"}}])
async def test_objects_that_are_none_do_not_end_the_informer(junk):
    """What a broken proxy or server sends is an error of that request, which is retried."""
    steps = [listing([junk], "1"), listing([A1], "1"), stream(event("ADDED", junk)), listing([A1, B2], "3"), HOLD]
    async with informing(*steps, sync=False) as informer:
        await until(lambda: len(informer.list()) == 2)
        assert informer.stats().failures == 2
