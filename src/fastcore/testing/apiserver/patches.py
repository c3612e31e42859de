"""PATCH in its four forms: JSON patch, merge patch, strategic merge patch and server-side apply."""

from typing import Any

import msgspec

from fastcore.diff import apply_json_patch, apply_merge_patch
from fastcore.errors import PatchError
from fastcore.testing.apiserver.apply import ApplyConflict, server_side_apply
from fastcore.testing.apiserver.bodies import parse_yaml
from fastcore.testing.apiserver.status import (
    Cause,
    apply_conflict,
    bad_request,
    conflict,
    invalid_options,
    not_found,
    unprocessable,
    unsupported_media_type,
)
from fastcore.testing.apiserver.strategic import strategic_merge
from fastcore.testing.apiserver.target import Target
from fastcore.testing.apiserver.writes import Options, Outcome, Writer, check_name

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_OPERATIONS_LIMIT = 10_000


def patch(writer: Writer, target: Target, form: str, body: bytes, options: Options) -> Outcome:
    """Change an object, or create it if the form is server-side apply.

    Raises:
        StatusError: 400, 404, 409, 415 or 422.
    """
    if form == APPLY:
        return _apply(writer, target, body, options)
    check_form(target, form)
    record = writer.live(target)
    live = writer.admission.read(target, record)
    new = patched(writer, target, live, form, body)
    if not isinstance(new, dict):
        raise unprocessable()
    if not isinstance(new.get("metadata"), dict):
        new["metadata"] = {}
    check_name(target, new)
    return writer.update(target, record, new, options, patch=True)


def check_form(target: Target, form: str) -> None:
    """Refuse a form of patch that the kind does not take.

    Raises:
        StatusError: 415.
    """
    custom = target.resource.custom
    if form not in ((JSON, MERGE) if custom else (JSON, MERGE, STRATEGIC)):
        if form != STRATEGIC:
            raise _unknown_form()
        accepted = ", ".join((JSON, MERGE, APPLY))
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )


def patched(writer: Writer, target: Target, live: dict[str, Any], form: str, body: bytes) -> Any:
    """What a JSON, merge or strategic merge patch makes of `live`, which it may change."""
    try:
        change = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"error decoding patch: {error}") from None
    try:
        if form == JSON:
            return apply_json_patch(live, _operations(change))
        if not isinstance(change, dict):
            raise bad_request(
                "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}"
            )
        if form == MERGE:
            return apply_merge_patch(live, change)
        return strategic_merge(live, change, writer.admission.type_schema(target.resource))
    except PatchError:
        raise unprocessable() from None


def _unknown_form() -> Exception:
    error = unsupported_media_type("415: Unsupported Media Type")
    error.details = {}
    return error


def _operations(change: Any) -> list[dict[str, Any]]:
    if not isinstance(change, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    if len(change) > _OPERATIONS_LIMIT:
        error = bad_request(f"The allowed maximum operations in a JSON patch is {_OPERATIONS_LIMIT}, got {len(change)}")
        error.code, error.reason = 413, "RequestEntityTooLarge"
        raise error
    return change


def _apply(writer: Writer, target: Target, body: bytes, options: Options) -> Outcome:
    resource = target.resource
    if not options.manager:
        cause = Cause.required("fieldManager", "is required for apply patch")
        raise invalid_options("PatchOptions", [cause])
    applied = parse_yaml(body)
    if not isinstance(applied, dict):
        raise bad_request("error decoding YAML: the body is no object")
    version, kind = applied.get("apiVersion"), applied.get("kind")
    if not version or not kind:
        group_version = f"{version}, " if version else "/, "
        raise bad_request(f"invalid object type: {group_version}Kind={kind or ''}")
    metadata = applied.get("metadata")
    if metadata is None:
        metadata = applied["metadata"] = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if "managedFields" in metadata and metadata["managedFields"] is not None:
        raise bad_request("metadata.managedFields must be nil")
    if (version, kind) != (resource.api_version, resource.kind):
        raise bad_request(
            f"the object of the patch ({version}, Kind={kind}) is not what the URL names "
            f"({resource.api_version}, Kind={resource.kind})"
        )
    check_name(target, applied)
    record = writer.collection(target).records.get(target.key)
    if record is None and target.subresource:
        raise not_found(resource.group, resource.plural, target.name)
    live = None if record is None else writer.admission.read(target, record)
    expected = {name: metadata.pop(name) for name in ("resourceVersion", "uid") if metadata.get(name)}
    try:
        merged = server_side_apply(
            live,
            _writable(target, applied),
            manager=options.manager,
            force=options.force,
            schema=writer.admission.type_schema(resource),
            subresource=target.subresource,
            now=writer.timestamp(),
        )
    except ApplyConflict as error:
        raise apply_conflict(error.causes) from None
    merged["metadata"].update(expected)
    if record is None:
        if "uid" in expected:
            why = f"uid mismatch: the provided object specified uid {expected['uid']}, and no existing object was found"
            raise conflict(resource.group, resource.plural, target.name, why)
        return writer.create(target, merged, options, tracked=True)
    return writer.update(target, record, merged, options, tracked=True, patch=True)


def _writable(target: Target, applied: dict[str, Any]) -> dict[str, Any]:
    """The part of an applied object that the endpoint may write, and the manager can therefore own."""
    if target.subresource:
        metadata = {name: value for name, value in applied["metadata"].items() if name in ("name", "namespace")}
        kept = {name: applied[name] for name in ("apiVersion", "kind", "status") if name in applied}
        return kept | {"metadata": metadata}
    if target.resource.status:
        return {name: value for name, value in applied.items() if name != "status"}
    return applied
