"""CustomResourceDefinitions at work: served as soon as they are stored, torn down with their objects."""

from collections.abc import Callable
from typing import Any

from fastcore.testing.apiserver.custom import resources_of
from fastcore.testing.apiserver.deletes import CRD_CLEANUP, DeleteOptions, delete
from fastcore.testing.apiserver.registry import Registry
from fastcore.testing.apiserver.resources import BUILT_IN, Resource
from fastcore.testing.apiserver.storage import Collection, Event
from fastcore.testing.apiserver.target import ROOT, Target
from fastcore.testing.apiserver.writes import Options, Writer

CRD = next(resource for resource in BUILT_IN if resource.kind == "CustomResourceDefinition")
EndWatches = Callable[[Callable[[str], bool], tuple[str, str]], None]
_MANAGER = Options(manager="kube-apiserver")


class CRDs:
    """Follows the CRDs in the store and keeps the registry, their conditions and their objects in step with them.

    It acts inside the write that it sees, so a kind is served when the answer to its CRD's creation is sent.

    Args:
        end_watches: called with a test for workspaces and a (group, plural) that they serve no longer.
    """

    def __init__(self, writer: Writer, registry: Registry, end_watches: EndWatches) -> None:
        self._writer = writer
        self._registry = registry
        self._end_watches = end_watches
        writer.store.listeners.append(self._observe)

    def _observe(self, collection: Collection, event: Event) -> None:
        if (collection.group, collection.plural) == CRD.storage:
            self._definition(event)
        elif event.deleted:
            self._gone(collection, event.new.key[0])

    def _definition(self, event: Event) -> None:
        workspace, _, name = event.new.key
        if event.deleted:
            plural, _, group = name.partition(".")
            self._end_watches(lambda other: self._serves(workspace, name, other), (group, plural))
            self._registry.set_custom(workspace, name, ())
            return
        if self._writer.store.collection(*CRD.storage).records.get(event.new.key) is not event.new:
            return  # a later event is on its way
        obj = event.new.decode(CRD.head)
        before = {resource.version: resource.schema for resource in self._registry.custom(workspace, name)}
        resources = resources_of(obj)
        self._registry.set_custom(workspace, name, resources)
        if before and before != {resource.version: resource.schema for resource in resources}:
            self._reread(workspace, name, resources)
        status = self._status(obj)
        target = Target(workspace, CRD, "", name, "status")
        if status != obj.get("status"):
            self._writer.update(target, event.new, obj | {"status": status}, _MANAGER, patch=True)
        elif event.new.deleting:
            self._tear_down(workspace, name, obj)

    def _reread(self, workspace: str, name: str, resources: list[Resource]) -> None:
        """Prune and default what is stored by a new schema, as a real server does whenever it reads."""
        for resource in resources[:1]:
            collection = self._writer.store.collection(*resource.storage)
            for record in collection.select(None, ""):
                if self._serves(workspace, name, record.key[0]):
                    obj = self._writer.admission.reread(resource, record)
                    collection.rewrite(record.key, obj, resource.selectable(obj))

    def _status(self, obj: dict[str, Any]) -> dict[str, Any]:
        spec = obj["spec"]
        before = obj.get("status") or {}
        storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
        stored = list(before.get("storedVersions") or ())
        if storage not in stored:
            stored.append(storage)
        conditions = {condition["type"]: condition for condition in before.get("conditions") or ()}
        wanted = [
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ]
        if "deletionTimestamp" in obj["metadata"]:
            wanted.append(("Terminating", "InstanceDeletionInProgress", "CustomResource deletion is in progress"))
        for kind, reason, message in wanted:
            if kind not in conditions:
                conditions[kind] = {
                    "type": kind,
                    "status": "True",
                    "lastTransitionTime": self._writer.timestamp(),
                    "reason": reason,
                    "message": message,
                }
        return {"conditions": list(conditions.values()), "acceptedNames": spec["names"], "storedVersions": stored}

    def _tear_down(self, workspace: str, name: str, obj: dict[str, Any]) -> None:
        if CRD_CLEANUP not in obj["metadata"].get("finalizers", ()):
            return
        plural, _, group = name.partition(".")
        collection = self._writer.store.collection(group, plural)
        resources = self._registry.custom(workspace, name)
        left = [key for key in collection.keys if self._serves(workspace, name, key[0])]
        for key in left:
            target = Target(key[0], resources[0], key[1], key[2]) if resources else None
            record = collection.records.get(key)
            if record is None:
                continue
            if target is None:
                # No version is served any more, so nobody could take a finalizer off.
                collection.remove(key)
            elif not record.deleting:
                delete(self._writer, target, DeleteOptions())
        self._gone(collection, workspace)

    def _serves(self, workspace: str, name: str, other: str) -> bool:
        """Whether the CRD of `workspace` is the one that serves `other`."""
        return other == workspace or (workspace == ROOT and not self._registry.defines(other, name))

    def _gone(self, collection: Collection, workspace: str) -> None:
        """Let a CRD go when the last of its objects has gone."""
        name = f"{collection.plural}.{collection.group}"
        definitions = self._writer.store.collection(*CRD.storage)
        for place in dict.fromkeys((workspace, ROOT)):
            record = definitions.records.get((place, "", name))
            if record is None or not record.deleting:
                continue
            if any(self._serves(place, name, key[0]) for key in collection.keys):
                continue
            obj = record.decode(CRD.head)
            finalizers = [f for f in obj["metadata"].get("finalizers", ()) if f != CRD_CLEANUP]
            if finalizers != obj["metadata"].get("finalizers", []):
                obj["metadata"]["finalizers"] = finalizers
                self._writer.update(Target(place, CRD, "", name), record, obj, _MANAGER, patch=True)
