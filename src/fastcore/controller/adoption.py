"""Applies that never take over an object of somebody else without being told to (WR-2, WR-6).

Server-side apply does not ask whose an object is: it adds its fields to whatever has the name. An object is ours if

- what is applied names a controller owner and the live object has that very one, by uid;
- or what is applied names one and the live object has lost its own, and our field manager has applied the object;
- or what is applied names none, and our field manager has written to the object in any way.

What a field manager has done is what `metadata.managedFields` says of the object itself, not of its subresources.

An apply that says nothing but the name, such as that of a Namespace, takes nothing over and leaves no trace: it may
always be done.

The server helps to keep that true between the look and the write. An object that was looked at is applied with its
uid, so that another of its name is refused. One that was not there is applied with a resourceVersion that no object
ever has: the server creates what does not exist, and answers a conflict if something does.
"""

from collections.abc import Mapping
from typing import Any

from fastcore.controller.client import Client
from fastcore.controller.errors import AlreadyExistsError, ApiError, ConflictError, InvalidError, NotFoundError
from fastcore.controller.model import Kind, Resource
from fastcore.controller.writes import Adopt, Apply, Create

_NEVER_A_VERSION = "1"  # etcd counts from 1, which is the revision of nothing written yet
_NAMING = frozenset({"apiVersion", "kind", "metadata"})
_NAMES = frozenset({"name", "namespace", "uid", "resourceVersion"})
_LOOKS = 4  # an object that changes hands more often within one write is somebody else's problem


class ForeignObjectError(AlreadyExistsError):
    """An object of this name exists and is not ours, so it was not written to.

    Attributes:
        owner: its controller as "WebApp other", or "" if it has none.
        managers: who has written to it, as far as that is known.
        uid: of the object.
    """

    owner: str
    managers: tuple[str, ...]
    uid: str

    def __init__(self, kind: Kind, live: Mapping[str, Any]) -> None:
        meta = live["metadata"]
        controller = _controller(meta)
        self.owner = f"{controller['kind']} {controller['name']}" if controller else ""
        self.managers = tuple(sorted({entry.get("manager", "") for entry in meta.get("managedFields") or ()}))
        self.uid = meta.get("uid", "")
        where = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]
        owned = f"it belongs to {self.owner}" if self.owner else "no controller owns it"
        written = f", written by {', '.join(map(repr, self.managers))}" if self.managers else ""
        choice = "" if self.owner else '"unowned" or '
        super().__init__(
            f"{kind.kind} {where} exists and is not ours: {owned}{written}. Delete or rename one of the two, or apply "
            f"with adopt={choice}\"always\" to take it over",
            status=409,
            reason="ForeignObject",
            kind=kind.plural,
            name=meta["name"],
        )  # fmt: skip


def is_ours(live: Mapping[str, Any], desired: Mapping[str, Any], manager: str) -> bool | None:
    """Whether `live` is ours by the rule above; None if its `managedFields` would tell, but were not kept.

    Args:
        live: the object as it is.
        desired: what would be applied to it.
        manager: our field manager.
    """
    meta = live["metadata"]
    wanted, actual = _controller(desired["metadata"]), _controller(meta)
    if wanted is not None and actual is not None:
        return bool(wanted["uid"] == actual["uid"])
    entries = meta.get("managedFields")
    if not entries:
        return None
    return any(
        entry.get("manager") == manager
        and not entry.get("subresource")
        and (wanted is None or entry.get("operation") == "Apply")
        for entry in entries
    )


def may_write(live: Mapping[str, Any], desired: Mapping[str, Any], manager: str, adopt: Adopt) -> bool | None:
    """Whether the rule allows to apply `desired` to `live`; None if the live object cannot tell.

    Args:
        live: the object as it is.
        desired: what would be applied to it.
        manager: our field manager.
        adopt: "never" allows what is ours, "unowned" also what has no controller, "always" everything.
    """
    if adopt == "always" or (adopt == "unowned" and _controller(live["metadata"]) is None) or not _claims(desired):
        return True
    return is_ours(live, desired, manager)


async def apply_guarded(
    client: Client, write: Apply, live: Mapping[str, Any] | None, *, manager: str, adopt: Adopt, dry_run: bool = False
) -> Resource:
    """Apply `write` unless the object is somebody else's, also if it appears or changes hands meanwhile.

    One request, as an apply without a guard, unless `live` was wrong or could not tell.

    Args:
        client: sends it.
        write: an apply of an object, not of a subresource.
        live: the object as it is known, or None.
        manager: our field manager.
        adopt: as in `may_write`.
        dry_run: the server validates and answers, but does not store.

    Raises:
        ForeignObjectError: the object is somebody else's.
        ApiError: as `Client.apply`.
    """
    kind, obj = write.kind, write.obj
    meta = obj["metadata"]
    looks = 0
    while True:
        if live is not None:
            allowed = may_write(live, obj, manager, adopt)
            if allowed is None and looks == 0:
                live, looks = await _read(client, kind, meta), looks + 1
                continue
            if not allowed:
                raise ForeignObjectError(kind, live)
        guarded = {**obj, "metadata": {**_guard(live), **meta}}
        try:
            return await client.apply(kind, guarded, field_manager=manager, force=write.force, dry_run=dry_run)
        except ApiError as error:
            looks += 1
            if looks == _LOOKS or not _was_guarded(error, live):
                raise
            seen = await _read(client, kind, meta)
            if "resourceVersion" in meta and seen is not None and may_write(seen, obj, manager, adopt):
                raise  # the caller's own precondition
            live = seen


async def create_guarded(client: Client, write: Create, *, manager: str, dry_run: bool = False) -> Resource:
    """Create an object; when one of its name exists, say whose it is.

    Raises:
        ForeignObjectError: it is somebody else's.
        AlreadyExistsError: it is ours.
        ApiError: as `Client.create`.
    """
    kind, obj = write.kind, write.obj
    try:
        return await client.create(kind, obj, field_manager=manager, dry_run=dry_run)
    except AlreadyExistsError as error:
        meta = obj["metadata"]
        try:
            live = await _read(client, kind, meta) if meta.get("name") else None
        except ApiError:
            raise error from None
        if live is None or is_ours(live, obj, manager):
            raise
        raise ForeignObjectError(kind, live) from error


def _guard(live: Mapping[str, Any] | None) -> dict[str, str]:
    if live is None:
        return {"resourceVersion": _NEVER_A_VERSION}
    uid = live["metadata"].get("uid")
    return {"uid": uid} if uid else {}


def _was_guarded(error: ApiError, live: Mapping[str, Any] | None) -> bool:
    """Whether the refusal may come from the guard: the object is not the one that was looked at."""
    if isinstance(error, ConflictError):
        return live is None or not error.fields
    return isinstance(error, InvalidError) and any(cause.field == "metadata.uid" for cause in error.causes)


async def _read(client: Client, kind: Kind, meta: Mapping[str, Any]) -> Resource | None:
    try:
        return await client.get(kind, meta.get("namespace") if kind.namespaced else None, meta["name"])
    except NotFoundError:
        return None


def _claims(desired: Mapping[str, Any]) -> bool:
    """Whether there is a field that the server would note as ours."""
    return not (desired.keys() <= _NAMING and desired["metadata"].keys() <= _NAMES)


def _controller(meta: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((owner for owner in meta.get("ownerReferences") or () if owner.get("controller")), None)
