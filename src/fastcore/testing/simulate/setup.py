"""Puts objects on the server before anything runs."""

import msgspec

from fastcore.controller.model import Resource
from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.message import Request, Response


def put(api: API, prefix: str, obj: Resource) -> None:
    """Create an object whose kind is looked up on the server.

    Args:
        api: the server's.
        prefix: of the workspace's paths, "" for none.
        obj: with apiVersion and kind.

    Raises:
        ValueError: the server does not know the kind, or refuses the object.
    """
    group, _, version = str(obj["apiVersion"]).rpartition("/")
    workspace = prefix.removeprefix("/clusters/") if prefix else None
    if workspace is not None:
        api.workspaces.ensure(workspace)
    found = api.registry.by_kind(workspace or "", group, version, str(obj["kind"]))
    if found is None:
        raise ValueError(f"World.setup has a {obj['kind']} of {obj['apiVersion']}, which the server does not know")
    namespace = obj["metadata"].get("namespace") or "default"
    place = f"/apis/{group}/{version}" if group else f"/api/{version}"
    inside = f"/namespaces/{namespace}" if found.namespaced else ""
    request = Request("POST", f"{prefix}{place}{inside}/{found.plural}", "", {}, msgspec.json.encode(obj))
    answer = api.handle(request)
    if not isinstance(answer, Response) or answer.code >= 300:
        text = answer.body.decode() if isinstance(answer, Response) else "a watch"
        raise ValueError(f"World.setup: the server refused a {obj['kind']}: {text}")
