"""Field fights and hot loops: found, named, slowed down; and nothing else is."""

from typing import Any

import pytest

from controller.loops import ONE, Stage, config_map, deployment, running, settled, stage
from fastcore.controller.context import Context
from fastcore.controller.detector import Detector, managers_of
from fastcore.controller.model import DEPLOYMENT, Request
from fastcore.controller.turn import TURN, Written


def setter(on: Stage, ctx: Context, answer: dict[str, Any], sent: Any, *, observe: bool = True) -> None:
    turn = TURN.get()
    assert turn is not None
    client: Any = ctx.client
    turn.written += 1
    turn.wrote(Written(client, DEPLOYMENT, sent, answer, "PATCH", observe))


async def pass_time(on: Stage, seconds: float) -> None:
    on.clock.advance(seconds)
    len(on.controller.queue)
    await settled()


async def test_a_fight_is_named_by_path_and_manager_and_slowed_down(caplog: pytest.LogCaptureFixture) -> None:
    """One log line and one Event a fight, a delay that doubles, and is bounded."""
    versions = iter(range(3, 1000))
    calls: list[int] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(on.clock())
        live = ctx.get(DEPLOYMENT, "default", "one")
        if live is not None and live["spec"]["replicas"] != 2:
            setter(on, ctx, deployment(next(versions), 2), {"spec": {"replicas": 2}})

    on = stage(reconcile)
    on.primary.show(config_map(2))
    async with running(on.controller):
        for _ in range(40):
            theirs = deployment(next(versions), 9, managers=("autoscaler",))
            client: Any = on.workspace.client
            client.live["default", "one"] = theirs
            on.owned.show(theirs)
            await settled()
            await pass_time(on, 0.5)
        detector = on.controller.guards.detector
        assert detector.fights == 1
        assert detector.slowed() == (ONE,)
        assert "spec.replicas" in (detector.describe(ONE) or "")
        assert len(calls) < 20  # of 40 rounds
        await pass_time(on, 700)
        on.owned.show(deployment(next(versions), 2))
        await settled()
        await pass_time(on, 61)
        assert detector.slowed() == ()
    lines = [r.getMessage() for r in caplog.records if "field fight" in r.getMessage()]
    assert len(lines) == 1
    assert "Deployment default/one spec.replicas" in lines[0]
    assert "autoscaler (Apply, now)" in lines[0]
    assert [reason for reason, _ in on.events.recorded] == ["FieldFight"]


async def test_a_status_that_goes_up_and_down_is_no_fight() -> None:
    """We set the path to something else ourselves in between: nobody undid anything."""
    versions = iter(range(3, 1000))
    wanted = 1

    async def reconcile(ctx: Context, request: Request) -> None:
        setter(on, ctx, deployment(next(versions), wanted), {"spec": {"replicas": wanted}})

    on = stage(reconcile)
    on.primary.show(config_map(2))
    async with running(on.controller):
        for _ in range(30):
            wanted = 3 - wanted
            on.primary.show(config_map(next(versions)))
            await settled()
    assert on.controller.guards.detector.slowed() == ()


async def test_a_key_that_wakes_itself_is_a_hot_loop(caplog: pytest.LogCaptureFixture) -> None:
    """Each reconcile writes something new, which the cache shows as foreign as nobody muted it."""
    versions = iter(range(3, 10_000))
    calls: list[int] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(1)
        number = next(versions)
        setter(on, ctx, deployment(number, number), {"spec": {"replicas": number}})

    on = stage(reconcile, mute_own_events=False)
    on.primary.show(config_map(2))
    async with running(on.controller):
        await settled(500)
        assert len(calls) == 10
        await pass_time(on, 1.1)
        assert len(calls) == 11
        await pass_time(on, 1.1)
        assert len(calls) == 11  # two seconds by now
    assert on.controller.guards.detector.loops == 1
    assert [reason for reason, _ in on.events.recorded] == ["HotLoop"]
    assert "spec.replicas" in caplog.text


async def test_writing_whenever_somebody_else_asks_is_no_loop() -> None:
    versions = iter(range(3, 1000))

    async def reconcile(ctx: Context, request: Request) -> None:
        number = next(versions)
        setter(on, ctx, deployment(number, number), {"spec": {"replicas": number}})

    on = stage(reconcile)
    async with running(on.controller):
        for _ in range(40):
            on.controller.enqueue(ONE)
            await settled()
    assert on.controller.guards.detector.loops == 0


async def test_slowing_down_can_be_switched_off() -> None:
    versions = iter(range(3, 10_000))
    calls: list[int] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(1)
        number = next(versions)
        if number < 60:
            setter(on, ctx, deployment(number, number), {"spec": {"replicas": number}})

    on = stage(reconcile, mute_own_events=False, slow_down=False)
    on.primary.show(config_map(2))
    async with running(on.controller):
        await settled(1000)
    assert len(calls) > 50


def test_memory_is_bounded() -> None:
    """By keys, and by paths of each."""
    from fastcore.controller.own_events import changes

    detector = Detector()
    wide = changes({"data": {}}, {"data": {str(i): "x" for i in range(1000)}})
    for number in range(3000):
        request = Request("blue", "default", str(number))
        detector.wrote(request, DEPLOYMENT, ("default", "x"), str(number), wide, number)
        detector.end(request, 1, number)
    assert len(detector._trails) == 1024
    assert all(len(trail.paths) <= 64 for trail in detector._trails.values())


def test_managers_are_found_by_keyed_and_atomic_paths() -> None:
    fields = {
        "f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}, "f:selector": {}},
        "f:metadata": {"f:finalizers": {'v:"a/b"': {}}},
    }
    obj = {"metadata": {"managedFields": [{"manager": "m", "operation": "Update", "time": "t", "fieldsV1": fields}]}}
    for path in (
        ("spec", "containers", ("name", "web"), "image"),
        ("spec", "selector", "matchLabels", "app"),
        ("metadata", "finalizers", ("=", "a/b")),
    ):
        assert managers_of(obj, path) == ["m (Update, t)"]
    for path in (("spec", "containers", ("name", "log"), "image"), ("status",), ("metadata", "finalizers", ("=", "c"))):
        assert managers_of(obj, path) == []
