"""Deployments that become ready at once: their status echoes the replicas that their spec asks for."""

from collections.abc import Iterator
from typing import Any

from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.storage import Collection, Event
from fastcore.testing.apiserver.target import Key
from fastcore.testing.apiserver.writes import Options

_OPTIONS = Options(manager="kube-controller-manager")
_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
_CONDITIONS = (
    ("Available", "MinimumReplicasAvailable", "Deployment has minimum availability."),
    ("Progressing", "NewReplicaSetAvailable", "The deployment has successfully progressed."),
)


class Deployments:
    """Reports every replica as ready; there are no pods behind it."""

    def __init__(self, api: API) -> None:
        self._api = api

    def observe(self, collection: Collection, event: Event) -> Iterator[Key]:
        """The keys of Deployments that a write concerns."""
        if collection.plural == "deployments" and collection.group == "apps" and not event.deleted:
            yield event.new.key

    def reconcile(self, key: Key) -> None:
        """Write the status if it is not what the spec says."""
        record = self._api.store.collection("apps", "deployments").records.get(key)
        target = self._api.registry.target("apps", "deployments", key)
        if record is None or target is None or record.deleting:
            return
        writer = self._api.writer
        obj = writer.admission.read(target, record)
        status = self._status(obj, writer.timestamp())
        if status != obj.get("status"):
            obj["status"] = status
            writer.update(target._replace(subresource="status"), record, obj, _OPTIONS, patch=True)

    def _status(self, obj: dict[str, Any], now: str) -> dict[str, Any]:
        replicas = obj["spec"].get("replicas", 1)
        before = {c["type"]: c for c in obj.get("status", {}).get("conditions", ())}
        status: dict[str, Any] = {"observedGeneration": obj["metadata"]["generation"]}
        if replicas:
            status.update(dict.fromkeys(_COUNTS, replicas))
        status["conditions"] = [
            before.get(kind)
            or {
                "type": kind,
                "status": "True",
                "lastUpdateTime": now,
                "lastTransitionTime": now,
                "reason": reason,
                "message": message,
            }
            for kind, reason, message in _CONDITIONS
        ]
        return status
