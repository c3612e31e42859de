"""How many reconciles run at once, and which workspaces are let through."""

import asyncio
from random import Random

import pytest

from controller.loops import ONE, running, settled, stage, until
from fastcore.clock import NS_PER_S
from fastcore.controller.concurrency import Pace
from fastcore.controller.context import Context
from fastcore.controller.model import Request
from fastcore.controller.turn import TURN

MS = 1_000_000


def test_a_server_that_keeps_up_is_given_all_there_is() -> None:
    """Answers of very different length are no sign of overload."""
    pace, random = Pace(8), Random(1)
    for i in range(10_000):
        pace.answered(i * MS, random.randrange(MS, 900 * MS), 200)
    assert (pace.limit, pace.cuts) == (8, 0)


@pytest.mark.parametrize("status", [429, 503, 504])
def test_overload_cuts_by_a_third_once_a_second_and_never_below_one(status: int) -> None:
    pace = Pace(10)
    for i in range(10):
        pace.answered(i, MS, status)
    assert (pace.limit, pace.cuts) == (7, 1)
    for second in range(1, 20):
        pace.answered(second * NS_PER_S, MS, status)
    assert pace.limit == 1


def test_much_slower_answers_than_usual_are_overload() -> None:
    pace = Pace(10)
    for i in range(200):
        pace.answered(i, 50 * MS, 200)
    pace.answered(300, 990 * MS, 200)
    assert pace.limit == 10
    pace.answered(301, 1100 * MS, 200)
    assert pace.limit == 7


def test_it_grows_by_one_a_second() -> None:
    pace = Pace(10)
    pace.answered(0, MS, 429)
    for i in range(999):
        pace.answered(i * MS, MS, 200)
    assert pace.limit == 7
    for i in range(1000, 5000):
        pace.answered(i * MS, MS, 200)
    assert pace.limit == 10


def test_it_can_be_switched_off() -> None:
    pace = Pace(10, adaptive=False)
    pace.answered(0, MS, 429)
    assert pace.limit == 10


def test_what_it_buys_at_a_server_with_little_room() -> None:
    """A server that serves 4 at once refuses 3 in 5 requests of 10 workers; of those that adapt, 1 in 8 at most."""

    def wasted(adaptive: bool) -> float:
        pace, refused, total, now = Pace(10, adaptive=adaptive), 0, 0, 0
        for _ in range(2000):
            now += 100 * MS
            for place in range(pace.limit):
                total += 1
                refused += place >= 4
                pace.answered(now, 20 * MS, 429 if place >= 4 else 200)
        return refused / total

    assert wasted(False) == 0.6
    assert wasted(True) < 0.125


async def test_workers_wait_for_a_place_and_get_it_back() -> None:
    """CT-4: the limit holds for all workers of the controller."""
    release = asyncio.Event()
    active = most = 0

    async def reconcile(ctx: Context, request: Request) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await release.wait()
        active -= 1

    on = stage(reconcile, max_concurrent_reconciles=6)
    on.controller.pace.answered(0, MS, 429)
    limit = on.controller.pace.limit
    assert limit == 4
    for number in range(20):
        on.controller.enqueue(ONE._replace(name=str(number)))
    async with running(on.controller):
        await settled()
        assert (active, most) == (4, 4)
        release.set()
        await until(lambda: on.controller.counters.success == 20)
        assert most == 4


async def test_a_cancelled_wait_passes_its_place_on() -> None:
    pace = Pace(1)
    pace.take()
    first, second = asyncio.create_task(pace.room()), asyncio.create_task(pace.room())
    await settled(3)
    pace.leave()
    first.cancel()
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert not second.cancelled()


async def test_a_workspace_whose_server_fails_is_left_alone() -> None:
    """Its keys stay in the queue, another workspace's go on, and one is tried when the breaker is half open."""
    fails = True
    calls: list[str] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request.name)
        turn = TURN.get()
        assert turn is not None
        if fails:
            turn.broken += 1
            raise OSError("connection refused")
        turn.answered += 1

    on = stage(reconcile, breaker_threshold=3)
    keys = [ONE._replace(name=str(number)) for number in range(8)]
    for key in keys:
        on.controller.enqueue(key)
    async with running(on.controller):
        await settled(200)
        assert len(calls) == 3
        assert on.controller.guards.breakers.states() == {"blue": "open"}
        assert all(on.controller.queue.state(key) is not None for key in keys)
        fails = False
        for _ in range(20):
            on.clock.advance(2)
            len(on.controller.queue)
            await settled(100)
        assert on.controller.counters.success == 8
        assert on.controller.guards.breakers.states() == {"blue": "closed"}
    on.controller.guards.forget("blue")
    assert on.controller.guards.breakers.states() == {}


async def test_errors_of_the_reconciler_say_nothing_about_the_server() -> None:
    async def reconcile(ctx: Context, request: Request) -> None:
        if on.controller.counters.error < 20:
            raise OSError("its database")

    on = stage(reconcile, breaker_threshold=2)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: on.controller.counters.success == 1)
    assert on.controller.guards.breakers.states() == {"blue": "closed"}
