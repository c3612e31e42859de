"""Bytes that one entry costs beside its key and value, at a million entries: `python -m benchmarks.memory`."""

import tracemalloc
from collections.abc import Callable
from typing import Any

from fastcore import KeyedTokenBucket, LRUCache, TTLCache

ENTRIES = 1_000_000


def bytes_an_entry(make: Callable[[], Any], fill: Callable[[Any, str], object], keys: list[str]) -> float:
    """Memory traced while `fill` adds every key, divided by their number."""
    tracemalloc.start()
    thing = make()
    for key in keys:
        fill(thing, key)
    traced, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return traced / len(keys)


def main() -> None:
    """Print one line for each container."""
    keys = [f"key-{i}" for i in range(ENTRIES)]
    rows: list[tuple[str, Callable[[], Any], Callable[[Any, str], object]]] = [
        ("dict", dict, lambda d, k: d.__setitem__(k, None)),
        ("LRUCache", lambda: LRUCache(ENTRIES), lambda c, k: c.set(k, None)),
        ("TTLCache", lambda: TTLCache(ENTRIES, 600.0), lambda c, k: c.set(k, None)),
        (
            "TTLCache, touch='access'",
            lambda: TTLCache(ENTRIES, 600.0, touch="access"),
            lambda c, k: c.set(k, None),
        ),
        ("KeyedTokenBucket", lambda: KeyedTokenBucket(1, 10, max_keys=ENTRIES), lambda b, k: b.allow(k)),
    ]
    for name, make, fill in rows:
        print(f"{name:<26}{bytes_an_entry(make, fill, keys):6.1f} bytes an entry")


if __name__ == "__main__":
    main()
