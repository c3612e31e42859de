"""Both twins look the same from outside."""

import inspect

import pytest

from fastcore._ext import lru as ext_lru
from fastcore._ext import ttl as ext_ttl
from fastcore._py import lru as py_lru
from fastcore._py import ttl as py_ttl

PAIRS = [(ext_lru.LRUCache, py_lru.LRUCache), (ext_ttl.TTLCache, py_ttl.TTLCache)]


def first_line(thing):
    return (inspect.getdoc(thing) or "").split("\n")[0]


@pytest.mark.parametrize(("ext", "py"), PAIRS)
def test_names_signatures_and_first_lines(ext, py):
    def public(cls):
        return {n for n in dir(cls) if not n.startswith("_")}

    assert public(ext) == public(py)
    for name in public(ext) | {"__missing__", "_begin_load", "_end_load", "_fail_load", "_counts", "_entries"}:
        ours, theirs = getattr(ext, name), getattr(py, name)
        assert first_line(ours) == first_line(theirs), name
        if callable(ours):
            parameters = [
                [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values() if p.name != "self"]
                for f in (ours, theirs)
            ]
            assert parameters[0] == parameters[1], name
    signatures = [[(p.name, p.kind) for p in inspect.signature(c).parameters.values()] for c in (ext, py)]
    assert signatures[0] == signatures[1]
    assert first_line(ext) == first_line(py)
    assert first_line(ext_lru.Load) == first_line(py_lru.Load)


def test_hot_methods_are_the_compiled_ones():
    """The public class adds nothing on the way to a hit."""
    from fastcore import _impl, cache

    for public, compiled in ((cache.LRUCache, _impl.lru.LRUCache), (cache.TTLCache, _impl.ttl.TTLCache)):
        for name in (
            "__getitem__",
            "get",
            "__setitem__",
            "set",
            "__contains__",
            "peek",
            "pop",
            "__len__",
            "setdefault",
        ):
            assert getattr(public, name) is getattr(compiled, name), name
