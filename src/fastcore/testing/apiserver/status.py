"""Errors in the form that the Kubernetes API gives them: a `Status` object with code, reason, details and causes."""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Cause(NamedTuple):
    """One reason why an object or a request was refused: the field, a machine's reason and a human's message."""

    field: str
    reason: str
    message: str

    @classmethod
    def invalid(cls, field: str, value: str, why: str) -> "Cause":
        """`value` (already written as JSON) is not allowed in `field`."""
        return cls(field, "FieldValueInvalid", f"Invalid value: {value}: {why}")

    @classmethod
    def required(cls, field: str, why: str = "") -> "Cause":
        """`field` is missing."""
        return cls(field, "FieldValueRequired", f"Required value: {why}" if why else "Required value")

    @classmethod
    def forbidden(cls, field: str, why: str) -> "Cause":
        """`field` may not be set here."""
        return cls(field, "FieldValueForbidden", f"Forbidden: {why}")

    @classmethod
    def unsupported(cls, field: str, value: str, supported: Iterable[str]) -> "Cause":
        """`value` (already written as JSON) is none of `supported`."""
        names = ", ".join(f'"{name}"' for name in supported)
        return cls(field, "FieldValueNotSupported", f"Unsupported value: {value}: supported values: {names}")

    def as_json(self) -> dict[str, str]:
        """The cause as it stands in `details.causes`; empty members are left out."""
        pairs = (("reason", self.reason), ("message", self.message), ("field", self.field))
        return {name: value for name, value in pairs if value}


class StatusError(Exception):
    """An API call failed; `status()` is what the client gets.

    Attributes:
        code: HTTP status.
        reason: machine's reason such as "Conflict", "" where the real server gives none.
        details: what `Status.details` holds, or None.
        retry_after: seconds for the header `Retry-After`, or None.
        list_continue: the token with which a client may go on with an expired list, or "".
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
        list_continue: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.list_continue = list_continue

    def status(self) -> dict[str, Any]:
        """The `Status` object."""
        metadata = {"continue": self.list_continue} if self.list_continue else {}
        out: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            out["reason"] = self.reason
        if self.details is not None:
            out["details"] = self.details
        out["code"] = self.code
        return out


def qualified(name: str, group: str) -> str:
    """`name.group` as error messages write it: "deployments.apps", but "configmaps"."""
    return f"{name}.{group}" if group else name


def _details(group: str, kind: str, name: str, causes: Iterable[Cause] = ()) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if name:
        out["name"] = name
    if group:
        out["group"] = group
    if kind:
        out["kind"] = kind
    listed = [cause.as_json() for cause in causes]
    if listed:
        out["causes"] = listed
    return out


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: no such object."""
    message = f'{qualified(plural, group)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(group, plural, name))


def no_resource() -> StatusError:
    """404: the group is served, the resource is not."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> StatusError:
    """405: the resource has no such verb."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409 on create: the name is taken."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    """409: the object is not what the request assumes."""
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(group, plural, name))


def apply_conflict(causes: list[Cause]) -> StatusError:
    """409 of a server-side apply: other managers own the fields."""
    count = len(causes)
    if count == 1:
        text = f"{causes[0].message}: {causes[0].field}"
    else:
        by_manager: dict[str, list[str]] = {}
        for cause in causes:
            by_manager.setdefault(cause.message, []).append(cause.field)
        parts = []
        for message, fields in sorted(by_manager.items()):
            several = message.replace("conflict with", "conflicts with", 1)
            parts.append("\n".join([f"{several}:", *(f"- {field}" for field in fields)]))
        text = "\n".join(parts)
    noun = "conflict" if count == 1 else "conflicts"
    message = f"Apply failed with {count} {noun}: {text}"
    return StatusError(409, "Conflict", message, {"causes": [cause.as_json() for cause in causes]})


def invalid(group: str, kind: str, name: str, causes: list[Cause]) -> StatusError:
    """422: the object breaks rules; one cause each."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {text}'
    return StatusError(422, "Invalid", message, _details(group, kind, name, causes))


def invalid_options(kind: str, causes: list[Cause]) -> StatusError:
    """422: the query or the body of options breaks rules."""
    return invalid("meta.k8s.io", kind, "", causes)


def unprocessable() -> StatusError:
    """422: a JSON patch does not fit the object."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str, causes: Iterable[Cause] = ()) -> StatusError:
    """403."""
    message = f'{qualified(plural, group)} "{name}" is forbidden: {why}'
    return StatusError(403, "Forbidden", message, _details(group, plural, name, causes))


def unauthorized() -> StatusError:
    """401: the bearer token is missing or wrong."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def unsupported_media_type(message: str) -> StatusError:
    """415."""
    return StatusError(415, "UnsupportedMediaType", message)


def not_acceptable(accepted: str) -> StatusError:
    """406."""
    message = f"only the following media types are accepted: {accepted}"
    return StatusError(406, "NotAcceptable", message)


def too_large(limit: int) -> StatusError:
    """413: the body exceeds the limit."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def expired(message: str, list_continue: str = "") -> StatusError:
    """410: the revision has left the history."""
    return StatusError(410, "Expired", message, list_continue=list_continue)


def too_large_resource_version(asked: int, current: int) -> StatusError:
    """504: the revision lies in the future."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return StatusError(504, "Timeout", message, details, retry_after=1)


def internal(message: str) -> StatusError:
    """500 with a reason and a cause."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})


def plain_error(message: str) -> StatusError:
    """500 without a reason: what the real server answers to a malformed resourceVersion in a body."""
    return StatusError(500, "", message)
