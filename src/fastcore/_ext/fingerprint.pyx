# cython: freethreading_compatible=True
"""Fingerprints of documents: 64 bits that do not depend on the order of members, the process or the machine.

The function, for one key (k0, k1), is SipHash-1-3 with (k0, k1 ^ tag):

    string   tag s: the UTF-8 bytes (lone surrogates as three bytes)
    integer  tag i: little-endian two's complement, 8 bytes, more only if needed; a float without fraction likewise
    float    tag d: the 8 little-endian bytes of the IEEE double; NaN is 0x7ff8000000000000
    null, false, true   tags n, f, t: nothing
    array    tag a: the fingerprints of the items, 8 bytes each
    object   tag o: the sum modulo 2**64 over members of (tag e: fingerprints of name and value), then their count

User code can run where document.pxd says, and in iterating `objs`. The state of a hash lies on the C stack.
"""

cimport cython
from cpython.bool cimport PyBool_Check
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from fastcore._ext.document cimport (
    PyUnicode_DATA, PyUnicode_GET_LENGTH, Py_LeaveRecursiveCall, check_key, converted, enter, held, is_dict, is_list,
    is_plain,
)

__all__ = ["fingerprint", "fingerprints"]

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

_DEFAULT_KEY = b"fastcore-finger1"


def fingerprint(obj, /, *, key=None):
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
    return _Sip(key).value(obj, 0)


def fingerprints(objs, /, *, key=None):
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

    cdef _Sip sip = _Sip(key)
    cdef list documents = list(objs)
    cdef bytearray numbers = bytearray(8 * len(documents))
    cdef Py_ssize_t i
    cdef uint64_t number
    for i in range(len(documents)):
        number = sip.value(documents[i], 0)
        memcpy(<char*>numbers + 8 * i, &number, 8)
    return numpy.frombuffer(numbers, dtype=numpy.uint64)


cdef struct Hash:
    uint64_t v0, v1, v2, v3


cdef inline uint64_t rotated(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline void round_(Hash *h) noexcept nogil:
    h.v0 += h.v1
    h.v1 = rotated(h.v1, 13) ^ h.v0
    h.v0 = rotated(h.v0, 32)
    h.v2 += h.v3
    h.v3 = rotated(h.v3, 16) ^ h.v2
    h.v0 += h.v3
    h.v3 = rotated(h.v3, 21) ^ h.v0
    h.v2 += h.v1
    h.v1 = rotated(h.v1, 17) ^ h.v2
    h.v2 = rotated(h.v2, 32)


cdef inline void feed(Hash *h, uint64_t word) noexcept nogil:
    h.v3 ^= word
    round_(h)
    h.v0 ^= word


cdef inline uint64_t finish(Hash *h, uint64_t last) noexcept nogil:
    feed(h, last)
    h.v2 ^= 0xFF
    round_(h)
    round_(h)
    round_(h)
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3


cdef inline uint64_t little_endian(const unsigned char *data, Py_ssize_t size) noexcept nogil:
    """Up to 8 bytes as a number; compilers make one load of it where that is right."""
    cdef uint64_t word = 0
    cdef Py_ssize_t i
    for i in range(size):
        word |= <uint64_t>data[i] << (8 * i)
    return word


@cython.final
cdef class _Sip:
    cdef uint64_t k0, k1

    def __cinit__(self, key):
        if key is None:
            key = _DEFAULT_KEY
        if not isinstance(key, bytes):
            raise TypeError(f"a fingerprint key is bytes, not {type(key).__qualname__}")
        if len(<bytes>key) != 16:
            raise ValueError(f"a fingerprint key is 16 bytes long, not {len(<bytes>key)}")
        cdef const unsigned char *data = <const unsigned char*>PyBytes_AS_STRING(key)
        self.k0, self.k1 = little_endian(data, 8), little_endian(data + 8, 8)

    cdef inline Hash start(self, uint64_t tag) noexcept:
        cdef Hash h
        h.v0 = self.k0 ^ <uint64_t>0x736F6D6570736575
        h.v1 = self.k1 ^ tag ^ <uint64_t>0x646F72616E646F6D
        h.v2 = self.k0 ^ <uint64_t>0x6C7967656E657261
        h.v3 = self.k1 ^ tag ^ <uint64_t>0x7465646279746573
        return h

    cdef uint64_t data(self, uint64_t tag, const unsigned char *data, Py_ssize_t size) noexcept:
        cdef Hash h = self.start(tag)
        cdef Py_ssize_t i = 0
        while i + 8 <= size:
            feed(&h, little_endian(data + i, 8))
            i += 8
        return finish(&h, little_endian(data + i, size - i) | <uint64_t>(size & 0xFF) << 56)

    cdef uint64_t word(self, uint64_t tag, uint64_t word) noexcept:
        cdef Hash h = self.start(tag)
        feed(&h, word)
        return finish(&h, <uint64_t>8 << 56)

    cdef uint64_t pair(self, uint64_t tag, uint64_t first, uint64_t second) noexcept:
        cdef Hash h = self.start(tag)
        feed(&h, first)
        feed(&h, second)
        return finish(&h, <uint64_t>16 << 56)

    cdef uint64_t value(self, object obj, int depth) except? 0:
        cdef uint64_t answer
        if not is_plain(obj):
            obj = converted(obj)
        if PyUnicode_CheckExact(obj):
            return self.string(obj)
        if obj is None:
            return self.data(c"n", NULL, 0)
        if PyBool_Check(obj):
            return self.data(c"t" if obj is True else c"f", NULL, 0)
        if PyFloat_CheckExact(obj):
            return self.real(obj)
        if is_dict(obj):
            enter(depth)
            try:
                answer = self.members(<dict>obj, depth + 1)
            finally:
                Py_LeaveRecursiveCall()
            return answer
        if is_list(obj):
            enter(depth)
            try:
                answer = self.items(held(<list>obj), depth + 1)
            finally:
                Py_LeaveRecursiveCall()
            return answer
        return self.integer(obj)

    cdef uint64_t members(self, dict obj, int depth) except? 0:
        cdef uint64_t total = 0
        for name, item in obj.items():
            check_key(name)
            total += self.pair(c"e", self.string(name), self.value(item, depth))
        return self.pair(c"o", total, <uint64_t>len(obj))

    cdef uint64_t items(self, list obj, int depth) except? 0:
        cdef Hash h = self.start(c"a")
        cdef uint64_t count = 0
        for item in obj:
            feed(&h, self.value(item, depth))
            count += 1
        return finish(&h, (count * 8 & 0xFF) << 56)

    cdef uint64_t string(self, object text) except? 0:
        if PyUnicode_IS_COMPACT_ASCII(text):
            return self.data(c"s", <const unsigned char*>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
        return self.encoded(c"s", (<str>text).encode("utf-8", "surrogatepass"))

    cdef uint64_t encoded(self, uint64_t tag, bytes data) except? 0:
        return self.data(tag, <const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef uint64_t integer(self, object number) except? 0:
        cdef int overflow = 0
        cdef int64_t small = PyLong_AsLongLongAndOverflow(number, &overflow)
        if not overflow:
            return self.word(c"i", <uint64_t>small)
        return self.encoded(c"i", number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True))

    cdef uint64_t real(self, object number) except? 0:
        cdef double x = PyFloat_AS_DOUBLE(number)
        cdef uint64_t bits = 0
        if -9.2e18 < x < 9.2e18 and x == <double><int64_t>x:
            return self.word(c"i", <uint64_t><int64_t>x)
        if number.is_integer():
            return self.integer(int(number))
        if x != x:
            bits = <uint64_t>0x7FF8 << 48
        else:
            memcpy(&bits, &x, 8)
        return self.word(c"d", bits)
