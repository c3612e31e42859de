"""Both twins show one surface: the same names, signatures and first lines of documentation."""

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from fastcore import _impl


def public(thing: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in dir(thing) if not name.startswith("_")}


def own(module: ModuleType) -> dict[str, Any]:
    """What a module defines for others: neither what it imports nor iterators, which nobody calls by name."""
    names = {n: v for n, v in public(module).items() if not inspect.ismodule(v) and not n.endswith("Iterator")}
    return {n: v for n, v in names.items() if getattr(v, "__module__", module.__name__) == module.__name__}


def check_documentation(compiled: Any, twin: Any, name: str) -> None:
    """The twin says the same, or the beginning of it."""
    whole, part = inspect.getdoc(compiled) or "", inspect.getdoc(twin) or ""
    assert part, name
    assert whole.startswith(part.rstrip()), name


def parameters(thing: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults; a default that is an object of the module counts by its type."""
    found = [p for p in inspect.signature(thing).parameters.values() if p.name != "self"]
    return [(p.name, p.kind, p.default if isinstance(p.default, (int, float, str, tuple)) else None) for p in found]


def of_python(thing: type, method: str) -> bool:
    """Whether a method is that of dict or list, unchanged."""
    return method not in vars(thing) and any(method in vars(kind) for kind in (dict, list) if issubclass(thing, kind))


@pytest.mark.parametrize("name", sorted(_impl.PRIMITIVES))
def test_one_surface(name: str) -> None:
    ext, py = import_module(f"fastcore._ext.{name}"), import_module(f"fastcore._py.{name}")
    mine, theirs = own(ext), own(py)
    assert mine, name
    assert set(mine) <= set(theirs)
    for thing, compiled in mine.items():
        twin = theirs[thing]
        check_documentation(compiled, twin, f"{name}.{thing}")
        if inspect.isclass(compiled):
            assert set(public(compiled)) == set(public(twin)), f"{name}.{thing}"
            for method in public(compiled):
                if not callable(getattr(compiled, method)) or of_python(compiled, method):
                    continue
                mine_, theirs_ = getattr(compiled, method), getattr(twin, method)
                assert parameters(mine_) == parameters(theirs_), f"{name}.{thing}.{method}"
                check_documentation(mine_, theirs_, f"{name}.{thing}.{method}")
        elif callable(compiled):
            assert parameters(compiled) == parameters(twin), f"{name}.{thing}"
