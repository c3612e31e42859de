"""A controller alone, on informers that only do what a test says, with a clock that stands still."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

from fastcore.clock import Surroundings, surrounded
from fastcore.controller.context import Scope
from fastcore.controller.controller import Controller
from fastcore.controller.handlers import Watch, itself, owner_of
from fastcore.controller.informer import InformerStats
from fastcore.controller.invocation import Reconciler
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, Kind, Request, key_of
from fastcore.controller.options import Options
from fastcore.controller.predicates import Predicate
from fastcore.testing.clock import VirtualClock

ONE = Request("blue", "default", "one")


class NoDelay:
    """A limiter that counts failures and never waits."""

    def __init__(self) -> None:
        self.failures: dict[Any, int] = {}

    def when(self, item: Any) -> float:
        self.failures[item] = self.failures.get(item, 0) + 1
        return 0.0

    def forget(self, item: Any) -> None:
        self.failures.pop(item, None)

    def retries(self, item: Any) -> int:
        return self.failures.get(item, 0)


class Mirror:
    """An informer whose watch is the test; answers of writes are taken as the real one takes them."""

    def __init__(self) -> None:
        self.handlers: list[Any] = []
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.revision = "1"

    def add_handler(self, handler: Any) -> None:
        self.handlers.append(handler)

    async def wait_synced(self, timeout: float) -> None:
        return None

    def get(self, namespace: str | None, name: str) -> dict[str, Any] | None:
        return self.objects.get((namespace or "", name))

    def stats(self) -> InformerStats:
        return InformerStats(len(self.objects), True, 1, 1, 0, {}, 0, self.revision, 0.5)

    def show(self, new: dict[str, Any], text: bytes | None = None) -> None:
        """An event of the watch, or the answer of a write: whichever comes first tells the handlers."""
        old = self.objects.get(key_of(new))
        if old is not None and int(old["metadata"]["resourceVersion"]) >= int(new["metadata"]["resourceVersion"]):
            return
        self.objects[key_of(new)] = new
        for handler in self.handlers:
            handler.on_add(new, False) if old is None else handler.on_update(old, new)

    observe = show


class Events:
    """Keeps what would be recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str]] = []

    def event(self, obj: Any, type_: str, reason: str, message: str) -> None:
        self.recorded.append((reason, message))


class Server:
    """A client that answers from a dictionary, and counts versions."""

    def __init__(self) -> None:
        self.live: dict[tuple[str, str], dict[str, Any]] = {}

    def reaches(self, other: Any) -> bool:
        return other is self

    async def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        return self.live[namespace or "", name]


class Blue:
    """A workspace."""

    name = "blue"
    namespace = None

    def __init__(self) -> None:
        self.client = Server()


class Stage:
    """A controller for ConfigMaps that owns Deployments, and what is around it."""

    def __init__(
        self, reconciler: Reconciler, clock: VirtualClock, predicate: Predicate, options: dict[str, Any]
    ) -> None:
        self.clock = clock
        self.primary, self.owned = Mirror(), Mirror()
        self.events, self.workspace = Events(), Blue()
        watches = (
            Watch(CONFIG_MAP, itself, predicate),
            Watch(DEPLOYMENT, owner_of(CONFIG_MAP), Predicate()),
        )
        options = {"limiter": NoDelay(), "max_concurrent_reconciles": 1, "shutdown_grace": 5.0, **options}
        self.controller = Controller("loop", CONFIG_MAP, watches, reconciler, Options(**options))
        informers: Any = {CONFIG_MAP: self.primary, DEPLOYMENT: self.owned}
        scope: Any = Scope
        self.scope = scope(self.workspace, informers, self.events, "fastcore")
        self.controller.connect({"blue": self.scope})


@contextmanager
def still(clock: VirtualClock) -> Iterator[None]:
    """Have everything that is made within go by `clock`."""
    with surrounded(Surroundings(clock, lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: Random(7))):
        yield


def stage(reconciler: Reconciler, *, predicate: Predicate | None = None, **options: Any) -> Stage:
    """A stage whose controller is not running yet."""
    clock = VirtualClock(10**12)
    with still(clock):
        return Stage(reconciler, clock, predicate or Predicate(), options)


@asynccontextmanager
async def running(controller: Controller) -> Any:
    """Run `controller` meanwhile."""
    task = asyncio.create_task(controller.run())
    try:
        yield task
    finally:
        await controller.stop()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds; the test's own timeout ends it otherwise."""
    while not condition():
        await asyncio.sleep(0)


async def settled(turns: int = 50) -> None:
    """Let the loop do what it has to."""
    for _ in range(turns):
        await asyncio.sleep(0)


def config_map(version: int, generation: int | None = None, **data: str) -> dict[str, Any]:
    """The primary object at a version."""
    meta: dict[str, Any] = {"name": "one", "namespace": "default", "uid": "u1", "resourceVersion": str(version)}
    if generation is not None:
        meta["generation"] = generation
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def deployment(
    version: int, replicas: int, image: str = "a", managers: tuple[str, ...] = ("fastcore",)
) -> dict[str, Any]:
    """The owned object at a version."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "one",
            "namespace": "default",
            "uid": "u2",
            "resourceVersion": str(version),
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "one", "uid": "u1", "controller": True}
            ],
            "managedFields": [
                {"manager": name, "operation": "Apply", "time": "now", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
                for name in managers
            ],
        },
        "spec": {"replicas": replicas, "image": image},
    }
