"""What a request's path names: workspace, group and version, kind, namespace, object and subresource."""

from typing import NamedTuple
from urllib.parse import unquote

from fastcore.testing.apiserver.resources import Resource

ROOT = "root"
"""The workspace that requests without a `/clusters/<name>` prefix use."""
WILDCARD = "*"
Key = tuple[str, str, str]
"""Where an object lies in its collection: workspace, namespace ("" if it is cluster-scoped), name."""
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


class Path(NamedTuple):
    """A path, split but not looked up; `plural` is "" for discovery, `workspace` is None for the wildcard."""

    workspace: str | None
    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str
    watch: bool


class Target(NamedTuple):
    """A path whose kind is known."""

    workspace: str
    resource: Resource
    namespace: str
    name: str
    subresource: str = ""

    @property
    def key(self) -> Key:
        """The object's key in its collection."""
        return (self.workspace, self.namespace, self.name)


def split_workspace(path: str) -> tuple[str | None, list[str]]:
    """The workspace that a path starts with (None: all of them), and the segments after it."""
    parts = [unquote(part) if "%" in part else part for part in path.split("/")[1:]]
    if parts and parts[-1] == "":
        parts.pop()
    if len(parts) >= 2 and parts[0] == "clusters":
        return (None if parts[1] == WILDCARD else parts[1]), parts[2:]
    return ROOT, parts


def parse(workspace: str | None, parts: list[str]) -> Path | None:
    """The path below `/api/VERSION` or `/apis/GROUP/VERSION`; None if it can name no resource."""
    if parts[0] == "api" and len(parts) >= 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = bool(rest) and rest[0] == "watch"
    if watch:
        rest = rest[1:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return None
    plural, name, subresource = (*rest, "", "", "")[:3]
    return Path(workspace, group, version, plural, namespace, name, subresource, watch)
