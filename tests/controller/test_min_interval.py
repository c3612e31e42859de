"""Events that come in a burst are reconciled together, and the first one is not late."""

import pytest

from controller.loops import ONE, running, settled, stage, until
from fastcore.controller.context import Context
from fastcore.controller.model import Request
from fastcore.controller.options import Options
from fastcore.controller.why import why

TWO = Request("blue", "default", "two")


async def test_what_comes_soon_after_a_reconcile_becomes_one_more() -> None:
    """CT-1: with `min_interval` ten events in a row cost one reconcile."""
    calls: list[Request] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request)

    on = stage(reconcile, min_interval=1.0)
    controller = on.controller
    async with running(controller):
        controller.enqueue(ONE)
        await until(lambda: controller.counters.success == 1)
        on.clock.advance(0.4)
        for _ in range(10):
            controller.enqueue(ONE)
            await settled(5)
        state = controller.queue.state(ONE)
        assert state is not None
        assert (state.state, state.due) == ("delayed", pytest.approx(0.6))
        assert why(controller, ONE)["verdict"] == (
            "comes back in 0.600 s, as its last reconcile asked for or min_interval=1 wants"
        )
        on.clock.advance(0.6)
        controller.enqueue(TWO)  # has the queue look at its clock, which only the test moves
        await until(lambda: controller.counters.success == 3)
        assert sorted(calls) == [ONE, ONE, TWO]
        on.clock.advance(1.1)
        controller.enqueue(ONE)
        await until(lambda: controller.counters.success == 4)


async def test_an_event_during_a_reconcile_waits_from_its_beginning() -> None:
    """CT-4: it is not lost, and not early."""
    calls: list[Request] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request)
        if len(calls) == 1:
            on.clock.advance(0.3)
            controller.enqueue(ONE)

    on = stage(reconcile, min_interval=1.0)
    controller = on.controller
    async with running(controller):
        controller.enqueue(ONE)
        await until(lambda: controller.counters.success == 1)
        await settled()
        state = controller.queue.state(ONE)
        assert state is not None
        assert state.due == pytest.approx(0.7)


def test_the_interval_is_checked() -> None:
    with pytest.raises(ValueError, match="min_interval must be >= 0 seconds, not -1"):
        Options(min_interval=-1)
