"""The reference controller under simulation, and the bugs that the simulator has to find in copies of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastcore.controller import CONFIG_MAP
from fastcore.controller.leader import LeaderElection
from fastcore.controller.shard import Sharding
from fastcore.reference import WEBAPP
from fastcore.testing.simulate import Schedule, SimulationFailed, Step, Write, create, edit, simulate
from testing.mutants import BUGS, build_with
from testing.webapps import drifts, webapp, world

# This one needs a narrow world to be found soon: much of what only it is about.
NARROW: dict[str, dict[str, Any]] = {
    "settles what an answer shows to be changed": {"writes": drifts, "faults": ()},
}
# And this one only a request that arrives in a later life than the one that sent it, which no seed draws.
LATE = "takes a status for its own whoever wrote it"


def test_the_reference_controller_passes_200_seeds() -> None:
    """It converges, goes quiet, makes nothing twice and has no ghosts, whatever goes wrong (CT-1, CT-4, IN-7, RF-9)."""
    report = simulate(world(), twice=5)
    assert len(report.outcomes) == 200
    assert sum(outcome.requests for outcome in report.outcomes) > 3000


def test_workspaces_do_not_disturb_each_other() -> None:
    """Faults of one workspace, too, leave the other converged; one process serves both."""
    report = simulate(world(workspaces=("blue", "red")), seeds=range(40))
    assert sum(step.workspace != "" for outcome in report.outcomes for step in outcome.schedule.steps) > 10


def led(name: str) -> dict[str, Any]:
    return {"leader_election": LeaderElection(name="webapp", namespace="default", identity=name)}


def shared(name: str) -> dict[str, Any]:
    return {"sharding": Sharding(group="webapp", namespace="default", identity=name)}


@pytest.mark.parametrize(("manager", "seeds"), [(led, 40), (shared, 20)], ids=["one leads", "all share the keys"])
def test_two_replicas_lose_nothing(manager: Callable[[str], dict[str, Any]], seeds: int) -> None:
    """Leases are lost, holders crash and freeze: the work is done nevertheless, and ends (LE-4, LE-6, LE-8)."""
    report = simulate(world(replicas=2, manager=manager), seeds=range(seeds))
    assert {outcome.violation for outcome in report.outcomes} == {None}


@pytest.mark.parametrize("bug", sorted(BUGS.keys() - {LATE}))
def test_a_planted_bug_is_found_within_200_seeds_and_shrunk(bug: str) -> None:
    """The schedule that is left is short, and alone makes the copy fail in the same way."""
    buggy = world(build_with(bug), **NARROW.get(bug, {}))
    with pytest.raises(SimulationFailed) as failure:
        simulate(buggy, twice=0)
    outcome = failure.value.outcome
    assert len(outcome.schedule.steps) <= 8
    assert len(outcome.schedule.steps) <= len(failure.value.first.schedule.steps)
    again = eval(str(outcome.schedule), {"Schedule": Schedule, "Step": Step, "Write": Write})
    assert again == outcome.schedule
    with pytest.raises(SimulationFailed) as replay:
        simulate(buggy, schedule=again)
    assert replay.value.outcome.violation == outcome.violation
    assert replay.value.outcome.trace == outcome.trace


@pytest.mark.parametrize("narrow", NARROW.values(), ids=NARROW)
def test_the_narrow_worlds_hold_for_the_reference_controller(narrow: dict[str, Any]) -> None:
    """What finds these bugs in the copies finds nothing in the original."""
    assert len(simulate(world(**narrow), seeds=range(60), twice=0).outcomes) == 60


LAST = 14  # requests until the reference controller is done, and some more


@pytest.mark.parametrize("request_number", range(1, LAST))
def test_an_edit_in_the_middle_of_a_request_is_not_lost(request_number: int) -> None:
    """A regression: the answer to the status write showed the new generation, and that was taken for settled."""
    change = edit(WEBAPP, "default", "web", {"spec": {"config": {"K": "2"}}})
    steps = (
        Step("write", at=1.0, write=create(WEBAPP, webapp("web", "1"))),
        Step("write", request=request_number, write=change),
    )
    (outcome,) = simulate(world(), schedule=Schedule(seed=0, steps=steps, order=(), latency=())).outcomes
    assert outcome.violation is None


@pytest.mark.parametrize("request_number", range(1, LAST))
def test_a_drift_in_the_middle_of_a_request_is_not_lost(request_number: int) -> None:
    """A regression: the answer to a repair showed somebody's next change, and that was taken for settled."""
    drift = edit(CONFIG_MAP, "default", "web", {"data": {"K": "drift", "X": "foreign"}})
    steps = (
        Step("write", at=1.0, write=create(WEBAPP, webapp("web"))),
        Step("write", at=5.0, write=drift),
        Step("write", request=request_number, write=drift),
    )
    (outcome,) = simulate(world(), schedule=Schedule(seed=0, steps=steps, order=(), latency=())).outcomes
    assert outcome.violation is None


def late(request_number: int) -> Schedule:
    """The process dies while a request is on its way, which arrives when the next life has done its work."""
    change = edit(WEBAPP, "default", "web", {"spec": {"replicas": 3}})
    steps = (
        Step("write", at=1.0, write=create(WEBAPP, webapp("web", "1"))),
        Step("write", at=5.0, write=change),
        Step("crash during", request=request_number, seconds=5.0),
    )
    return Schedule(seed=0, steps=steps, order=(), latency=())


def test_a_write_that_arrives_in_a_later_life_is_repaired() -> None:
    """A regression: a status that was overwritten so stayed wrong until the next resync."""
    buggy, failed = world(build_with(LATE)), 0
    for number in range(1, 2 * LAST):
        simulate(world(), schedule=late(number))
        try:
            simulate(buggy, schedule=late(number))
        except SimulationFailed:
            failed += 1
    assert failed


def test_one_seed_gives_one_run_in_every_process() -> None:
    """Nothing depends on the order of sets of strings, which differs from process to process."""
    program = (
        "from testing.webapps import world\n"
        "from fastcore.testing.simulate import simulate\n"
        "print([outcome.trace for outcome in simulate(world(), seeds=range(8)).outcomes])"
    )
    tests = str(Path(__file__).parents[1])
    traces = {
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r})\n{program}"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_reference_controller_passes_5000_more_seeds() -> None:
    """The nightly run goes further."""
    assert len(simulate(world(), seeds=range(200, 5200)).outcomes) == 5000
    simulate(world(workspaces=("blue", "red")), seeds=range(40, 1000))
    simulate(world(replicas=2, manager=led), seeds=range(40, 500))
    simulate(world(replicas=2, manager=shared), seeds=range(20, 200))
