# cython: freethreading_compatible=True
"""What to do about a set of objects: which to create, update, delete and leave alone.

User code can run where diff.pyx says, in hashing and comparing the keys of the mappings, and in the mappings. Nothing
is held between the steps but references.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t

from collections.abc import Mapping
from itertools import compress
from typing import Any, NamedTuple

from fastcore._ext.diff import covers, diff

__all__ = ["Plan", "plan"]


class Plan(NamedTuple):
    """What turns the current objects into the desired ones: four lists of keys.

    `create`, `update` and `unchanged` are in the order of the desired mapping, `delete` in that of the current one.
    """

    create: list[Any]
    update: list[Any]
    delete: list[Any]
    unchanged: list[Any]


def plan(
    current, desired, /, *, bint exact=False, fingerprints=None, bint verify=False, ignore=(), list_keys=None,
    quantities=None
):
    """Which objects to create, update, delete and leave alone: two mappings of key to object, compared by key.

    An object is unchanged when the current one `covers` the desired one; with `exact` when `diff` finds nothing. Given
    the fingerprints of all objects, those alone decide: two arrays are compared, and no object is looked at.

    Args:
        current, desired: mappings of any hashable key to documents.
        exact: ask for equality, not for coverage.
        fingerprints: `(of_current, of_desired)`, two numpy arrays of uint64 as the function `fingerprints` gives them,
            in the order of the mappings and made with one key. The first may as well be of what was desired the last
            time. Two different objects agree with odds of 2**-64: one of 100,000 updates is missed with odds of 5e-15,
            where nobody chose the objects to agree.
        verify: do look at the objects whose fingerprints agree.
        ignore: paths that do not count, as for `diff`; fingerprints count them.
        list_keys: which lists are keyed, as for `diff`.
        quantities: where quantities stand, as for `diff`.

    Raises:
        TypeError: not two mappings, or fingerprints that are not two arrays of uint64.
        ValueError: an array that is not as long as its mapping.
        What `diff` raises.

    Complexity: O(total size); by fingerprints O(number of objects), with about 50 bytes of memory an object meanwhile.
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import plan
        >>> plan({"a": {"n": 1}, "b": {"n": 1}, "c": {}}, {"a": {"n": 1}, "b": {"n": 2}, "d": {}})
        Plan(create=['d'], update=['b'], delete=['c'], unchanged=['a'])
    """
    for objects in (current, desired):
        if not isinstance(objects, Mapping):
            raise TypeError(f"plan compares two mappings of key to object, not {type(objects).__qualname__}")
    paths = ignore if isinstance(ignore, str) else list(ignore)
    diff(None, None, ignore=paths, list_keys=list_keys, quantities=quantities)  # bad ones raise at once
    result, changed, absent = Plan([], [], [], []), set(), object()
    if fingerprints is not None:
        agreed_on = agreed(current, desired, fingerprints)
        if not verify:
            return agreed_on
        changed.update(agreed_on.update)
    for key, wanted in desired.items():
        live = current.get(key, absent)
        if live is absent:
            result.create.append(key)
            continue
        if key in changed:
            same = False
        elif exact:
            same = not diff(live, wanted, ignore=paths, list_keys=list_keys, quantities=quantities)
        else:
            same = covers(live, wanted, ignore=paths, list_keys=list_keys, quantities=quantities)
        (result.unchanged if same else result.update).append(key)
    for key in current:
        if key not in desired:
            result.delete.append(key)
    return result


cdef object agreed(object current, object desired, object fingerprints):
    """The plan by fingerprints alone: arrays are compared, and keys picked."""
    import numpy

    of_current, of_desired = fingerprints
    here, wanted = list(current), list(desired)
    for given, keys in ((of_current, here), (of_desired, wanted)):
        if not isinstance(given, numpy.ndarray) or given.dtype != numpy.uint64 or given.ndim != 1:
            raise TypeError(f"fingerprints are two numpy arrays of uint64, not {type(given).__qualname__}")
        if len(given) != len(keys):
            raise ValueError(f"{len(given)} fingerprints are given for {len(keys)} objects")
    if here == wanted:
        # The rule: nothing came or went, and little has changed.
        same = of_current == of_desired
        update = [wanted[i] for i in numpy.flatnonzero(~same).tolist()]
        return Plan([], update, [], list(compress(wanted, same.tolist())) if update else wanted)
    return matched(here, wanted, numpy.ascontiguousarray(of_current), numpy.ascontiguousarray(of_desired))


cdef object matched(list here, list wanted, object of_current, object of_desired):
    """As `agreed` where keys came, went or moved: each is looked up once."""
    cdef dict place = {}
    cdef list create = [], update = [], unchanged = []
    cdef Py_buffer mine, theirs
    cdef Py_ssize_t i
    for i in range(len(here)):
        place[here[i]] = i
    PyObject_GetBuffer(of_current, &mine, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(of_desired, &theirs, PyBUF_SIMPLE)
        try:
            for i in range(len(wanted)):
                key = wanted[i]
                at = place.pop(key, None)
                if at is None:
                    create.append(key)
                elif (<uint64_t *>mine.buf)[<Py_ssize_t>at] == (<uint64_t *>theirs.buf)[i]:
                    unchanged.append(key)
                else:
                    update.append(key)
        finally:
            PyBuffer_Release(&theirs)
    finally:
        PyBuffer_Release(&mine)
    return Plan(create, update, list(place), unchanged)     # what was not asked for is left, in its order
