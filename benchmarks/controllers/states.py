"""What the objects look like in the end, without what may differ between two correct controllers."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from fastcore.controller.client import Client
from fastcore.controller.model import CONFIG_MAP, DEPLOYMENT
from fastcore.reference.webapp import WEBAPP


class State(NamedTuple):
    """One object: where it is, and its content."""

    kind: str
    namespace: str
    name: str
    content: dict[str, Any]


async def final_states(client: Client, namespaces: Iterable[str]) -> list[State]:
    """The WebApps and their children, straight from the server."""
    out = []
    for namespace in namespaces:
        for kind in (WEBAPP, CONFIG_MAP, DEPLOYMENT):
            found = (await client.list(kind, namespace)).items
            out += [State(kind.kind, namespace, obj["metadata"]["name"], _content(obj)) for obj in found]
    return sorted(out, key=lambda state: state[:3])


def _content(obj: dict[str, Any]) -> dict[str, Any]:
    meta = obj["metadata"]
    owners = [{k: v for k, v in owner.items() if k != "uid"} for owner in meta.get("ownerReferences") or ()]
    out = {"labels": meta.get("labels") or {}, "owners": owners, "spec": obj.get("spec"), "data": obj.get("data")}
    if status := obj.get("status"):
        # How often an object was written may differ, and so may its generation, but not that it is up to date.
        generation = meta.get("generation")
        out["status"] = {
            "phase": status.get("phase"),
            "readyReplicas": status.get("readyReplicas") or 0,  # a merge patch from zero to zero leaves it out
            "current": status.get("observedGeneration") == generation,
            "conditions": sorted(
                (c["type"], c["status"], c["reason"], c["message"], c.get("observedGeneration") == generation)
                for c in status.get("conditions") or ()
            ),
        }
    return out


def differences(one: list[State], other: list[State], limit: int = 5) -> list[str]:
    """What differs between two controllers' results, the first few of it; empty if nothing does."""
    left, right = ({state[:3]: state.content for state in states} for states in (one, other))
    out = [f"{'/'.join(key)}: only one of them has it" for key in sorted(left.keys() ^ right.keys())]
    for key in sorted(left.keys() & right.keys()):
        parts = [part for part in left[key] if left[key][part] != right[key].get(part)]
        out += [f"{'/'.join(key)}: {part}: {left[key][part]} and {right[key].get(part)}" for part in parts]
    return out[:limit]
