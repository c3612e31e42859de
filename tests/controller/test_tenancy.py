"""A slow tenant keeps no more workers than it may have, and none of its keys is lost or done twice."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from controller.loops import ONE, Stage, running, settled, stage, until
from fastcore.controller.context import Context
from fastcore.controller.model import Request
from fastcore.controller.tenancy import Tenancy
from fastcore.controller.why import why


def key(workspace: str, number: int) -> Request:
    return Request(workspace, "default", f"n{number}")


def two_tenants(reconcile, **options) -> Stage:
    on = stage(reconcile, **options)
    on.controller.connect({"green": on.scope})
    return on


async def test_a_slow_workspace_leaves_the_other_workers_to_the_rest() -> None:
    """CT-1: four workers, two at most a workspace: while blue hangs, green goes on, and blue's keys come in order."""
    blue_may_go = asyncio.Event()
    done: list[Request] = []
    busy: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def reconcile(ctx: Context, request: Request) -> None:
        busy[request.workspace] += 1
        most[request.workspace] = max(most[request.workspace], busy[request.workspace])
        try:
            if request.workspace == "blue":
                await blue_may_go.wait()
        finally:
            busy[request.workspace] -= 1
        done.append(request)

    on = two_tenants(reconcile, max_concurrent_reconciles=4, max_concurrent_per_workspace=2)
    controller = on.controller
    async with running(controller):
        for number in range(6):
            controller.queue.add(key("blue", number))
        await settled()
        for number in range(20):
            controller.queue.add(key("green", number))
        await until(lambda: len(done) == 20)
        assert {request.workspace for request in done} == {"green"}
        assert len(controller.tenancy) == 4
        found = why(controller, key("blue", 4))
        assert found["verdict"] == "waits for one of the 2 reconciles of its workspace to end"
        controller.queue.add(key("blue", 4))  # an event of a key that stands aside
        await settled()
        assert len(controller.tenancy) == 4
        blue_may_go.set()
        await until(lambda: len(done) == 26)
        await settled()
        assert Counter(done[20:]) == Counter(key("blue", number) for number in range(6))
        assert most["blue"] == 2
        assert len(controller.tenancy) == 0


async def test_a_workspace_that_is_taken_away_leaves_no_key_aside() -> None:
    """CT-4: what waits for a place goes with its workspace; what runs gets its grace."""
    may_go = asyncio.Event()

    async def reconcile(ctx: Context, request: Request) -> None:
        await may_go.wait()

    on = two_tenants(reconcile, max_concurrent_reconciles=2, max_concurrent_per_workspace=1)
    controller = on.controller
    async with running(controller):
        for number in range(5):
            controller.queue.add(key("blue", number))
        await until(lambda: len(controller.tenancy) == 4)
        going = asyncio.create_task(controller.disengage("blue"))
        await settled()
        may_go.set()
        await going
        await settled()
        assert len(controller.tenancy) == 0
        assert len(controller.queue) == 0
        assert controller.counters.active_workers == 0


async def test_without_a_limit_a_workspace_may_have_all_workers() -> None:
    """The default is controller-runtime's."""
    may_go = asyncio.Event()

    async def reconcile(ctx: Context, request: Request) -> None:
        await may_go.wait()

    on = stage(reconcile, max_concurrent_reconciles=3)
    async with running(on.controller):
        for number in range(3):
            on.controller.queue.add(key("blue", number))
        await until(lambda: on.controller.counters.active_workers == 3)
        assert not on.controller.tenancy.stands_aside(ONE)
        may_go.set()


@given(
    st.lists(st.tuples(st.sampled_from(["take", "end"]), st.sampled_from("ab"), st.integers(0, 3)), max_size=60),
    st.integers(1, 3),
)
def test_places_add_up(steps: list[tuple[str, str, int]], most: int) -> None:
    """Never more than the limit at once; a key that stands aside is given back once, and nobody waits for no one."""
    tenancy = Tenancy(most)
    busy: dict[str, list[Request]] = {"a": [], "b": []}
    for what, workspace, number in steps:
        request = key(workspace, number)
        if what == "take":
            if request in busy[workspace]:
                continue
            if tenancy.enter(request):
                busy[workspace].append(request)
            assert tenancy.stands_aside(request) == (request not in busy[workspace])
        elif busy[workspace]:
            back = tenancy.leave(busy[workspace].pop(0))
            if back is not None:
                assert not tenancy.stands_aside(back)
                assert tenancy.enter(back)
                busy[workspace].append(back)
        assert len(busy[workspace]) <= most
    for workspace, running_now in busy.items():
        while running_now:
            back = tenancy.leave(running_now.pop())
            if back is not None and tenancy.enter(back):
                running_now.append(back)
        assert not any(tenancy.stands_aside(key(workspace, n)) for n in range(4))
    assert len(tenancy) == 0
