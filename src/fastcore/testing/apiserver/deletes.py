"""DELETE: preconditions, propagation policies and finalizers."""

from dataclasses import dataclass
from typing import Any

from fastcore.testing.apiserver.status import Cause, bad_request, conflict, forbidden, invalid_options
from fastcore.testing.apiserver.storage import Record
from fastcore.testing.apiserver.target import Target
from fastcore.testing.apiserver.writes import Outcome, Writer

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_POLICIES = ("Foreground", "Background", "Orphan")
_UNDELETABLE = ("default", "kube-system", "kube-public")


@dataclass(frozen=True)
class DeleteOptions:
    """What the query and the body of a DELETE say."""

    policy: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @classmethod
    def of(cls, query: dict[str, str], body: dict[str, Any], *, dry_run: bool) -> "DeleteOptions":
        """Read both; the body wins.

        Raises:
            StatusError: 422 for an unknown policy, 400 for a malformed body.
        """
        policy = body.get("propagationPolicy") or query.get("propagationPolicy", "")
        if policy and policy not in _POLICIES:
            cause = Cause.unsupported("propagationPolicy", f'"{policy}"', (*_POLICIES, "nil"))
            raise invalid_options("DeleteOptions", [cause])
        orphan = body.get("orphanDependents", {"true": True, "false": False}.get(query.get("orphanDependents", "")))
        if orphan is not None and not policy:
            policy = "Orphan" if orphan else "Background"
        preconditions = body.get("preconditions") or {}
        if not isinstance(preconditions, dict):
            raise bad_request("preconditions must be an object")
        return cls(
            policy,
            preconditions.get("uid") or "",
            preconditions.get("resourceVersion") or "",
            dry_run or body.get("dryRun") == ["All"],
        )


def delete(writer: Writer, target: Target, options: DeleteOptions) -> Outcome:
    """Delete an object, or mark it for deletion if finalizers hold it.

    Raises:
        StatusError: 403, 404 or 409.
    """
    resource = target.resource
    record = writer.live(target)
    _check(target, record, options)
    if resource.plural == "namespaces" and target.name in _UNDELETABLE:
        raise forbidden("", "namespaces", target.name, "this namespace may not be deleted")
    obj = writer.admission.read(target, record)
    metadata = obj["metadata"]
    finalizers = _finalizers(target, options.policy, metadata)
    held = bool(finalizers) or (resource.plural == "namespaces" and bool(obj.get("spec", {}).get("finalizers")))
    if not held:
        removed = record if options.dry_run else writer.collection(target).remove(target.key)
        return Outcome(removed, deleted=True)
    if "deletionTimestamp" in metadata and finalizers == metadata.get("finalizers", []):
        return Outcome(record)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    first = "deletionTimestamp" not in metadata
    if first:
        metadata["deletionTimestamp"] = writer.timestamp()
        if resource.plural == "namespaces":
            obj.setdefault("status", {})["phase"] = "Terminating"
        elif resource.plural != "customresourcedefinitions":
            metadata["deletionGracePeriodSeconds"] = 0
    if options.dry_run:
        return Outcome(record)
    return Outcome(writer.mark_deleted(target, obj, counted=first))


def _check(target: Target, record: Record, options: DeleteOptions) -> None:
    resource = target.resource
    if options.uid and options.uid != record.uid:
        raise conflict(
            resource.group,
            resource.kind,
            target.name,
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({record.uid}). "
            "The object might have been deleted and then recreated",
        )
    if options.resource_version and options.resource_version != str(record.revision):
        raise conflict(
            resource.group,
            resource.kind,
            target.name,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({record.revision}). The object might have been modified",
        )


def _finalizers(target: Target, policy: str, metadata: dict[str, Any]) -> list[str]:
    """The finalizers with which an object goes into deletion."""
    out = list(metadata.get("finalizers", ()))
    wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(policy, "")
    if not policy and target.resource.orphans and not {FOREGROUND, ORPHAN} & set(out):
        wanted = ORPHAN
    if policy:
        out = [finalizer for finalizer in out if finalizer not in (FOREGROUND, ORPHAN) or finalizer == wanted]
    if wanted and wanted not in out:
        out.append(wanted)
    if target.resource.plural == "customresourcedefinitions" and "deletionTimestamp" not in metadata:
        # A CRD goes when its objects are gone; the controller in crds.py takes the finalizer off.
        out = [*(finalizer for finalizer in out if finalizer != CRD_CLEANUP), CRD_CLEANUP]
    return out
