"""The Go libraries that a controller in Go would use, in the same table; skipped where there is no Go toolchain."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from benchmarks.conftest import per_call

# Go's benchmark, the row of the table that it belongs to, and whose it is.
ROWS = [
    ("LRUGetHit", "LRU get hit", "Go golang-lru"),
    ("LRUSetEvict", "LRU set + evict", "Go golang-lru"),
    ("TTLGetHit", "TTL get hit", "Go expirable"),
    ("TokenBucketAllow", "token bucket allow", "Go x/time/rate"),
    ("BreakerNoop", "breaker around a no-op, call", "Go gobreaker"),
    ("PoolTurn", "pool acquire + release", "Go sync.Pool"),
    ("QueueTurn", "queue add + get + done", "Go client-go"),
]


@pytest.fixture(scope="module")
def nanoseconds() -> dict[str, float]:
    if shutil.which("go") is None:
        pytest.skip("no Go toolchain on PATH")
    done = subprocess.run(
        ["go", "test", "-bench", ".", "-benchtime", "200ms", "-count", "3"],
        cwd=Path(__file__).parent / "go",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"go test failed: {done.stderr[-300:]}")
    result: dict[str, float] = {}
    for name, ns in re.findall(r"^Benchmark(\w+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op", done.stdout, re.M):
        result[name] = min(float(ns), result.get(name, float(ns)))
    return result


@pytest.mark.parametrize("name", [pytest.param(n, id=n, marks=pytest.mark.subject(*row)) for n, *row in ROWS])
def test_go(benchmark: Any, nanoseconds: dict[str, float], name: str) -> None:
    # Timed by Go itself; pytest-benchmark only carries the figure into the table.
    per_call(benchmark, lambda: None)
    benchmark.extra_info["value"] = nanoseconds[name]
