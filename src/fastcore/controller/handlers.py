"""From an informer's event to keys in a controller's queue: predicate, mapping, priority, cause."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from fastcore.controller.model import Kind, Request, key_of
from fastcore.controller.predicates import Predicate

log = logging.getLogger("fastcore.controller")

BACKGROUND_PRIORITY = -100
"""Priority of what nobody waits for: objects of the initial list and resyncs (WQ-11)."""

Object = Mapping[str, Any]
Mapper = Callable[[Object], Iterable[Request | tuple[str, str]]]
"""Which primary objects an object concerns: (namespace, name) pairs in its own workspace, or requests in any."""

EVENTS = ("created", "updated", "deleted", "generic")
CREATED, UPDATED, DELETED, GENERIC = range(len(EVENTS))


class Sink(Protocol):
    """Takes the keys: a controller."""

    def enqueue(self, request: Request, priority: int, cause: int) -> None:
        """Queue `request`; `cause` is a bit mask of what happened."""
        ...

    def failed_event(self) -> None:
        """Count an event whose predicate or mapper raised."""
        ...


class WatchHandler:
    """Receives one informer's events for one controller.

    A predicate or mapper that raises loses that one event for that one controller, is logged and counted; the
    informer goes on.

    Args:
        workspace: name of the workspace where the objects live.
        sink: the controller.
        name: of the watched kind, for logs.
        predicate: which events count.
        mapper: which primary objects an event concerns.
        first_bit: number of the lowest of the four cause bits of this watch.

    Thread safety: belongs to the informer's event loop.
    """

    __slots__ = ("_bit", "_mapper", "_name", "_predicate", "_sink", "_workspace")

    def __init__(
        self, workspace: str, sink: Sink, name: str, predicate: Predicate, mapper: Mapper, first_bit: int
    ) -> None:
        self._workspace = workspace
        self._sink = sink
        self._name = name
        self._predicate = predicate
        self._mapper = mapper
        self._bit = first_bit

    def on_add(self, obj: Object, initial: bool = False) -> None:
        """An object appeared; `initial` says that it was there before this watch."""
        try:
            if self._predicate.created(obj):
                self._emit(obj, None, BACKGROUND_PRIORITY if initial else 0, CREATED)
        except Exception:
            self._failed(obj)

    def on_update(self, old: Object, new: Object) -> None:
        """An object changed, or is shown again (resync: equal resourceVersions)."""
        try:
            if new["metadata"].get("resourceVersion") == old["metadata"].get("resourceVersion"):
                if self._predicate.generic(new):
                    self._emit(new, None, BACKGROUND_PRIORITY, GENERIC)
            elif self._predicate.updated(old, new):
                self._emit(new, old, 0, UPDATED)
        except Exception:
            self._failed(new)

    def on_delete(self, obj: Object) -> None:
        """An object is gone."""
        try:
            if self._predicate.deleted(obj):
                self._emit(obj, None, 0, DELETED)
        except Exception:
            self._failed(obj)

    def _emit(self, obj: Object, old: Object | None, priority: int, event: int) -> None:
        keys = set(self._mapper(obj))
        if old is not None:
            # What an object used to concern must hear of it too: an owner that lost its child has to make a new one.
            keys.update(self._mapper(old))
        cause = 1 << (self._bit + event)
        for key in keys:
            request = key if isinstance(key, Request) else Request(self._workspace, *key)
            self._sink.enqueue(request, priority, cause)

    def _failed(self, obj: Object) -> None:
        self._sink.failed_event()
        meta = obj.get("metadata", {})
        log.exception(
            "the predicate or mapper of %s failed for %s/%s in workspace %s: its event is lost",
            self._name, meta.get("namespace"), meta.get("name"), self._workspace,
        )  # fmt: skip


def itself(obj: Object) -> tuple[tuple[str, str]]:
    """The mapper of `for_`: an object concerns itself."""
    return (key_of(obj),)


def owner_of(owner: Kind) -> Mapper:
    """The mapper of `owns`: an object concerns the `owner` that its controller reference names.

    The version in the reference does not matter, only group and kind: a CRD may serve several versions.
    """
    prefix = f"{owner.group}/" if owner.group else ""

    def mapper(obj: Object) -> Iterable[tuple[str, str]]:
        for reference in obj["metadata"].get("ownerReferences") or ():
            if reference.get("controller") and reference["kind"] == owner.kind:
                version = reference["apiVersion"]
                if version.startswith(prefix) if prefix else "/" not in version:
                    yield (obj["metadata"].get("namespace") or "") if owner.namespaced else "", reference["name"]

    return mapper
