"""What a million entries cost in memory and at each full garbage collection: `python -m benchmarks.memory`."""

import gc
import timeit
import tracemalloc
from collections.abc import Callable, Iterator
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


def full_pass() -> float:
    """Milliseconds of a full pass of the garbage collector."""
    return min(timeit.repeat(gc.collect, number=1, repeat=10)) * 1e3


def in_cache(pairs: Iterator[tuple[str, Any]]) -> Any:
    """A cache of `pairs`."""
    cache = LRUCache[str, Any](ENTRIES)
    cache.update(pairs)
    return cache


def in_list(pairs: Iterator[tuple[str, Any]]) -> Any:
    """A list of the keys and values of `pairs`."""
    return [thing for pair in pairs for thing in pair]


def collector_rows() -> None:
    """Print what a full pass takes with the same entries in a cache, a dict and a plain list."""
    values: list[tuple[str, Callable[[int], Any]]] = [
        ("integers", lambda i: i),
        ("pairs of strings", lambda i: (str(i), "")),
        ("dicts", lambda i: {"n": i}),
    ]
    containers: list[tuple[str, Callable[[Iterator[tuple[str, Any]]], Any]]] = [
        ("LRUCache", in_cache),
        ("dict", dict),
        ("list", in_list),
    ]
    print(f"\na full garbage collection takes {full_pass():.1f} ms; with a million strings as keys, and as values")
    for kind, value in values:
        times = []
        for name, fill in containers:
            held = fill((f"key-{i}", value(i)) for i in range(ENTRIES))
            times.append(f"{name} {full_pass():5.1f} ms")
            del held
        print(f"    {kind:<18}{', '.join(times)}")


def main() -> None:
    """Print one line for each container, then one for each kind of value."""
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
    del keys
    collector_rows()


if __name__ == "__main__":
    main()
