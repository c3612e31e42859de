"""The two faces of an Event: it is stored as core/v1 and also served as events.k8s.io/v1."""

from typing import Any

_TO_CORE = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_FROM_CORE = {core: new for new, core in _TO_CORE.items()}


def to_core(obj: dict[str, Any]) -> dict[str, Any]:
    """An events.k8s.io/v1 Event as core/v1 has it; managedFields are kept as they are."""
    return {_TO_CORE.get(name, name): value for name, value in obj.items()} | {"apiVersion": "v1"}


def from_core(obj: dict[str, Any]) -> dict[str, Any]:
    """A core/v1 Event as events.k8s.io/v1 has it."""
    return {_FROM_CORE.get(name, name): value for name, value in obj.items()} | {"apiVersion": "events.k8s.io/v1"}
