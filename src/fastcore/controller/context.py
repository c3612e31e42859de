"""What a reconciler is given: the workspace's client, cached reads, writes, events, and a log with an id."""

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Mapping, MutableMapping, Sequence
from typing import Any, TypeVar

from fastcore.clock import NS_PER_S, Clock
from fastcore.controller.batch import Batch
from fastcore.controller.client import Client
from fastcore.controller.event_sender import EventSender
from fastcore.controller.handlers import EVENTS
from fastcore.controller.informer import Informer
from fastcore.controller.model import Kind, Request, Resource
from fastcore.controller.workspace import Workspace
from fastcore.errors import FastcoreError

T = TypeVar("T")

log = logging.getLogger("fastcore.reconcile")

_UNIQUE = secrets.token_hex(4)


def reconcile_id(number: int) -> str:
    """The name of a reconcile in logs (CT-9)."""
    return f"{_UNIQUE}-{number}"


def cause_names(causes: int, watched: Sequence[str]) -> tuple[str, ...]:
    """A bit mask over watches and events in words: "ConfigMap deleted"."""
    if not causes:
        return ()
    return tuple(
        f"{kind} {event}"
        for i, kind in enumerate(watched)
        for j, event in enumerate(EVENTS)
        if causes >> (i * len(EVENTS) + j) & 1
    )


class ReconcileTimeout(FastcoreError, TimeoutError):
    """A reconcile took longer than `Options.reconcile_timeout`."""


class Scope:
    """What all reconciles of one controller in one workspace share.

    Args:
        workspace: the workspace.
        informers: the informer of each kind that the controller watches.
        events: records events in the controller's name.
        field_manager: in whose name `batch` writes.
    """

    __slots__ = ("batch", "events", "informers", "workspace")

    def __init__(
        self,
        workspace: Workspace,
        informers: Mapping[Kind, Informer],
        events: EventSender[Any, Any],
        field_manager: str,
    ) -> None:
        self.workspace = workspace
        self.informers = informers
        self.events = events
        # Of its answers the client tells, as of those to all writes of a reconcile.
        self.batch = Batch(workspace.client, field_manager=field_manager, lookup=self.lookup)

    def lookup(self, kind: Kind, namespace: str, name: str) -> Resource | None:
        """The cached object, or None; LookupError for a kind that is not watched."""
        return self.informers[kind].get(namespace, name)

    def observe(self, kind: Kind, obj: Resource) -> None:
        """Put the answer to a write into the cache, if there is one of its kind."""
        informer = self.informers.get(kind)
        if informer is not None:
            informer.observe(obj)


class ReconcileLog(logging.LoggerAdapter[logging.Logger]):
    """Prefixes every message with controller, object and reconcile id, and adds them as fields."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The message with its prefix."""
        fields = self.extra or {}
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **fields}
        return f"[{fields['controller']} {fields['object']} {fields['reconcile_id']}] {msg}", kwargs


class Context:
    """One reconcile's surroundings.

    Attributes:
        request: what is reconciled.
        controller: the controller's name.
        number: of this reconcile in this process.
        cause_mask: the causes, four bits a watch.
        deadline: second of the monotonic clock at which the reconcile should be over, or None.

    Reads come from the informers: they cost no request, may lag behind the server, and return objects that nobody
    may change (IN-6).

    Thread safety: reads, `log` and `check_deadline` work in any thread; the rest belongs to the event loop, and
    reconcilers that run in a thread reach it through `wait`.
    """

    __slots__ = ("_clock", "_loop", "_scope", "_watched", "cause_mask", "controller", "deadline", "number", "request")

    def __init__(
        self,
        scope: Scope,
        request: Request,
        *,
        controller: str,
        number: int,
        causes: int,
        watched: Sequence[str],
        deadline: float | None,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._scope = scope
        self.cause_mask = causes
        self._watched = watched
        self.number = number
        self._clock = clock
        self._loop = loop
        self.request = request
        self.controller = controller
        self.deadline = deadline

    @property
    def reconcile_id(self) -> str:
        """Unique in this process and, very likely, beyond it (CT-9)."""
        return reconcile_id(self.number)

    @property
    def workspace(self) -> Workspace:
        """The request's workspace."""
        return self._scope.workspace

    @property
    def client(self) -> Client:
        """The workspace's client, for what is not cached; the answers to its writes go to the caches, so that the next
        reconcile sees them (WR-8). A write with `observe=False` leaves the caches to the watch."""
        return self._scope.workspace.client

    @property
    def batch(self) -> Batch:
        """Writes several objects, a few at a time, under the controller's field manager; its answers go to the
        caches, so that the next reconcile sees them."""
        return self._scope.batch

    @property
    def events(self) -> EventSender[Any, Any]:
        """Records events about objects, in the controller's name; `Options.event_series` says which kind."""
        return self._scope.events

    @property
    def causes(self) -> tuple[str, ...]:
        """What happened since the last reconcile of this key, such as "ConfigMap deleted": hints, never facts (CT-1).

        Empty after a restart, a retry or a `requeue_after`. To skip work because of them is a bug.
        """
        return cause_names(self.cause_mask, self._watched)

    @property
    def log(self) -> ReconcileLog:
        """A logger whose messages carry the reconcile id."""
        fields = {
            "controller": self.controller,
            "object": str(self.request),
            "workspace": self.request.workspace,
            "reconcile_id": self.reconcile_id,
        }
        return ReconcileLog(log, fields)

    def informer(self, kind: Kind) -> Informer:
        """The informer behind the cached reads of `kind`.

        Raises:
            LookupError: the controller does not watch `kind`.
        """
        try:
            return self._scope.informers[kind]
        except KeyError:
            watched = ", ".join(sorted(k.kind for k in self._scope.informers))
            raise LookupError(
                f"controller {self.controller!r} does not watch {kind.kind}, only {watched}: read it with ctx.client, "
                "or add .owns() or .watches() to the builder"
            ) from None

    def get(self, kind: Kind, namespace: str | None = None, name: str | None = None) -> Resource | None:
        """The cached object, or None; without a name the one that the request names.

        Raises:
            LookupError: the controller does not watch `kind`.
        """
        if name is None:
            namespace, name = self.request.namespace, self.request.name
        return self.informer(kind).get(namespace or "", name)

    def list(self, kind: Kind, namespace: str | None = None) -> list[Resource]:
        """The cached objects of `kind`, of one namespace or of all.

        Raises:
            LookupError: the controller does not watch `kind`.
        """
        return self.informer(kind).list(namespace)

    def observe(self, kind: Kind, obj: Resource) -> None:
        """Put the answer to a write that went another way than through this context into the cache."""
        self._scope.observe(kind, obj)

    def check_deadline(self) -> None:
        """Give up if the reconcile's time is over; for reconcilers in threads, which nothing can interrupt.

        Raises:
            ReconcileTimeout: it is.
        """
        if self.deadline is not None and self._clock() / NS_PER_S >= self.deadline:
            raise ReconcileTimeout(f"the reconcile of {self.request} is over its deadline")

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, such as a call of `client`, on the event loop and wait for it; only in reconcilers that
        run in a thread.

        Raises:
            RuntimeError: called on the event loop itself, which would wait for itself.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            coroutine.close()
            raise RuntimeError("ctx.wait() is for reconcilers that are plain functions: use await here")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
