"""From an informer's event to keys in a controller's queue: predicate, mapping, priority, cause."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from fastcore.controller.model import Kind, Request, key_of
from fastcore.controller.predicates import Predicate
from fastcore.controller.shard_selector import ShardSelector

log = logging.getLogger("fastcore.controller")

BACKGROUND_PRIORITY = -100
"""Priority of what nobody waits for: objects of the initial list and resyncs (WQ-11)."""

Object = Mapping[str, Any]
Mapper = Callable[[Object], Iterable[Request | tuple[str, str]]]
"""Which primary objects an object concerns: (namespace, name) pairs in its own workspace, or requests in any."""

EVENTS = ("created", "updated", "deleted", "generic")
CREATED, UPDATED, DELETED, GENERIC = range(len(EVENTS))


class Watch(NamedTuple):
    """A kind that a controller watches, and what its events mean.

    Args:
        kind: the kind.
        mapper: which primary objects an object concerns.
        predicate: which events count.
        label_selector: restricts what is watched and cached; None is everything.
        field_selector: likewise.
        shard_selector: restricts both to a part.
    """

    kind: Kind
    mapper: Mapper
    predicate: Predicate
    label_selector: str | None = None
    field_selector: str | None = None
    shard_selector: ShardSelector | None = None


class Shown(NamedTuple):
    """An event as an informer shows it: `old` is None for an addition, `new` is None for a deletion."""

    kind: Kind
    event: str
    old: Object | None
    new: Object | None

    def key(self) -> tuple[str, str]:
        """Namespace and name of the object."""
        obj = self.old if self.new is None else self.new
        assert obj is not None
        return key_of(obj)

    def versions(self) -> tuple[str | None, str | None]:
        """The resourceVersions before and after."""
        old, new = self.old, self.new
        return (
            None if old is None else old["metadata"].get("resourceVersion"),
            None if new is None else new["metadata"].get("resourceVersion"),
        )


class Sink(Protocol):
    """Takes the keys: a controller."""

    def enqueue(self, request: Request, priority: int, cause: int, shown: Shown | None) -> None:
        """Queue `request`; `cause` is a bit mask of what happened, `shown` the event, unless it is of no account."""
        ...

    def dropped(self, handler: "WatchHandler", shown: Shown) -> None:
        """Note an event that the predicate dropped."""
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
        kind: the watched kind.
        predicate: which events count.
        mapper: which primary objects an event concerns.
        first_bit: number of the lowest of the four cause bits of this watch.

    Thread safety: belongs to the informer's event loop.
    """

    __slots__ = ("_bit", "_mapper", "_sink", "kind", "predicate", "workspace")

    def __init__(
        self, workspace: str, sink: Sink, kind: Kind, predicate: Predicate, mapper: Mapper, first_bit: int
    ) -> None:
        self.workspace = workspace
        self.kind = kind
        self.predicate = predicate
        self._sink = sink
        self._mapper = mapper
        self._bit = first_bit

    def on_add(self, obj: Object, initial: bool = False) -> None:
        """An object appeared; `initial` says that it was there before this watch."""
        try:
            shown = None if initial else Shown(self.kind, "created", None, obj)
            if self.predicate.created(obj):
                self._emit(obj, None, BACKGROUND_PRIORITY if initial else 0, CREATED, shown)
            elif shown is not None:
                self._sink.dropped(self, shown)
        except Exception:
            self._failed(obj)

    def on_update(self, old: Object, new: Object) -> None:
        """An object changed, or is shown again (resync: equal resourceVersions)."""
        try:
            if new["metadata"].get("resourceVersion") == old["metadata"].get("resourceVersion"):
                if self.predicate.generic(new):
                    self._emit(new, None, BACKGROUND_PRIORITY, GENERIC, None)
                return
            shown = Shown(self.kind, "updated", old, new)
            if self.predicate.updated(old, new):
                self._emit(new, old, 0, UPDATED, shown)
            else:
                self._sink.dropped(self, shown)
        except Exception:
            self._failed(new)

    def on_delete(self, obj: Object) -> None:
        """An object is gone."""
        try:
            shown = Shown(self.kind, "deleted", obj, None)
            if self.predicate.deleted(obj):
                self._emit(obj, None, 0, DELETED, shown)
            else:
                self._sink.dropped(self, shown)
        except Exception:
            self._failed(obj)

    def requests(self, obj: Object) -> set[Request]:
        """The keys that `obj` concerns."""
        workspace = self.workspace
        return {key if isinstance(key, Request) else Request(workspace, *key) for key in self._mapper(obj)}

    def _emit(self, obj: Object, old: Object | None, priority: int, event: int, shown: Shown | None) -> None:
        requests = self.requests(obj)
        if old is not None:
            # What an object used to concern must hear of it too: an owner that lost its child has to make a new one.
            requests |= self.requests(old)
        cause = 1 << (self._bit + event)
        for request in requests:
            self._sink.enqueue(request, priority, cause, shown)

    def _failed(self, obj: Object) -> None:
        self._sink.failed_event()
        meta = obj.get("metadata", {})
        log.exception(
            "the predicate or mapper of %s failed for %s/%s in workspace %s: its event is lost",
            self.kind.kind, meta.get("namespace"), meta.get("name"), self.workspace,
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
