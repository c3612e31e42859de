"""The primitives called in C, by a module that cimports them."""

import importlib.util
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

import fastcore
from fastcore import (
    CircuitBreaker,
    KeyedTokenBucket,
    LRUCache,
    ObjectPool,
    S3FIFOCache,
    TokenBucket,
    TTLCache,
    WorkQueue,
)

KEYS = [f"namespace-{i % 20}/object-{i}" for i in range(CALLS)]


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("from_c")
    shutil.copy(Path(__file__).parent / "from_c.pyx", folder)
    subprocess.run(
        [sys.executable, "-m", "Cython.Build.Cythonize", "--inplace", "--quiet", "from_c.pyx"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(fastcore.__file__).parent.parent)},
        timeout=300,
        check=True,
    )
    built = next(path for path in folder.iterdir() if path.suffix in (".so", ".pyd"))
    spec = importlib.util.spec_from_file_location("from_c", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filled(cache: Any) -> Any:
    for key in KEYS:
        cache[key] = key
    return cache


CASES = [
    ("token bucket allow, from C", "a clock reading", "clock", lambda: None),
    ("token bucket allow, from C", "fastcore", "bucket", lambda: TokenBucket(1e12, 1e9)),
    ("keyed bucket allow, from C", "fastcore", "keyed", lambda: KeyedTokenBucket(1e6, 1e9, max_keys=10_000)),
    ("cache get hit, from C", "dict", "dictionary", lambda: filled({})),
    ("cache get hit, from C", "fastcore LRU", "cache", lambda: filled(LRUCache(math.inf))),
    ("cache get hit, from C", "fastcore TTL", "cache", lambda: filled(TTLCache(math.inf, ttl=60))),
    ("cache get hit, from C", "fastcore S3-FIFO", "cache", lambda: filled(S3FIFOCache(10_000))),
    ("breaker allow + success, from C", "fastcore", "breaker", lambda: CircuitBreaker("from C")),
    ("pool acquire + release, from C", "fastcore", "pool", lambda: ObjectPool(list)),
    ("queue add + get + done, from C", "fastcore", "queue", WorkQueue),
]


@pytest.mark.parametrize(
    ("loop", "make"),
    [pytest.param(*rest, id=f"{what}-{whose}", marks=pytest.mark.subject(what, whose)) for what, whose, *rest in CASES],
)
def test_from_c(benchmark: Any, loops: Any, loop: str, make: Any) -> None:
    function, subject = getattr(loops, loop), make()
    per_call(benchmark, lambda: function(subject, KEYS))
