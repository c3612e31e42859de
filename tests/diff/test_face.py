"""The public module and its examples; those of its page run in tests/test_docs.py."""

import doctest
import importlib

from fastcore import _impl


def test_public_names_are_those_of_the_primitives():
    """What is public is the compiled object itself, not something around it."""
    face = importlib.import_module("fastcore.diff")
    public = {name: getattr(face, name) for name in face.__all__}
    primitives = {
        name: getattr(m, name)
        for m in (_impl.diff, _impl.patch, _impl.plan, _impl.strategic, _impl.fingerprint)
        for name in m.__all__
    }
    assert public.keys() == primitives.keys()
    assert all(public[name] is primitives[name] for name in public)


def test_examples_in_docstrings(impl):
    for module, examples in [
        (impl.diff, 7),
        (impl.plan, 2),
        (impl.patch, 8),
        (impl.strategic, 15),
        (impl.fingerprint, 6),
    ]:
        result = doctest.testmod(module)
        assert (result.failed, result.attempted) == (0, examples)
