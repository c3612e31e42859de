"""Keys that hit a bug again and again are set aside (CT-5)."""

from typing import Any

import pytest

from controller.loops import ONE, Stage, config_map, running, settled, stage, until
from fastcore.controller.context import Context
from fastcore.controller.model import Request


def buggy(**options: Any) -> tuple[Stage, list[Request]]:
    """A controller that hits a bug as long as there is no data."""
    calls: list[Request] = []

    async def reconcile(ctx: Context, request: Request) -> None:
        calls.append(request)
        obj = ctx.get(on.controller.kind)
        if obj is not None and not obj["data"]:
            raise KeyError("data")

    on = stage(reconcile, quarantine_after=3, quarantine_period=100.0, **options)
    return on, calls


async def test_a_key_is_set_aside_after_bugs_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    """CT-5: no retry, one line that says so, a figure in the metrics; an event of a child does not help."""
    on, calls = buggy()
    on.primary.show(config_map(2, 1))
    async with running(on.controller):
        await settled()
        assert len(calls) == 3
        on.controller.enqueue(ONE)
        await settled()
        assert len(calls) == 3
        state = on.controller.queue.state(ONE)
        assert state is not None
        assert (state.state, state.due) == ("delayed", 100.0)  # a key put back by an event keeps its time
    assert len(on.controller.guards.quarantine) == 1
    assert caplog.text.count("set aside") == 1


async def test_a_change_of_the_object_ends_the_quarantine() -> None:
    """CT-5: generation or uid; one without a generation counts by its version."""
    on, calls = buggy()
    on.primary.show(config_map(2, 1))
    async with running(on.controller):
        await settled()
        on.primary.show(config_map(3, 1))  # status, say
        await settled()
        assert len(calls) == 3
        on.primary.show(config_map(4, 2, k="v"))
        await until(lambda: on.controller.counters.success == 1)
    assert len(calls) == 4
    assert len(on.controller.guards.quarantine) == 0
    assert on.controller.guards.quarantine.total == 1


async def test_it_is_tried_once_more_after_a_long_time() -> None:
    """CT-5: perhaps the program was not wrong after all; if it is, the key goes back at once."""
    on, calls = buggy()
    on.primary.show(config_map(2, 1))
    async with running(on.controller):
        await settled()
        on.clock.advance(101)
        len(on.controller.queue)
        await settled()
        assert len(calls) == 4
        assert len(on.controller.guards.quarantine) == 1


async def test_another_ending_begins_the_row_anew() -> None:
    """CT-5: two bugs, an error, two bugs are no row of three."""
    errors: list[Exception] = [KeyError(), KeyError(), OSError(), KeyError(), KeyError()]

    async def reconcile(ctx: Context, request: Request) -> None:
        if errors:
            raise errors.pop(0)

    on = stage(reconcile, quarantine_after=3)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: on.controller.counters.success == 1)
    assert on.controller.guards.quarantine.total == 0


async def test_it_can_be_switched_off() -> None:
    errors: list[Exception] = [KeyError() for _ in range(20)]

    async def reconcile(ctx: Context, request: Request) -> None:
        if errors:
            raise errors.pop()

    on = stage(reconcile, quarantine_after=None)
    on.controller.enqueue(ONE)
    async with running(on.controller):
        await until(lambda: on.controller.counters.success == 1)
    assert on.controller.counters.panics == 20


async def test_a_removed_workspace_leaves_nothing_behind() -> None:
    on, _ = buggy()
    on.primary.show(config_map(2, 1))
    async with running(on.controller):
        await settled()
    on.controller.guards.forget("blue")
    on.controller.history.forget("blue")
    assert len(on.controller.guards.quarantine) == 0
    assert on.controller.history.known(ONE) is None
