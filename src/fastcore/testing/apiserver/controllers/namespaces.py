"""Namespaces under deletion: their content is deleted, then they go."""

from collections.abc import Iterator

from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.deletes import DeleteOptions, delete
from fastcore.testing.apiserver.storage import Collection, Event
from fastcore.testing.apiserver.target import Key
from fastcore.testing.apiserver.writes import Options

_OPTIONS = Options(manager="kube-controller-manager")


class Namespaces:
    """Empties namespaces and lets them go."""

    def __init__(self, api: API) -> None:
        self._api = api

    def observe(self, collection: Collection, event: Event) -> Iterator[Key]:
        """The keys of namespaces that a write concerns."""
        workspace, namespace, _ = event.new.key
        if collection.group == "" and collection.plural == "namespaces":
            if event.new.deleting and not event.deleted:
                yield event.new.key
        elif namespace and event.deleted:
            found = self._api.store.collection("", "namespaces").records.get((workspace, "", namespace))
            if found is not None and found.deleting:
                yield found.key

    def reconcile(self, key: Key) -> None:
        """Delete what is in a namespace; if nothing is left, take its finalizer off."""
        workspace, _, name = key
        api = self._api
        namespace = api.store.collection("", "namespaces").records.get(key)
        if namespace is None or not namespace.deleting:
            return
        left = False
        for collection in list(api.store.collections.values()):
            for found in collection.scope(workspace, name):
                target = api.registry.target(collection.group, collection.plural, found)
                record = collection.records.get(found)
                if target is None or record is None:
                    continue
                if not record.deleting:
                    delete(api.writer, target, DeleteOptions("Background"))
                left = left or found in collection.records
        target = api.registry.target("", "namespaces", key)
        namespace = api.store.collection("", "namespaces").records.get(key)
        if left or target is None or namespace is None:
            return
        obj = api.writer.admission.read(target, namespace)
        finalizers = obj.get("spec", {}).get("finalizers") or []
        if "kubernetes" in finalizers:
            obj["spec"]["finalizers"] = [finalizer for finalizer in finalizers if finalizer != "kubernetes"]
            api.writer.update(target._replace(subresource="finalize"), namespace, obj, _OPTIONS, patch=True)
