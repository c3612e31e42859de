"""Garbage collection: what goes, stays or waits when an owner is deleted (WR-7).

The graph is kept by uid: where each object is, and who names it as an owner. An object without any owner left is
deleted; an owner under the finalizer `orphan` first sets its dependents free; one under `foregroundDeletion` waits for
those that block it.
"""

from collections.abc import Iterator
from typing import Any

from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.deletes import FOREGROUND, ORPHAN, DeleteOptions, delete
from fastcore.testing.apiserver.storage import Collection, Event, Record
from fastcore.testing.apiserver.target import Key, Target
from fastcore.testing.apiserver.writes import Options

_OPTIONS = Options(manager="kube-controller-manager")


class GarbageCollector:
    """Deletes what has no owner left."""

    def __init__(self, api: API) -> None:
        self._api = api
        self._places: dict[str, tuple[Collection, Key]] = {}
        self._dependents: dict[str, dict[str, None]] = {}
        self._gone: set[str] = set()  # owners that were deleted while something depended on them

    def observe(self, collection: Collection, event: Event) -> Iterator[str]:
        """The uids that a write concerns."""
        record = event.new
        before = event.old.owners if event.old is not None else ()
        now = () if event.deleted else record.owners
        for owner in before:
            if owner not in now:
                group = self._dependents.get(owner, {})
                group.pop(record.uid, None)
                if not group:
                    self._dependents.pop(owner, None)
                    self._gone.discard(owner)
                yield owner
        for owner in now:
            self._dependents.setdefault(owner, {})[record.uid] = None
        if event.deleted:
            self._places.pop(record.uid, None)
            if record.uid in self._dependents:
                self._gone.add(record.uid)
                yield from self._dependents[record.uid]
            return
        self._places[record.uid] = (collection, record.key)
        if record.owners or record.deleting:
            yield record.uid
        if record.deleting:
            # An owner in the foreground waits for this one to go; it looks again when that happens.
            yield from record.owners

    def reconcile(self, uid: str) -> None:
        """Do what the present state of an object asks for."""
        found = self._find(uid)
        if found is None:
            return
        target, record = found
        obj = self._api.writer.admission.read(target, record)
        finalizers = obj["metadata"].get("finalizers", ())
        if record.deleting and ORPHAN in finalizers:
            self._set_free(uid)
            self._take_off(target, ORPHAN)
        elif record.deleting and FOREGROUND in finalizers:
            if not self._delete_dependents(uid):
                self._take_off(target, FOREGROUND)
        elif not record.deleting:
            self._check_owners(target, record, obj)

    def _find(self, uid: str) -> tuple[Target, Record] | None:
        place = self._places.get(uid)
        if place is None:
            return None
        collection, key = place
        target = self._api.registry.target(collection.group, collection.plural, key)
        return None if target is None else (target, collection.records[key])

    def _dependents_of(self, uid: str) -> list[tuple[Target, Record]]:
        return [found for dependent in list(self._dependents.get(uid, ())) if (found := self._find(dependent))]

    def _set_free(self, uid: str) -> None:
        for target, record in self._dependents_of(uid):
            self._drop_owners(target, record, {uid})

    def _drop_owners(self, target: Target, record: Record, uids: set[str]) -> None:
        obj = self._api.writer.admission.read(target, record)
        metadata = obj["metadata"]
        metadata["ownerReferences"] = [o for o in metadata.get("ownerReferences", ()) if o["uid"] not in uids]
        self._api.writer.update(target, record, obj, _OPTIONS, patch=True)

    def _take_off(self, target: Target, finalizer: str) -> None:
        record = self._api.writer.live(target)
        obj = self._api.writer.admission.read(target, record)
        metadata = obj["metadata"]
        metadata["finalizers"] = [f for f in metadata["finalizers"] if f != finalizer]
        self._api.writer.update(target, record, obj, _OPTIONS, patch=True)

    def _delete_dependents(self, uid: str) -> bool:
        """Delete the dependents of an owner that waits for them; whether any still blocks it."""
        for target, record in self._dependents_of(uid):
            if not record.deleting:
                self._check_owners(target, record, self._api.writer.admission.read(target, record))
        return any(
            reference["uid"] == uid and reference.get("blockOwnerDeletion")
            for target, record in self._dependents_of(uid)
            for reference in self._api.writer.admission.read(target, record)["metadata"].get("ownerReferences", ())
        )

    def _check_owners(self, target: Target, record: Record, obj: dict[str, Any]) -> None:
        absent: set[str] = set()
        waiting: set[str] = set()
        solid = 0
        for reference in obj["metadata"].get("ownerReferences", ()):
            state = self._owner_state(target, reference)
            if state == "absent":
                absent.add(reference["uid"])
            elif state == "waiting":
                waiting.add(reference["uid"])
            else:
                solid += 1
        if not absent and not waiting:
            return
        if solid:
            self._drop_owners(target, record, absent | waiting)
            return
        # What hangs on an owner that waits in the foreground, and has dependents itself, goes in the foreground too.
        policy = "Foreground" if waiting and self._dependents.get(record.uid) else "Background"
        finalizers = obj["metadata"].get("finalizers", ())
        if ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers:
            policy = "Foreground"
        delete(self._api.writer, target, DeleteOptions(policy, uid=record.uid))

    def _owner_state(self, target: Target, reference: dict[str, Any]) -> str:
        found = self._find(reference["uid"])
        if found is not None and found[0].workspace == target.workspace:
            owner, record = found
            if owner.namespace in ("", target.namespace):
                finalizers = self._api.writer.admission.read(owner, record)["metadata"].get("finalizers", ())
                return "waiting" if record.deleting and FOREGROUND in finalizers else "solid"
        if reference["uid"] in self._gone:
            return "absent"
        group, _, version = reference["apiVersion"].rpartition("/")
        # Nobody can say that an owner of an unknown kind is gone.
        known = self._api.registry.by_kind(target.workspace, group, version, reference["kind"])
        return "absent" if known is not None else "solid"
