"""Where a page ended, as a text that only the store can make: signed, and bound to the query that it continues.

A cursor says which row was the last, not how many were read; so rows that come and go between two pages move nothing.
"""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from fastcore.store.errors import CursorError
from fastcore.store.query import Query
from fastcore.store.resource import microseconds

__all__ = ["decode", "encode"]

_VERSION = 1
_SIGNATURE_BYTES = 16
_MAX_CURSOR = 8192


def encode(query: Query, values: list[Any], secret: bytes) -> str:
    """The cursor after the row that has these values in the order of `query`."""
    plain = [microseconds("cursor", value) if isinstance(value, datetime) else value for value in values]
    payload = json.dumps([_VERSION, _fingerprint(query), plain], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sign(payload, secret) + payload).decode().rstrip("=")


def decode(query: Query, cursor: object, secret: bytes) -> list[Any]:
    """The values after which the page begins.

    Raises:
        CursorError: it was not made by this store, or by a query with other filters, order, kind or workspace.
    """
    if not isinstance(cursor, str) or not cursor.isascii() or len(cursor) > _MAX_CURSOR:
        raise CursorError("the cursor was not made by this store")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise CursorError("the cursor was not made by this store") from None
    signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _sign(payload, secret)):
        raise CursorError("the cursor was not made by this store")
    version, fingerprint, values = json.loads(payload)
    if version != _VERSION:
        raise CursorError(f"the cursor is of version {version}, this store makes version {_VERSION}: begin again")
    if fingerprint != _fingerprint(query):
        raise CursorError("the cursor belongs to another query: keep workspace, kind, filters and order_by")
    return list(values)


def _sign(payload: bytes, secret: bytes) -> bytes:
    return hashlib.blake2b(payload, key=secret, digest_size=_SIGNATURE_BYTES, person=b"fastcore cursor").digest()


def _fingerprint(query: Query) -> str:
    """All of a query that its pages share; limit and offset may differ."""
    parts = [
        query.workspace,
        query.kind,
        [(c.field.name, c.operator, c.values) for c in query.conditions],
        [(s.field.name, s.descending) for s in query.order],
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
