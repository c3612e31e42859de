"""Conditions of a status, and a status that is only written when it says something new (WR-3).

A condition is the dict that the API has: `type`, `status`, `reason`, `message`, `lastTransitionTime` and
`observedGeneration`. Its time moves when its status does, and only then.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fastcore.controller.client import Client
from fastcore.controller.model import Kind, Resource

MAX_MESSAGE = 32_768  # the API's own limits
MAX_REASON = 1024


def condition_of(obj: Mapping[str, Any], type: str) -> Mapping[str, Any]:
    """The condition of this type in the status of `obj`; empty if there is none.

    Example:
        >>> condition_of({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "Ready")["status"]
        'True'
    """
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type:
            return condition  # type: ignore[no-any-return]
    return {}


def condition(
    obj: Mapping[str, Any], type: str, status: bool | None, reason: str, message: str, now: datetime
) -> Resource:
    """A condition for the status of `obj`: its time is the present one's if the status stays what it is.

    Args:
        obj: with the conditions that it has, and the generation that was looked at.
        type: such as "Ready".
        status: True, False, or None for "Unknown".
        reason: in CamelCase; cut at 1,024 characters.
        message: for people; cut at 32,768 characters.
        now: the present time, with its zone.
    """
    text = "Unknown" if status is None else str(status)
    before = condition_of(obj, type)
    since = before.get("lastTransitionTime") if before.get("status") == text else None
    made: Resource = {
        "type": type,
        "status": text,
        "lastTransitionTime": since or now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": reason[:MAX_REASON],
        "message": message[:MAX_MESSAGE],
    }
    if (generation := obj["metadata"].get("generation")) is not None:
        made["observedGeneration"] = generation
    return made


def with_conditions(obj: Mapping[str, Any], conditions: Iterable[Resource]) -> list[Resource]:
    """The conditions of `obj` with these in the place of those of their types, and the new ones at the end."""
    made = {c["type"]: c for c in conditions}
    kept = [made.pop(c["type"], c) for c in (obj.get("status") or {}).get("conditions") or ()]
    return [*kept, *made.values()]


async def write_status(
    client: Client, kind: Kind, obj: Mapping[str, Any], status: Resource, *, field_manager: str
) -> Mapping[str, Any]:
    """Apply `status` to `obj`, unless it is what `obj` has already; the object as it is then.

    The apply carries the uid, so that another object of the same name never gets it.

    Args:
        client: writes.
        kind: of the object; it has the status subresource.
        obj: as it is known.
        status: all that this manager says in the status.
        field_manager: who says it.

    Raises:
        ApiError: as `Client.apply`; ConflictError or InvalidError if the object is another one by now.

    Complexity: one request, or none.
    """
    if status == obj.get("status"):
        return obj
    meta = obj["metadata"]
    desired = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {name: meta[name] for name in ("name", "namespace", "uid") if name in meta},
        "status": status,
    }
    return await client.apply_status(kind, desired, field_manager=field_manager)
