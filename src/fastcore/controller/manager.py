"""Runs controllers: clients, shared informers, the pages for operators, signals, and an orderly end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fastcore.controller import signals
from fastcore.controller.availability import Availability
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.controller import Controller
from fastcore.controller.engagement import Engagements, WorkspaceProvider
from fastcore.controller.informer import Informer
from fastcore.controller.leader import LeaderElection
from fastcore.controller.lease import LeaseLost
from fastcore.controller.lifecycle import run_until
from fastcore.controller.model import Kind
from fastcore.controller.pages import add_pages
from fastcore.controller.shard import Sharding
from fastcore.controller.snapshot import Snapshots
from fastcore.controller.sources import Sources
from fastcore.controller.workspace import Workspace, Workspaces
from fastcore.observe import HttpServer
from fastcore.observe.logs import Levels

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from fastcore.controller.mirroring import Mirror
    from fastcore.store import ResourceStore

log = logging.getLogger("fastcore.controller")

_LEASE_CONNECTIONS = 2
RESYNC_S = 36_000.0  # ten hours, as controller-runtime

Check = Callable[[], str | None]
"""Returns None, or what is wrong."""


class CountingCache(Protocol):
    """A cache whose `stats()` count hits and misses: those of `fastcore.cache`."""

    def stats(self) -> Any:
        """Its counters, with `hits` and `misses`."""
        ...


class Manager:
    """Runs controllers over one or more workspaces until it is told to stop.

    Informers are shared: two controllers that watch the same kind with the same selectors in the same workspace use
    one list, one watch and one cache.

    Args:
        config: the API server; None loads the kubeconfig, else the pod's service account, when it runs.
        workspaces: `Workspace` objects, which the caller closes, or the names of workspaces on `config`'s server (its
            paths `/clusters/<name>`, or namespaces where it has none), or a `WorkspaceProvider`, which adds and removes
            them while the manager runs; None is one workspace, "default": all of it.
        metrics_port: serves /metrics, /healthz and /readyz; 0 picks a free port (`manager.server.port`), None serves
            nothing.
        metrics_host: address of these pages, loopback by default.
        leader_election: of several replicas one works, and the others stand by with warm caches; True is
            `LeaderElection()`. The Lease is on `config`'s server, or where the first of the given `Workspace`s is.
        sharding: all replicas work, each on keys of its own; instead of `leader_election`.
        resync: seconds, >= 1, after which every cached object is shown to its controllers again, without a request
            (IN-5); None is never.
        streaming: informers start with a stream where the server has it, instead of lists (RF-2).
        snapshots: a directory where informers save what they mirror, and from which they begin: a restart then asks
            the server for what has changed since, not for everything. None saves nothing.
        registry: a prometheus registry to export to; None is one of its own, with metrics of the process. Managers
            may share one.
        handle_signals: stop at SIGTERM and SIGINT, where `run` is called in the main thread; a second signal then has
            its usual effect.

    Attributes:
        controllers: by name.
        workspaces: by name; filled by `run`.
        caches: exported as `cache_requests_total` under their names; add yours.
        health: checks of /healthz by name; add yours.
        readiness: checks of /readyz by name; add yours.
        server: serves the pages, or None.
        availability: this manager's place among its replicas.

    Raises:
        ValueError: `resync` is out of range, others may write to the directory of `snapshots`, or both leader election
            and sharding are asked for.
        OSError: that directory cannot be made.

    Thread safety: belongs to one event loop; `stop` may be called from any thread while it runs.

    Example:
        manager = Manager(await ClientConfig.load(), metrics_port=8080)
        ControllerBuilder(manager, "webapp").for_(WEBAPP).complete(reconcile)
        await manager.run()
    """

    def __init__(
        self,
        config: ClientConfig | None = None,
        *,
        workspaces: Iterable[Workspace] | Iterable[str] | WorkspaceProvider | None = None,
        metrics_port: int | None = None,
        metrics_host: str = "127.0.0.1",
        leader_election: bool | LeaderElection | None = None,
        sharding: Sharding | None = None,
        resync: float | None = RESYNC_S,
        streaming: bool = True,
        snapshots: str | Path | None = None,
        registry: "CollectorRegistry | None" = None,
        handle_signals: bool = True,
    ) -> None:
        if resync is not None and not resync >= 1:
            raise ValueError(f"resync must be >= 1 second or None, not {resync!r}")
        self.availability = Availability(leader_election, sharding)
        self._config = config
        self._provider: WorkspaceProvider | None = None
        self._wanted: list[Workspace | str] | None = None
        if isinstance(workspaces, WorkspaceProvider):
            self._provider = workspaces
        elif workspaces is not None:
            self._wanted = list(workspaces)
        self._resync = resync
        self._streaming = streaming
        self._snapshots = None if snapshots is None else Snapshots(snapshots)
        self._registry = registry
        self._handle_signals = handle_signals
        self._sources: Sources | None = None
        self._engagements: Engagements | None = None
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = False
        self._mirrors: list[tuple[Mirror, Controller]] = []
        self.controllers: dict[str, Controller] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.caches: dict[str, CountingCache] = {}
        self.health: dict[str, Check] = {"ping": lambda: None}
        self.readiness: dict[str, Check] = {"informers": self._unready}
        self.server: HttpServer | None = None
        if metrics_port is not None:
            self.server = HttpServer(metrics_host, metrics_port)
        if registry is not None or metrics_port is not None:
            self.export()

    def export(self) -> "CollectorRegistry":
        """The registry with this manager's metrics; made and filled at the first call."""
        from fastcore.controller.metrics import attach, own_registry

        if self._registry is None:
            self._registry = own_registry()
        attach(self._registry, self)
        return self._registry

    def request_stats(self) -> list[dict[tuple[str, str, str], int]]:
        """The request counters of every workspace's client; clients that share connections share them."""
        return [workspace.client.stats for workspace in self.workspaces.values()]

    def informers(self) -> list[Informer]:
        """The informers of all workspaces; none before `run`."""
        return [] if self._sources is None else self._sources.informers()

    def check_name(self, name: str) -> None:
        """Refuse a controller name that this manager, or one with the same registry, already has (CT-9).

        Raises:
            ValueError: the name is taken.
        """
        if name in self.controllers:
            raise ValueError(f"the controller name {name!r} is taken: names are unique in a manager")
        if self._registry is not None:
            from fastcore.controller.metrics import controller_names

            if name in controller_names(self._registry):
                raise ValueError(f"the controller name {name!r} is taken by another manager of the same registry")

    def add(self, controller: Controller) -> None:
        """Register a controller; `ControllerBuilder.complete` calls this.

        Raises:
            ValueError: the name is taken, or the manager has been started.
        """
        if self._started:
            raise ValueError(f"controller {controller.name!r} comes too late: the manager has been started")
        self.check_name(controller.name)
        self.controllers[controller.name] = controller

    def mirror(self, store: "ResourceStore", kind: Kind, *, sweep: float = 600.0) -> Controller:
        """Keep a copy of every object of `kind`, in all workspaces, in a SQL store: spec, status and metadata.

        Rows of what was deleted meanwhile go once the cache is synced. It is a controller, "mirror-" and the plural,
        and so waits for the lead where there is an election. Call it before `run`; the store stays yours to close.

        Args:
            store: where to; rows have the workspace's name, and "Deployment.apps" for a kind with a group.
            kind: of what; not Secrets.
            sweep: seconds between two comparisons of all rows with the cache, >= 1.

        Raises:
            ValueError: the kind is Secret or mirrored already, `sweep` is below 1, or the manager has been started.
        """
        from fastcore.controller.builder import ControllerBuilder
        from fastcore.controller.mirroring import Mirror
        from fastcore.controller.options import Options
        from fastcore.controller.predicates import ResourceVersionChanged

        mirror = Mirror(store, kind, sweep=sweep)
        builder = ControllerBuilder(self, f"mirror-{kind.plural}").for_(kind)
        every = builder.with_predicates(ResourceVersionChanged())  # a new status counts, too
        controller = every.with_options(Options(track_fields=False)).complete(mirror)
        self._mirrors.append((mirror, controller))
        return controller

    def stop(self) -> None:
        """Make `run` end in order; any thread may call it."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        else:
            self._stop.set()

    async def run(self) -> None:
        """Run every controller until `stop`, a signal, or a failure; then end in order and leave nothing behind.

        Raises:
            ValueError: there is no controller, no workspace, two of one name, or the manager was run before.
            CacheSyncTimeout: an informer was not synced in time.
            OSError: the pages' address cannot be had.
            ConfigError: no usable configuration.
            LeaseLost: the lead or the share was lost, unless its options say `on_lost="return"`.
            Exception: a bug in a reconciler, if its options say `recover_panic=False`.
        """
        if self._started:
            raise ValueError("a manager runs once: make a new one")
        if not self.controllers:
            raise ValueError("the manager has no controller: build one before run()")
        self._started = True
        self._loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            if self._handle_signals:
                stack.enter_context(signals.handled(self.stop))
            await self._open_workspaces(stack)
            if self.server is not None:
                levels = Levels()
                stack.callback(levels.close)
                add_pages(self.server, self, levels)
                await self.server.start()
                stack.push_async_callback(self.server.stop)
            await self._stand(stack)
            sources = Sources(self._resync, streaming=self._streaming, snapshots=self._snapshots)
            engagements = Engagements(self.controllers.values(), sources, self.availability.fenced, self.workspaces)
            stack.push_async_callback(engagements.close)
            engagements.connect()
            self._sources, self._engagements = sources, engagements
            for mirror, controller in self._mirrors:
                sources.also(mirror.sweep(self, controller), f"sweep-{controller.name}")
            if self._provider is not None:
                sources.also(engagements.follow(self._provider), "workspaces")
            try:
                await run_until(self._stop, sources, self.controllers.values(), self.availability.mandate)
            except LeaseLost as error:
                options = self.availability.options
                if options is None or options.on_lost == "raise":
                    raise
                log.error("%s", error)

    async def _stand(self, stack: contextlib.AsyncExitStack) -> None:
        """Make ready for other replicas. What is entered into `stack` later has ended before the mandate is given back:
        recorders send their last events under it."""
        if self.availability.options is None:
            return
        if self._provider is None:
            first = next(iter(self.workspaces.values())).client
        else:
            first = Client(self._config or await ClientConfig.load())
            stack.push_async_callback(first.close)
        client = first.apart(connections=_LEASE_CONNECTIONS)
        stack.push_async_callback(client.close)
        whole = self._wanted is None or isinstance(self._wanted[0], str)
        self.availability.open(client.scoped("") if whole else client, self.controllers.values())
        stack.push_async_callback(self.availability.close)

    async def _open_workspaces(self, stack: contextlib.AsyncExitStack) -> None:
        if self._provider is not None:
            return  # they come while it runs
        given = self._wanted
        workspaces: Iterable[Workspace]
        if given is not None and all(isinstance(workspace, Workspace) for workspace in given):
            workspaces = Workspaces([w for w in given if isinstance(w, Workspace)], [])
        else:
            config = self._config or await ClientConfig.load()
            if given is None:
                opened = Workspaces.whole_server(config)
            else:
                opened = await Workspaces.for_server(config, [w for w in given if isinstance(w, str)])
            workspaces = await stack.enter_async_context(opened)
        self.workspaces = {workspace.name: workspace for workspace in workspaces}

    def _unready(self) -> str | None:
        """None if every informer is synced, else which are not."""
        if self._stop.is_set():
            return "stopping"
        if self._sources is None or self._engagements is None:
            return "not started"
        if self._provider is not None:  # which nobody waits for to be whole: a workspace that is broken is no reason
            return None if self._engagements.known else "no workspaces yet"
        late = self._sources.late()
        return f"not synced: {', '.join(late)}" if late else None
