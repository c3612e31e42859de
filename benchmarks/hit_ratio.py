"""Hit ratios of cache policies side by side: `python -m benchmarks.hit_ratio`.

Every cache is asked for each key in turn, and stores what it has not. The recorded requests are those of the tests, see
tests/cache/traces/README.md; the others are drawn with a fixed seed.
"""

import random
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

from fastcore import LRUCache, S3FIFOCache

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cache.replays import trace


def zipf(keys: int, count: int, exponent: float = 1.0, seed: int = 1) -> list[int]:
    """`count` keys out of `keys`, the one of rank n asked for 1 / n ** exponent as often as the first."""
    totals = list(accumulate(1 / rank**exponent for rank in range(1, keys + 1)))
    return random.Random(seed).choices(range(keys), cum_weights=totals, k=count)


def with_scans(requests: list[int], length: int, every: int) -> Iterator[int]:
    """The requests, and after `every` of them a scan over `length` keys that are asked for once."""
    fresh = 1_000_000_000
    for i, key in enumerate(requests):
        yield key
        if i % every == every - 1:
            yield from range(fresh, fresh + length)
            fresh += length


def by_item(cache: Any, requests: list[int]) -> float:
    """The hit ratio of a cache that is a mapping."""
    get, hits = cache.get, 0
    for key in requests:
        if get(key) is None:
            cache[key] = True
        else:
            hits += 1
    return hits / len(requests)


def by_pair(cache: Any, requests: list[int]) -> float:
    """The hit ratio of a cache whose `get` also says whether the key is there."""
    get, store, hits = cache.get, cache.set, 0
    for key in requests:
        if get(key)[1]:
            hits += 1
        else:
            store(key, True)
    return hits / len(requests)


def peer(module: str, name: str, replay: Callable[[Any, list[int]], float]) -> Callable[[int, list[int]], float | None]:
    """Replays to another package's cache; None if it is not installed."""

    def run(size: int, requests: list[int]) -> float | None:
        try:
            make = getattr(import_module(module), name)
        except ImportError:
            return None
        return replay(make(size), requests)

    return run


POLICIES: dict[str, Callable[[int, list[int]], float | None]] = {
    "LRU": lambda size, requests: by_item(LRUCache(size), requests),
    "S3-FIFO": lambda size, requests: by_item(S3FIFOCache(size), requests),
    "cachetools LRU": peer("cachetools", "LRUCache", by_item),
    "cachetools LFU": peer("cachetools", "LFUCache", by_item),
    "theine": peer("theine", "Cache", by_pair),
}


def workloads() -> Iterator[tuple[str, list[int], tuple[int, ...]]]:
    """Names, requests and the sizes of cache to try."""
    popular = zipf(50_000, 200_000)
    yield "zipf", popular, (500, 2500, 10_000)
    yield "zipf and scans", list(with_scans(popular, length=5000, every=10_000)), (500, 2500, 10_000)
    yield "zipf in a loop of scans", list(with_scans(zipf(5000, 100_000), length=1000, every=500)), (500, 2500)
    yield "glimpse", trace("glimpse"), (250, 1000)


def main() -> None:
    """Print a table: one line for each workload and size."""
    print(f"{'workload':<26}{'size':>7}" + "".join(f"{name:>16}" for name in POLICIES))
    for name, requests, sizes in workloads():
        for size in sizes:
            ratios = [run(size, requests) for run in POLICIES.values()]
            cells = "".join(f"{'-':>16}" if ratio is None else f"{ratio:>16.1%}" for ratio in ratios)
            print(f"{name:<26}{size:>7}{cells}", flush=True)


if __name__ == "__main__":
    main()
