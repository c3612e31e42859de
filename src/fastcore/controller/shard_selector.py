"""Selects the part of a collection whose hash lies in a range, so that replicas share one list and watch."""

import re
from typing import NamedTuple

_FIELDS = ("object.metadata.uid", "object.metadata.namespace")
_RANGE = re.compile(r"shardRange\(\s*([\w.]+)\s*,\s*'(0x[0-9a-f]{1,17})'\s*,\s*'(0x[0-9a-f]{1,17})'\s*\)")
_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
_WHOLE = 1 << 64


class ShardSelector(NamedTuple):
    """Objects of which the 64-bit FNV-1a hash of one field lies in one of several ranges.

    Servers with sharded lists and watches send a client its own part only. Others ignore the request; the reflector
    notices and drops what is not of the part, which saves memory and work here, but neither there nor on the way.

    Args:
        field: "object.metadata.uid" or "object.metadata.namespace".
        ranges: pairs (low, high) of 64-bit numbers, 0 <= low < high <= 2**64; `high` is outside.

    Thread safety: immutable.

    Example:
        >>> str(ShardSelector.of(0, 2))
        "shardRange(object.metadata.uid, '0x0', '0x8000000000000000')"
        >>> ShardSelector.of(0, 2).holds("a", ""), ShardSelector.of(1, 2).holds("a", "")
        (False, True)

    Source: Kubernetes' ShardedListAndWatch.
    """

    field: str
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, index: int, count: int, *, field: str = _FIELDS[0]) -> "ShardSelector":
        """Part `index` of `count` equal parts.

        Raises:
            ValueError: not 0 <= index < count, or an unknown field.
        """
        if not 0 <= index < count:
            raise ValueError(f"a shard's index must be in [0, {count}), not {index!r}")
        if field not in _FIELDS:
            raise ValueError(f"a shard's field must be one of {', '.join(_FIELDS)}, not {field!r}")
        return cls(field, ((_WHOLE * index // count, _WHOLE * (index + 1) // count),))

    @classmethod
    def parse(cls, text: str) -> "ShardSelector":
        """The selector that `text`, in the server's own notation, means.

        Raises:
            ValueError: it means none, names two fields, or has an empty range.
        """
        fields, ranges = [], []
        for term in text.split("||"):
            found = _RANGE.fullmatch(term.strip())
            if found is None:
                raise ValueError(f"a shard selector is shardRange(field, 'low', 'high'), joined by ||, not {text!r}")
            low, high = int(found[2], 16), int(found[3], 16)
            if not low < high <= _WHOLE:
                raise ValueError(f"{found[2]} to {found[3]} is no range of 64-bit numbers, in {text!r}")
            fields.append(found[1])
            ranges.append((low, high))
        if len(set(fields)) != 1 or fields[0] not in _FIELDS:
            raise ValueError(f"a shard selector needs one field of {', '.join(_FIELDS)}, not {text!r}")
        return cls(fields[0], tuple(ranges))

    def holds(self, uid: str, namespace: str) -> bool:
        """Whether an object is in the part. O(length of the field)."""
        value = _OFFSET
        for byte in (uid if self.field == _FIELDS[0] else namespace).encode():
            value = ((value ^ byte) * _PRIME) & _MASK
        return any(low <= value < high for low, high in self.ranges)

    def __str__(self) -> str:
        return " || ".join(f"shardRange({self.field}, '{low:#x}', '{high:#x}')" for low, high in self.ranges)
