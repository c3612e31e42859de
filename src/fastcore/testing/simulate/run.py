"""One run of a world by one schedule: the processes, the users, the faults, and what is checked."""

import asyncio
import hashlib
import logging
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec

from fastcore.controller.model import LEASE
from fastcore.testing.apiserver.api import API, Settings
from fastcore.testing.apiserver.controllers import Controllers
from fastcore.testing.apiserver.message import Request, Response
from fastcore.testing.simulate.chance import Chance
from fastcore.testing.simulate.ending import ghosts, leftovers, twins
from fastcore.testing.simulate.loop import Stuck, VirtualLoop
from fastcore.testing.simulate.network import Network, Trouble
from fastcore.testing.simulate.owner import Owner
from fastcore.testing.simulate.process import EPOCH, Process
from fastcore.testing.simulate.schedule import Schedule, Step
from fastcore.testing.simulate.setup import put
from fastcore.testing.simulate.watchdog import Watchdog
from fastcore.testing.simulate.world import State, World

_MERGE = "application/merge-patch+json"
_KEPT = 2000
_POLL_S = 1.0
_STOP_S = 120.0
_RESTART_S = 1.0
_EXITS = 50


class Violation(NamedTuple):
    """What did not hold.

    Args:
        what: in short, such as "does not converge".
        detail: for people.
    """

    what: str
    detail: str


class Outcome(NamedTuple):
    """How a run went.

    Args:
        schedule: what was run.
        violation: None if everything held.
        trace: hash of every step; equal for two runs of one schedule.
        lines: the last things that happened, oldest first; empty unless recorded.
        steps: that the scheduler took.
        requests: that were sent.
        choices: that the scheduler made.
        latencies: that were drawn.
        seconds: of virtual time.
    """

    schedule: Schedule
    violation: Violation | None
    trace: str
    lines: tuple[str, ...]
    steps: int
    requests: int
    choices: int
    latencies: int
    seconds: float


class _Wrong(Exception):
    """Ends a run at once."""


def run(world: World, schedule: Schedule, *, record: bool = False) -> Outcome:
    """Run a schedule to its end.

    Args:
        world: what to run.
        schedule: how.
        record: keep the last lines of the trace, and what was logged.
    """
    return _Run(world, schedule, record).go()


class _Run:
    def __init__(self, world: World, schedule: Schedule, record: bool) -> None:
        self.world = world
        self.schedule = schedule
        order = self._order = Chance(schedule.seed, 0, schedule.order)
        self.loop = VirtualLoop(lambda n: order() % n)  # type: ignore[abstract]  # the rest needs an operating system
        now = EPOCH.timestamp()
        self.api = API(Settings(now=lambda: now + self.loop.time(), seed=schedule.seed))
        self.network = Network(self.api, self.loop, schedule, self.crash, self.note)
        self.state = State(self.api.handle)
        self.violation: Violation | None = None
        self.processes: dict[str, Process] = {}
        self.lives: Counter[str] = Counter()
        self.exits = 0
        self.faults_end = max((step.end for step in schedule.steps), default=0.0)
        self._hash = hashlib.blake2b(digest_size=16)
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._record = record
        self.watchdog = Watchdog(world, self.network, self.state, self.processes, self.wrong)

    def go(self) -> Outcome:
        self.loop.observe = self.step
        self.network.sent = self.watchdog.sent
        self.network.written = self.user_writes
        self.network.seen = self._hash.update
        with self.logs():
            try:
                self.set_up()
                self.loop.run_until_complete(self.main())
            except Stuck as stuck:
                self.wrong("stuck", str(stuck))
            except _Wrong:
                pass
            finally:
                for process in list(self.processes.values()):
                    self.network.cut_off(process)
                    self.loop.kill(process)
                self.loop.close()
        return Outcome(
            self.schedule,
            self.violation,
            self._hash.hexdigest(),
            tuple(self._lines),
            self.loop.steps,
            self.network.count,
            self._order.count,
            self.network.latencies,
            self.loop.time(),
        )

    # Trace

    def step(self, process: str, label: str) -> None:
        self._hash.update(f"{self.loop.now_ns} {process} {label}\n".encode())

    def note(self, text: str) -> None:
        self._hash.update(text.encode())
        if self._record:
            self._lines.append(f"{self.loop.time():10.4f}  {text}")

    @contextmanager
    def logs(self) -> Iterator[None]:
        """Take what is logged into the trace, and keep it from everywhere else: faults make much noise."""
        logger = logging.getLogger("fastcore")
        handler = _Lines(self._lines, self.loop) if self._record else logging.NullHandler()
        before = logger.propagate, logger.handlers[:], logger.level
        logger.propagate, logger.handlers = False, [handler]
        if not self._record:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.propagate, logger.handlers = before[0], before[1]
            logger.setLevel(before[2])

    def wrong(self, what: str, detail: str) -> None:
        """The first thing that does not hold is the run's result."""
        if self.violation is None:
            self.violation = Violation(what, detail)
            self.note(f"WRONG: {what}: {detail}")

    # What happens

    def set_up(self) -> None:
        for prefix in self.world.prefixes.values():
            for obj in self.world.setup:
                put(self.api, prefix, obj)
        for process in range(self.world.replicas):
            self.lives[_name(process)] = 0
        cluster = Controllers(self.api, self.world.cluster)
        cluster.run_on(lambda function: self.network.later(self.network.latency(), function))
        self.api.store.listeners.append(self.watchdog.event)

    async def main(self) -> None:
        for name in list(self.lives):
            self.start(name)
        for step in self.schedule.steps:
            if step.at is not None:
                self.network.later(step.at, self.happen, step)
        await self.settle()
        self.check_end()
        await self.stop()

    def start(self, name: str) -> None:
        process = Process(
            name, self.lives[name], self.world, self.network, self.schedule.seed, self.watchdog.begun, self.wrong
        )
        self.lives[name] += 1
        self.processes[name] = process
        process.running.add_done_callback(lambda task: self.network.later(0.0, self.exited, process))
        self.note(f"{name} starts")

    def exited(self, process: Process) -> None:
        """A process that has ended by itself is started again, as a Pod is."""
        if not process.alive:
            return
        error = None if process.running.cancelled() else process.running.exception()
        self.exits += 1
        self.note(f"{process.name} exits: {error!r}")
        if self.exits > _EXITS:
            self.wrong("exits again and again", f"{process.name} has ended {self.exits} times, at last by {error!r}")
        self.crash(process, _RESTART_S)

    def crash(self, process: Owner, seconds: float) -> None:
        """Kill a process, and start its next life later."""
        if not process.alive:
            return
        process.alive = False  # at once: it may be its own step that asks
        self.note(f"{process.name} dies")
        self.network.later(0.0, self.bury, process)
        self.network.later(max(seconds, 0.001), self.start, process.name)

    def bury(self, process: Owner) -> None:
        self.network.cut_off(process)
        self.loop.kill(process)

    def happen(self, step: Step) -> None:
        """Do what the schedule says for this moment."""
        self.note(f"{step.what} {step.seconds or ''} {step.workspace}".rstrip())
        faults, network = self.api.faults, self.network
        if step.write is not None:
            self.user_writes(step)
        elif step.what == "crash":
            self.crash(self.processes[_name(step.replica)], step.seconds)
        elif step.what == "freeze":
            process = self.processes[_name(step.replica)]
            process.frozen = True
            network.later(step.seconds, setattr, process, "frozen", False)
        elif step.what == "cut watches":
            faults.cut_watches()
        elif step.what == "expire watches":
            faults.expire_watches()
        elif step.what == "compact":
            faults.compact()
            faults.cut_watches()
        elif step.what == "stale":
            network.later(step.seconds, faults.stale().remove)
        elif step.what == "lost lease":
            self.take_leases()
        else:
            prefix = self.world.prefixes.get(step.workspace, "") if step.workspace else ""
            network.troubles.append(Trouble(step.what, prefix, self.loop.time() + step.seconds))
            if step.what == "outage":
                faults.cut_watches()

    def user_writes(self, step: Step) -> None:
        write = step.write
        assert write is not None
        body = b"" if write.body is None else msgspec.json.encode(write.body)
        headers = {"user-agent": "user", "content-type": _MERGE if write.method == "PATCH" else "application/json"}
        path, _, query = write.path.partition("?")
        answer = self.api.handle(Request(write.method, path, query, headers, body))
        code = answer.code if isinstance(answer, Response) else 200
        self.note(f"user {write.method} {path} -> {code}")

    def take_leases(self) -> None:
        for lease in self.state.list(LEASE):
            meta = lease["metadata"]
            body = {"spec": {"holderIdentity": "somebody", "leaseTransitions": 1000 + self.api.store.revision}}
            path = LEASE.path(meta["namespace"], meta["name"])
            self.api.handle(Request("PATCH", path, "", {"content-type": _MERGE}, msgspec.json.encode(body)))

    # The end

    async def settle(self) -> None:
        """Wait until the controller has converged and is quiet, or the time is up."""
        await self.pause(self.faults_end + _POLL_S)
        self.network.calm()
        end = self.loop.time() + self.world.settle
        self.watchdog.last_write = max(self.watchdog.last_write, self.loop.time())
        missing: str | None = ""
        asked, idle = -1, 0.0
        while self.loop.time() < end:
            if asked != self.api.store.revision:
                asked = self.api.store.revision
                missing = self.world.converged(self.state)
            idle = self.loop.time() - self.watchdog.last_write
            if missing is None and idle >= self.world.quiet:
                return
            if missing is not None and idle >= self.world.settle / 4:
                break
            await self.pause(_POLL_S if idle < 10 else 10.0)
        if missing is not None:
            self.wrong(
                "does not converge", f"{missing} ({self.world.settle / 4:.0f} virtual seconds after the last write)"
            )
        else:
            writes = "; ".join(f"{s.at:.1f} s {s.method} {s.path} -> {s.status}" for s in self.watchdog.recent)
            self.wrong("does not go quiet", f"it still writes after {self.world.settle:.0f} virtual seconds: {writes}")
        raise _Wrong

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.violation is not None:
            raise _Wrong

    def check_end(self) -> None:
        self.watchdog.check_quiet()
        for found in ghosts(self.processes.values(), self.state, self.world):
            self.wrong("ghost", found)
        for found in twins(self.api.store, self.watchdog.by_users):
            self.wrong("double create", found)

    async def stop(self) -> None:
        """End every process in order; nothing may be left."""
        processes = list(self.processes.values())
        for process in processes:
            process.manager.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await asyncio.wait([process.running for process in processes])
        for found in leftovers(self.loop, processes):
            self.wrong("left behind", found)
        for failure in self.loop.failures:
            self.wrong("unhandled error", f"{failure.get('message')}: {failure.get('exception')!r}")


class _Lines(logging.Handler):
    """Adds what is logged to the trace."""

    def __init__(self, lines: deque[str], loop: VirtualLoop) -> None:
        super().__init__()
        self._lines = lines
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{self._loop.time():10.4f}  {record.levelname.lower()}: {record.getMessage()}")


def _name(replica: int) -> str:
    return f"controller-{replica}"
