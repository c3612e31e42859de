"""What counts as a change."""

from typing import Any

import msgspec

from fastcore.testing.apiserver.resources import Resource

_encode = msgspec.json.Encoder(order="deterministic").encode


def spec_changed(resource: Resource, live: dict[str, Any], obj: dict[str, Any]) -> bool:
    """Whether a write counts for metadata.generation (WR-4)."""
    if resource.custom:
        ignored = {"metadata", "apiVersion", "kind"} | ({"status"} if resource.status else set())
        names = (live.keys() | obj.keys()) - ignored
        return any(live.get(name) != obj.get(name) for name in names)
    if resource.kind == "Deployment" and _annotations(live) != _annotations(obj):
        return True
    return bool(live.get("spec") != obj.get("spec"))


def _annotations(obj: dict[str, Any]) -> dict[str, str] | None:
    found: dict[str, str] | None = obj["metadata"].get("annotations")
    return found


def unchanged(live: dict[str, Any], obj: dict[str, Any]) -> bool:
    """Whether a write changes nothing; the times in managedFields alone never count (WR-3)."""
    if live.keys() != obj.keys():
        return False
    if any(live[name] != obj[name] for name in live if name != "metadata"):
        return False
    old, new = live["metadata"], obj["metadata"]
    if old.keys() != new.keys() or any(old[name] != new[name] for name in old if name != "managedFields"):
        return False
    if _timeless(old.get("managedFields", ())) != _timeless(new.get("managedFields", ())):
        return False
    # Python holds True for 1; JSON does not.
    return _encode(_without(live)) == _encode(_without(obj))


def _timeless(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in entry.items() if name != "time"} for entry in entries]


def _without(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return obj | {"metadata": metadata}
