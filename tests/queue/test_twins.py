"""Both twins offer the same names, signatures, documentation and examples."""

import doctest
import inspect
from typing import Any

import pytest

from fastcore import queue as face
from fastcore._ext import queue as ext
from fastcore._py import queue as py


def public(cls: type) -> dict[str, Any]:
    return {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}


def parameters(function: Any) -> list[tuple[Any, ...]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values() if p.name != "self"]


@pytest.mark.parametrize("name", face.__all__)
def test_same_surface(name: str) -> None:
    compiled, plain = getattr(ext, name), getattr(py, name)
    assert public(compiled).keys() == public(plain).keys()
    assert inspect.getdoc(compiled) == inspect.getdoc(plain)
    if issubclass(compiled, tuple):
        assert compiled._fields == plain._fields
        return
    assert parameters(compiled) == parameters(plain)
    for method, member in public(compiled).items():
        assert inspect.getdoc(member) == inspect.getdoc(getattr(plain, method)) or not callable(member), method
        if callable(member):
            assert parameters(member) == parameters(getattr(plain, method)), method


def test_examples(impl: Any) -> None:
    module = impl.queue
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner()
    for name in face.__all__:
        cls = getattr(module, name)
        for test in finder.find(cls, name, globs=dict(vars(module))):
            runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.tries > 0
