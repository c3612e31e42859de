"""Events of our own writes: kept from the key that wrote, never at the price of somebody else's write (WR-9)."""

import asyncio
from typing import Any

import pytest

from controller.loops import ONE, Stage, config_map, deployment, running, settled, stage, until
from fastcore.controller.context import Context
from fastcore.controller.model import DEPLOYMENT, Request, Result
from fastcore.controller.own_events import changes, is_ours
from fastcore.controller.turn import TURN, Written


def wrote(ctx: Context, sent: Any, answer: dict[str, Any], method: str = "PATCH", *, observe: bool = True) -> None:
    """What the client does once a write has its answer."""
    turn = TURN.get()
    assert turn is not None
    client: Any = ctx.client
    turn.written += 1
    turn.wrote(Written(client, DEPLOYMENT, sent, answer, method, observe))


async def run(*steps: Any, until_idle: int = 60, **options: Any) -> tuple[Stage, list[Request]]:
    """Reconcile once with each of `steps`, functions of the stage and the context; then as often as is asked for."""
    calls: list[Request] = []
    left = list(steps)

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request)
        if left:
            result = left.pop(0)(on, ctx)
            if asyncio.iscoroutine(result):
                await result

    on = stage(reconcile, **options)
    on.primary.show(config_map(2))
    async with running(on.controller):
        await until(lambda: len(calls) >= 1)
        await settled(until_idle)
    return on, calls


async def test_the_answer_of_our_own_write_leads_to_no_reconcile() -> None:
    """WR-9: and the next read sees it all the same (WR-8)."""

    def create(on: Stage, ctx: Context) -> None:
        wrote(ctx, {"spec": {"replicas": 1}}, deployment(3, 1), "POST")
        assert ctx.get(DEPLOYMENT, "default", "one") == deployment(3, 1)

    on, calls = await run(create)
    assert calls == [ONE]
    assert on.controller.counters.own_events == 1


async def test_the_watch_may_be_faster_than_the_answer() -> None:
    """WR-9: the event waits for the end of the reconcile, which knows by then whose it was."""

    async def apply(on: Stage, ctx: Context) -> None:
        on.owned.show(deployment(3, 1))
        await asyncio.sleep(0)
        wrote(ctx, {"spec": {"replicas": 1}}, deployment(3, 1))

    on, calls = await run(apply)
    assert (calls, on.controller.counters.own_events) == ([ONE], 1)


async def test_a_foreign_write_between_ours_is_seen() -> None:
    """WR-9: the answer to our patch holds an image that somebody else has set since our last look."""

    def apply(on: Stage, ctx: Context) -> None:
        wrote(ctx, {"spec": {"replicas": 2}}, deployment(5, 2, image="theirs"))

    on, calls = await run(lambda on, ctx: on.owned.show(deployment(3, 1)), apply)
    assert calls == [ONE] * 3  # for the first event, and for the foreign part of the second
    assert on.controller.counters.own_events == 0


async def test_a_foreign_write_after_ours_is_seen() -> None:
    """WR-9: in the same reconcile, and faster than our answer."""

    async def apply(on: Stage, ctx: Context) -> None:
        on.owned.show(deployment(3, 1))
        on.owned.show(deployment(4, 7))
        await asyncio.sleep(0)
        wrote(ctx, {"spec": {"replicas": 1}}, deployment(3, 1))

    on, calls = await run(apply)
    assert (calls, on.controller.counters.own_events) == ([ONE] * 2, 1)


async def test_events_that_were_merged_are_not_ours() -> None:
    """WR-9: an informer that falls behind shows one step over two versions; only the second was ours."""

    async def apply(on: Stage, ctx: Context) -> None:
        on.owned.objects["default", "one"] = deployment(4, 1)  # theirs, not yet shown
        before = deployment(3, 1)
        wrote(ctx, {"spec": {"replicas": 2}}, deployment(5, 2), observe=False)
        for handler in on.owned.handlers:
            handler.on_update(before, deployment(5, 2))

    on, calls = await run(apply)
    assert (calls, on.controller.counters.own_events) == ([ONE] * 2, 0)


async def test_other_keys_hear_of_our_write() -> None:
    """WR-9: only the key that wrote knows what it wrote."""
    other = {**deployment(3, 1)}
    other["metadata"] = {**other["metadata"], "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "two", "uid": "u9", "controller": True}
    ]}  # fmt: skip
    _, calls = await run(lambda on, ctx: wrote(ctx, None, other, "POST"))
    assert calls == [ONE, ONE._replace(name="two")]


async def test_muting_can_be_switched_off() -> None:
    """WR-9: then each write wakes its key once."""
    on, calls = await run(lambda on, ctx: wrote(ctx, {}, deployment(3, 1), "POST"), mute_own_events=False)
    assert (calls, on.controller.counters.own_events) == ([ONE] * 2, 0)


async def test_a_write_may_leave_the_cache_alone() -> None:
    """WR-8: opt-out per call."""

    def create(on: Stage, ctx: Context) -> None:
        wrote(ctx, {}, deployment(3, 1), "POST", observe=False)
        assert ctx.get(DEPLOYMENT, "default", "one") is None

    await run(create)


async def test_an_own_event_does_not_end_a_delay_that_was_asked_for() -> None:
    """WR-9: the key comes back when it wanted to, not at once and not never."""

    async def reconcile(ctx: Context, request: Request) -> Result:
        wrote(ctx, {}, deployment(3 + len(calls), 1), "POST")
        calls.append(request)
        return Result(requeue_after=60)

    calls: list[Request] = []
    on = stage(reconcile)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: len(calls) == 1)
        await settled()
        state = on.controller.queue.state(ONE)
        assert state is not None
        assert (state.state, state.due) == ("delayed", 60.0)
        on.clock.advance(61)
        assert len(on.controller.queue) in (0, 1)  # looks at the clock
        await until(lambda: len(calls) == 2)


async def test_what_a_late_task_writes_is_not_muted() -> None:
    """WR-9: when a reconcile is over, its key has to hear of what it left running."""
    released = asyncio.Event()

    async def late(ctx: Context) -> None:
        await released.wait()
        wrote(ctx, {}, deployment(3, 1), "POST")

    tasks: list[Any] = []
    calls: list[Request] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request)
        if len(calls) == 1:
            tasks.append(asyncio.create_task(late(ctx)))

    on = stage(reconcile)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: on.controller.counters.success == 1)
        released.set()
        await tasks[0]
        on.owned.show(deployment(3, 1))
        await until(lambda: len(calls) == 2)
    assert on.controller.counters.own_events == 0


OLD = {"metadata": {"resourceVersion": "1"}, "spec": {"a": 1, "items": [{"name": "x", "v": 1}], "plain": [1]}}


@pytest.mark.parametrize(
    ("new", "sent", "method", "ours"),
    [
        ({"spec": {"a": 2}}, {"spec": {"a": 2}}, "PATCH", True),
        ({"spec": {"a": 3}}, {"spec": {"a": 2}}, "PATCH", False),
        ({"spec": {"a": 2}}, None, "PATCH", False),
        ({"spec": {"items": [{"name": "x", "v": 2}]}}, {"spec": {"items": [{"name": "x", "v": 2}]}}, "PATCH", True),
        ({"spec": {"items": [{"name": "x", "v": 2}]}}, {"spec": {"items": [{"name": "y", "v": 2}]}}, "PATCH", False),
        ({"spec": {"plain": [2]}}, {"spec": {"plain": [2]}}, "PATCH", True),
        ({"spec": {"plain": [1, 2]}}, {"spec": {"plain": [1]}}, "PATCH", False),
        ({"spec": {"b": None}}, {"spec": {}}, "PATCH", False),
    ],
)
def test_a_step_is_ours_if_all_of_it_is_what_we_sent(new: Any, sent: Any, method: str, ours: bool) -> None:
    """WR-9: the matcher."""
    merged = {"metadata": {"resourceVersion": "2"}, "spec": {**OLD["spec"], **new["spec"]}}
    assert is_ours(OLD, merged, sent, method, changes(OLD, merged)) is ours


def test_what_disappeared_is_ours_if_we_replaced_the_object_or_asked_for_it() -> None:
    """WR-9: an apply that drops a field looks like a foreign removal."""
    new = {"metadata": {"resourceVersion": "2"}, "spec": {"items": OLD["spec"]["items"], "plain": [1]}}
    changed = changes(OLD, new)
    assert is_ours(OLD, new, {"spec": {}}, "PUT", changed)
    assert is_ours(OLD, new, {"spec": {"a": None}}, "PATCH", changed)
    assert not is_ours(OLD, new, {"spec": {}}, "PATCH", changed)


def test_optimistic_locking_proves_that_nothing_came_between() -> None:
    """WR-9: the server has compared the versions, whatever it and its webhooks made of the object."""
    new = {"metadata": {"resourceVersion": "2"}, "spec": {"a": 5, "set by a webhook": True}}
    changed = changes(OLD, new)
    assert is_ours(OLD, new, {"metadata": {"resourceVersion": "1"}, "spec": {"a": 2}}, "PUT", changed)
    assert not is_ours(OLD, new, {"metadata": {"resourceVersion": "0"}, "spec": {"a": 2}}, "PUT", changed)


def test_an_apply_may_meet_an_object_that_somebody_else_has_just_made() -> None:
    """WR-9: then more than one manager has set fields, or the generation tells of a change."""
    assert is_ours(None, deployment(3, 1), {}, "PATCH", [])
    assert not is_ours(None, deployment(3, 1, managers=("kubectl", "fastcore")), {}, "PATCH", [])
    twice = deployment(3, 1)
    twice["metadata"]["generation"] = 2
    assert not is_ours(None, twice, {}, "PATCH", [])
    bare = deployment(3, 1, managers=())
    assert not is_ours(None, bare, {}, "PATCH", [])
    assert is_ours(None, bare, {}, "POST", [])
