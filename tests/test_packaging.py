"""What the package promises as a whole: its extensions are in use, imports are cheap and each module stands alone."""

import os
import pkgutil
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

import fastcore
import fastcore._ext
import fastcore._py
from fastcore import _impl

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "fastcore"
in_tree = pytest.mark.skipif(not SOURCES.is_dir(), reason="the sources were removed to test the installed package")

HEAVY = ("kubernetes", "numpy", "aiohttp", "msgspec", "prometheus_client", "uvloop", "rich")


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(fastcore.__path__, "fastcore.")]
    return [name for name in names if not name.endswith("__main__")]


def test_the_compiled_primitives_are_in_use() -> None:
    compiled = {m.name for m in pkgutil.iter_modules(fastcore._ext.__path__)}
    twins = {m.name for m in pkgutil.iter_modules(fastcore._py.__path__)}
    assert compiled >= _impl.PRIMITIVES
    assert twins >= _impl.PRIMITIVES
    assert fastcore.IMPLEMENTATION == "ext"
    for name in fastcore.__all__:
        assert getattr(fastcore, name) is not None


def test_diff_is_a_module_and_can_be_called() -> None:
    """The function that everybody wants has the name of its module; neither may hide the other."""
    import fastcore.diff as module

    assert (
        fastcore.diff({"a": 1}, {"a": 2}) == module.diff({"a": 1}, {"a": 2}) == fastcore.diff.diff({"a": 1}, {"a": 2})
    )
    assert module.covers({"a": 1}, {"a": 1})


def test_pure_python_runs_when_asked_for() -> None:
    done = python(
        "import fastcore; c = fastcore.LRUCache(1); c[1] = 2; print(fastcore.IMPLEMENTATION, type(c).__mro__)",
        FASTCORE_PURE="1",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("py ")
    assert "_ext" not in done.stdout


def test_a_missing_extension_is_an_error_and_says_what_to_do() -> None:
    done = python("import sys; sys.modules['fastcore._ext.lru'] = None; import fastcore")
    assert done.returncode != 0
    assert "ImportError: fastcore's compiled extension 'lru' is missing" in done.stderr
    assert "make build" in done.stderr


def test_import_loads_nothing_heavy() -> None:
    done = python(f"import fastcore, sys; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_module_imports_alone_without_warnings() -> None:
    names = modules()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(names, pool.map(lambda name: python(f"import {name}"), names), strict=True))
    assert {name: done.stderr for name, done in results.items() if done.returncode} == {}
    assert len(results) > 100


def test_version_agrees_with_the_metadata() -> None:
    assert metadata.version("fastcore-k8s") == fastcore.__version__


@in_tree
def test_every_extension_has_a_stub_and_promises_free_threading() -> None:
    for source in sorted((SOURCES / "_ext").glob("*.pyx")):
        assert source.with_suffix(".pyi").exists(), source.name
        assert "# cython: freethreading_compatible=True" in source.read_text(encoding="utf-8"), source.name


@in_tree
def test_extensions_keep_the_memory_rules() -> None:
    """No Python objects at module level (shared state), no bare except, no `cpdef` (a second surface)."""
    for source in sorted((SOURCES / "_ext").glob("*.pyx")):
        text = source.read_text(encoding="utf-8")
        assert not re.search(r"^cdef (object|dict|list|tuple|set|str) \w+\s*(=|$)", text, re.M), source.name
        assert not re.search(r"^\s*except:", text, re.M), source.name
        assert not re.search(r"\bcpdef\b", text), source.name
