"""What a million entries cost in memory, and what one full pass of the garbage collector takes over them.

Each container is filled in an interpreter of its own. Memory is what the process grew by, so that allocations in C, C++
and Rust count as well as Python's, divided by the entries; the keys and the one value exist before.
"""

import subprocess
import sys
from typing import Any

import pytest
from benchmarks.conftest import once

ENTRIES = 1_000_000
FILL = """
import gc, importlib, os, sys, timeit
module, make, store = sys.argv[1:4]
entries = int(sys.argv[4])
m = importlib.import_module(module)
keys = [f"key-{i}" for i in range(entries)]
values = list(range(entries))
gc.collect()
gc.freeze()     # what is there now is not walked: the pass meets the container alone
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
def full():
    return min(timeit.repeat(gc.collect, number=1, repeat=10)) * 1e3
before = resident()
c = eval(make, {"m": m, "n": entries})
put = eval(store, {"c": c})
for k, v in zip(keys, values):
    put(k, v)
print((resident() - before) / entries, full())
"""
ITEM = "c.__setitem__"
SUBJECTS = {
    "LRU": {
        "fastcore": ("fastcore.cache", "m.LRUCache(n)", ITEM),
        "dict": ("builtins", "{}", ITEM),
        "cachetools": ("cachetools", "m.LRUCache(n)", ITEM),
        "cachebox": ("cachebox", "m.LRUCache(n)", ITEM),
        "lru-dict": ("lru", "m.LRU(n)", ITEM),
        "theine": ("theine", "m.Cache(n)", "c.set"),
    },
    "TTL": {
        "fastcore": ("fastcore.cache", "m.TTLCache(n, 600.0)", ITEM),
        "cachetools": ("cachetools", "m.TTLCache(n, 600.0)", ITEM),
        "cachebox": ("cachebox", "m.TTLCache(n, 600.0)", ITEM),
    },
    "S3-FIFO": {
        "fastcore": ("fastcore.cache", "m.S3FIFOCache(n)", ITEM),
    },
    "keyed bucket": {
        "fastcore": ("fastcore.ratelimit", "m.KeyedTokenBucket(1, 10, max_keys=n)", "lambda k, v: c.allow(k)"),
        "token-bucket": ("token_bucket", "m.Limiter(1, 10, m.MemoryStorage())", "lambda k, v: c.consume(k)"),
    },
}
FIGURES: dict[tuple[str, str], tuple[float, float]] = {}


def measure(kind: str, whose: str) -> tuple[float, float]:
    """Bytes an entry, and milliseconds of a full collection."""
    if (kind, whose) not in FIGURES:
        module, make, store = SUBJECTS[kind][whose]
        pytest.importorskip(module)
        done = subprocess.run(
            [sys.executable, "-c", FILL, module, make, store, str(ENTRIES)], capture_output=True, text=True, check=True
        )
        size, pause = done.stdout.split()
        FIGURES[kind, whose] = float(size), float(pause)
    return FIGURES[kind, whose]


def rows(what: str, kinds: tuple[str, ...]) -> Any:
    """A benchmark for each container of `kinds`."""
    return pytest.mark.parametrize(
        ("kind", "whose"),
        [
            pytest.param(kind, whose, marks=pytest.mark.subject(what.format(kind), whose), id=f"{kind} {whose}")
            for kind in kinds
            for whose in SUBJECTS[kind]
        ],
    )


@rows("{} bytes an entry, 1 M", tuple(SUBJECTS))
def test_bytes(benchmark: Any, kind: str, whose: str) -> None:
    size, _ = measure(kind, whose)
    once(benchmark, size, "bytes")


@rows("{} collector pass, 1 M", ("LRU", "TTL"))
def test_collector(benchmark: Any, kind: str, whose: str) -> None:
    _, pause = measure(kind, whose)
    once(benchmark, pause, "ms")
