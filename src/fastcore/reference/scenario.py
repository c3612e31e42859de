"""The whole life of the reference controller's objects, driven and watched from outside: what `fastcore demo` runs.

The scenario knows nothing of the controller but its API objects: it creates, changes and breaks them and then waits
until a watch of its own shows that every object is in order again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple, Protocol

from fastcore.controller.client import Client
from fastcore.controller.informer import Informer
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, NAMESPACE, Resource
from fastcore.controller.workspace import Workspace
from fastcore.errors import FastcoreError
from fastcore.reference.webapp import CONFIG_HASH, WEBAPP

IN_FLIGHT = 8  # writes of the driver at once: enough to keep the controller busy, too few to crowd it out


class Key(NamedTuple):
    """One WebApp: the workspace's place in the list, its namespace, its name."""

    workspace: int
    namespace: str
    name: str


class Progress(Protocol):
    """Told after every object that reached the goal of the current phase."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` objects are in order."""
        ...


class NotConverged(FastcoreError):
    """Objects were still out of order at the deadline; `keys` maps them to what was wrong."""

    def __init__(self, phase: str, reasons: dict[Key, str], total: int) -> None:
        self.reasons = reasons
        first = "; ".join(f"{'/'.join(map(str, key))}: {reason}" for key, reason in list(reasons.items())[:5])
        super().__init__(f"{phase}: {len(reasons)} of {total} objects did not converge in time, such as {first}")


class Place(NamedTuple):
    """A workspace with the namespace that the scenario uses in it, and caches of the three kinds."""

    workspace: Workspace
    namespace: str
    webapps: Informer
    config_maps: Informer
    deployments: Informer


class Scenario:
    """Drives WebApps through their life and measures how long each takes to converge.

    Args:
        places: where the objects live, from `open_places`.
        objects: how many WebApps, spread evenly.
        deadline: seconds that one phase may take.
        progress: called as objects converge.
        padding: bytes of configuration that each WebApp carries besides its own, >= 0.
    """

    def __init__(
        self, places: list[Place], objects: int, deadline: float, progress: Progress, *, padding: int = 0
    ) -> None:
        self._places = places
        self._objects = objects
        self._deadline = deadline
        self._progress = progress
        self._padding = {"PADDING": "x" * padding} if padding else {}
        self._waiting: dict[Key, tuple[int, Callable[[Key], str]]] = {}
        self._latencies: list[float] = []
        self._deleted: dict[Key, str] = {}  # uids of Deployments that the scenario deleted
        self._changed = asyncio.Event()
        for index, place in enumerate(places):
            for informer in (place.webapps, place.config_maps, place.deployments):
                informer.add_handler(_Waker(index, self._check))

    def keys(self) -> list[Key]:
        """Every WebApp of the scenario, workspace by workspace."""
        count = len(self._places)
        return [Key(i % count, self._places[i % count].namespace, f"web-{i:04d}") for i in range(self._objects)]

    async def create(self, keys: list[Key]) -> list[float]:
        """Create the WebApps; seconds until each was in order."""
        return await self._run("cold start", keys, self._create, self.out_of_order)

    async def change_image(self, keys: list[Key], tag: str = "2") -> list[float]:
        """A rollout: a new image for each."""
        return await self._run("update", keys, lambda key: self.set_image(key, tag), self.out_of_order)

    async def burst(self, keys: list[Key], times: int) -> list[float]:
        """Several new images for each in a row, of which only the last one counts."""

        async def act(key: Key) -> None:
            for number in range(times):
                await self.set_image(key, f"burst-{number}")

        return await self._run("burst", keys, act, self.out_of_order)

    async def wait(self, keys: list[Key]) -> list[float]:
        """Change nothing, and wait until each is in order."""
        return await self._run("wait", keys, _do_nothing, self.out_of_order)

    async def set_image(self, key: Key, tag: str) -> None:
        """Give one WebApp a new image, without waiting for what becomes of it."""
        await self._patch_webapp(key, {"spec": {"image": f"registry.example/web:{tag}"}})

    async def change_config(self, keys: list[Key]) -> list[float]:
        """New configuration for each, which has to restart the pods."""
        patch = {"spec": {"config": {"LEVEL": "debug", "GREETING": f"changed at {time.time_ns()}"}}}
        return await self._run("config", keys, lambda key: self._patch_webapp(key, patch), self.out_of_order)

    async def drift(self, keys: list[Key]) -> list[float]:
        """Somebody deletes every other Deployment and edits every other ConfigMap."""
        return await self._run("drift", keys, self._break, self.out_of_order)

    async def roll_out(self, keys: list[Key]) -> list[float]:
        """Play the Deployment controller, where none runs: the Deployments report their replicas."""
        return await self._run("rollout", keys, self._report_replicas, self.not_ready)

    async def delete(self, keys: list[Key]) -> list[float]:
        """Delete the WebApps; in order means gone."""
        return await self._run("delete", keys, self._delete, self.still_there)

    def out_of_order(self, key: Key) -> str:
        """Why the WebApp has not converged, or "" if it has: condition Synced for its generation, children match."""
        place = self._places[key.workspace]
        webapp = place.webapps.get(key.namespace, key.name)
        if webapp is None:
            return "the WebApp is not visible yet"
        spec = webapp["spec"]
        conditions = {c["type"]: c for c in webapp.get("status", {}).get("conditions", ())}
        synced = conditions.get("Synced")
        if synced is None or synced["status"] != "True":
            return f"condition Synced is {synced['status'] if synced else 'missing'}"
        if synced.get("observedGeneration") != webapp["metadata"]["generation"]:
            return "condition Synced is of an older generation"
        config_map = place.config_maps.get(key.namespace, key.name)
        if config_map is None or config_map.get("data", {}) != spec.get("config", {}):
            return "the ConfigMap is missing or differs"
        deployment = place.deployments.get(key.namespace, key.name)
        if deployment is None or deployment["metadata"]["uid"] == self._deleted.get(key):
            return "the Deployment is missing"
        template = deployment["spec"]["template"]
        if template["spec"]["containers"][0]["image"] != spec["image"]:
            return "the Deployment has another image"
        if deployment["spec"]["replicas"] != spec["replicas"]:
            return "the Deployment has another number of replicas"
        if CONFIG_HASH not in template["metadata"].get("annotations", {}):
            return f"the pod template lacks the annotation {CONFIG_HASH}"
        return ""

    def not_ready(self, key: Key) -> str:
        """Why the WebApp is not Ready, or "" if it is."""
        webapp = self._places[key.workspace].webapps.get(key.namespace, key.name)
        phase = (webapp or {}).get("status", {}).get("phase")
        return "" if phase == "Ready" else f"phase is {phase}"

    def still_there(self, key: Key) -> str:
        """Why the WebApp counts as not deleted, or ""."""
        found = self._places[key.workspace].webapps.get(key.namespace, key.name)
        return "the WebApp is still there" if found else ""

    def has_deployment_controller(self, keys: Iterable[Key]) -> bool:
        """Whether somebody on this server already reports the status of Deployments."""
        for key in keys:
            deployment = self._places[key.workspace].deployments.get(key.namespace, key.name)
            if deployment and deployment.get("status", {}).get("observedGeneration"):
                return True
        return False

    async def _run(
        self, phase: str, keys: list[Key], act: Callable[[Key], Any], wrong: Callable[[Key], str]
    ) -> list[float]:
        self._latencies = []
        queue = iter(keys)

        async def work() -> None:
            for key in queue:
                # Registered before the write: the watch may be faster than the answer.
                self._waiting[key] = (time.monotonic_ns(), _always_wrong)
                await act(key)
                self._waiting[key] = (self._waiting[key][0], wrong)
                self._check(key)

        try:
            async with asyncio.timeout(self._deadline):
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(IN_FLIGHT, len(keys))):
                        group.create_task(work())
                while self._waiting:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            reasons = {key: wrong(key) for key in self._waiting}
            self._waiting.clear()
            raise NotConverged(phase, reasons, len(keys)) from None
        except ExceptionGroup as errors:  # a write of ours failed: one reason is enough
            raise errors.exceptions[0] from errors
        return self._latencies

    def _check(self, key: Key) -> None:
        waiting = self._waiting.get(key)
        if waiting is None or waiting[1](key):
            return
        del self._waiting[key]
        self._latencies.append((time.monotonic_ns() - waiting[0]) / 1e9)
        self._progress(len(self._latencies), len(self._latencies) + len(self._waiting))
        self._changed.set()

    async def _create(self, key: Key) -> None:
        webapp = {
            "apiVersion": WEBAPP.api_version,
            "kind": WEBAPP.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {
                "image": "registry.example/web:1",
                "replicas": 2,
                "config": {"GREETING": f"hello from {key.name}", "LEVEL": "info"} | self._padding,
                "ports": [{"name": "http", "port": 8080}],
            },
        }
        await self._client(key).create(WEBAPP, webapp)

    async def _break(self, key: Key) -> None:
        place = self._places[key.workspace]
        if int(key.name[-4:]) % 2:
            deployment = place.deployments.get(key.namespace, key.name)
            assert deployment is not None
            self._deleted[key] = deployment["metadata"]["uid"]
            await self._client(key).delete(DEPLOYMENT, key.namespace, key.name)
        else:
            await self._patch(key, place.config_maps, {"data": {"GREETING": "edited by somebody"}})

    async def _report_replicas(self, key: Key) -> None:
        deployment = self._places[key.workspace].deployments.get(key.namespace, key.name)
        assert deployment is not None
        replicas = deployment["spec"]["replicas"]
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
        }
        await self._client(key).patch(DEPLOYMENT, key.namespace, key.name, {"status": status}, subresource="status")

    async def _delete(self, key: Key) -> None:
        await self._client(key).delete(WEBAPP, key.namespace, key.name)

    async def _patch(self, key: Key, informer: Informer, patch: Resource) -> None:
        # Seen at once: an object must not pass for converged because its watch is behind our own change.
        informer.observe(await self._client(key).patch(informer.kind, key.namespace, key.name, patch))

    async def _patch_webapp(self, key: Key, patch: Resource) -> None:
        await self._patch(key, self._places[key.workspace].webapps, patch)

    def _client(self, key: Key) -> Client:
        return self._places[key.workspace].workspace.client


class _Waker:
    """Handler that re-checks the WebApp to which an event belongs: children carry its name."""

    def __init__(self, workspace: int, check: Callable[[Key], None]) -> None:
        self._workspace = workspace
        self._check = check

    def on_add(self, obj: Resource, initial: bool) -> None:
        self._wake(obj)

    def on_update(self, old: Resource, new: Resource) -> None:
        self._wake(new)

    def on_delete(self, obj: Resource) -> None:
        self._wake(obj)

    def _wake(self, obj: Resource) -> None:
        meta = obj["metadata"]
        self._check(Key(self._workspace, meta["namespace"], meta["name"]))


def _always_wrong(key: Key) -> str:
    return "the write is on its way"


async def _do_nothing(key: Key) -> None:
    pass


@asynccontextmanager
async def open_places(targets: list[tuple[Workspace, str]]) -> AsyncIterator[list[Place]]:
    """Namespaces made, and informers of the three kinds running, for every (workspace, namespace)."""
    async with AsyncExitStack() as stack:
        places = []
        for workspace, namespace in targets:
            if namespace != "default":
                await workspace.client.create(
                    NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                )
            informers = [Informer(workspace, kind, namespace=namespace) for kind in (WEBAPP, CONFIG_MAP, DEPLOYMENT)]
            for informer in informers:
                task = asyncio.create_task(informer.run(), name=f"watch {informer.kind.plural}")
                stack.push_async_callback(_stop, informer, task)
            for informer in informers:
                await informer.wait_synced(30)
            places.append(Place(workspace, namespace, *informers))
        yield places


async def _stop(informer: Informer, task: asyncio.Task[None]) -> None:
    await informer.stop()
    await task
