"""The writes that a batch takes, and which object each of them is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fastcore.controller.client import MERGE_PATCH
from fastcore.controller.model import Kind, Resource

Adopt = Literal["never", "unowned", "always"]
"""Which objects of others an apply may write to: none, those that no controller owns, or any."""


class Target(NamedTuple):
    """The object that a write is about; its version does not matter."""

    group: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Create:
    """Create `obj`; an object of its name that exists already is an AlreadyExistsError, whoever made it (WR-6).

    Args:
        kind: of the object.
        obj: the object.
        after: writes of the same run that have to succeed first.
    """

    kind: Kind
    obj: Resource
    after: tuple["Write", ...] = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of `obj` (WR-2).

    Args:
        kind: of the object.
        obj: the fields that I want, and no others.
        live: the object as an informer has it; None asks the batch's own `lookup`, if it has one. Nothing is sent if
            it already says all that `obj` says and nothing has left `obj` that I had applied; an object whose
            informer does not keep my `managedFields` cannot tell the latter, so it is sent.
        force: take fields over from other managers.
        subresource: such as "status".
        adopt: instead of the batch's own rule.
        after: writes of the same run that have to succeed first.
    """

    kind: Kind
    obj: Resource
    live: Mapping[str, Any] | None = None
    force: bool = True
    subresource: str | None = None
    adopt: Adopt | None = None
    after: tuple["Write", ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object by `obj`, which carries the resourceVersion that it is based on (WR-1)."""

    kind: Kind
    obj: Resource
    subresource: str | None = None
    after: tuple["Write", ...] = ()


@dataclass(frozen=True, slots=True)
class Patch:
    """Change parts of an object."""

    kind: Kind
    namespace: str | None
    name: str
    patch: object
    patch_type: str = MERGE_PATCH
    subresource: str | None = None
    after: tuple["Write", ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object; with `uid` only that very one, not another that took its name."""

    kind: Kind
    namespace: str | None
    name: str
    uid: str | None = None
    propagation: str | None = None
    after: tuple["Write", ...] = ()


Write = Create | Apply | Update | Patch | Delete

_NAMED = (Patch, Delete)  # they have no object, but the name of one


def target_of(write: Write) -> Target:
    """The object that `write` is about; its name is "" if the server will make one up, or there is none."""
    kind = write.kind
    if isinstance(write, _NAMED):
        namespace, name = write.namespace, write.name
    else:
        meta = write.obj.get("metadata") or {}
        namespace, name = meta.get("namespace"), meta.get("name", "")
    return Target(kind.group, kind.kind, (namespace or "") if kind.namespaced else "", name or "")


def key_of_write(write: Write) -> str:
    """A write in words: "Delete ConfigMap default/web"."""
    target = target_of(write)
    name: str = target.name
    if not name and not isinstance(write, _NAMED):
        name = f"{(write.obj.get('metadata') or {}).get('generateName', '')}*"
    subresource = getattr(write, "subresource", None)
    where = f"{target.namespace}/{name}" if target.namespace else name
    return f"{type(write).__name__} {write.kind.kind} {where}" + (f" {subresource}" if subresource else "")
