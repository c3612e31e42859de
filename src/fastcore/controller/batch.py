"""Several writes at once: a few in flight, in waves of what needs what, with a result each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastcore.clock import Clock, monotonic_ns
from fastcore.controller.adoption import apply_guarded, create_guarded
from fastcore.controller.client import Client
from fastcore.controller.errors import ApiError
from fastcore.controller.established import wait_established
from fastcore.controller.managed import drops_nothing
from fastcore.controller.model import Kind, Resource
from fastcore.controller.plan import BatchPlan, Step, foresee, seen
from fastcore.controller.planner import Chain, waves
from fastcore.controller.results import BatchError, BatchResults, DependencyError, ItemResult
from fastcore.controller.writes import (
    Adopt,
    Apply,
    Create,
    Delete,
    Patch,
    Update,
    Write,
    key_of_write,
    target_of,
)
from fastcore.diff import covers

__all__ = [
    "Adopt", "Apply", "Batch", "BatchError", "BatchPlan", "BatchResults", "Create", "Delete", "DependencyError",
    "ItemResult", "Patch", "Step", "Update", "Write", "key_of_write",
]  # fmt: skip

Live = Mapping[str, Any]


class Batch:
    """Runs writes against one server, at most `limit` at a time.

    The limit is the batch's: runs that overlap share it. What the writes need of each other decides their order, as
    `fastcore.controller.planner` has it: writes to one object follow each other, owners come before what they own, a
    CRD is waited for until its objects can be written, a Namespace comes before a ConfigMap, a ConfigMap before a
    Deployment, creations before changes, and deletions last and in reverse. Each write gets a result. None stops
    another, but for those that were named `after` it, that it owns, or that it defines: they are not sent.

    An apply to an object of somebody else is refused with a ForeignObjectError, as `fastcore.controller.adoption` has
    it, also if that object appears while the apply is on its way.

    Args:
        client: sends the writes.
        limit: writes in flight at most, >= 1.
        field_manager: in whose name the writes are made.
        observe: told of each answer at once, such as an informer's `observe`, so that the next read sees it.
        lookup: gives the live object of kind, namespace and name from an informer, or None, for applies without
            `live`; it raises LookupError for a kind that it does not know.
        adopt: "never" applies only to objects of our own, "unowned" also to those that no controller owns, "always"
            to any.
        established_timeout: seconds that a CRD may take to be established, > 0.
        clock: integer nanoseconds.
        sleep: waits so many seconds.

    Raises:
        ValueError: `limit` is less than 1, there is no field manager, or `adopt` is none of the three.

    Complexity: at most `limit` tasks a run, however many writes; O(n log n) to put n writes in order.
    Thread safety: use from one event loop. Cancelling `run` cancels what is in flight, and starts nothing more.

    Example:
        results = await Batch(client).run([Apply(CONFIG_MAP, desired, live=ctx.get(CONFIG_MAP))])
        results.raise_for_errors()
    """

    def __init__(
        self,
        client: Client,
        *,
        limit: int = 5,
        field_manager: str = "fastcore",
        observe: Callable[[Kind, Resource], None] | None = None,
        lookup: Callable[[Kind, str, str], Live | None] | None = None,
        adopt: Adopt = "never",
        established_timeout: float = 30.0,
        clock: Clock = monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, not {limit!r}")
        if not field_manager:
            raise ValueError("a batch needs a field manager")
        if adopt not in ("never", "unowned", "always"):
            raise ValueError(f'adopt must be "never", "unowned" or "always", not {adopt!r}')
        if not established_timeout > 0:
            raise ValueError(f"established_timeout must be > 0 seconds, not {established_timeout!r}")
        self._client = client
        self._limit = limit
        self._field_manager = field_manager
        self._observe = observe
        self._lookup = lookup
        self._adopt: Adopt = adopt
        self._established_timeout = established_timeout
        self._clock = clock
        self._sleep = sleep
        self._slots = asyncio.Semaphore(limit)

    async def run(self, writes: Iterable[Write]) -> BatchResults:
        """Do every write that is needed and return what became of each, in the order given.

        Raises:
            PlanError: writes wait for each other; nothing was sent.
        """
        ordered = list(writes)
        live = [self._live_of_apply(write) for write in ordered]
        if len(ordered) == 1:
            return BatchResults([await self._run_one(ordered[0], live[0])])
        return BatchResults(await _Run(self, ordered, live).results(waves(ordered, live)))

    async def plan(self, writes: Iterable[Write], *, dry_run: bool = False) -> BatchPlan:
        """What `run` would do, in its order, with the changes to each live object. Nothing is stored.

        Args:
            writes: as for `run`.
            dry_run: ask the server: each write is sent as a dry run, which validates, defaults and admits it. What
                needs something that is not there yet (its namespace, its CRD) is refused. Otherwise no request is
                sent: live objects are those of the writes and of `lookup`, and what is in neither counts as absent.

        Raises:
            PlanError: writes wait for each other.
        """
        ordered = list(writes)
        live = [self._known(write) for write in ordered]
        if dry_run:
            live = [known or await self._read(write) for write, known in zip(ordered, live, strict=True)]
        order = waves(ordered, live)
        if not dry_run:
            return BatchPlan(foresee(ordered, live, order, self._field_manager, self._adopt))
        results = await _Run(self, ordered, live, dry_run=True).results(order)
        return BatchPlan(seen(results, live, order))

    def _known(self, write: Write) -> Live | None:
        if isinstance(write, Apply) and write.live is not None:
            return write.live
        if self._lookup is None or not (target := target_of(write)).name:
            return None
        try:
            return self._lookup(write.kind, target.namespace, target.name)
        except LookupError:
            return None

    def _live_of_apply(self, write: Write) -> Live | None:
        return self._known(write) if isinstance(write, Apply) else None

    async def _read(self, write: Write) -> Live | None:
        target = target_of(write)
        try:
            async with self._slots:
                return await self._client.get(write.kind, target.namespace, target.name) if target.name else None
        except (ApiError, ValueError):
            return None  # the dry run says why

    async def _run_one(self, write: Write, live: Live | None, *, dry_run: bool = False) -> ItemResult:
        key = key_of_write(write)
        try:
            if isinstance(write, Apply) and live is not None and self._is_in_order(write, live):
                return ItemResult(write, key, object=live, skipped=True)
            async with self._slots:
                answer = await self._send(write, live, dry_run)
            if self._observe is not None and not dry_run and not isinstance(write, Delete):
                self._observe(write.kind, answer)
        except Exception as error:
            error.add_note(f"while doing: {key}")
            return ItemResult(write, key, error=error)
        return ItemResult(write, key, object=answer)

    async def _send(self, write: Write, live: Live | None, dry_run: bool) -> Resource:
        client, manager = self._client, self._field_manager
        match write:
            case Apply(kind, obj, _, force, subresource, adopt):
                adopt = adopt or self._adopt
                if subresource is None and adopt != "always":
                    return await apply_guarded(client, write, live, manager=manager, adopt=adopt, dry_run=dry_run)
                return await client.apply(
                    kind, obj, field_manager=manager, force=force, subresource=subresource, dry_run=dry_run
                )
            case Create():
                return await create_guarded(client, write, manager=manager, dry_run=dry_run)
            case Update(kind, obj, subresource):
                return await client.update(kind, obj, subresource=subresource, field_manager=manager, dry_run=dry_run)
            case Patch(kind, namespace, name, patch, patch_type, subresource):
                return await client.patch(
                    kind, namespace, name, patch,
                    patch_type=patch_type, subresource=subresource, field_manager=manager, dry_run=dry_run,
                )  # fmt: skip
            case Delete(kind, namespace, name, uid, propagation):
                preconditions = {"uid": uid} if uid else None
                return await client.delete(
                    kind, namespace, name, preconditions=preconditions, propagation=propagation, dry_run=dry_run
                )

    def _is_in_order(self, write: Apply, live: Live) -> bool:
        if not live["metadata"].get("managedFields"):
            return False  # nothing could be known to have left: no need to compare
        return covers(live, write.obj) and drops_nothing(live, write.obj, self._field_manager, write.subresource or "")

    async def _wait_established(self, crd: Live, kind: Kind) -> None:
        await wait_established(
            self._client, crd, kind, timeout=self._established_timeout, clock=self._clock, sleep=self._sleep
        )


class _Run:
    """One run of several writes."""

    def __init__(
        self, batch: Batch, writes: Sequence[Write], live: Sequence[Live | None], *, dry_run: bool = False
    ) -> None:
        self._batch = batch
        self._writes = writes
        self._live = live
        self._dry_run = dry_run
        self._results: dict[int, ItemResult] = {}
        self._failed: dict[int, tuple[str, Exception]] = {}  # of chains, by id

    async def results(self, order: list[list[Chain]]) -> list[ItemResult]:
        for wave in order:
            if len(wave) == 1:
                await self._do(wave[0])
            else:
                await self._do_all(wave)
        return [self._results[place] for place in range(len(self._writes))]

    async def _do_all(self, wave: list[Chain]) -> None:
        waiting = iter(wave)

        async def worker() -> None:
            for chain in waiting:
                await self._do(chain)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._batch._limit, len(wave))):
                tasks.create_task(worker())

    async def _do(self, chain: Chain) -> None:
        results, writes, known = self._results, self._writes, self._live
        broken = next((found for need in chain.needs if (found := self._failed.get(id(need)))), None)
        answered, live = False, None
        for place in chain.places:
            write = writes[place]
            if broken is not None:
                result = _not_sent(write, *broken)
            else:
                result = await self._batch._run_one(write, live if answered else known[place], dry_run=self._dry_run)
            results[place] = result
            if result.error is not None:
                self._failed.setdefault(id(chain), (result.key, result.error))
            elif not self._dry_run and getattr(write, "subresource", None) != "scale":  # which answers another kind
                answered, live = True, None if isinstance(write, Delete) else result.object
        for place, original in chain.repeats.items():
            result = results[original]
            results[place] = replace(result, write=writes[place], skipped=result.error is None)
        if chain.defines is not None and live is not None and id(chain) not in self._failed:
            try:
                await self._batch._wait_established(live, chain.defines)
            except Exception as error:
                self._failed[id(chain)] = (key_of_write(writes[chain.places[0]]), error)


def _not_sent(write: Write, needed: str, cause: Exception) -> ItemResult:
    key = key_of_write(write)
    error = DependencyError(f"{key} was not sent, because it needs {needed}, which failed: {cause}")
    error.__cause__ = cause
    return ItemResult(write, key, error=error)
