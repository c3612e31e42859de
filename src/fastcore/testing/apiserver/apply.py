"""Field ownership: server-side apply, and what plain writes do to `metadata.managedFields`.

```text
applied ── fieldset.of ──► the set that I claim now
live + applied (typed.merge) ─ what I claimed before and nobody claims now (fieldset.remove) ─► new object
compare(live, new) & the sets of others ──► conflicts, or theirs shrink (force, plain writes)
```

An owner is a manager with its operation (Apply or Update) and subresource; for Update the API version belongs to it
too. Nothing is changed in place. Not done: conversion of sets between versions of a kind, and the repair of sets after
a schema turned a map or list atomic or back. Model: Kubernetes' managed fields.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from fastcore.testing.apiserver import fieldset, last_applied
from fastcore.testing.apiserver.fieldset import Fields, TypedValueError
from fastcore.testing.apiserver.status import Cause, bad_request, plain_error
from fastcore.testing.apiserver.typed import Comparison, compare, merge
from fastcore.testing.apiserver.typeschema import DEDUCED, TypeSchema

MAX_UPDATERS = 10  # more entries of plain writes than this are folded into one, the oldest first
_FOLDED = "ancient-changes"
_BEFORE_APPLY = "before-first-apply"
_CONFLICT = "FieldManagerConflict"
# Identity and bookkeeping belong to nobody.
_NEVER_OWNED: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        **{
            f"f:{name}": {}
            for name in (
                "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
                "managedFields", "resourceVersion",
            )
        },
    },
}  # fmt: skip


class Owner(NamedTuple):
    """Who owns fields."""

    manager: str
    operation: str
    version: str  # "" for Apply: an applier stays the same one in every version
    subresource: str

    def __str__(self) -> str:
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.version}" if self.operation == "Update" else text


class Claim(NamedTuple):
    """What an owner owns, since when, and in which version of the kind."""

    fields: Fields
    version: str
    time: str | None


Claims = dict[Owner, Claim]


class ApplyConflict(Exception):
    """Other managers own fields that an apply would change.

    Attributes:
        causes: one for each field and manager, reason FieldManagerConflict.
    """

    def __init__(self, causes: list[Cause]) -> None:
        super().__init__(f"conflicts on {len(causes)} fields")
        self.causes = causes


def server_side_apply(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    *,
    manager: str,
    force: bool,
    schema: TypeSchema | None,
    subresource: str,
    now: str,
) -> dict[str, Any]:
    """The object after `manager` applied `applied`, with its managedFields.

    Args:
        live: the stored object, None to create one.
        applied: what the manager wants, without managedFields. The caller has cut it down to what the endpoint may
            write: no `status` on the main one, nothing but `status` on that of the status.
        manager: not empty.
        force: take fields over from other managers instead of failing.
        schema: type of the object; None: deduced.
        subresource: "" for the object itself.
        now: time of the entry, RFC 3339 in whole seconds.

    Returns:
        A new object, equal to `live` if nothing changed (WR-3). Defaults are not filled in yet: they belong to nobody.

    Raises:
        ApplyConflict: not forced, and others own fields whose value would change.
        StatusError: 400 for managedFields in `applied`, 500 for an object that does not fit the schema.
    """
    if (applied.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    kind = schema or DEDUCED
    try:
        claimed = fieldset.of(applied, kind)
    except TypedValueError as error:
        raise plain_error(f"failed to create typed patch object ({_describe(applied)}): {error}") from None
    try:
        return _apply(live, applied, claimed, Owner(manager, "Apply", "", subresource), force, kind, now)
    except TypedValueError as error:
        raise plain_error(f"failed to create typed live object ({_describe(live or {})}): {error}") from None


def _apply(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    claimed: Fields,
    owner: Owner,
    force: bool,
    kind: TypeSchema,
    now: str,
) -> dict[str, Any]:
    version = applied.get("apiVersion", "")
    base = _without_managed_fields(live or {})
    claims = decode(live)
    if live is not None and not claims:
        before = _owned(compare({}, base, kind).added)
        claims[Owner(_BEFORE_APPLY, "Update", version, "")] = Claim(before, version, now)
    previous = claims.get(owner)
    claims[owner] = Claim(claimed, version, previous.time if previous else None)
    new = merge(base, applied, kind)
    if previous is not None and fieldset.difference(previous.fields, claimed):
        new = _drop_abandoned(new, previous.fields, claims.values(), kind)
    changes = compare(base, new, kind)
    allowed = last_applied.own_fields(base, kind) if owner.manager == last_applied.MANAGER and not force else {}
    _settle(claims, owner, changes, force=force, allowed=allowed)
    mine = claims.pop(owner)
    if owned := _owned(claimed):  # only now: what is never owned has kept the metadata from being dropped as a whole
        claims[owner] = Claim(owned, version, mine.time if changes.same else now)
    if owner.manager == last_applied.MANAGER:
        new = last_applied.keep_in_step(new, applied)
    return _with_managed_fields(new, claims)


def track_update(
    live: dict[str, Any] | None,
    new: dict[str, Any],
    *,
    manager: str,
    schema: TypeSchema | None,
    subresource: str,
    now: str,
) -> dict[str, Any]:
    """`new` with the managedFields that a create, update or patch by `manager` leaves.

    Args: as in `server_side_apply`; `new` is the whole object with its defaults. managedFields in it replace those of
        `live` (but not through a subresource); `[{}]` empties them.

    Returns:
        A new object. If no field changed, its managedFields are those of `live` with their times (WR-3). An object
        without managedFields stays without, and one that does not fit the schema loses them.
    """
    kind = schema or DEDUCED
    claims = decode(live)
    given = (new.get("metadata") or {}).get("managedFields")
    if given == [{}] and not subresource:
        claims = {}
    elif given and not subresource and _are_well_formed(given):
        claims = decode(new) or claims
    target = _without_managed_fields(new)
    if live is not None and not claims:  # cleared: nobody is tracked until the next apply
        return target
    version = new.get("apiVersion", "")
    owner = Owner(manager or "unknown", "Update", version, subresource)
    try:
        changes = compare(_without_managed_fields(live or {}), target, kind)
    except TypedValueError:  # items without identity: validation will say so, or else nobody owns anything
        return target
    taken = _owned(fieldset.union(changes.modified, changes.added))
    _settle(claims, None, changes, force=True, allowed={})
    if taken:
        mine = fieldset.union(claims[owner].fields, taken) if owner in claims else taken
        claims[owner] = Claim(mine, version, now)
        _fold_old_updaters(claims)
    return _with_managed_fields(target, claims)


def _drop_abandoned(
    merged: dict[str, Any], previous: Fields, claims: Iterable[Claim], kind: TypeSchema
) -> dict[str, Any]:
    """`merged` without the fields that the applier claimed before and that nobody claims now."""
    claimed: Fields = {}
    for claim in claims:
        claimed = fieldset.union(claimed, fieldset.named_as_members(claim.fields, kind))
    abandoned = fieldset.difference(fieldset.named_as_members(previous, kind), claimed)
    return fieldset.remove(merged, abandoned, kind) or {}


def _settle(claims: Claims, applier: Owner | None, changes: Comparison, *, force: bool, allowed: Fields) -> None:
    """Take changed and removed fields from everyone but `applier`; refuse changed ones unless forced or `allowed`."""
    changed = fieldset.union(changes.modified, changes.added)
    others = [owner for owner in sorted(claims) if owner != applier]
    if not force and (disputed := fieldset.difference(changed, allowed)):
        causes = [
            Cause(path, _CONFLICT, f"conflict with {owner}")
            for owner in others
            for path in fieldset.paths(fieldset.intersection(claims[owner].fields, disputed))
        ]
        if causes:
            raise ApplyConflict(causes)
    lost = fieldset.union(changed, changes.removed)
    for owner in others:
        claims[owner] = claims[owner]._replace(fields=fieldset.difference(claims[owner].fields, lost))
    for owner in [owner for owner in others if not claims[owner].fields]:
        del claims[owner]


def _fold_old_updaters(claims: Claims) -> None:
    """Keep at most MAX_UPDATERS entries of plain writes: the oldest are folded into one for each version."""
    updaters = sorted(
        (owner for owner in claims if owner.operation == "Update"), key=lambda o: (claims[o].time or "", o.manager)
    )
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return
    for owner in updaters[: excess + 1]:  # one more, for the entry that takes them
        claim = claims.pop(owner)
        into = Owner(_FOLDED, "Update", claim.version, "")
        folded = claims.get(into)
        fields = fieldset.union(folded.fields, claim.fields) if folded else claim.fields
        claims[into] = Claim(fields, claim.version, claim.time)


def _owned(fields: Fields) -> Fields:
    return fieldset.difference(fields, _NEVER_OWNED)


def _describe(obj: dict[str, Any]) -> str:
    metadata = obj.get("metadata") or {}
    name = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
    return f"{name}; {obj.get('apiVersion')}, Kind={obj.get('kind')}"


def decode(obj: dict[str, Any] | None) -> Claims:
    """The claims in an object's managedFields; entries that are no entries are left out."""
    claims: Claims = {}
    for entry in ((obj or {}).get("metadata") or {}).get("managedFields") or ():
        operation, fields = entry.get("operation"), entry.get("fieldsV1")
        if operation in ("Apply", "Update") and isinstance(fields, dict):
            version = entry.get("apiVersion", "")
            owner = Owner(
                entry.get("manager", ""),
                operation,
                version if operation == "Update" else "",
                entry.get("subresource", ""),
            )
            claims[owner] = Claim(fields, version, entry.get("time"))
    return claims


def _are_well_formed(entries: list[Any]) -> bool:
    """Whether a client's managedFields can be used; if not, those of the stored object stay."""
    return all(isinstance(e, dict) and fieldset.is_well_formed(e.get("fieldsV1", {})) for e in entries)


def _without_managed_fields(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


def _with_managed_fields(obj: dict[str, Any], claims: Claims) -> dict[str, Any]:
    """A copy of `obj` with the claims: appliers first, then by time."""
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name != "managedFields"}
    entries = []
    for owner, claim in sorted(claims.items(), key=_entry_order):
        entry: dict[str, Any] = {"manager": owner.manager, "operation": owner.operation, "apiVersion": claim.version}
        if claim.time is not None:
            entry["time"] = claim.time
        entry["fieldsType"] = "FieldsV1"
        entry["fieldsV1"] = claim.fields
        if owner.subresource:
            entry["subresource"] = owner.subresource
        entries.append(entry)
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def _entry_order(item: tuple[Owner, Claim]) -> tuple[str, ...]:
    owner, claim = item
    return owner.operation, claim.time or "", owner.manager, claim.version, owner.subresource
