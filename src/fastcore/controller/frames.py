"""What lists and watches carry, read: events, revisions, marks. The only place where a reflector looks into objects."""

from collections.abc import Hashable
from typing import Any

import msgspec

from fastcore.controller.errors import ApiError, DecodeError, GoneError, error_of
from fastcore.controller.model import Resource

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_CLUSTER = "kcp.io/cluster"


class _Event(msgspec.Struct, gc=False):
    type: str
    object: dict[str, Any]


class _List(msgspec.Struct, gc=False):
    metadata: dict[str, Any]


_decode_list = msgspec.json.Decoder(_List).decode
_decode = msgspec.json.Decoder(_Event).decode


def decode_event(line: bytes) -> tuple[str, Resource]:
    """The type and the object of a watch's line.

    Raises:
        DecodeError: it is no event.
    """
    try:
        event = _decode(line)
    except msgspec.DecodeError as error:
        raise DecodeError(f"the watch sent something that is no event: {error}") from error
    return event.type, event.object


def revision_of(obj: Resource) -> str:
    """The resourceVersion of an event's object.

    Raises:
        DecodeError: it has none.
    """
    try:
        return str(obj["metadata"]["resourceVersion"])
    except (KeyError, TypeError) as error:
        raise DecodeError("the watch sent an object without a resourceVersion") from error


def check(obj: Resource) -> None:
    """Refuse what cannot be stored: an object without a name.

    Raises:
        DecodeError: it has none.
    """
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        raise DecodeError("the server sent an object without a name")


def identity(obj: Resource) -> Hashable:
    """What tells an object from all others of its kind, in any workspace."""
    meta = obj["metadata"]
    return meta.get("uid") or (meta.get("namespace"), meta["name"])


def shard_fields(obj: Resource) -> tuple[str, str]:
    """The uid and the namespace of an object: what it can be sharded by."""
    meta = obj["metadata"]
    return meta.get("uid") or "", meta.get("namespace") or ""


def tells_shard(answer: bytes) -> bool:
    """Whether a list says that it was cut to a shard."""
    try:
        return "shardInfo" in _decode_list(answer).metadata
    except msgspec.DecodeError:
        return False


def cluster_of(obj: Resource) -> str:
    """The workspace that an answer of a wildcard says an object is in, or ""."""
    annotations = obj["metadata"].get("annotations")
    return (annotations or {}).get(_CLUSTER) or ""


def namespace_of(obj: Resource) -> str:
    """The namespace of an object, or ""."""
    return obj["metadata"].get("namespace") or ""


def drop_cluster(obj: Resource) -> None:
    """Take away what only answers of a wildcard have, so that an object looks the same whichever way it came."""
    annotations = obj["metadata"].get("annotations")
    if annotations and annotations.pop(_CLUSTER, None) is not None and not annotations:
        del obj["metadata"]["annotations"]


def ends_initial(bookmark: Resource) -> bool:
    """Whether a bookmark says that all initial events have been sent (RF-2)."""
    annotations = bookmark["metadata"].get("annotations") or {}
    return annotations.get(_INITIAL_EVENTS_END) == "true"


def watch_error(status: Resource) -> ApiError:
    """The error that a watch's ERROR event carries."""
    code = status.get("code")
    if code is None and status.get("reason") in ("Expired", "Gone"):
        code = 410
    return error_of(code if isinstance(code, int) else 500, status)


def unavailable(error: ApiError) -> bool:
    """Whether the server has no state that is as new as was asked, or none that old any more (RF-1)."""
    return (
        isinstance(error, GoneError)
        or any(cause.reason == "ResourceVersionTooLarge" for cause in error.causes)
        or "Too large resource version" in error.message
    )
