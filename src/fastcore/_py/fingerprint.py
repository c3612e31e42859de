"""Fingerprints of documents: 64 bits that do not depend on the order of members, the process or the machine."""

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fastcore._py.document import MAX_DEPTH, check_key, plain, too_deep

if TYPE_CHECKING:
    from numpy import uint64
    from numpy.typing import NDArray

__all__ = ["fingerprint", "fingerprints"]

_MASK = (1 << 64) - 1
_DEFAULT_KEY = b"fastcore-finger1"


def fingerprint(obj: Any, /, *, key: bytes | None = None) -> int:
    """A 64-bit number for a document: equal documents have equal fingerprints.

    The order of members does not count, the order of lists does. Numbers count by value (1 and 1.0 agree, -0.0 is 0,
    all NaN agree), true and 1 differ, null and an absent member differ. The number is the same in every process, on
    every platform and in both twins; a change of the algorithm would be a breaking change.

    Two different documents agree with odds of 2**-64; among n documents the odds of any collision are about
    n**2 / 2**65 (100,000 documents: 3e-10). That holds for documents that nobody chose to collide. Where an
    adversary picks them, pass a secret key; even then this is no cryptographic digest.

    Args:
        obj: the document.
        key: 16 bytes that select the function; default: a fixed, public key.

    Raises:
        TypeError: a type that JSON does not have, a member name that is not str, or a key that is not bytes.
        ValueError: a key that is not 16 bytes long.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size).
    Thread safety: reads its argument without a lock; changed meanwhile, it may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import fingerprint
        >>> fingerprint({"a": 1, "b": [True, None]}) == fingerprint({"b": [True, None], "a": 1.0})
        True
        >>> hex(fingerprint({"kind": "Pod"}))
        '0x56a67e32fe02512d'

    Source: SipHash-1-3 (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012) over the tree.
    """
    return _Sip(_checked(key)).value(obj, 0)


def fingerprints(objs: Iterable[Any], /, *, key: bytes | None = None) -> "NDArray[uint64]":
    """The fingerprints of many documents, in their order, as a numpy array of uint64.

    Args:
        objs: the documents.
        key: as for `fingerprint`.

    Raises:
        What `fingerprint` raises.

    Complexity: O(total size); 8 bytes a document.
    Thread safety: as `fingerprint`.

    Example:
        >>> from fastcore.diff import fingerprints
        >>> a, b = fingerprints([{"n": 1}, {"n": 1.0}])
        >>> bool(a == b)
        True
    """
    import numpy

    sip = _Sip(_checked(key))
    return numpy.array([sip.value(obj, 0) for obj in objs], dtype=numpy.uint64)


def _checked(key: bytes | None) -> bytes:
    if key is None:
        return _DEFAULT_KEY
    if not isinstance(key, bytes):
        raise TypeError(f"a fingerprint key is bytes, not {type(key).__qualname__}")
    if len(key) != 16:
        raise ValueError(f"a fingerprint key is 16 bytes long, not {len(key)}")
    return key


def _siphash(key: bytes, tag: int, data: bytes) -> int:
    """SipHash-1-3 of `data`; the tag in the key keeps the kinds of values apart."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little") ^ tag
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    length = len(data)
    padded = data + bytes(7 - length % 8) + bytes([length & 0xFF])
    for i in range(0, len(padded), 8):
        word = int.from_bytes(padded[i : i + 8], "little")
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


# Names of members repeat from document to document, values do not.
_name: Callable[[bytes, int, bytes], int] = lru_cache(maxsize=4096)(_siphash)


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = ((v1 << 13 | v1 >> 51) & _MASK) ^ v0
    v0 = (v0 << 32 | v0 >> 32) & _MASK
    v2 = (v2 + v3) & _MASK
    v3 = ((v3 << 16 | v3 >> 48) & _MASK) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = ((v3 << 21 | v3 >> 43) & _MASK) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = ((v1 << 17 | v1 >> 47) & _MASK) ^ v2
    v2 = (v2 << 32 | v2 >> 32) & _MASK
    return v0, v1, v2, v3


class _Sip:
    """The fingerprint function of one key.

    string   tag s: the UTF-8 bytes (lone surrogates as three bytes)
    integer  tag i: little-endian two's complement, 8 bytes, more only if needed; a float without fraction likewise
    float    tag d: the 8 little-endian bytes of the IEEE double; NaN is 0x7ff8000000000000
    null, false, true   tags n, f, t: nothing
    array    tag a: the fingerprints of the items, 8 bytes each
    object   tag o: the sum modulo 2**64 over members of (tag e: fingerprints of name and value), then their count
    """

    def __init__(self, key: bytes) -> None:
        self.key = key

    def value(self, obj: Any, depth: int) -> int:
        obj = plain(obj)
        if obj is None:
            return _siphash(self.key, ord("n"), b"")
        if obj is True or obj is False:
            return _siphash(self.key, ord("t") if obj else ord("f"), b"")
        if type(obj) is str:
            return self.string(obj)
        if type(obj) is int:
            return self.integer(obj)
        if type(obj) is float:
            return self.real(obj)
        if depth == MAX_DEPTH:
            raise too_deep()
        if type(obj) is list:
            items = [self.value(item, depth + 1) for item in obj]
            return _siphash(self.key, ord("a"), struct.pack(f"<{len(items)}Q", *items))
        total = 0
        for name, item in obj.items():
            check_key(name)
            named = _name(self.key, ord("s"), name.encode("utf-8", "surrogatepass"))
            pair = struct.pack("<QQ", named, self.value(item, depth + 1))
            total += _siphash(self.key, ord("e"), pair)
        return _siphash(self.key, ord("o"), struct.pack("<QQ", total & _MASK, len(obj)))

    def string(self, text: str) -> int:
        return _siphash(self.key, ord("s"), text.encode("utf-8", "surrogatepass"))

    def integer(self, number: int) -> int:
        size = 8 if -(1 << 63) <= number < 1 << 63 else number.bit_length() // 8 + 1
        return _siphash(self.key, ord("i"), number.to_bytes(size, "little", signed=True))

    def real(self, number: float) -> int:
        if number.is_integer():
            return self.integer(int(number))
        bits = struct.pack("<d", number) if number == number else struct.pack("<Q", 0x7FF8 << 48)
        return _siphash(self.key, ord("d"), bits)
