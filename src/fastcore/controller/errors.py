"""What the API server or the way to it can answer instead of a result: one tree under `ApiError`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from fastcore.controller.conflicts import FieldConflict, advice, field_conflicts
from fastcore.errors import FastcoreError


class Cause(NamedTuple):
    """One entry of `Status.details.causes`: what was wrong with which field."""

    reason: str
    message: str
    field: str


class ApiError(FastcoreError):
    """A request failed.

    Attributes:
        status: HTTP status code; 0 when no answer came.
        reason: the Status reason in CamelCase, such as "Conflict"; "" if the server gave none.
        message: the server's text.
        causes: what was wrong with which field.
        retry_after: seconds that the server asks to wait, or None.
        kind: the resource that the Status is about, as the server names it ("deployments"), or "".
        name: its object's name, or "".
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
        kind: str = "",
        name: str = "",
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after
        self.kind = kind
        self.name = name
        super().__init__(message)

    def __str__(self) -> str:
        head = " ".join(part for part in (str(self.status or ""), self.reason) if part)
        return f"{head}: {self.message}" if head else self.message


class BadRequestError(ApiError, ValueError):
    """400: the request is malformed."""


class UnauthorizedError(ApiError):
    """401: the credentials are missing, wrong or expired, also after a refresh."""


class ForbiddenError(ApiError):
    """403: the credentials do not allow this."""


class NotFoundError(ApiError, LookupError):
    """404: no such object, or no such kind on this server."""


class AlreadyExistsError(ApiError):
    """409 AlreadyExists: an object of this name exists (WR-6)."""


class ConflictError(ApiError):
    """409 Conflict: stale resourceVersion, or fields that another manager owns (WR-1, WR-2)."""

    @property
    def fields(self) -> tuple[FieldConflict, ...]:
        """The fields of others that an apply wanted to set, with their owners; empty for any other conflict."""
        return field_conflicts(self.causes)

    def __str__(self) -> str:
        fields = self.fields
        return f"{self.status} {self.reason}: {advice(fields)}" if fields else super().__str__()


class GoneError(ApiError):
    """410: this resourceVersion or continue token is too old (RF-1)."""


class TooLargeError(ApiError, ValueError):
    """413: the request is larger than the server takes; most are found before they are sent (LI-5)."""


class InvalidError(ApiError, ValueError):
    """422: validation refused the object; `causes` names the fields."""


class TooManyRequestsError(ApiError):
    """429: the server is over its limits; `retry_after` says how long to wait (LI-1)."""


class ServerError(ApiError):
    """5xx: the server failed."""


class ConnectionFailed(ApiError, ConnectionError):
    """No complete answer came: refused, reset, cut, or TLS failed."""


class RequestTimeout(ApiError, TimeoutError):
    """No complete answer came within the request's deadline; the server may still have acted."""


class DecodeError(ApiError, ValueError):
    """The server's answer is not the JSON that was expected."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: TooLargeError,
    422: InvalidError,
    429: TooManyRequestsError,
}


def error_of(code: int, status: Mapping[str, Any], *, retry_after: float | None = None) -> ApiError:
    """The typed error for a decoded `Status` (of an HTTP answer or of a watch's ERROR event).

    Args:
        code: HTTP status code.
        status: the decoded Status; fields that are missing or of a wrong type count as absent.
        retry_after: seconds from the Retry-After header; else `details.retryAfterSeconds` counts.
    """
    details = status.get("details")
    if not isinstance(details, dict):
        details = {}
    reason = _text(status.get("reason"))
    kind = _BY_STATUS.get(code, ServerError if code >= 500 else ApiError)
    if code == 409 and reason == "AlreadyExists":
        kind = AlreadyExistsError
    seconds = details.get("retryAfterSeconds")
    if retry_after is None and isinstance(seconds, int | float) and seconds > 0:
        retry_after = float(seconds)
    causes = details.get("causes")
    return kind(
        _text(status.get("message")) or f"HTTP status {code}",
        status=code,
        reason=reason,
        causes=tuple(
            Cause(_text(c.get("reason")), _text(c.get("message")), _text(c.get("field")))
            for c in (causes if isinstance(causes, list) else ())
            if isinstance(c, dict)
        ),
        retry_after=retry_after,
        kind=_text(details.get("kind")),
        name=_text(details.get("name")),
    )


def error_from_body(code: int, body: bytes, *, retry_after: float | None = None) -> ApiError:
    """The typed error for an HTTP answer: its `Status`, or the first 500 characters of what came instead."""
    try:
        status = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"message": body[:500].decode(errors="replace").strip()}
    return error_of(code, status, retry_after=retry_after)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
