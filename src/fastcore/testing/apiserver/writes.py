"""Creates and updates objects: what the server sets, checks, ignores and counts before it stores."""

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from fastcore.testing.apiserver import metadata as meta
from fastcore.testing.apiserver.admission import Admission
from fastcore.testing.apiserver.apply import track_update
from fastcore.testing.apiserver.changes import spec_changed, unchanged
from fastcore.testing.apiserver.registry import Registry
from fastcore.testing.apiserver.status import (
    Cause,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    plain_error,
)
from fastcore.testing.apiserver.storage import Collection, Record, Store
from fastcore.testing.apiserver.target import Target

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True)
class Options:
    """What a write's query says."""

    dry_run: bool = False
    manager: str = "unknown"
    validation: str = "Warn"
    force: bool = False


@dataclass
class Outcome:
    """What a write did: the object as stored (or as it would have been), and what the client should be told."""

    record: Record
    created: bool = False
    deleted: bool = False
    warnings: list[str] = field(default_factory=list)


class Writer:
    """Puts objects into the store.

    Args:
        store: where they go.
        registry: what custom kinds there are.
        now: wall clock in seconds since 1970.
        seed: makes uids and generated names repeatable; None takes them from the system.
    """

    def __init__(
        self, store: Store, registry: Registry, now: Callable[[], float] = time.time, seed: int | None = None
    ) -> None:
        self.store = store
        self.registry = registry
        self._now = now
        self._random: random.Random = random.Random(seed) if seed is not None else random.SystemRandom()
        self.admission = Admission(store, registry)

    def timestamp(self) -> str:
        """The present in the form that metadata has."""
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def collection(self, target: Target) -> Collection:
        """Where the target's kind is stored."""
        return self.store.collection(*target.resource.storage)

    def live(self, target: Target) -> Record:
        """The stored object.

        Raises:
            StatusError: 404.
        """
        found = self.collection(target).records.get(target.key)
        if found is None:
            raise not_found(target.resource.group, target.resource.plural, target.name)
        return found

    def create(self, target: Target, obj: dict[str, Any], options: Options, *, tracked: bool = False) -> Outcome:
        """Store a new object.

        Raises:
            StatusError: 400, 403, 404 (namespace), 409 (exists) or 422.
        """
        resource = target.resource
        warnings = self.admission.decode(target, obj, options.validation, applied=tracked)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion") and not tracked:  # an apply that creates does not look at it
            raise plain_error("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            suffix = "".join(self._random.choices(_SUFFIX, k=5))
            metadata["name"] = metadata["generateName"][:58] + suffix
        for member in ("deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "generation"):
            metadata.pop(member, None)
        if resource.namespaced:
            metadata["namespace"] = target.namespace
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = self.timestamp()
        if resource.generation or resource.custom:
            metadata["generation"] = 1
        if resource.status:
            obj.pop("status", None)
        target = target._replace(name=metadata.get("name", ""))
        self.admission.check_place(target)
        self.admission.default(target, obj)
        if not tracked:
            obj = self._track(target, None, obj, options)
        self.admission.check(target, obj, None)
        if target.key in self.collection(target).records:
            raise already_exists(resource.group, resource.plural, target.name)
        return Outcome(self._put(target, obj, options), created=True, warnings=warnings)

    def update(
        self,
        target: Target,
        record: Record,
        obj: dict[str, Any],
        options: Options,
        *,
        tracked: bool = False,
        patch: bool = False,
    ) -> Outcome:
        """Replace the object that `record` holds; with a subresource in the target, only that part of it.

        Args:
            tracked: managedFields are already right.
            patch: `obj` is the live object changed, so a missing resourceVersion is no omission.

        Raises:
            StatusError: 400, 409 or 422.
        """
        resource = target.resource
        live = self.admission.read(target, record)
        warnings = self.admission.decode(target, obj, options.validation, patch=patch, applied=tracked)
        metadata = obj["metadata"]
        self._check_identity(target, record, metadata, patch=patch)
        whole = target.subresource in ("", "scale")
        if not whole:
            obj = self._only_status(target, record, obj)
            metadata = obj["metadata"]
        for member in resource.protected if whole else ():
            obj.pop(member, None)
            if member in live:
                obj[member] = msgspec.json.decode(msgspec.json.encode(live[member]))
        meta.carry_over(live["metadata"], metadata)
        self.admission.default(target, obj)
        if not tracked:
            obj = self._track(target, live, obj, options)
        self.admission.check(target, obj, live)
        metadata = obj["metadata"]
        if whole and (resource.generation or resource.custom) and spec_changed(target.resource, live, obj):
            metadata["generation"] = live["metadata"].get("generation", 0) + 1
        return self._finish(target, record, live, obj, options, warnings)

    def _finish(
        self,
        target: Target,
        record: Record,
        live: dict[str, Any],
        obj: dict[str, Any],
        options: Options,
        warnings: list[str],
    ) -> Outcome:
        metadata = obj["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers") and not self._held(target, obj):
            if not options.dry_run:
                self.collection(target).remove(target.key)
            # The answer carries the revision from before the delete, as the real server's does.
            return Outcome(self._record(target, obj, record.revision), deleted=True, warnings=warnings)
        metadata["resourceVersion"] = str(record.revision)
        if unchanged(live, obj):
            return Outcome(record, warnings=warnings)
        return Outcome(self._put(target, obj, options, record.revision), warnings=warnings)

    def _held(self, target: Target, obj: dict[str, Any]) -> bool:
        # Namespaces have finalizers of their own besides those of the metadata.
        return target.resource.plural == "namespaces" and bool(obj.get("spec", {}).get("finalizers"))

    def _check_identity(self, target: Target, record: Record, metadata: dict[str, Any], *, patch: bool) -> None:
        resource = target.resource
        uid = metadata.get("uid")
        if uid and uid != record.uid and not patch:
            path = "/".join(part for part in (target.namespace, target.name) if part)
            raise conflict(
                resource.group,
                resource.plural,
                target.name,
                f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{path}, ResourceVersion: 0, "
                f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {record.uid}",
            )
        version = metadata.get("resourceVersion")
        if not version or version == "0":
            if not patch and not resource.unconditional_update:
                cause = Cause.invalid("metadata.resourceVersion", "0", "must be specified for an update")
                raise invalid(resource.group, resource.plural, target.name, [cause])
        elif not version.isdecimal():
            raise plain_error(f'strconv.ParseUint: parsing "{version}": invalid syntax')
        elif int(version) != record.revision:
            raise conflict(
                resource.group,
                resource.plural,
                target.name,
                "the object has been modified; please apply your changes to the latest version and try again",
            )
        if uid and uid != record.uid:  # to a patch it is a member like others
            cause = Cause.invalid("metadata.uid", msgspec.json.encode(uid).decode(), "field is immutable")
            raise invalid(resource.group, resource.kind, target.name, [cause])

    def _only_status(self, target: Target, record: Record, obj: dict[str, Any]) -> dict[str, Any]:
        out = self.admission.read(target, record)
        metadata = out["metadata"]
        if target.subresource == "finalize":
            finalizers = obj.get("spec", {}).get("finalizers")
            out["spec"] = {"finalizers": finalizers} if finalizers else {}
        else:
            out.pop("status", None)
            if "status" in obj:
                out["status"] = obj["status"]
            if not target.resource.custom:
                # Built-in kinds let their controllers annotate and finalize through the status.
                for member in ("annotations", "finalizers"):
                    metadata.pop(member, None)
                    if member in obj["metadata"]:
                        metadata[member] = obj["metadata"][member]
        if "managedFields" in obj["metadata"]:
            metadata["managedFields"] = obj["metadata"]["managedFields"]
        return out

    def _track(
        self, target: Target, live: dict[str, Any] | None, obj: dict[str, Any], options: Options
    ) -> dict[str, Any]:
        return track_update(
            live,
            obj,
            manager=options.manager,
            schema=self.admission.type_schema(target.resource),
            subresource=target.subresource,
            now=self.timestamp(),
        )

    def _put(self, target: Target, obj: dict[str, Any], options: Options, revision: int = 0) -> Record:
        if options.dry_run:
            return self._record(target, obj, revision)
        stored = self.admission.stored(target, obj)
        return self.collection(target).put(target.key, stored, target.resource.selectable(stored))

    def _record(self, target: Target, obj: dict[str, Any], revision: int) -> Record:
        return Record(target.key, revision, self.admission.stored(target, obj), {})

    def mark_deleted(self, target: Target, obj: dict[str, Any], *, counted: bool) -> Record:
        """Store an object that goes into deletion; `counted` if its generation rises with that (WR-4)."""
        metadata = obj["metadata"]
        if counted and "generation" in metadata and target.resource.plural != "customresourcedefinitions":
            metadata["generation"] += 1
        stored = self.admission.stored(target, obj)
        return self.collection(target).put(target.key, stored, target.resource.selectable(stored))


def check_name(target: Target, obj: dict[str, Any]) -> None:
    """Refuse a body that names another object or namespace than the path."""
    metadata = obj.get("metadata") or {}
    name = metadata.get("name")
    if name and name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
    namespace = metadata.get("namespace")
    if target.resource.namespaced and namespace and namespace != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    metadata["name"] = target.name
    obj["metadata"] = metadata
