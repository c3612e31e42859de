"""`simulate`: what it finds in small controllers, what it says, and what it refuses."""

import random as global_random
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from fastcore.controller import CONFIG_MAP, SECRET, Context, ControllerBuilder, Manager, NotFoundError, Request, Result
from fastcore.controller.model import TerminalError
from fastcore.controller.options import Options
from fastcore.testing.simulate import (
    FAULTS,
    Schedule,
    SimulationFailed,
    State,
    Step,
    World,
    Write,
    create,
    delete,
    edit,
    simulate,
)

Reconcile = Callable[[Context, Request], Any]


def settings(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "default", "name": name}, "data": data}


def one(random: Random) -> list[Write]:
    return [create(CONFIG_MAP, settings("a"))]


def one_then_gone(random: Random) -> list[Write]:
    kept = settings("a")
    kept["metadata"]["finalizers"] = ["example.com/secret"]
    return [create(CONFIG_MAP, kept), delete(CONFIG_MAP, "default", "a")]


def fine(state: State) -> None:
    return None


def build(reconcile: Reconcile, *owned: Any, **options: Any) -> Callable[[Manager], object]:
    def start(manager: Manager) -> None:
        builder = ControllerBuilder(manager, "example").for_(CONFIG_MAP).with_options(Options(**options))
        for kind in owned:
            builder = builder.owns(kind)
        builder.complete(reconcile)

    return start


async def mark(ctx: Context, request: Request) -> None:
    """A controller in order: it writes what is not there yet."""
    found = ctx.get(CONFIG_MAP)
    if found is not None and (found.get("data") or {}).get("seen") != "yes":
        await ctx.client.patch(CONFIG_MAP, request.namespace, request.name, {"data": {"seen": "yes"}})


def marked(state: State) -> str | None:
    found = state.get(CONFIG_MAP, "default", "a")
    return None if found is None or (found.get("data") or {}).get("seen") == "yes" else "a was not seen"


def fails(world: World, what: str, **more: Any) -> SimulationFailed:
    with pytest.raises(SimulationFailed) as failure:
        simulate(world, **more)
    assert failure.value.outcome.violation is not None
    assert failure.value.outcome.violation.what == what
    return failure.value


def test_a_controller_in_order_passes_and_a_seed_is_one_run() -> None:
    world = World(start=build(mark), writes=one, converged=marked)
    report = simulate(world, seeds=range(50), twice=50)
    again = simulate(world, seeds=range(50), twice=0)
    assert [outcome.trace for outcome in report.outcomes] == [outcome.trace for outcome in again.outcomes]
    assert len({outcome.trace for outcome in report.outcomes}) == 50
    assert "50 runs" in str(report)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_happens_and_is_survived(fault: str) -> None:
    """Each alone, early: the run is another one than without it, and converges."""
    world = World(start=build(mark), writes=one, converged=marked, quiet=30.0)
    write = Step("write", at=0.5, write=create(CONFIG_MAP, settings("a")))
    on_request = FAULTS.index(fault) < FAULTS.index("crash")
    numbers = range(1, 5) if on_request else ()
    steps = [Step(fault, request=n, seconds=1.0) for n in numbers] or [Step(fault, at=0.4, seconds=2.0)]
    plain = simulate(world, schedule=Schedule(seed=1, steps=(write,)))
    hit = simulate(world, schedule=Schedule(seed=1, steps=(write, *steps)))
    assert plain.outcomes[0].trace != hit.outcomes[0].trace


def test_children_with_generated_names_are_made_twice() -> None:
    """A create whose answer is lost, or one before the cache knows of the first, makes a second child."""

    async def reconcile(ctx: Context, request: Request) -> None:
        owner = ctx.get(CONFIG_MAP)
        if owner is None or ctx.informer(SECRET).by_owner(owner["metadata"]["uid"]):
            return
        meta = {
            "namespace": "default",
            "generateName": "a-",
            "ownerReferences": [CONFIG_MAP.owner_reference(owner)],
        }
        await ctx.client.create(SECRET, {"metadata": meta}, observe=False)

    def writes(random: Random) -> Iterator[Write]:
        yield from one(random)
        for number in range(5):
            yield edit(CONFIG_MAP, "default", "a", {"data": {"n": str(number)}})

    world = World(start=build(reconcile, SECRET), writes=writes, converged=fine)
    failure = fails(world, "double create")
    assert "deterministic names" in str(failure)


def clean_up(forgive: bool) -> Reconcile:
    async def reconcile(ctx: Context, request: Request) -> None:
        found = ctx.get(CONFIG_MAP)
        if found is None:
            return
        if not found["metadata"].get("deletionTimestamp"):
            await ctx.client.apply(SECRET, settings("a"), field_manager="example")
            return
        try:
            await ctx.client.delete(SECRET, "default", "a")
        except NotFoundError as error:
            if not forgive:
                raise TerminalError("the secret is gone already") from error
        await ctx.client.patch(CONFIG_MAP, "default", "a", {"metadata": {"finalizers": None}})

    return reconcile


def gone(state: State) -> str | None:
    found = state.get(CONFIG_MAP, "default", "a")
    return "a is still there" if found is not None and "deletionTimestamp" in found["metadata"] else None


def test_a_404_after_a_lost_answer_has_to_count_as_done() -> None:
    """Only the second try of a delete sees it, so only a fault at the right request shows the difference."""
    world = World(start=build(clean_up(forgive=False)), writes=one_then_gone, converged=gone)
    failure = fails(world, "does not converge")
    assert len(failure.outcome.schedule.steps) <= 3
    simulate(World(start=build(clean_up(forgive=True)), writes=one_then_gone, converged=gone), seeds=range(60))


@pytest.mark.parametrize("hot", [False, True])
def test_a_controller_that_never_rests_is_found(hot: bool) -> None:
    """Every 20 seconds, or at each of its own events."""

    async def count(ctx: Context, request: Request) -> Result:
        found = ctx.get(CONFIG_MAP)
        if found is not None and (hot or not ctx.causes):
            number = int((found.get("data") or {}).get("n", "0")) + 1
            await ctx.client.patch(CONFIG_MAP, "default", request.name, {"data": {"n": str(number)}})
        return Result(requeue_after=20.0)

    guarded = {} if not hot else {"mute_own_events": False, "slow_down": False}
    world = World(start=build(count, **guarded), writes=one, converged=fine, settle=900.0)
    failure = fails(world, "too many writes" if hot else "does not go quiet", seeds=[1], shrink=10)
    assert "configmaps/" in str(failure)


def test_a_reconcile_without_end_or_effect_is_found() -> None:
    async def again(ctx: Context, request: Request) -> Result:
        return Result(requeue_after=0.1)

    world = World(start=build(again), writes=one, converged=fine)
    fails(world, "reconciles for ever", seeds=[0], shrink=0)


def test_foreign_objects_are_not_to_be_touched_unless_the_world_says_so() -> None:
    async def greedy(ctx: Context, request: Request) -> None:
        if ctx.get(CONFIG_MAP) is not None:
            await ctx.client.apply(SECRET, settings("a", key="bWluZQ=="), field_manager="example")

    def writes(random: Random) -> list[Write]:
        return [create(SECRET, settings("a")), *one(random)]

    world = World(start=build(greedy, SECRET), writes=writes, converged=fine)
    assert "owner references" in str(fails(world, "foreign object", shrink=0))
    simulate(World(start=build(greedy, SECRET), writes=writes, converged=fine, adopts=True), seeds=range(20))


def test_own_invariants_are_asked_after_every_write() -> None:
    world = World(
        start=build(mark), writes=one, converged=fine, always=lambda state: "seen" if not marked(state) else None
    )
    fails(world, "World.always", seeds=[0], shrink=0)


def test_a_program_that_cannot_be_repeated_is_refused() -> None:
    """Real chance, or real time, would make a failure that nobody can replay."""

    async def dice(ctx: Context, request: Request) -> None:
        if ctx.get(CONFIG_MAP) is not None:
            value = str(global_random.random())  # what a program must not do
            await ctx.client.apply(SECRET, settings("a", key="eA==", **{f"k{value}": "eA=="}), field_manager="example")

    world = World(start=build(dice), writes=one, converged=fine, faults=())
    with pytest.raises(SimulationFailed, match="not repeatable"):
        simulate(world, seeds=range(20), twice=20)


def test_what_a_manager_leaves_behind_is_found() -> None:
    import asyncio

    forgotten: list[asyncio.Task[None]] = []

    async def leak(ctx: Context, request: Request) -> None:
        forgotten.append(asyncio.create_task(asyncio.sleep(1e6), name="forgotten"))

    world = World(start=build(leak), writes=one, converged=fine)
    assert "the task 'forgotten'" in str(fails(world, "left behind", seeds=[0], shrink=0))


def test_a_failure_says_what_happened_and_how_to_replay_it() -> None:
    async def nothing(ctx: Context, request: Request) -> None:
        ctx.log.warning("I see %s", request)

    def writes(random: Random) -> Iterator[Write]:
        yield create(CONFIG_MAP, settings("b"))
        yield from one(random)
        yield edit(CONFIG_MAP, "default", "b", {"data": {"x": "y"}})

    failure = fails(World(start=build(nothing), writes=writes, converged=marked), "does not converge")
    text = str(failure)
    assert text.startswith(f"seed {failure.first.schedule.seed}: does not converge: a was not seen")
    assert str(failure.outcome.schedule) in text
    assert [step.write.path for step in failure.outcome.schedule.steps if step.write] == [
        "/api/v1/namespaces/default/configmaps"
    ]
    assert "user POST /api/v1/namespaces/default/configmaps -> 201" in text
    assert "I see default/default/a" in text


def test_the_server_has_to_take_the_setup() -> None:
    bad = {"apiVersion": "example.com/v1", "kind": "Nothing", "metadata": {"name": "x"}}
    with pytest.raises(ValueError, match=r"a Nothing of example\.com/v1, which the server does not know"):
        simulate(World(start=build(mark), writes=one, converged=fine, setup=[bad]), seeds=[0])
    twice = {"apiVersion": "v1", "kind": "ConfigMap", **settings("a")}
    with pytest.raises(ValueError, match="the server refused a ConfigMap"):
        simulate(World(start=build(mark), writes=one, converged=fine, setup=[twice, twice]), seeds=[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"faults": ("earthquake",)}, "there is no fault 'earthquake'"),
        ({"workspaces": ()}, "workspaces must name one"),
        ({"replicas": 0}, "replicas must be >= 1, not 0"),
        ({"quiet": 10.0, "settle": 5.0}, "0 < quiet < settle is needed, not quiet=10.0, settle=5.0"),
    ],
)
def test_a_world_is_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        World(start=build(mark), writes=one, converged=fine, **arguments)


def test_steps_and_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match="there is no fault 'earthquake'"):
        Step("earthquake", at=1.0)
    with pytest.raises(ValueError, match="a step 'crash' needs at="):
        Step("crash", request=1)
    with pytest.raises(ValueError, match="a step 'lost answer' needs request="):
        Step("lost answer", at=1.0)
    with pytest.raises(ValueError, match="a step 'write' needs write= and at= or request="):
        Step("write", at=1.0)
    with pytest.raises(ValueError, match="shrink and twice must be >= 0, not -1 and 1"):
        simulate(World(start=build(mark), writes=one, converged=fine), shrink=-1)
