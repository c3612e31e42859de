"""What the runtime talks about: kinds and their URL paths, requests, results. Objects are plain decoded dicts.

Nobody changes an object that an informer handed out (IN-6): copy what you want to change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from fastcore.errors import FastcoreError

Resource = dict[str, Any]
"""A Kubernetes object as decoded from JSON."""


@lru_cache(4096)  # whoever is written is written again, by its name
def _quoted(part: str) -> str:
    return quote(part, safe="")


class Kind(NamedTuple):
    """A resource type of the API: where its objects are found.

    Args:
        group: API group, "" for the core group.
        version: version in the group, such as "v1".
        kind: singular name in CamelCase, such as "Deployment".
        plural: name in URLs, such as "deployments".
        namespaced: whether its objects live in namespaces.

    Thread safety: immutable.

    Example:
        >>> Kind("apps", "v1", "Deployment", "deployments").path("default", "web", "status")
        '/apis/apps/v1/namespaces/default/deployments/web/status'
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects: "apps/v1", or "v1" in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of one object, or of the collection when `name` is missing; every part is URL-quoted.

        Args:
            namespace: None or "" is every namespace, which only a collection can have.
            name: the object's name; None or "" means the collection.
            subresource: such as "status"; needs a name.

        Raises:
            ValueError: a cluster-scoped kind with a namespace, a namespaced object without one, or a subresource of
                a collection.
        """
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace:
            if not self.namespaced:
                raise ValueError(f"{self.kind} is cluster-scoped, so it has no namespace {namespace!r}")
            base += f"/namespaces/{_quoted(namespace)}"
        elif name and self.namespaced:
            raise ValueError(f"{self.kind} {name!r} needs a namespace")
        if not name:
            if subresource:
                raise ValueError(f"the subresource {subresource!r} of {self.kind} needs a name")
            return f"{base}/{self.plural}"
        if subresource:
            return f"{base}/{self.plural}/{_quoted(name)}/{_quoted(subresource)}"
        return f"{base}/{self.plural}/{_quoted(name)}"

    def owner_reference(self, obj: Mapping[str, Any]) -> Resource:
        """The controller owner reference that makes `obj`, of this kind, own another object (WR-7)."""
        meta = obj["metadata"]
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }


CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SECRET = Kind("", "v1", "Secret", "secrets")
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
EVENT = Kind("", "v1", "Event", "events")
EVENT_SERIES = Kind("events.k8s.io", "v1", "Event", "events")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
CUSTOM_RESOURCE_DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)


class Request(NamedTuple):
    """What a reconciler is asked to bring in order: one object, by name; never the event that caused it (CT-1).

    Args:
        workspace: name of the workspace, part of every key.
        namespace: "" for cluster-scoped kinds.
        name: the object's name.
    """

    workspace: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


@dataclass(frozen=True, slots=True)
class Result:
    """How a reconcile ended, when it did not raise.

    Args:
        requeue_after: seconds until the key is reconciled again, >= 0; None or 0 means not before something changes
            (CT-3).
        priority: priority of that next run; None keeps the key's own.

    Raises:
        ValueError: `requeue_after` is negative or not a number.
    """

    requeue_after: float | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        if self.requeue_after is not None and not self.requeue_after >= 0:
            raise ValueError(f"requeue_after must be >= 0 seconds, not {self.requeue_after!r}")


class TerminalError(FastcoreError):
    """A reconcile failed in a way that no retry can heal: counted as an error, not requeued (CT-2)."""


def key_of(obj: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace ("" if none) and name of an object: its key inside one workspace and kind."""
    meta = obj["metadata"]
    return meta.get("namespace") or "", meta["name"]


def revision(obj: Mapping[str, Any]) -> int | None:
    """An object's resourceVersion as a number, or None if it is not one (RF-11).

    Compare two only when both are numbers and come from the same workspace and kind.
    """
    return parse_revision(obj["metadata"].get("resourceVersion"))


@lru_cache(4096)  # a version is asked for by each who compares it
def parse_revision(text: str | None) -> int | None:
    """A resourceVersion as an unsigned number, or None if it is not written as one (RF-11)."""
    return int(text) if text and text.isascii() and text.isdigit() else None
