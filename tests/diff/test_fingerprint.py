"""fingerprint: 64 bits for a document, the same everywhere."""

import os
import subprocess
import sys
from enum import IntEnum
from types import MappingProxyType

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diff.documents import deployment, documents, typed

KEY = bytes(range(16))

# Fixed for good: a fingerprint may be stored, and compared by another version on another machine.
KNOWN = [
    (None, 0x1AC359785ADFE7B4),
    (False, 0x4AF14BC8E19F13EE),
    (True, 0xAAF18234ED09EE40),
    (0, 0x60FDFAE3AAB2E7B9),
    (1, 0x657FABC779E01175),
    (-1, 0x039582FEE173FD1F),
    (2**63, 0x5DF064092B561195),
    (0.5, 0xD4563A54922E2E42),
    (float("nan"), 0xA929B9A39A32D26E),
    ("", 0x566E24054A3BAE9E),
    ("a", 0x9A01D925A55CB6AE),
    ("12345678", 0xD1FC87837E2A4143),
    ("é日😀", 0x22AA3E6B67C25163),
    ([], 0x1D7FA472E2E6E8E6),
    ([1, 2], 0x9720302157D35D83),
    ({}, 0xC915896FF81F76F9),
    ({"a": 1, "b": [True, None]}, 0x4D468F1E939EFF98),
]


@pytest.mark.parametrize(("document", "number"), KNOWN, ids=lambda v: repr(v)[:20])
def test_known_numbers(impl, document, number):
    assert impl.fingerprint.fingerprint(document) == number


def test_all_known_numbers_differ():
    assert len({number for _, number in KNOWN}) == len(KNOWN)


def test_the_hash_is_siphash():
    """The function inside is SipHash-1-3, which CPython uses for str: with hash seed 0 its key is zero."""
    if sys.hash_info.algorithm != "siphash13" or sys.hash_info.cutoff:
        pytest.skip("this interpreter hashes bytes with another function")
    from fastcore._py.fingerprint import _siphash

    texts = [b"a" * n for n in range(1, 40)]
    code = f"print(*[hash(t) & (2**64 - 1) for t in {texts!r}])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [_siphash(bytes(16), 0, text) for text in texts] == [int(word) for word in run.stdout.split()]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (1, 1.0),
        (0, -0.0),
        (10**300, 1e300 if int(1e300) == 10**300 else 10**300),
        (int(1e300), 1e300),
        (2**63, float(2**63)),
        (-(2**63), -float(2**63)),
        (float("nan"), -float("nan")),
        ((1, 2), [1, 2]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (IntEnum("E", "A").A, 1),
        (type("S", (str,), {})("é"), "é"),
        ({type("S", (str,), {})("k"): 1}, {"k": 1}),
    ],
)
def test_equal_documents_agree(impl, one, other):
    """Equality is that of diff: members in any order, numbers by value, subclasses as what they stand for."""
    assert impl.fingerprint.fingerprint(one) == impl.fingerprint.fingerprint(other)


@pytest.mark.parametrize(
    "documents",
    [
        [True, 1, "1", "true", [1], {"1": 1}],
        [False, 0, "", None, [], {}, [None], {"": None}],
        [[1, 2], [2, 1], [[1], 2], [1, [2]], [[1, 2]]],
        [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": {"b": 2}}, {"a": 1}, [["a", 1], ["b", 2]]],
        [{"a": None}, {}, {"b": None}],
        [0.5, 0.25, float("inf"), -float("inf"), float("nan")],
        [2**64, 2**64 + 1, -(2**64), 2**128, 0],
        ["a", "a\0", "\0a", "ab", "é", "e\u0301", "\ud800", "\udc00", "😀", "\ud83d\ude00"],
        ["x" * n for n in range(300)],
        [["x"] * n for n in range(300)],
    ],
)
def test_other_documents_differ(impl, documents):
    """true and 1, null and absent, order in lists, nesting, and every length are told apart."""
    numbers = [impl.fingerprint.fingerprint(document) for document in documents]
    assert len(set(numbers)) == len(documents)
    assert all(0 <= number < 2**64 for number in numbers)


@given(one=documents(), other=documents())
def test_agrees_exactly_with_equality(one, other, impl):
    """Equal documents have equal numbers; that others differ is as good as certain for so few."""
    same = impl.fingerprint.fingerprint(one) == impl.fingerprint.fingerprint(other)
    assert same == (typed(one) == typed(other))


@given(document=documents(), key=st.binary(min_size=16, max_size=16))
def test_twins_give_the_same_number(document, key):
    from fastcore._ext import fingerprint as ext
    from fastcore._py import fingerprint as py

    assert ext.fingerprint(document) == py.fingerprint(document)
    assert ext.fingerprint(document, key=key) == py.fingerprint(document, key=key)


def test_processes_give_the_same_number(impl):
    """No seed of the process is in the number."""
    code = (
        f"from fastcore._{impl.name}.fingerprint import fingerprint\n"
        "print(fingerprint({'kind': 'Pod', 'n': [1, 0.5, True, None, 'é']}))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("0", "1")
    ]
    number = impl.fingerprint.fingerprint({"n": [1, 0.5, True, None, "é"], "kind": "Pod"})
    assert [int(run.stdout) for run in runs] == [number, number]


def test_bits_are_even(impl):
    """Of 20,000 documents that differ in one digit no two agree, and every bit is set in about half."""
    numbers = impl.fingerprint.fingerprints({"metadata": {"name": f"web-{i}"}} for i in range(20_000))
    assert len(numpy.unique(numbers)) == 20_000
    for bit in range(64):
        ones = int((numbers >> numpy.uint64(bit) & numpy.uint64(1)).sum())
        assert abs(ones - 10_000) < 6 * 71


def test_key_selects_the_function(impl):
    fingerprint = impl.fingerprint.fingerprint
    document = deployment()
    assert fingerprint(document, key=KEY) == fingerprint(deployment(), key=KEY)
    assert len({fingerprint(document), fingerprint(document, key=KEY), fingerprint(document, key=bytes(16))}) == 3
    for key, error, message in [
        (b"short", ValueError, "a fingerprint key is 16 bytes long, not 5"),
        ("x" * 16, TypeError, "a fingerprint key is bytes, not str"),
    ]:
        for call in (fingerprint, impl.fingerprint.fingerprints):
            with pytest.raises(error) as caught:
                call([], key=key)
            assert str(caught.value) == message


def test_many(impl):
    """The array holds what single calls give, in order; any iterable will do."""
    documents = [{"n": i} for i in range(5)]
    numbers = impl.fingerprint.fingerprints(iter(documents))
    assert numbers.dtype == numpy.uint64
    assert numbers.tolist() == [impl.fingerprint.fingerprint(document) for document in documents]
    assert impl.fingerprint.fingerprints([]).shape == (0,)
    assert impl.fingerprint.fingerprints([1], key=KEY).tolist() == [impl.fingerprint.fingerprint(1, key=KEY)]
    with pytest.raises(TypeError):
        impl.fingerprint.fingerprints([1, {2}])
