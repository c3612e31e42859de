"""The reference controller at work in a namespace of its own, and a driver beside it that counts its writes."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.errors import AlreadyExistsError, ApiError, NotFoundError
from fastcore.controller.manager import Manager
from fastcore.controller.model import CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION, DEPLOYMENT, EVENT, NAMESPACE, Kind
from fastcore.controller.workspace import Workspace
from fastcore.reference import WEBAPP, build, crd
from fastcore.reference.reconciler import WebAppReconciler

READS = ("GET",)
QUIET_S = 0.3  # longer than any reconcile here takes: whoever still wanted to write has written by then


class World:
    """One namespace on one server; `start` and `stop` run the controller in it."""

    def __init__(self, config: ClientConfig, client: Client, namespace: str) -> None:
        self.config = config
        self.client = client
        self.namespace = namespace
        self.manager: Manager | None = None
        self._task: asyncio.Task[None] | None = None
        self._controllers_client: Client | None = None

    async def start(self) -> None:
        """Run a new controller, with a client of its own, until `stop`."""
        self._controllers_client = Client(self.config)
        workspace = Workspace("test", self._controllers_client, namespace=self.namespace)
        self.manager = Manager(workspaces=[workspace])
        build(self.manager, workers=4)
        self._task = asyncio.create_task(self.manager.run())
        await self.until(lambda: self._ready())

    async def stop(self) -> None:
        if self.manager is not None and self._task is not None and self._controllers_client is not None:
            self.manager.stop()
            await self._task
            await self._controllers_client.close()
            self.manager = self._task = self._controllers_client = None

    async def _ready(self) -> bool:
        assert self.manager is not None
        assert self._task is not None
        if self._task.done():
            await self._task
        return self.manager.readiness["informers"]() is None

    @property
    def reconciler(self) -> WebAppReconciler:
        assert self.manager is not None
        reconciler = self.manager.controllers["webapp"].invocation.reconciler
        assert isinstance(reconciler, WebAppReconciler)
        return reconciler

    def writes(self) -> int:
        """Writes that the controller has sent so far, events included, successful or not."""
        assert self._controllers_client is not None
        stats = self._controllers_client.stats
        return sum(count for (_, method, _), count in stats.items() if method not in READS)

    async def quiet(self) -> int:
        """The number of writes once no more come."""
        before = -1
        while self.writes() != before:
            before = self.writes()
            await asyncio.sleep(QUIET_S)
        return before

    async def until(self, condition: Callable[[], Any], timeout: float = 30.0) -> None:
        """Ask again and again until `condition`, a coroutine function, holds."""
        async with asyncio.timeout(timeout):
            while not await condition():
                await asyncio.sleep(0.02)

    async def create(self, name: str, **spec: Any) -> None:
        webapp = {
            "apiVersion": WEBAPP.api_version,
            "kind": WEBAPP.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"image": "nginx:1", "replicas": 2, "config": {"A": "1"}, **spec},
        }
        await self.client.create(WEBAPP, webapp)

    async def patch(self, kind: Kind, name: str, patch: Any, **options: Any) -> dict[str, Any]:
        return await self.client.patch(kind, self.namespace, name, patch, **options)

    async def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        try:
            return await self.client.get(kind, self.namespace, name)
        except NotFoundError:
            return None

    async def synced(self, *names: str) -> None:
        """Wait until each WebApp says that its present generation is in order."""

        async def all_synced() -> bool:
            for name in names:
                condition = await self.condition(name)
                if condition.get("status") != "True" or condition["observedGeneration"] != condition["generation"]:
                    return False
            return True

        await self.until(all_synced)

    async def condition(self, name: str, kind: str = "Synced") -> dict[str, Any]:
        """The condition with the WebApp's present generation beside it; empty if there is none."""
        webapp = await self.get(WEBAPP, name)
        for condition in ((webapp or {}).get("status") or {}).get("conditions", ()):
            if condition["type"] == kind:
                return {**condition, "generation": (webapp or {})["metadata"]["generation"]}
        return {}

    async def failed(self, name: str, reason: str) -> None:
        async def has_failed() -> bool:
            return (await self.condition(name)).get("reason") == reason

        await self.until(has_failed)

    async def events(self, name: str) -> list[tuple[str, str]]:
        listed = await self.client.list(EVENT, self.namespace)
        return [(e["type"], e["reason"]) for e in listed.items if e["involvedObject"]["name"] == name]

    async def data(self, name: str) -> dict[str, str]:
        child = await self.get(CONFIG_MAP, name)
        assert child is not None
        return dict(child.get("data", {}))

    async def container(self, name: str) -> dict[str, Any]:
        child = await self.get(DEPLOYMENT, name)
        assert child is not None
        return dict(child["spec"]["template"]["spec"]["containers"][0])


async def install_crd(client: Client) -> None:
    """Create the CRD unless it is there, and wait until its objects can be listed."""
    with suppress(AlreadyExistsError):
        await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
    async with asyncio.timeout(30):
        while True:
            try:
                await client.request("GET", WEBAPP.path(), params={"limit": 1})
                return
            except ApiError:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def world(config: ClientConfig) -> AsyncIterator[World]:
    """A world with a running controller in a new namespace."""
    namespace = f"test-{uuid.uuid4().hex[:10]}"
    async with Client(config) as client:
        await install_crd(client)
        await client.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        result = World(config, client, namespace)
        await result.start()
        try:
            yield result
        finally:
            await result.stop()
