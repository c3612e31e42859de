"""A request and its answer, independent of who carries them: the HTTP server, or a caller in the same process."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from fastcore.testing.apiserver.status import StatusError, not_acceptable

JSON = "application/json"
_WARNINGS_LIMIT = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ANY = ("*/*", "application/*", "application/json", "")


@dataclass
class Request:
    """One call of the API.

    Attributes:
        path: without the query, as sent.
        query: raw query string.
        headers: looked up by lower-case name.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def arguments(self) -> dict[str, str]:
        """The query's arguments; of repeated ones the last counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}


@dataclass
class Response:
    """A finite answer."""

    body: bytes
    code: int = 200
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)


def json_response(value: Any, code: int = 200, content_type: str = JSON) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), code, content_type)


def error_response(error: StatusError) -> Response:
    """A failure as a Status object."""
    out = json_response(error.status(), error.code)
    if error.retry_after is not None:
        out.headers.append(("Retry-After", str(error.retry_after)))
    return out


def warn(response: Response, warnings: list[str]) -> Response:
    """Add warnings in the form that clients print, as far as headers have room for them."""
    room = _WARNINGS_LIMIT
    for text in warnings:
        # Names of fields are the client's: they must not break the header.
        quoted = _CONTROL.sub("?", text).replace("\\", "\\\\").replace('"', '\\"')
        room -= len(quoted.encode())
        if room < 0:
            break
        response.headers.append(("Warning", f'299 - "{quoted}"'))
    return response


def form_of(accept: str) -> tuple[str, str]:
    """What `Accept` asks for: ("object" | "partial" | "table" | "discovery", content type of the answer).

    The first media type that the server has wins; weights are not read, as on the real server.

    Raises:
        StatusError: 406 if JSON is acceptable in no form.
    """
    if not accept or accept in _ANY:
        return "object", JSON
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        if media not in _ANY:
            continue
        names = dict(p.split("=", 1) for p in parameters if "=" in p)
        kind = names.get("as")
        if kind is None:
            return "object", JSON
        if kind == "Table" and names.get("v") == "v1":
            return "table", JSON
        if kind in ("PartialObjectMetadata", "PartialObjectMetadataList") and names.get("v") == "v1":
            return "partial", JSON
        if kind == "APIGroupDiscoveryList" and names.get("v") == "v2":
            return "discovery", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    raise not_acceptable(JSON)
