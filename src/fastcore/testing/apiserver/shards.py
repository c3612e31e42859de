"""Shard selectors: `shardRange(object.metadata.uid, '0x0', '0x8000000000000000')`, several joined by `||`.

A client asks for the objects whose hash of a field, FNV-1a in 64 bits, lies in its ranges, so that replicas share the
work of a list and watch. On a real server this is the feature ShardedListAndWatch.
"""

import re
from typing import NamedTuple

from fastcore.testing.apiserver.status import bad_request

_RANGE = re.compile(r"shardRange\(\s*([\w.]+)\s*,\s*'(0x[0-9a-f]{1,17})'\s*,\s*'(0x[0-9a-f]{1,17})'\s*\)")
_FIELDS = ("object.metadata.uid", "object.metadata.namespace")
_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


class Shard(NamedTuple):
    """Ranges [low, high) of the hash of one field; `text` is what the client wrote."""

    text: str
    field: str
    ranges: tuple[tuple[int, int], ...]

    def matches(self, uid: str, namespace: str) -> bool:
        """Whether an object is in the shard."""
        value = fnv1a(uid if self.field == "object.metadata.uid" else namespace)
        return any(low <= value < high for low, high in self.ranges)


def fnv1a(text: str) -> int:
    """The 64-bit FNV-1a hash of the text's bytes.

    Example:
        >>> hex(fnv1a("a"))
        '0xaf63dc4c8601ec8c'
    """
    value = _OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


def parse_shard(text: str) -> Shard:
    """The shard that a request's `shardSelector` names.

    Raises:
        StatusError: 400: no expression of this form, an unknown or a second field, or an empty range.
    """
    fields, ranges = [], []
    for term in text.split("||"):
        found = _RANGE.fullmatch(term.strip())
        if found is None:
            raise bad_request(f"invalid shardSelector: only shardRange() and || are allowed, not {term.strip()!r}")
        low, high = int(found[2], 16), int(found[3], 16)
        if low >= high or high > 1 << 64:
            raise bad_request(f"invalid shardSelector: {found[2]} to {found[3]} is no range of 64-bit numbers")
        fields.append(found[1])
        ranges.append((low, high))
    if len(set(fields)) != 1 or fields[0] not in _FIELDS:
        raise bad_request(f"invalid shardSelector: needs one field of {', '.join(_FIELDS)}")
    return Shard(text, fields[0], tuple(ranges))
