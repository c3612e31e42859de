"""What happens in one run besides the controller's own doing, as data: drawn from a seed, printed, shrunk, replayed."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any

ON_REQUEST = {
    "lost request": "the connection breaks before the request arrives",
    "lost answer": "the request is carried out and the connection breaks before the answer",
    "late answer": "the answer takes `seconds`",
    "too many requests": "429 with Retry-After",
    "server error": "500",
    "conflict": "somebody else writes to the object just before",
    "crash before": "the process dies, the request never arrives",
    "crash during": "the process dies, the request arrives `seconds` later",
    "crash after": "the request is carried out, the process dies before the answer",
}
AT_TIME = {
    "crash": "the process dies and is started again after `seconds`",
    "freeze": "the process takes no step for `seconds`",
    "cut watches": "the connections of all watches break",
    "expire watches": "every watch gets 410, so everything is listed again",
    "compact": "the server forgets its history, and the watches break",
    "lag": "for `seconds`, events come up to 5 s late",
    "stale": "for `seconds`, cached reads come from a replica that has fallen behind",
    "outage": "for `seconds`, no connection can be had",
    "throttle": "for `seconds`, every request gets 429",
    "errors": "for `seconds`, every request gets 500",
    "lost lease": "somebody else takes every Lease",
}
FAULTS = (*ON_REQUEST, *AT_TIME)
# A request of a process that died arrives before the next life begins. Those that come later overwrite what the next
# life has done, and only a fence (a uid, a resourceVersion) helps against them: for whoever asks, in a schedule.
_LONGEST = {"crash": 3.0, "crash during": 0.45, "late answer": 40.0, "freeze": 30.0}
_CLOSE_S = 0.03
_ALL = ((0, 1 << 40),)

Ranges = tuple[tuple[int, int], ...]
"""Numbers from..below at which chance decides; everywhere else it is the plain choice."""


@dataclass(frozen=True, slots=True)
class Write:
    """One request of a user.

    Args:
        method: POST, PUT, PATCH (a merge patch) or DELETE.
        path: of the API, such as "/api/v1/namespaces/default/configmaps/web".
        body: what JSON makes of it.
    """

    method: str
    path: str
    body: Any = None


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """Something that happens at a virtual second, or to the n-th request.

    Args:
        what: "write", or one of `FAULTS`.
        at: virtual second, >= 0; for writes and the faults in `AT_TIME`.
        request: number of the request, >= 1, counted over all processes; for the faults in `ON_REQUEST`, and for writes
            that come just before that request is handled.
        seconds: how long, >= 0.
        workspace: where alone, for "lag", "outage", "throttle" and "errors"; "" is everywhere.
        replica: which process, for "crash" and "freeze".
        write: what is written.

    Raises:
        ValueError: there is no such fault, or it has no moment.
    """

    what: str
    at: float | None = None
    request: int | None = None
    seconds: float = 0.0
    workspace: str = ""
    replica: int = 0
    write: Write | None = None

    def __post_init__(self) -> None:
        if self.what == "write":
            wanted = self.write is not None and (self.at is not None or self.request is not None)
        elif self.what in AT_TIME:
            wanted = self.at is not None
        elif self.what in ON_REQUEST:
            wanted = self.request is not None
        else:
            raise ValueError(f"there is no fault {self.what!r}; there are: {', '.join(FAULTS)}")
        if not wanted:
            needed = {"write": "write= and at= or request="}.get(
                self.what, "request=" if self.what in ON_REQUEST else "at="
            )
            raise ValueError(f"a step {self.what!r} needs {needed}")

    def __repr__(self) -> str:
        given = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return f"Step({', '.join(f'{name}={value!r}' for name, value, default in given if value != default)})"

    @property
    def end(self) -> float:
        """The virtual second at which it is over; 0 for what happens to a request."""
        return 0.0 if self.at is None else self.at + self.seconds


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run: with the same world it gives the same steps, every time.

    Args:
        seed: decides what the rest leaves open: uids, jitter, latencies, the order of ready tasks.
        steps: what users do, and what goes wrong.
        order: the scheduler's choices that the seed makes; elsewhere the task that is ready longest runs.
        latency: the requests and events whose latency the seed draws; elsewhere it is 2 ms.
    """

    seed: int
    steps: tuple[Step, ...] = ()
    order: Ranges = field(default=_ALL)
    latency: Ranges = field(default=_ALL)

    def __str__(self) -> str:
        lines = "".join(f"\n        {step!r}," for step in self.steps)
        steps = f"({lines}\n    )" if self.steps else "()"
        more = "".join(f"\n    {n}={getattr(self, n)!r}," for n in ("order", "latency") if getattr(self, n) != _ALL)
        return f"Schedule(\n    seed={self.seed},\n    steps={steps},{more}\n)"

    def with_steps(self, steps: Iterable[Step]) -> "Schedule":
        """The same with other steps."""
        return replace(self, steps=tuple(steps))


def draw(
    seed: int, writes: Iterable[Write], faults: Iterable[str], workspaces: tuple[str, ...], replicas: int = 1
) -> Schedule:
    """A schedule for a seed: the writes in their order, some so close that they race, and up to ten faults.

    Args:
        seed: any integer.
        writes: what users do.
        faults: which may happen.
        workspaces: where a fault may be alone; empty if there is only one.
        replicas: processes that can crash, >= 1.
    """
    random = Random(f"schedule {seed}")
    steps: list[Step] = []
    now = 0.0
    for number, write in enumerate(writes):
        if number and random.random() < 0.3:
            # In the middle of what the writes before have begun: between what a reconcile has read and what it writes.
            steps.append(Step("write", request=7 + 3 * number + random.randint(0, 6), write=write))
            continue
        now += random.random() * _CLOSE_S if random.random() < 0.3 else random.expovariate(0.5)
        steps.append(Step("write", at=round(now, 4), write=write))
    kinds = sorted(faults)
    # A few kinds a run, and those often: what goes wrong when one fault meets itself is not watered down by others.
    kinds = random.sample(kinds, min(len(kinds), random.randint(1, 6)))
    requests = 12 + 4 * len(steps)
    for _ in range(random.randint(0, 10) if kinds else 0):
        steps += _draw_fault(random, random.choice(kinds), now + 2.0, requests, workspaces, replicas)
    return Schedule(seed, tuple(steps))


def _draw_fault(
    random: Random, what: str, span: float, requests: int, workspaces: tuple[str, ...], replicas: int
) -> list[Step]:
    longest = _LONGEST.get(what, 20.0)
    seconds = round(min(longest, random.expovariate(3.0 / longest)), 3)
    if what in ON_REQUEST:
        timed = what in ("late answer", "crash during")
        return [Step(what, request=random.randint(1, requests), seconds=seconds if timed else 0.0)]
    at = round(random.random() * span, 4)
    if what in ("cut watches", "expire watches", "compact", "lost lease"):
        return [Step(what, at=at)]
    alone = what in ("lag", "outage", "throttle", "errors") and len(workspaces) > 1 and random.random() < 0.5
    replica = random.randrange(replicas) if what in ("crash", "freeze") else 0
    workspace = random.choice(workspaces) if alone else ""
    steps = [Step(what, at=at, seconds=seconds, workspace=workspace, replica=replica)]
    if what == "stale" and random.random() < 0.7:
        # What a stale replica is dangerous for: a process that lists for the first time.
        steps.append(Step("crash", at=round(at + random.random() * seconds, 4)))
    return steps
