"""Deterministic simulation: a controller on the embedded API server, in one thread, on virtual time, with faults."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from fastcore.errors import FastcoreError
from fastcore.testing.simulate.run import Outcome, Violation, run
from fastcore.testing.simulate.schedule import FAULTS, Schedule, Step, Write, draw
from fastcore.testing.simulate.shrink import Shrinker
from fastcore.testing.simulate.world import Check, State, World, create, delete, edit

__all__ = [
    "FAULTS",
    "Check",
    "Outcome",
    "Report",
    "Schedule",
    "SimulationFailed",
    "State",
    "Step",
    "Violation",
    "World",
    "Write",
    "create",
    "delete",
    "edit",
    "simulate",
]

_SHOWN = 40
_AFTERWARDS = 6


@dataclass(frozen=True, slots=True)
class Report:
    """What a simulation did; all of it without a violation.

    Attributes:
        outcomes: of the runs, in the order of the seeds.
    """

    outcomes: tuple[Outcome, ...]

    def __str__(self) -> str:
        runs, hours = len(self.outcomes), sum(outcome.seconds for outcome in self.outcomes) / 3600
        requests, steps = (sum(getattr(o, name) for o in self.outcomes) for name in ("requests", "steps"))
        return f"{runs} runs, {requests} requests, {steps} steps, {hours:.1f} virtual hours"


class SimulationFailed(FastcoreError, AssertionError):
    """Something did not hold; the message has what, the shortest schedule that was found, and what happened in it.

    Attributes:
        outcome: of that schedule; `outcome.schedule` replays it.
        first: of the schedule that failed first.
    """

    def __init__(self, message: str, outcome: Outcome, first: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.first = first


def simulate(
    world: World,
    *,
    seeds: Iterable[int] = range(200),
    schedule: Schedule | None = None,
    shrink: int = 150,
    twice: int = 1,
) -> Report:
    """Run a world once for each seed, and check that what must hold does hold in every run.

    Each run starts an empty server, the controller and the users' writes; the seed chooses what goes wrong when, how
    long each message takes, and which of several ready tasks goes first. It uses no socket, no thread and no second of
    real time.

    Args:
        world: the controller, its users, and what must hold.
        seeds: one run each.
        schedule: run this one instead, as a failure has printed it.
        shrink: runs to spend on making a failing schedule shorter, >= 0.
        twice: so many of the seeds, >= 0, are run a second time, to see that a seed decides everything.

    Raises:
        SimulationFailed: the first violation, with a short schedule that replays it.
        ValueError: an argument outside its range.
        RuntimeError: called inside a running event loop.

    Complexity: some 100 ms of CPU a run for a small controller; memory of one run.
    Thread safety: it takes what `fastcore` logs while it runs; one simulation at a time in a process.
    Source: the simulation of FoundationDB, and of sled and TigerBeetle after it.

    Example:
        >>> from fastcore.controller import CONFIG_MAP, ControllerBuilder
        >>> async def reconcile(ctx, request):
        ...     found = ctx.get(CONFIG_MAP)
        ...     if found is not None and (found.get("data") or {}).get("seen") != "yes":
        ...         await ctx.client.patch(CONFIG_MAP, request.namespace, request.name, {"data": {"seen": "yes"}})
        >>> def converged(state):
        ...     late = [o for o in state.list(CONFIG_MAP) if (o.get("data") or {}).get("seen") != "yes"]
        ...     return f"{len(late)} ConfigMaps were not seen" if late else None
        >>> world = World(
        ...     start=lambda manager: ControllerBuilder(manager, "eye").for_(CONFIG_MAP).complete(reconcile),
        ...     writes=lambda random: [create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "a"}})],
        ...     converged=converged,
        ... )
        >>> len(simulate(world, seeds=range(3)).outcomes)
        3
    """
    if shrink < 0 or twice < 0:
        raise ValueError(f"shrink and twice must be >= 0, not {shrink!r} and {twice!r}")
    schedules = [schedule] if schedule is not None else (_draw(world, seed) for seed in seeds)
    outcomes: list[Outcome] = []
    for chosen in schedules:
        outcome = run(world, chosen)
        if outcome.violation is not None:
            limit = 0 if schedule is not None else shrink
            raise _failed(world, outcome, limit)
        if len(outcomes) < twice:
            _check_repeatable(world, outcome)
        outcomes.append(outcome)
    return Report(tuple(outcomes))


def _draw(world: World, seed: int) -> Schedule:
    places = world.workspaces or ()
    return draw(seed, world.writes(Random(f"writes {seed}")), world.drawn_faults, places, world.replicas)


def _failed(world: World, outcome: Outcome, limit: int) -> SimulationFailed:
    shrinker = Shrinker(lambda schedule: run(world, schedule), outcome, limit)
    best = run(world, shrinker.shrink().schedule, record=True)
    violation = best.violation or outcome.violation
    assert violation is not None
    lines = [
        f"seed {outcome.schedule.seed}: {violation.what}: {violation.detail}",
        "",
        f"{len(outcome.schedule.steps)} steps were shrunk to {len(best.schedule.steps)} in {shrinker.runs} runs.",
        "To replay: simulate(world, schedule=...) with",
        "",
        str(best.schedule),
        "",
        f"What happened ('*' is a change on the server), {best.requests} requests in all; the end of it:",
        *_excerpt(best.lines),
    ]
    if best.violation is None:
        lines.append("The replay did NOT fail: the program reads time or chance from somewhere else, see below.")
        lines.append(_NOT_REPEATABLE)
    return SimulationFailed("\n".join(lines), best, outcome)


def _excerpt(lines: tuple[str, ...]) -> list[str]:
    """The trace up to the last change on the server, and its end; without watches, of which there are many."""
    told = [line for line in lines if " WATCH " not in line]
    last = max((i for i, line in enumerate(told) if line.endswith(" *") or "  user " in line), default=0)
    until = min(last + _AFTERWARDS, len(told))
    shown = told[max(until - _SHOWN, 0) : until]
    if until < len(told):
        shown += [f"            ({len(told) - until} lines in which nothing changes)", told[-1]]
    return shown


_NOT_REPEATABLE = (
    "Take time from the event loop or fastcore.clock, and chance from fastcore.clock.new_random(); give rate limiters "
    "of yours clock=fastcore.clock.own_clock(); and let no decision depend on id(), on the order of a set, or on what "
    "an earlier run left in a global."
)


def _check_repeatable(world: World, outcome: Outcome) -> None:
    again = run(world, outcome.schedule)
    if again.trace != outcome.trace:
        raise SimulationFailed(
            f"seed {outcome.schedule.seed}: not repeatable: two runs of one schedule went different ways "
            f"({outcome.steps} and {again.steps} steps). {_NOT_REPEATABLE}",
            again,
            outcome,
        )
