"""Processes that share Leases, in virtual time: their coroutines are run by hand, so that any await can be the last.

Each process has a clock with a rate of its own, may be paused or killed between any two steps, and its requests and
their answers may be late or lost. One seed, one run.
"""

import copy
import heapq
import itertools
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from fastcore.clock import NS_PER_S
from fastcore.controller.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError, RequestTimeout

Lease = dict[str, Any]


class Await:
    """What a coroutine gives its process: a sleep of so many seconds, or a call that the server answers."""

    def __init__(self, seconds: float, call: Callable[[], Any] | None = None) -> None:
        self.seconds = seconds
        self.call = call

    def __await__(self) -> "Generator[Await, Any, Any]":
        return (yield self)


class Server:
    """Stores Leases as an API server does; nothing else of it is needed."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}
        self.revision = 100
        self.writes: list[tuple[str, str]] = []

    def get(self, name: str) -> Lease:
        if name not in self.leases:
            raise NotFoundError(name)
        return copy.deepcopy(self.leases[name])

    def create(self, lease: Lease) -> Lease:
        name = lease["metadata"]["name"]
        if name in self.leases:
            raise AlreadyExistsError(name)
        self.revision += 1
        return self._put(name, {**lease, "metadata": {**lease["metadata"], "uid": f"uid-{self.revision}"}})

    def update(self, lease: Lease) -> Lease:
        name = lease["metadata"]["name"]
        self._same(lease)
        self.revision += 1
        return self._put(name, lease)

    def delete(self, lease: Lease) -> None:
        self._same(lease)
        del self.leases[lease["metadata"]["name"]]

    def list(self, label_selector: str) -> list[Lease]:
        key, value = label_selector.split("=")
        found = [x for x in self.leases.values() if x["metadata"].get("labels", {}).get(key) == value]
        return copy.deepcopy(found)

    def _same(self, lease: Lease) -> None:
        now = self.get(lease["metadata"]["name"])["metadata"]
        if any(now[part] != lease["metadata"][part] for part in ("uid", "resourceVersion")):
            raise ConflictError(now["name"], status=409)

    def _put(self, name: str, lease: Lease) -> Lease:
        stored = copy.deepcopy(lease)
        stored["metadata"]["resourceVersion"] = str(self.revision)
        self.leases[name] = stored
        return copy.deepcopy(stored)


class Leases:
    """The server as one process calls it."""

    namespace = "default"

    def __init__(self, process: "Process") -> None:
        self._process = process

    async def get(self, name: str, timeout: float) -> Lease:
        return await self._call(timeout, "get", name)

    async def create(self, lease: Lease, timeout: float) -> Lease:
        return await self._call(timeout, "create", copy.deepcopy(lease))

    async def update(self, lease: Lease, timeout: float) -> Lease:
        return await self._call(timeout, "update", copy.deepcopy(lease))

    async def delete(self, lease: Lease, timeout: float) -> None:
        await self._call(timeout, "delete", copy.deepcopy(lease))

    async def list(self, label_selector: str, timeout: float) -> list[Lease]:
        found: list[Lease] = await self._call(timeout, "list", label_selector)
        return found

    async def _call(self, timeout: float, verb: str, argument: Any) -> Any:
        server = self._process.world.server
        self._process.calls.append(verb)

        def call() -> Any:
            if verb in ("create", "update", "delete"):
                server.writes.append((self._process.name, verb))
            return getattr(server, verb)(argument)

        return await Await(timeout, call)


class Process:
    """Runs one coroutine. `rate` is how many of its seconds pass in one second."""

    def __init__(self, world: "World", name: str, rate: float = 1.0) -> None:
        self.world = world
        self.name = name
        self.rate = rate
        self.offset_ns = world.random.randrange(10**15)
        self.leases = Leases(self)
        self.paused = False
        self.dead = False
        self.waiting: list[Callable[[], None]] = []  # what has happened while it was paused
        self.calls: list[str] = []
        self.error: BaseException | None = None
        self.ended = False
        self._coroutine: Coroutine[Await, Any, None] | None = None
        self._step = 0

    def clock(self) -> int:
        return self.offset_ns + round(self.world.now_ns * self.rate)

    async def sleep(self, seconds: float) -> None:
        await Await(seconds)

    def now(self) -> datetime:
        """The time of day, which is wrong here: nothing may depend on it."""
        return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.clock() // 1000)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self.ended, self.error = False, None
        self._resume(lambda: coroutine.send(None))

    def kill(self) -> None:
        self.dead = True
        self.stop()

    def stop(self) -> None:
        """Drop the coroutine where it stands, as a crash does, or a cancellation that nobody handles."""
        if self._coroutine is not None:
            self._step += 1
            self._coroutine.close()
            self._coroutine = None
            self.ended = True

    def unpause(self) -> None:
        self.paused = False
        waiting, self.waiting = self.waiting, []
        for act in waiting:
            act()

    def _resume(self, step: Callable[[], Await]) -> None:
        self._step += 1
        try:
            wait = step()
        except StopIteration:
            self.ended = True
            return
        except Exception as error:
            self.ended, self.error = True, error
            return
        number = self._step
        delay = wait.seconds / self.rate
        if wait.call is None:
            self.world.after(delay, lambda: self._wake(number, lambda: self._send(None)))
            return
        self.world.after(delay, lambda: self._wake(number, lambda: self._throw(RequestTimeout("late"))))
        self.world.carry(self, number, wait.call)

    def answered(self, number: int, result: Any, error: Exception | None) -> None:
        self._wake(number, lambda: self._send(result) if error is None else self._throw(error))

    def _wake(self, number: int, act: Callable[[], None]) -> None:
        def now() -> None:
            if number == self._step and not self.dead and not self.ended:
                act()

        if self.paused:
            self.waiting.append(now)
        else:
            now()

    def _send(self, value: Any) -> None:
        coroutine = self._coroutine
        assert coroutine is not None
        self._resume(lambda: coroutine.send(value))

    def _throw(self, error: Exception) -> None:
        coroutine = self._coroutine
        assert coroutine is not None
        self._resume(lambda: coroutine.throw(error))


class World:
    """The server, the network and real time.

    Args:
        seed: of everything that is left to chance.
        faulty: requests and answers may be late or lost.
    """

    def __init__(self, seed: int = 0, *, faulty: bool = False) -> None:
        self.random = Random(seed)
        self.faulty = faulty
        self.server = Server()
        self.now_ns = 0
        self.down = False
        self.check: Callable[[], None] = lambda: None
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_ns + round(max(seconds, 1e-9) * NS_PER_S), next(self._numbers), act))

    def carry(self, process: Process, number: int, call: Callable[[], Any]) -> None:
        """Bring a request to the server and its answer back, if the network lets it."""
        there, back = self._delay(), self._delay()

        def arrive() -> None:
            if self.down:
                return
            result: Any = None
            error: Exception | None = None
            try:
                result = call()
            except ApiError as failure:
                error = failure
            if back is not None:
                self.after(back, lambda: process.answered(number, result, error))

        if there is not None:
            self.after(there, arrive)

    def _delay(self) -> float | None:
        if not self.faulty:
            return 0.001
        chance = self.random.random()
        if chance < 0.04:
            return None
        if chance < 0.1:
            return self.random.uniform(0.1, 20.0)
        return self.random.uniform(0.001, 0.1)

    def run(self, seconds: float) -> None:
        """Let time pass, and check after each step."""
        end = self.now_ns + round(seconds * NS_PER_S)
        while self._events and self._events[0][0] <= end:
            self.now_ns, _, act = heapq.heappop(self._events)
            act()
            self.check()
        self.now_ns = end
        self.check()
