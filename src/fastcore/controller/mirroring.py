"""Objects of a kind mirrored into a SQL store, by a controller that writes there what the cache has.

Being a controller it has a queue, retries with back-off, metrics and a turn in each workspace that comes. What was
deleted while nobody looked leaves no event: a sweep compares the store with the caches once they are synced, and again
from time to time.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastcore.controller.context import Context
from fastcore.controller.informer import Informer
from fastcore.controller.model import SECRET, Kind, Request
from fastcore.objects import thaw
from fastcore.store import QueryOptions, Resource, ResourceStore, StoreError, VersionConflict

if TYPE_CHECKING:
    from fastcore.controller.controller import Controller
    from fastcore.controller.manager import Manager

log = logging.getLogger("fastcore.controller")

_PAGE = 1000
_SYNC_LOOK_S = 0.2
SWEEP_S = 600.0


def stored_kind(kind: Kind) -> str:
    """The kind's name in the store: "Deployment.apps", "Pod"."""
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


class Mirror:
    """The reconciler of a mirror: the row becomes what the cache has, or goes.

    Args:
        store: where to.
        kind: of what; not Secrets, whose values a store would keep in the clear.
        sweep: seconds between two comparisons of all, >= 1.

    Raises:
        ValueError: the kind is Secret, or `sweep` is below 1.
    """

    def __init__(self, store: ResourceStore, kind: Kind, *, sweep: float = SWEEP_S) -> None:
        if kind == SECRET:
            raise ValueError("Secrets are not mirrored: their values would be in the store, and in its backups")
        if not sweep >= 1:
            raise ValueError(f"sweep must be >= 1 second, not {sweep!r}")
        self._store = store
        self._kind = kind
        self._name = stored_kind(kind)
        self._sweep = sweep

    async def __call__(self, ctx: Context, request: Request) -> None:
        """Write or delete one."""
        obj = ctx.get(self._kind)
        if obj is None:
            await self._store.delete(request.workspace, self._name, request.namespace, request.name)
        else:
            await self._store.upsert(self._row(request, obj))

    async def sweep(self, manager: "Manager", controller: "Controller") -> None:
        """Delete the rows of what is gone, whenever a workspace has come, and every so often; until cancelled.

        Only while the controller works: the cache of a replica that stands by may be behind what the leader has stored.
        """
        swept: set[str] = set()
        loop = asyncio.get_running_loop()
        again = loop.time() + self._sweep
        while True:
            if loop.time() >= again:
                swept.clear()
                again = loop.time() + self._sweep
            informers = [informer for informer in manager.informers() if informer.kind == self._kind]
            if not controller.working:
                swept.clear()
                informers = []
            for informer in informers:
                name = informer.workspace.name
                if informer.synced and name in manager.workspaces and name not in swept:
                    try:
                        await self._sweep_one(informer)
                    except StoreError as error:
                        log.warning("the rows of %s in %s were not compared: %s", self._name, name, error)
                    else:
                        swept.add(name)
            swept &= {informer.workspace.name for informer in informers}
            settled = bool(informers) and len(swept) >= len(informers)
            await asyncio.sleep(1.0 if settled else _SYNC_LOOK_S)

    async def _sweep_one(self, informer: Informer) -> None:
        workspace, cursor, gone = informer.workspace.name, None, 0
        filters = {"namespace": informer.namespace} if informer.namespace else {}
        while True:
            options = QueryOptions(workspace, self._name, _PAGE, cursor, order_by=["name"], filters=filters)
            page = await self._store.list(options)
            for row in page.items:
                if informer.get(row.namespace, row.name) is None:
                    try:  # unless a reconcile has written it since
                        gone += await self._store.delete(
                            workspace, self._name, row.namespace, row.name, expected_version=row.version
                        )
                    except VersionConflict:
                        continue
            cursor = page.cursor
            if cursor is None:
                break
        if gone:
            log.info("%d rows of %s in %s were of objects that are gone", gone, self._name, workspace)

    def _row(self, request: Request, obj: Mapping[str, Any]) -> Resource:
        metadata = thaw(obj["metadata"])
        created = metadata.get("creationTimestamp")
        return Resource(
            request.workspace,
            self._name,
            request.namespace,
            request.name,
            thaw(obj.get("spec") or {}),
            thaw(obj.get("status") or {}),
            metadata,
            created_at=None if created is None else datetime.fromisoformat(created),
        )
