"""Objects, their revisions and the recent history, for every workspace and kind.

```text
Store ── revision (one counter for all writes)
  └── Collection (group, plural) ── records: (workspace, namespace, name) → Record      current state
                                 ├─ keys: the same keys, sorted                          order of lists
                                 ├─ history: [Event, ...] by revision, bounded           watches, old lists
                                 └─ watchers: by workspace, called for each event in order
```

A record is immutable: encoded JSON from `metadata` on, without `kind` and `apiVersion`. Those two come first in every
answer, so one body serves all versions of a kind, and views of it (metadata only, annotated with its workspace) are cut
out of the bytes without decoding them. One thread owns a store; nothing here awaits, so every call is atomic.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from fastcore.testing.apiserver.status import expired, too_large_resource_version
from fastcore.testing.apiserver.target import Key

_revision = attrgetter("revision")
_encode = msgspec.json.Encoder().encode


class Record:
    """One version of one object.

    Attributes:
        key: (workspace, namespace, name).
        revision: of the write that made it.
        body: JSON of all members but kind and apiVersion, metadata first, closing brace included.
        metadata_end: offset in `body` behind the metadata.
        uid, labels: as in the metadata.
        owners: uids of the owner references.
        fields: selectable fields and their values.
        deleting: whether deletionTimestamp is set.
    """

    __slots__ = ("body", "deleting", "fields", "key", "labels", "metadata_end", "owners", "revision", "uid")

    def __init__(self, key: Key, revision: int, obj: dict[str, Any], extra_fields: dict[str, str]) -> None:
        metadata = obj["metadata"]
        annotations = metadata.get("annotations")
        # The revision goes first and annotations second, so that both can be changed without decoding.
        members = {"annotations": annotations} if annotations else {}
        members.update((n, value) for n, value in metadata.items() if n not in ("resourceVersion", "annotations"))
        head = _metadata_start(revision) + _encode(members)[1:]
        rest = {name: value for name, value in obj.items() if name not in ("kind", "apiVersion", "metadata")}
        self.body = head + b"," + _encode(rest)[1:] if rest else head + b"}"
        self.metadata_end = len(head)
        self.key = key
        self.revision = revision
        self.uid: str = metadata["uid"]
        self.labels: dict[str, str] | None = metadata.get("labels")
        self.owners: tuple[str, ...] = tuple(owner["uid"] for owner in metadata.get("ownerReferences") or ())
        self.fields = {"metadata.name": key[2], "metadata.namespace": key[1], **extra_fields}
        self.deleting = "deletionTimestamp" in metadata

    def decode(self, head: bytes) -> dict[str, Any]:
        """The object as fresh dicts that the caller may change; `head` supplies kind and apiVersion."""
        out: dict[str, Any] = msgspec.json.decode(head + self.body)
        return out

    def at(self, revision: int) -> "Record":
        """The same state under another revision, as events of deletion show it."""
        twin = Record.__new__(Record)
        for name in ("deleting", "fields", "key", "labels", "owners", "uid"):
            setattr(twin, name, getattr(self, name))
        start = _metadata_start(revision)
        before = len(_metadata_start(self.revision))
        twin.revision = revision
        twin.body = start + self.body[before:]
        twin.metadata_end = self.metadata_end + len(start) - before
        return twin

    def annotated(self, name: str, value: str) -> bytes:
        """The body with one more annotation."""
        start = len(_metadata_start(self.revision))
        entry = _encode({name: value})[1:-1]
        if self.body.startswith(b'"annotations":{', start):
            start += len(b'"annotations":{')
            return self.body[:start] + entry + b"," + self.body[start:]
        return self.body[:start] + b'"annotations":{' + entry + b"}," + self.body[start:]


def _metadata_start(revision: int) -> bytes:
    # An object that only a dry run made has no revision.
    return b'"metadata":{' if revision == 0 else b'"metadata":{"resourceVersion":"%d",' % revision


class Event(NamedTuple):
    """One write: `old` is None for a create; `deleted` tells a delete, whose `new` carries the delete's revision."""

    revision: int
    old: Record | None
    new: Record
    deleted: bool


Watcher = Callable[[Event], None]


class Collection:
    """All objects of one kind, of every version and workspace.

    Args:
        store: where its revisions come from.
        history: how many events to keep, > 0; up to twice as many are held between two trims.
    """

    def __init__(self, store: "Store", group: str, plural: str, history: int) -> None:
        self._store = store
        self.group = group
        self.plural = plural
        self._limit = history
        self.records: dict[Key, Record] = {}
        self.keys: list[Key] = []
        self.history: list[Event] = []
        self.floor = store.compacted
        self._watchers: dict[str | None, dict[Watcher, None]] = {}

    def put(self, key: Key, obj: dict[str, Any], fields: dict[str, str]) -> Record:
        """Store a new version of `obj`, whose resourceVersion it sets; O(log n) plus the encoding."""
        old = self.records.get(key)
        record = Record(key, self._store.next_revision(), obj, fields)
        if old is None:
            insort(self.keys, key)
        self.records[key] = record
        self._record(Event(record.revision, old, record, False))
        return record

    def remove(self, key: Key) -> Record:
        """Delete an object; what comes back is its last stored state under the delete's own revision (WR-5)."""
        old = self.records.pop(key)
        del self.keys[bisect_left(self.keys, key)]
        revision = self._store.next_revision()
        record = old.at(revision)
        self._record(Event(record.revision, old, record, True))
        return record

    def rewrite(self, key: Key, obj: dict[str, Any], fields: dict[str, str]) -> None:
        """Store another form of the present version: no new revision, no event."""
        self.records[key] = Record(key, self.records[key].revision, obj, fields)

    def _record(self, event: Event) -> None:
        self.history.append(event)
        if len(self.history) >= 2 * self._limit:
            self.compact(self.history[-self._limit - 1].revision)
        for workspace in (event.new.key[0], None):
            for watcher in list(self._watchers.get(workspace, ())):
                watcher(event)
        self._store.notify(self, event)

    def subscribe(self, workspace: str | None, watcher: Watcher) -> None:
        """Call `watcher` with every later event of a workspace (None: of all); it must not raise."""
        self._watchers.setdefault(workspace, {})[watcher] = None

    def unsubscribe(self, workspace: str | None, watcher: Watcher) -> None:
        """Stop calling `watcher`; harmless if it is not subscribed."""
        group = self._watchers.get(workspace)
        if group is not None:
            group.pop(watcher, None)
            if not group:
                del self._watchers[workspace]

    def compact(self, revision: int) -> None:
        """Forget what happened up to `revision`."""
        del self.history[: bisect_right(self.history, revision, key=_revision)]
        self.floor = max(self.floor, revision)

    def scope(self, workspace: str | None, namespace: str) -> list[Key]:
        """Sorted keys of a workspace (None: all) and namespace ("": all)."""
        if workspace is None:
            return [key for key in self.keys if key[1] == namespace] if namespace else list(self.keys)
        low: tuple[str, ...] = (workspace, namespace) if namespace else (workspace,)
        high = (*low[:-1], low[-1] + "\0")
        return self.keys[bisect_left(self.keys, low) : bisect_left(self.keys, high)]

    def select(self, workspace: str | None, namespace: str) -> list[Record]:
        """The current records, in order."""
        return [self.records[key] for key in self.scope(workspace, namespace)]

    def select_at(self, workspace: str | None, namespace: str, revision: int) -> list[Record]:
        """The records as they were at `revision`; O(n + events since).

        Raises:
            StatusError: 410 if the revision has left the history, 504 if it lies in the future.
        """
        self._store.check_reached(revision)
        if revision < self.floor:
            raise expired(f"The provided resource version is too old: {revision} ({self.floor})")
        records = {key: self.records[key] for key in self.scope(workspace, namespace)}
        for event in reversed(self.history):
            if event.revision <= revision:
                break
            key = event.new.key
            if (workspace is not None and key[0] != workspace) or (namespace and key[1] != namespace):
                continue
            if event.old is None:
                records.pop(key, None)
            else:
                records[key] = event.old
        return [records[key] for key in sorted(records)]

    def since(self, revision: int) -> Iterator[Event]:
        """The events after `revision`, oldest first.

        Raises:
            StatusError: 410 if events after it have been forgotten.
        """
        if revision < self.floor:
            raise expired(f"too old resource version: {revision} ({self.floor})")
        return iter(self.history[bisect_right(self.history, revision, key=_revision) :])


class Store:
    """Every collection, and the revision that all of them share.

    Args:
        history: events kept for each collection, > 0.
    """

    def __init__(self, history: int = 20_000) -> None:
        if history < 1:
            raise ValueError(f"history must be at least 1, not {history}")
        self._history = history
        self.revision = 1
        self.compacted = 0
        self.collections: dict[tuple[str, str], Collection] = {}
        self.listeners: list[Callable[[Collection, Event], None]] = []
        self._pending: deque[tuple[Collection, Event]] = deque()
        self._notifying = False

    def collection(self, group: str, plural: str) -> Collection:
        """The collection of a kind, made when first asked for."""
        found = self.collections.get((group, plural))
        if found is None:
            found = self.collections[group, plural] = Collection(self, group, plural, self._history)
        return found

    def next_revision(self) -> int:
        """Take the next revision."""
        self.revision += 1
        return self.revision

    def notify(self, collection: Collection, event: Event) -> None:
        """Tell the listeners (the built-in controllers) of a write.

        A listener may write: what it writes is told after the present event has reached every listener, so that all of
        them see all events in order, and before the call returns.
        """
        self._pending.append((collection, event))
        if self._notifying:
            return
        self._notifying = True
        try:
            while self._pending:
                place, told = self._pending.popleft()
                for listener in list(self.listeners):
                    listener(place, told)
        finally:
            self._notifying = False

    def check_reached(self, revision: int) -> None:
        """Raise the 504 that says "later" if `revision` lies in the future."""
        if revision > self.revision:
            raise too_large_resource_version(revision, self.revision)

    def compact(self, revision: int | None = None) -> None:
        """Forget the history of all collections up to `revision` (default: everything)."""
        self.compacted = max(self.compacted, self.revision if revision is None else revision)
        for collection in self.collections.values():
            collection.compact(self.compacted)
