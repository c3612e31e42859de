"""The counters."""

import random


def identity(stats):
    return stats.insertions - stats.removals - stats.evictions - stats.expirations == stats.entries


def test_counters_add_up(caches, clock):
    """CA25: reads = hits + misses; insertions = entries + removals + evictions + expirations, at any time."""
    cache = caches.TTLCache(20, 50, timer=clock, getsizeof=lambda value: value % 7)
    chance = random.Random(5)
    reads = 0
    for step in range(3000):
        clock.set(clock() + chance.choice([0, 0, 1, 30]))
        key = chance.randrange(40)
        what = chance.randrange(12)
        if what < 3:
            cache.set(key, step, ttl=chance.choice([0, 5, 50, None]))
        elif what < 5:
            cache.get(key)
            reads += 1
        elif what == 5:
            cache.pop(key, None)
        elif what == 6:
            cache.get_or_load(key, lambda step=step: step)
            reads += 1
        elif what == 7:
            cache.get_many([key, key + 1])
            reads += 2
        elif what == 8:
            cache.invalidate(key)
        elif what == 9 and chance.random() < 0.1:
            cache.clear()
        elif what == 10:
            cache.resize(chance.choice([10, 20]))
        elif what == 11 and cache:
            cache.popitem()
        stats = cache.stats()
        assert stats.hits + stats.misses == reads
        assert identity(stats)
        assert stats.entries == len(cache)
        if chance.random() < 0.01:
            assert cache.stats(reset=True) == stats
            fresh = cache.stats()
            assert identity(fresh)
            assert fresh.hits == fresh.misses == fresh.removals == 0
            reads = 0


def test_loads_are_counted(make):
    cache = make(3)
    cache.get_or_load("a", lambda: 1)
    cache.get_or_load("a", lambda: 1)
    try:
        cache.get_or_load("b", lambda: 1 / 0)
    except ZeroDivisionError:
        pass
    cache.get_or_load("c", lambda: cache.set("c", 5))
    stats = cache.stats()
    assert (stats.loads, stats.load_failures, stats.loads_discarded) == (3, 1, 1)
    assert (stats.hits, stats.misses) == (1, 3)
    assert (stats.maxsize, stats.currsize, stats.entries) == (3, 2, 2)
    assert (stats.insertions, stats.updates) == (2, 0)
