"""The reconcile loop of one controller: a queue of keys, workers, and what becomes of each result.

A key is in the queue at most once and with one worker at most (CT-4). Whatever a reconcile ends with, one of four
things happens to its key, before `done` lets it be handed out again: it is forgotten, delayed, retried with back-off,
or dropped.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from operator import itemgetter
from time import monotonic_ns

from fastcore.clock import NS_PER_S, own_clock
from fastcore.controller import observing
from fastcore.controller.concurrency import Pace
from fastcore.controller.context import Scope
from fastcore.controller.counters import ReconcileCounters
from fastcore.controller.guards import Guards
from fastcore.controller.handlers import EVENTS, Shown, Watch, WatchHandler
from fastcore.controller.history import History, Story
from fastcore.controller.invocation import Invocation, Reconciler
from fastcore.controller.ledger import Ledger, collector_watch
from fastcore.controller.model import Kind, Request
from fastcore.controller.options import Options, default_limiter
from fastcore.controller.processing import process
from fastcore.controller.recorder import FlightRecorder
from fastcore.controller.tenancy import Tenancy
from fastcore.controller.turn import Turn, Written
from fastcore.errors import FastcoreError, ShutDown
from fastcore.queue import WorkQueue

log = logging.getLogger("fastcore.controller")

_SLICE = 500  # objects that are shown before other tasks have a turn


class CacheSyncTimeout(FastcoreError, TimeoutError):
    """The first lists of a controller did not come within `Options.cache_sync_timeout` (CT-7)."""


class Controller:
    """Reconciles one kind; made by `ControllerBuilder.complete`, run by its manager.

    Args:
        name: unique in its manager (CT-9).
        kind: the primary kind.
        watches: what leads to a reconcile.
        reconciler: `reconcile(ctx, request)`; a coroutine function runs on the event loop, a plain one in a pool of
            `max_concurrent_reconciles` threads.
        options: how it runs.

    Attributes:
        queue: the keys that wait.
        counters: what happened so far.
        pace: how many reconciles run at once.
        tenancy: how many of them a workspace may have.
        guards: what keeps keys from being reconciled for a while.
        ledger: where the time goes.
        history: what is remembered of keys.
        flight: what happened of late.
        owns: says whether a key is this replica's; None if they all are.
        left_behind: a reconcile may still be running in a thread although `stop` has returned.
        parting: a workspace has been taken away, so that keys of none are no surprise.
        invocation: how the reconciler is called.
        watched: the names of the watched kinds, as `cause_names` takes them.

    Thread safety: belongs to the manager's event loop; any thread may call `queue.add`.
    """

    def __init__(
        self, name: str, kind: Kind, watches: tuple[Watch, ...], reconciler: Reconciler, options: Options
    ) -> None:
        clock = own_clock()
        self.name = name
        self.kind = kind
        self.watches = watches
        self.options = options
        self.counters = ReconcileCounters()
        self.limiter = default_limiter() if options.limiter is None else options.limiter
        self.queue: WorkQueue[Request] = WorkQueue(limiter=self.limiter, fair_by=itemgetter(0), clock=clock, name=name)
        self.clock = clock or monotonic_ns
        self.pace = Pace(options.max_concurrent_reconciles, adaptive=options.adaptive)
        self.tenancy = Tenancy(options.max_concurrent_per_workspace)
        self.guards = Guards(name, kind, options, clock)
        self.ledger = Ledger()
        self.history = History()
        self.owns: Callable[[Request], bool] | None = None
        self.left_behind = False
        self.parting = False
        self.invocation = Invocation(name, reconciler, options, self.counters)
        self.watched = tuple(watch.kind.kind for watch in watches)
        self.flight = FlightRecorder(options.flight_bytes, self.watched)
        self._interval_ns = round(options.min_interval * NS_PER_S)
        self._scopes: dict[str, Scope] = {}
        self._partings: list[asyncio.Event] = []  # set when a reconcile ends
        self._causes: dict[Request, int] = {}
        self._running: dict[Request, Turn] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False

    def enqueue(self, request: Request, priority: int = 0, cause: int = 0, shown: Shown | None = None) -> None:
        """Queue a key.

        Args:
            request: the key.
            priority: of its turn.
            cause: a bit mask over watches and events, four bits a watch.
            shown: the event behind it. One that comes while the key is reconciled waits until the reconcile has
                ended: only then is it known whether it shows anything but what the reconcile wrote itself.
        """
        if self.owns is not None and not self.owns(request):
            return  # whoever owns it has seen the same
        version = None
        if shown is not None:
            now = self.clock()
            old, version = versions = shown.versions()
            self.history.passed(request, now, shown, versions)
            self.flight.event(now, request, shown.kind.kind, shown.event, shown.key(), old, version)
            turn = self._running.get(request)
            if turn is not None and turn.hold(priority, cause, shown):
                return
        self._queue(request, priority, cause, version)

    def _queue(self, request: Request, priority: int, cause: int, version: str | None) -> None:
        if cause:
            self._causes[request] = self._causes.get(request, 0) | cause
        self.guards.detector.noticed(request, version)
        if self._interval_ns and (story := self.history.known(request)) is not None and story.started_ns:
            early = story.started_ns + self._interval_ns - self.clock()
            if early > 0:
                self.queue.add_after(request, early / NS_PER_S)
                return
        self.queue.add(request, priority)

    def dropped(self, handler: WatchHandler, shown: Shown) -> None:
        """Note an event that a predicate dropped."""
        now = self.clock()
        self.history.dropped(now, handler, shown)
        self.flight.event(now, None, shown.kind.kind, shown.event, shown.key(), *shown.versions())

    def failed_event(self) -> None:
        """Count an event that a predicate or mapper could not digest."""
        self.counters.lost_events += 1

    def scope(self, workspace: str) -> Scope | None:
        """The controller's part in a workspace, or None if it has none there."""
        return self._scopes.get(workspace)

    @property
    def working(self) -> bool:
        """Whether its workers run: its caches are synced, and it has the lead if it needs one."""
        return bool(self._workers)

    def running(self, request: Request) -> Turn | None:
        """The reconcile of `request` that is under way, or None."""
        return self._running.get(request)

    def reconciling(self) -> list[Request]:
        """The keys whose reconcile is under way."""
        return list(self._running)

    def pending_causes(self, request: Request) -> tuple[int, tuple[str, ...]] | None:
        """What will be the causes of the next reconcile of `request`, as `cause_names` takes them; None if nothing."""
        mask = self._causes.get(request)
        return None if mask is None else (mask, self.watched)

    def connect(self, scopes: Mapping[str, Scope]) -> None:
        """Work in these workspaces; before the informers start, so that no event is missed."""
        for workspace, scope in scopes.items():
            self.engage(workspace, scope)

    def engage(self, workspace: str, scope: Scope) -> None:
        """Work in a workspace: add a handler to each of its informers. What they hold already is queued."""
        self._scopes[workspace] = scope
        for i, watch in enumerate(self.watches):
            scope.informers[watch.kind].add_handler(self._handler(workspace, i, watch))

    async def disengage(self, workspace: str) -> None:
        """Forget a workspace and its keys; running reconciles get their grace first. Safe to call twice."""
        if self._scopes.pop(workspace, None) is None:
            return
        self.parting = True
        await self._ended_in(workspace)
        self.queue.discard(workspace)  # a key with back-off is in the queue; what comes late is dropped by `process`
        for request in [request for request in self._causes if request.workspace == workspace]:
            del self._causes[request]
        self.tenancy.forget(workspace)
        self.guards.forget(workspace)
        self.history.forget(workspace)

    async def _ended_in(self, workspace: str) -> None:
        """Wait until no reconcile of a workspace runs, or its grace is over."""
        ended = asyncio.Event()
        self._partings.append(ended)
        try:
            async with asyncio.timeout(self.options.shutdown_grace):
                while any(request.workspace == workspace for request in self._running):
                    ended.clear()
                    await ended.wait()
        except TimeoutError:
            log.warning("controller %s: a reconcile in %s goes on after its workspace is gone", self.name, workspace)
        finally:
            self._partings.remove(ended)

    async def show_again(self) -> None:
        """Show every cached object as if it had just been listed: keys have become ours."""
        for name, scope in list(self._scopes.items()):
            for i, watch in enumerate(self.watches):
                handler = self._handler(name, i, watch)
                for j, obj in enumerate(scope.informers[watch.kind].list(), 1):
                    handler.on_add(obj, True)
                    if j % _SLICE == 0:
                        await asyncio.sleep(0)  # other tasks have their turn

    def _handler(self, workspace: str, number: int, watch: Watch) -> WatchHandler:
        return WatchHandler(workspace, self, watch.kind, watch.predicate, watch.mapper, number * len(EVENTS))

    async def run(self) -> None:
        """Wait for the caches, then reconcile until `stop`; returns when the workers have ended.

        Raises:
            CacheSyncTimeout: an informer was not synced in time.
            Exception: a bug in the reconciler, if `recover_panic` is False.
        """
        await self._wait_synced()
        if self._stopping:
            return
        self.invocation.open()
        self._workers = [
            asyncio.create_task(self._work(), name=f"{self.name}-worker-{i}")
            for i in range(self.options.max_concurrent_reconciles)
        ]
        collector_watch.start()
        try:
            ended, _ = await asyncio.wait(self._workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            collector_watch.stop()
            await self._end_workers()
        for worker in ended:
            if not worker.cancelled():
                worker.result()

    async def stop(self, *, grace: float | None = None) -> list[Request]:
        """Hand out no more keys, give running reconciles `grace` seconds, then cancel them (CT-10).

        Args:
            grace: seconds, >= 0; None is `Options.shutdown_grace`.

        Returns:
            The keys whose reconcile was cut short.
        """
        self._stopping = True
        self.queue.shut_down()
        self.pace.release()
        if self._workers:
            await asyncio.wait(self._workers, timeout=self.options.shutdown_grace if grace is None else grace)
        cut = sorted(self._running)
        fate = (
            "is cancelled" if self.invocation.is_async else "is left behind in its thread, which ends with the process"
        )
        for request in cut:
            log.warning("controller %s: the reconcile of %s did not end in time and %s", self.name, request, fate)
        await self._end_workers()
        self.left_behind = bool(cut) and not self.invocation.is_async
        return cut

    async def _end_workers(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self.invocation.close()

    async def _wait_synced(self) -> None:
        informers = [informer for scope in self._scopes.values() for informer in scope.informers.values()]
        timeout = self.options.cache_sync_timeout
        results = await asyncio.gather(*(i.wait_synced(timeout) for i in informers), return_exceptions=True)
        late = [result for result in results if isinstance(result, BaseException)]
        if late and not self._stopping:
            raise CacheSyncTimeout(f"controller {self.name!r}: {'; '.join(map(str, late))}") from late[0]

    async def _work(self) -> None:
        queue, pace = self.queue, self.pace
        while not self._stopping:
            if pace.full():
                await pace.room()
            pace.take()
            try:
                request = await queue.aget()
            except ShutDown:
                return
            else:
                try:
                    if not self._stopping:
                        await self._in_its_place(request)
                finally:
                    queue.done(request)
            finally:
                pace.leave()

    async def _in_its_place(self, request: Request) -> None:
        if not self.tenancy.enter(request):
            self.flight.held(self.clock(), request, "workspace full", 0.0)
            return
        try:
            await process(self, request)
        finally:
            waiting = self.tenancy.leave(request)
            if waiting is not None:
                self.queue.add(waiting)

    def wrote(self, turn: Turn, write: Written) -> None:
        """Take the answer to a write of `turn`."""
        observing.take(turn, write, self.guards.detector, mute=self.options.mute_own_events)

    def drop(self, request: Request, why: str) -> None:
        """A key that was taken is not ours: forget what led to it."""
        self.flight.drop(self.clock(), request, why, 0)
        self._causes.pop(request, None)
        self.queue.forget(request)

    def begin(self, turn: Turn) -> int:
        """A reconcile begins: events of its key are held from now on. Returns what caused it."""
        self.counters.active_workers += 1
        self._running[turn.request] = turn
        return self._causes.pop(turn.request, 0)

    def end(self, turn: Turn) -> None:
        """A reconcile has ended, in whatever way."""
        del self._running[turn.request]
        for parting in self._partings:
            parting.set()
        turn.ended = True
        self.counters.active_workers -= 1

    def release(self, turn: Turn, story: Story) -> None:
        """Queue what came for the key while it was reconciled, but for what the reconcile itself brought about."""
        own = 0
        for held in turn.held:
            if turn.is_own(held.shown):
                own += 1
            else:
                self._queue(turn.request, held.priority, held.cause, held.shown.versions()[1])
        if own:
            self.counters.own_events += own
            story.suppressed += own
            self.flight.drop(self.clock(), turn.request, "own write", own)
