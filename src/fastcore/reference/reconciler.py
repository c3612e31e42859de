"""Brings one WebApp's children and status in order with as few requests as that takes.

A new WebApp costs three writes: two applies and a status. One that is in order costs none, and no read either: reads
come from the informers, but for one look before a child that has vanished is made anew.

Before the spec's generation has been synced, both children are applied, because comparing values cannot see a field
that has left the spec. After that, a child is written only if it no longer covers what is asked for: drift.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastcore.cache import LRUCache
from fastcore.clock import utc_now
from fastcore.controller.adoption import ForeignObjectError
from fastcore.controller.batch import Apply, Patch
from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.context import Context
from fastcore.controller.controller import Controller
from fastcore.controller.cpus import default_concurrency
from fastcore.controller.errors import InvalidError, NotFoundError
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT, Kind, Request, Resource, Result
from fastcore.controller.options import Options
from fastcore.controller.predicates import SpecOrMetadataChanged, Where
from fastcore.diff import covers, fingerprint
from fastcore.reference.status import FAILED, IN_ORDER, Outcome, is_synced, status_of, synced_condition
from fastcore.reference.webapp import (
    FIELD_MANAGER,
    WEBAPP,
    config_map,
    deployment,
    is_leaving,
    is_owned,
    problems,
)

if TYPE_CHECKING:
    from fastcore.controller.manager import Manager

NAME = "webapp"
FOREIGN = "ForeignObject"
REMEMBERED = 65_536  # settled fingerprints: about 48 bytes each
RECHECK_FOREIGN_S = 60.0  # a foreign object does not name its WebApp, so its removal is no event for us
RECONCILE_TIMEOUT_S = 60.0

_CHILDREN: tuple[tuple[Kind, Callable[[Resource], Resource]], ...] = (
    (CONFIG_MAP, config_map),
    (DEPLOYMENT, deployment),
)

# A status that is not ours any more, such as one that another life of this program has written late, is drift as well.
_CHANGED = SpecOrMetadataChanged() | Where(
    updated=lambda old, new: old.get("status") != new.get("status"), deleted=lambda obj: False
)

Live = dict[Kind, Mapping[str, Any] | None]


def build(manager: "Manager", *, workers: int | None = None) -> Controller:
    """Add the reference controller to `manager`.

    Its caches hold every ConfigMap and Deployment of the workspace, not only labelled ones: an object of a child's
    name that carries no label of ours must be seen, or a server-side apply would adopt it silently.

    Args:
        manager: runs it.
        workers: reconciles at once, >= 1; None is 2 per usable processor, in 1..10.
    """
    reconciler = WebAppReconciler()
    manager.caches[NAME] = reconciler.settled
    options = Options(
        max_concurrent_reconciles=default_concurrency() if workers is None else workers,
        reconcile_timeout=RECONCILE_TIMEOUT_S,
        field_manager=FIELD_MANAGER,
        track_fields=False,
    )
    return (
        ControllerBuilder(manager, NAME)
        .for_(WEBAPP)
        .with_predicates(_CHANGED)
        .owns(CONFIG_MAP)
        .owns(DEPLOYMENT)
        .with_options(options)
        .complete(reconciler)
    )


class WebAppReconciler:
    """Reconciles WebApps.

    Args:
        now: gives the present time in UTC, for conditions.
        remembered: how many fingerprints it remembers, >= 1.

    Attributes:
        settled: fingerprints of desired and observed states in which there is nothing to do: all is in order, or only
            a change of one of them can help. A reconcile that finds one of these ends at once; any drift has another
            fingerprint.
    """

    def __init__(self, *, now: Callable[[], datetime] = utc_now, remembered: int = REMEMBERED) -> None:
        self._now = now
        self.settled: LRUCache[int, bool] = LRUCache(remembered)

    async def __call__(self, ctx: Context, request: Request) -> Result | None:
        """Bring the WebApp of `request` in order."""
        webapp = ctx.get(WEBAPP)
        if webapp is None or webapp["metadata"].get("deletionTimestamp"):
            return None  # the garbage collector takes the children
        live: Live = {kind: ctx.get(kind) for kind, _ in _CHILDREN}
        if self.settled.get(_mark(request, webapp, webapp.get("status"), live)) is not None:
            return None
        if None in live.values() and is_synced(webapp) and not await _is_still_there(ctx, webapp):
            return None
        wanted: dict[Kind, Resource] = {}
        outcome = await self._bring_in_order(ctx, webapp, live, wanted)
        written = await self._report(ctx, webapp, outcome, live[DEPLOYMENT])
        if outcome.reason == FOREIGN:
            return Result(requeue_after=RECHECK_FOREIGN_S)
        if outcome is IN_ORDER and not _is_as_asked(webapp, live, wanted):
            return None  # an answer shows what somebody has written meanwhile: its event brings the key back
        # Of the answer only the status: its spec may be one that somebody has written meanwhile, its uid another's.
        self.settled[_mark(request, webapp, written.get("status"), live)] = True
        return None

    async def _bring_in_order(
        self, ctx: Context, webapp: Resource, live: Live, wanted: dict[Kind, Resource]
    ) -> Outcome:
        """Write what is not as it should be; `live` then holds what the server answered, `wanted` what was asked."""
        if found := list(problems(webapp)):
            return Outcome("InvalidSpec", "; ".join(found), failed=True)
        for kind, child in live.items():
            if child is not None and is_leaving(child, webapp):
                return Outcome("WaitingForDeletion", f"the {kind.kind} of a former WebApp has to go first")
            if child is not None and not is_owned(child, webapp):
                return _foreign(kind, webapp)
        synced = is_synced(webapp)
        applies = []
        for kind, desired_of in _CHILDREN:
            child, desired = live[kind], desired_of(webapp)
            wanted[kind] = desired
            if child is None or not synced or not covers(child, desired):
                applies.append(Apply(kind, desired, live=child))
                if child is not None and synced:
                    ctx.log.info("repairing drift of the %s", kind.kind)
        results = await ctx.batch.run(applies)
        for result in results:
            if result.error is None:
                live[result.write.kind] = result.object
            elif isinstance(result.error, ForeignObjectError):
                return _foreign(result.write.kind, webapp)
            elif isinstance(result.error, InvalidError):
                return Outcome("Rejected", str(result.error), failed=True)
        results.raise_for_errors()
        await self._remove_foreign_keys(ctx, webapp, live)
        return IN_ORDER

    async def _remove_foreign_keys(self, ctx: Context, webapp: Resource, live: Live) -> None:
        """Data means exactly the spec's config, but an apply cannot remove keys that somebody else has added."""
        child = live[CONFIG_MAP]
        assert child is not None
        if foreign := _foreign_keys(webapp, child):
            ctx.log.info("removing foreign keys of the ConfigMap: %s", ", ".join(sorted(foreign)))
            meta = child["metadata"]
            patch = Patch(CONFIG_MAP, meta["namespace"], meta["name"], {"data": dict.fromkeys(foreign)})
            live[CONFIG_MAP] = (await ctx.batch.run([patch])).raise_for_errors()[0].object

    async def _report(
        self, ctx: Context, webapp: Resource, outcome: Outcome, deployment: Mapping[str, Any] | None
    ) -> Resource:
        """Write the status if it says something new, and an event when a failure begins or ends."""
        before = synced_condition(webapp)
        status = status_of(webapp, outcome, deployment, self._now())
        if status == webapp.get("status"):
            return webapp
        meta = webapp["metadata"]
        desired = {
            "apiVersion": WEBAPP.api_version,
            "kind": WEBAPP.kind,
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "status": status,
        }
        results = await ctx.batch.run([Apply(WEBAPP, desired, subresource="status")])
        written: Resource = results.raise_for_errors()[0].object
        if outcome.failed and before.get("reason") != outcome.reason:
            ctx.events.event(webapp, "Warning", outcome.reason, outcome.message)
        elif outcome.synced and (webapp.get("status") or {}).get("phase") == FAILED:
            ctx.events.event(webapp, "Normal", "Recovered", f"{outcome.message}; before: {before.get('reason')}")
        return written


async def _is_still_there(ctx: Context, webapp: Resource) -> bool:
    """Ask the server. A child that is gone may be the garbage collector's work, heard of before the deletion of the
    WebApp itself, since each kind has a watch of its own: making the child anew would leave an orphan."""
    try:
        now = await ctx.client.get(WEBAPP, ctx.request.namespace, ctx.request.name)
    except NotFoundError:
        return False
    return bool(now["metadata"]["uid"] == webapp["metadata"]["uid"] and not now["metadata"].get("deletionTimestamp"))


def _foreign(kind: Kind, webapp: Resource) -> Outcome:
    name = webapp["metadata"]["name"]
    return Outcome(
        FOREIGN,
        f"a {kind.kind} {name!r} exists that this WebApp does not own: delete or rename one of them",
        failed=True,
    )


def _foreign_keys(webapp: Resource, child: Mapping[str, Any]) -> set[str]:
    return (child.get("data") or {}).keys() - (webapp["spec"].get("config") or {}).keys()


def _is_as_asked(webapp: Resource, live: Live, wanted: Mapping[Kind, Resource]) -> bool:
    for kind, desired in wanted.items():
        child = live[kind]
        if child is None or not covers(child, desired):
            return False
        if kind is CONFIG_MAP and _foreign_keys(webapp, child):
            return False
    return True


def _mark(request: Request, webapp: Resource, status: Resource | None, live: Live) -> int:
    """A fingerprint of everything that a reconcile depends on: desired state (uid and generation stand for the spec)
    and observed state."""
    meta = webapp["metadata"]
    return fingerprint(
        [
            request.workspace,
            meta["uid"],
            meta["generation"],
            status,
            _observed(live[CONFIG_MAP], "data"),
            _observed(live[DEPLOYMENT], "spec", "status"),
        ]
    )


def _observed(child: Mapping[str, Any] | None, *parts: str) -> list[object]:
    if child is None:
        return []
    meta = child["metadata"]
    return [
        meta.get("labels"),
        meta.get("ownerReferences"),
        meta.get("deletionTimestamp"),
        meta.get("generation"),
        *(child.get(part) for part in parts),
    ]
