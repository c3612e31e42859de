"""A resource as the store keeps it: a key of four texts, three JSON documents, a version and two times."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from fastcore.store.errors import ResourceError

__all__ = ["MAX_DOCUMENT_BYTES", "MAX_TEXT_BYTES", "Key", "Resource"]

MAX_TEXT_BYTES = 512  # four of them fit into one entry of a PostgreSQL index
MAX_DOCUMENT_BYTES = 4 << 20  # one resource with its three documents; etcd holds 1.5 MiB by default

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Key(NamedTuple):
    """Whose resource, of which kind, where, and what it is called; namespace is "" for what has none."""

    workspace: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: what to store, or what was stored.

    Args:
        workspace, kind, name: texts of 1 to 512 bytes of UTF-8 without NUL.
        namespace: the same, or "" for a resource that is in none.
        spec, status, metadata: JSON objects; together at most 4 MiB. `status["phase"]`, where it is a text, can be
            filtered and sorted by.
        created_at: when it came to be, with a time zone; None: now. Kept from the first write on.
        updated_at, version, id: set by the store. The version grows with each change of the resource, not by one;
            a resource that was deleted and made again has a larger one than before, and another id.

    Equality compares all of them. The documents are not copied: what changes them changes the resource.

    >>> Resource("acme", "WebApp", "shop", "front", spec={"replicas": 3}, status={"phase": "Ready"}).phase
    'Ready'
    """

    workspace: str
    kind: str
    namespace: str
    name: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0
    id: int = 0

    @property
    def key(self) -> Key:
        """The four texts that name it."""
        return Key(self.workspace, self.kind, self.namespace, self.name)

    @property
    def phase(self) -> str | None:
        """`status["phase"]` where it is a text, else None."""
        phase = self.status.get("phase")
        return phase if isinstance(phase, str) else None


class Row(NamedTuple):
    """A resource checked and written down, the same for every database."""

    key: Key
    spec: str
    status: str
    metadata: str
    phase: str | None
    created_at: int | None


def check_text(name: str, value: object, *, empty: bool = False) -> str:
    """`value`, if it is a text that both databases can hold and index.

    Raises:
        ResourceError: it is not; the message names the argument and the limit.
    """
    if not isinstance(value, str):
        raise ResourceError(f"{name} must be a text, not {type(value).__name__}")
    if not value and not empty:
        raise ResourceError(f"{name} must not be empty")
    if "\0" in value:
        raise ResourceError(f"{name} must not contain NUL: {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ResourceError(f"{name} must not contain lone surrogates: {value!r}") from None
    if size > MAX_TEXT_BYTES:
        raise ResourceError(f"{name} must have at most {MAX_TEXT_BYTES} bytes, not {size}: {value[:40]!r}...")
    return value


def check_key(workspace: object, kind: object, namespace: object, name: object) -> Key:
    """The key of these parts; raises as `check_text` does."""
    return Key(
        check_text("workspace", workspace),
        check_text("kind", kind),
        check_text("namespace", namespace, empty=True),
        check_text("name", name),
    )


def microseconds(name: str, moment: object) -> int:
    """Microseconds since 1970 of a datetime that knows its zone; exact.

    Raises:
        ResourceError: it is no datetime, or has no zone.
    """
    if not isinstance(moment, datetime):
        raise ResourceError(f"{name} must be a datetime, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise ResourceError(f"{name} must have a time zone: {moment.isoformat()}")
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The datetime in UTC; exact."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_row(resource: Resource) -> Row:
    """The resource as it is written; raises ResourceError, and the message says which part is wrong."""
    if not isinstance(resource, Resource):
        raise ResourceError(f"expected a Resource, not {type(resource).__name__}")
    key = check_key(*resource.key)
    spec, status = _dump("spec", resource.spec), _dump("status", resource.status)
    metadata = _dump("metadata", resource.metadata)
    size = sum(len(text.encode()) for text in (spec, status, metadata))
    if size > MAX_DOCUMENT_BYTES:
        raise ResourceError(f"{'/'.join(key)} has {size} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    phase = resource.phase
    if phase is not None:
        check_text("status['phase']", phase, empty=True)
    created_at = None if resource.created_at is None else microseconds("created_at", resource.created_at)
    return Row(key, spec, status, metadata, phase, created_at)


def from_row(columns: tuple[Any, ...]) -> Resource:
    """The resource that was read: workspace, kind, namespace, name, three documents, two times, version, id."""
    workspace, kind, namespace, name, spec, status, metadata, created_at, updated_at, version, identity = columns
    return Resource(
        workspace,
        kind,
        namespace,
        name,
        json.loads(spec),
        json.loads(status),
        json.loads(metadata),
        moment(created_at),
        moment(updated_at),
        version,
        identity,
    )


def _dump(name: str, document: object) -> str:
    if not isinstance(document, Mapping):
        raise ResourceError(f"{name} must be a mapping, not {type(document).__name__}")
    try:
        # Sorted, so that equal documents are equal texts.
        text = json.dumps(dict(document), allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        raise ResourceError(f"{name} must not contain lone surrogates") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ResourceError(f"{name} is no JSON object: {error}") from None
    if "\\u0000" in text and _NUL.search(text):
        raise ResourceError(f"{name} must not contain NUL")
    return text
