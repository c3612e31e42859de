"""What a 409 of a server-side apply says: which fields belong to whom, and what can be done about it (WR-2)."""

import re
from collections.abc import Iterable
from typing import NamedTuple

FIELD_MANAGER_CONFLICT = "FieldManagerConflict"

# `conflict with "kubectl" with subresource "status" using apps/v1 at 2026-11-23T10:00:00Z`; an apply names no version.
_MESSAGE = re.compile(
    r'conflict with (?P<manager>"(?:[^"\\]|\\.)*")'
    r'(?: with subresource (?P<subresource>"(?:[^"\\]|\\.)*"))?'
    r"(?: using (?P<version>\S+))?(?: at (?P<time>\S+))?"
)


class FieldConflict(NamedTuple):
    """One field that somebody else owns.

    Args:
        path: of the field, such as ".spec.replicas".
        manager: who owns it; "" if the server does not say.
        operation: how its owner set it: "Apply", or "Update" for every other write.
        subresource: through which it was set, such as "status"; "" is the object itself.
        version: of the API in which an "Update" was made, else "".
        time: when the server noted it, in RFC 3339, or "".
    """

    path: str
    manager: str
    operation: str
    subresource: str = ""
    version: str = ""
    time: str = ""

    def __str__(self) -> str:
        if not self.manager:
            return f"{self.path} belongs to another manager"
        how = ", ".join(part for part in (self.operation, self.subresource, self.version, self.time) if part)
        return f"{self.path} belongs to {self.manager!r} ({how})"


def field_conflicts(causes: Iterable[tuple[str, str, str]]) -> tuple[FieldConflict, ...]:
    """The fields of others that `Status.details.causes` name, as (reason, message, field); other causes are left out.

    Complexity: O(number of causes).
    """
    return tuple(_parse(message, field) for reason, message, field in causes if reason == FIELD_MANAGER_CONFLICT)


def advice(conflicts: Iterable[FieldConflict]) -> str:
    """The conflicts in words, and what to do about them."""
    return (
        f"{'; '.join(map(str, conflicts))}. Apply with force=True to take a field over, leave it out of what is "
        "applied to give it up, or apply the value that it has to share it"
    )


def _parse(message: str, field: str) -> FieldConflict:
    found = _MESSAGE.match(message)
    if found is None:
        return FieldConflict(field, "", "")
    version = found["version"] or ""
    return FieldConflict(
        field,
        _unquoted(found["manager"]),
        "Update" if version else "Apply",
        _unquoted(found["subresource"] or '""'),
        version,
        found["time"] or "",
    )


def _unquoted(text: str) -> str:
    """Without the quotes that Go's %q has put around it."""
    return re.sub(r"\\(.)", r"\1", text[1:-1])
