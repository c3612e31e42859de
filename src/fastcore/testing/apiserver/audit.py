"""An audit log in the form that kube-apiserver writes at the level Metadata, a line a request: who asked what."""

import os
from typing import Any

import msgspec

from fastcore.testing.apiserver.message import Request
from fastcore.testing.apiserver.scope import Call

_encode = msgspec.json.Encoder().encode


class AuditLog:
    """Appends to a file, readable by its owner only; a line is there before its request is answered.

    Bodies, headers other than the user agent, and tokens are never written.

    Args:
        path: where to; made if it is not there.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, request: Request, code: int, *, stage: str = "ResponseComplete") -> None:
        """One request and its status; a watch is noted when it starts ("ResponseStarted") and when it ends."""
        call = Call.of(request)
        event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "stage": stage,
            "requestURI": request.path + ("?" + request.query if request.query else ""),
            "verb": call.verb or request.method.lower(),
            "userAgent": request.headers.get("user-agent", ""),
            "responseStatus": {"metadata": {}, "code": code},
        }
        if call.plural:
            members = {
                "resource": call.plural,
                "namespace": call.namespace,
                "name": call.name,
                "apiGroup": call.group,
                "subresource": call.subresource,
            }
            event["objectRef"] = {name: value for name, value in members.items() if value}
        # Not buffered: whoever counts requests while the server runs must see all that were answered.
        os.write(self._file, _encode(event) + b"\n")

    def close(self) -> None:
        """Close the file, once."""
        os.close(self._file)
