"""What lists and watches carry, read: events, revisions, marks. The only place where a reflector looks into objects."""

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import msgspec

from fastcore.controller.errors import ApiError, DecodeError, GoneError, error_of
from fastcore.errors import ObjectError
from fastcore.objects import Head, WatchEvent, head, split_event

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_CLUSTER = "kcp.io/cluster"


class Item(NamedTuple):
    """An object as the server sent it, and whose it is; nothing else of it has been decoded."""

    head: Head
    raw: bytes

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name), "" for no namespace."""
        return self.head.namespace, self.head.name


class _Metadata(msgspec.Struct, gc=False):
    annotations: dict[str, Any] | None = None


class _Object(msgspec.Struct, gc=False):
    metadata: _Metadata


class _List(msgspec.Struct, gc=False):
    metadata: dict[str, Any]


_Members = dict[str, msgspec.Raw]

_decode_list = msgspec.json.Decoder(_List).decode
_decode_object = msgspec.json.Decoder(_Object).decode
_decode_members = msgspec.json.Decoder(_Members).decode
_decode_status = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def read_event(line: bytes) -> WatchEvent:
    """The type, the object and the resourceVersion of a watch's line.

    Raises:
        DecodeError: it is no event.
    """
    try:
        return split_event(line)
    except ObjectError as error:
        raise DecodeError(f"the watch sent something that is no event: {error}") from error


def revision_of(event: WatchEvent) -> str:
    """The resourceVersion of an event's object.

    Raises:
        DecodeError: it has none.
    """
    if not event.revision:
        raise DecodeError("the watch sent an object without a resourceVersion")
    return event.revision


def read_item(raw: bytes) -> Item:
    """An object and whose it is.

    Raises:
        DecodeError: it cannot be stored: it is no object, or has no name.
    """
    try:
        return Item(head(raw), raw)
    except ObjectError as error:
        raise DecodeError(f"the server sent what cannot be stored: {error}") from error


def answered(obj: Mapping[str, Any], raw: bytes) -> Item:
    """The object of an answer that has been decoded already."""
    meta = obj["metadata"]
    who = (meta.get("namespace") or "", meta.get("name"), meta.get("uid") or "", meta.get("resourceVersion") or "")
    if all(type(part) is str for part in who) and who[1]:
        return Item(Head(*who), raw)
    return read_item(raw)  # which says what is wrong


def identity(item: Item) -> Hashable:
    """What tells an object from all others of its kind, in any workspace."""
    return item.head.uid or item.key


def tells_shard(answer: bytes) -> bool:
    """Whether a list says that it was cut to a shard."""
    try:
        return "shardInfo" in _decode_list(answer).metadata
    except msgspec.DecodeError:
        return False


def cluster_of(item: Item) -> str:
    """The workspace that an answer of a wildcard says an object is in, or ""."""
    found = _annotations(item.raw).get(_CLUSTER)
    return found if isinstance(found, str) else ""


def namespace_of(item: Item) -> str:
    """The namespace of an object, or ""."""
    return item.head.namespace


def without_cluster(item: Item) -> Item:
    """Without what only answers of a wildcard have, so that an object looks the same whichever way it came."""
    if not cluster_of(item):
        return item
    members = _decode_members(item.raw)
    metadata = _decode_members(members["metadata"])
    annotations = _decode_members(metadata["annotations"])
    del annotations[_CLUSTER]
    if annotations:
        metadata["annotations"] = msgspec.Raw(_encode(annotations))
    else:
        del metadata["annotations"]
    members["metadata"] = msgspec.Raw(_encode(metadata))
    return Item(item.head, _encode(members))


def ends_initial(bookmark: WatchEvent) -> bool:
    """Whether a bookmark says that all initial events have been sent (RF-2)."""
    return _annotations(bookmark.object).get(_INITIAL_EVENTS_END) == "true"


def _annotations(raw: bytes) -> dict[str, Any]:
    try:
        return _decode_object(raw).metadata.annotations or {}
    except msgspec.DecodeError as error:
        raise DecodeError(f"the server sent an object whose metadata cannot be read: {error}") from error


def watch_error(raw: bytes) -> ApiError:
    """The error that a watch's ERROR event carries."""
    status = _decode_status(raw)
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
