"""Misses on recorded and on drawn requests: those of the reference simulator, libCacheSim 0.3.5, to the last one."""

import pytest

from cache.replays import REQUESTS, misses, misses_unread, popular_and_scans

LRU, FIFO, S3FIFO = "LRU", "FIFO", "S3FIFO"
RECORDED = {
    ("glimpse", 20): {LRU: 5961, FIFO: 5961, S3FIFO: 5943},
    ("glimpse", 257): {LRU: 5960, FIFO: 5960, S3FIFO: 5035},
    ("glimpse", 1000): {LRU: 5341, FIFO: 5345, S3FIFO: 3348},
    ("glimpse", 2000): {LRU: 2562, FIFO: 3134, S3FIFO: 2562},
    ("popular and scans", 500): {LRU: 110592, FIFO: 114319, S3FIFO: 94602},
    ("popular and scans", 2357): {LRU: 93554, FIFO: 98682, S3FIFO: 83129},
    ("popular and scans", 10000): {LRU: 78449, FIFO: 82856, S3FIFO: 73429},
}
CASES = [(*case, policy) for case, counts in RECORDED.items() for policy in counts]


@pytest.mark.parametrize(("name", "size", "policy"), CASES)
def test_misses_are_those_of_the_reference(caches, name, size, policy):
    """CA26 and CA27: S3-FIFO, LRU, and FIFO, which an LRU cache is to who does not let it see reads."""
    requests = REQUESTS[name]()
    cache = (caches.S3FIFOCache if policy == S3FIFO else caches.LRUCache)(size)
    replay = misses_unread if policy == FIFO else misses
    assert replay(cache, requests) == RECORDED[name, size][policy]
    cache._check()


@pytest.mark.parametrize("policy", [LRU, FIFO, S3FIFO])
@pytest.mark.parametrize(("name", "size"), [("glimpse", 20), ("glimpse", 1000), ("popular and scans", 2357)])
def test_what_is_recorded_is_what_the_reference_says(name, size, policy):
    """CA26 and CA27, where the simulator is installed: `pip install --no-deps libcachesim`."""
    simulator = pytest.importorskip("libcachesim")
    cache = getattr(simulator, policy)(cache_size=size)
    request = simulator.Request()
    request.obj_size = 1
    count = 0
    for key in REQUESTS[name]():
        request.obj_id = key
        count += not cache.get(request)
    assert count == RECORDED[name, size][policy]


def test_misses_with_sizes_are_those_of_the_reference(caches):
    """CA26 with sizes: an entry of size n stands for n of size 1. Recorded by libCacheSim 0.3.5."""
    cache = caches.S3FIFOCache(40_000, getsizeof=lambda value: value)
    count = 0
    for key in popular_and_scans():
        if cache.get(key) is None:
            cache[key] = key % 13 + 1
            count += 1
    assert count == 76973
    cache._check()
