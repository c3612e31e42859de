"""Plans: which of many objects to create, update, delete and leave alone."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diff.documents import names, scalars

objects = st.dictionaries(st.one_of(names, st.integers(0, 3)), st.dictionaries(names, scalars, max_size=2), max_size=5)


@given(current=objects, desired=objects)
def test_fingerprints_decide_as_equality_does(impl, current, desired):
    """Whatever the order of the keys, and whichever of them are there."""
    prints = tuple(impl.fingerprint.fingerprints(side.values()) for side in (current, desired))
    expected = impl.plan.plan(current, desired, exact=True, list_keys={}, quantities={})
    for verify in (False, True):
        given_ = {"exact": True, "fingerprints": prints, "verify": verify, "list_keys": {}, "quantities": {}}
        assert impl.plan.plan(current, desired, **given_) == expected
    nothing = dict.fromkeys(current), dict.fromkeys(desired)
    assert impl.plan.plan(*nothing, fingerprints=prints) == expected
    assert sorted(map(repr, (*expected.create, *expected.update, *expected.unchanged))) == sorted(map(repr, desired))


def test_a_collision_is_found_by_verifying(impl):
    """Two fingerprints that agree although the objects do not: the odds are 2**-64, and `verify` leaves none."""
    same = numpy.array([7, 7], dtype=numpy.uint64)
    one, other = {"a": {"n": 1}, "b": {"n": 1}}, {"a": {"n": 1}, "b": {"n": 2}}
    assert impl.plan.plan(one, other, fingerprints=(same, same)).unchanged == ["a", "b"]
    assert impl.plan.plan(one, other, fingerprints=(same, same), verify=True) == ([], ["b"], [], ["a"])


def test_bad_fingerprints(impl):
    good = numpy.zeros(1, dtype=numpy.uint64)
    for bad in ([0], good.astype(numpy.int64), good.reshape(1, 1)):
        with pytest.raises(TypeError, match="fingerprints are two numpy arrays of uint64, not"):
            impl.plan.plan({"a": {}}, {"a": {}}, fingerprints=(good, bad))
    with pytest.raises(ValueError, match="1 fingerprints are given for 2 objects"):
        impl.plan.plan({"a": {}, "b": {}}, {"a": {}}, fingerprints=(good, good))


def test_a_hundred_thousand_objects(impl):
    """Masks pick the keys in the order of the mappings."""
    count = 100_000
    prints = numpy.arange(count, dtype=numpy.uint64)
    current, desired = dict.fromkeys(range(count)), dict.fromkeys(range(10, count + 10))
    changed = prints + numpy.uint64(10)
    changed[5] = 0
    plan = impl.plan.plan(current, desired, fingerprints=(prints, changed))
    assert plan.create == list(range(count, count + 10))
    assert plan.delete == list(range(10))
    assert plan.update == [15]
    assert plan.unchanged == [*range(10, 15), *range(16, count)]
    same = impl.plan.plan(current, current, fingerprints=(prints, prints))
    assert same == ([], [], [], list(range(count)))
