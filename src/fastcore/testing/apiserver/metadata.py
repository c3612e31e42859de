"""What every object's metadata must look like, and what the server sets in it."""

import re
from typing import Any

from fastcore.testing.apiserver.resources import Resource
from fastcore.testing.apiserver.status import Cause

CLUSTER_ANNOTATION = "kcp.io/cluster"
"""Names an object's workspace in answers that span workspaces; never stored."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_ANNOTATIONS_LIMIT = 256 * 1024
_SUBDOMAIN_HINT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_HINT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SERVICE_HINT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
# Members that only the server may set, and the empty values that it leaves out.
_OPTIONAL = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName", "namespace")
_STRINGS = ("name", "generateName", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")


def shape_error(obj: dict[str, Any]) -> str:
    """Why metadata cannot even be read ("" if it can): a member of the wrong JSON type."""
    metadata = obj.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        return "json: cannot unmarshal metadata into an object"
    metadata = metadata or {}
    for member in _STRINGS:
        if not isinstance(metadata.get(member), str | None):
            return f"json: cannot unmarshal metadata.{member} into a string"
    for member in ("labels", "annotations"):
        pairs = metadata.get(member)
        if pairs is not None and not (
            isinstance(pairs, dict) and all(isinstance(value, str) for value in pairs.values())
        ):
            return f"json: cannot unmarshal metadata.{member} into a map of strings"
    finalizers = metadata.get("finalizers")
    if finalizers is not None and not (isinstance(finalizers, list) and all(isinstance(f, str) for f in finalizers)):
        return "json: cannot unmarshal metadata.finalizers into a list of strings"
    for member in ("ownerReferences", "managedFields"):
        entries = metadata.get(member)
        if entries is not None and not (isinstance(entries, list) and all(isinstance(e, dict) for e in entries)):
            return f"json: cannot unmarshal metadata.{member} into a list of objects"
    return ""


def clean(metadata: dict[str, Any]) -> None:
    """Drop nulls, empty optional members and the workspace annotation, in place."""
    for member in [name for name, value in metadata.items() if value is None or name == "selfLink"]:
        del metadata[member]
    annotations = metadata.get("annotations")
    if annotations and CLUSTER_ANNOTATION in annotations:
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != CLUSTER_ANNOTATION}
    for member in _OPTIONAL:
        if member in metadata and not metadata[member]:
            del metadata[member]


def validate(resource: Resource, metadata: dict[str, Any]) -> list[Cause]:
    """Every rule that the metadata breaks."""
    causes: list[Cause] = []
    name = metadata.get("name", "")
    if not name:
        causes.append(Cause.required("metadata.name", "name or generateName is required"))
    elif hint := name_error(resource, name):
        causes.append(Cause.invalid("metadata.name", f'"{name}"', hint))
    for member in ("labels", "annotations"):
        for key, value in (metadata.get(member) or {}).items():
            causes.extend(_pair(f"metadata.{member}", key, value, labels=member == "labels"))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in (metadata.get("annotations") or {}).items())
    if size > _ANNOTATIONS_LIMIT:
        causes.append(
            Cause(
                "metadata.annotations",
                "FieldValueTooLong",
                f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes",
            )
        )
    causes.extend(
        Cause.invalid("metadata.finalizers", f'"{finalizer}"', "name part must be a qualified name")
        for finalizer in metadata.get("finalizers") or ()
        if not _is_qualified(finalizer)
    )
    causes.extend(_owners(metadata.get("ownerReferences") or ()))
    return causes


def name_error(resource: Resource, name: str) -> str:
    """Why an object of this kind may not have that name ("" if it may)."""
    if resource.group == "rbac.authorization.k8s.io":
        if name in (".", "..") or "/" in name or "%" in name:
            return "may not be '.' or '..' and may not contain '/' or '%'"
        return ""
    pattern, hint, limit = _SUBDOMAIN, _SUBDOMAIN_HINT, 253
    if resource.group == "" and resource.kind == "Namespace":
        pattern, hint, limit = _LABEL, _LABEL_HINT, 63
    elif resource.group == "" and resource.kind == "Service":
        pattern, hint, limit = _SERVICE, _SERVICE_HINT, 63
    if not pattern.fullmatch(name):
        return hint
    return "" if len(name) <= limit else f"must be no more than {limit} bytes"


def _is_qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= 253):
        return False
    return len(name) <= 63 and _QUALIFIED.fullmatch(name) is not None


def _pair(field: str, key: str, value: str, *, labels: bool) -> list[Cause]:
    causes: list[Cause] = []
    if not _is_qualified(key if labels else key.lower()):
        causes.append(
            Cause.invalid(
                field,
                f'"{key}"',
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            )
        )
    if labels and value and not (len(value) <= 63 and _QUALIFIED.fullmatch(value)):
        causes.append(
            Cause.invalid(
                field,
                f'"{value}"',
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex "
                "used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            )
        )
    return causes


def _owners(owners: list[dict[str, Any]] | tuple[()]) -> list[Cause]:
    causes: list[Cause] = []
    controllers = 0
    for index, owner in enumerate(owners):
        field = f"metadata.ownerReferences[{index}]"
        causes.extend(
            Cause.invalid(f"{field}.{member}", '""', "must not be empty")
            for member in ("apiVersion", "kind", "name", "uid")
            if not owner.get(member)
        )
        controllers += owner.get("controller") is True
    if controllers > 1:
        causes.append(
            Cause.invalid(
                "metadata.ownerReferences",
                "[]",
                f"Only one reference can have Controller set to true. Found {controllers}",
            )
        )
    return causes


def validate_update(live: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    """Every rule that a change of metadata breaks."""
    causes: list[Cause] = []
    if "deletionTimestamp" in live:
        had = set(live.get("finalizers") or ())
        added = [finalizer for finalizer in new.get("finalizers") or () if finalizer not in had]
        if added:
            listed = ", ".join(f'"{finalizer}"' for finalizer in added)
            causes.append(
                Cause.forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{listed}}}",
                )
            )
    return causes


def carry_over(live: dict[str, Any], new: dict[str, Any]) -> None:
    """Restore what only the server sets, whatever an update says of it."""
    for member in (
        "uid", "creationTimestamp", "namespace", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
    ):  # fmt: skip
        new.pop(member, None)
        if member in live:
            new[member] = live[member]
