"""Threads that use one cache without any lock of their own."""

import sys
import threading

import pytest


@pytest.fixture(autouse=True)
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class SlowKey:
    """Compares in Python, so that threads switch in the middle of every search."""

    def __init__(self, n):
        self.n = n

    def __hash__(self):
        return self.n % 5

    def __eq__(self, other):
        return self.n == other.n


@pytest.mark.parametrize("key", [int, SlowKey])
def test_hammer(make, key):
    """CA1, CA13, CA25: eight threads, every operation: whole, within its size, every count accounted for."""
    cache = make(16)
    rounds = 600 if key is int else 150
    errors = []
    reads = [0] * 8

    def work(number):
        try:
            for step in range(rounds):
                k = key((step * 7 + number * 13) % 40)
                cache.set(k, (k, step))
                for got in (cache.get(k), cache.peek(k), cache.pop(k, None)):
                    assert got is None or got[0] == k
                reads[number] += 1
                cache.setdefault(k, (k, -1))
                reads[number] += 1
                try:
                    assert cache[k][0] == k
                except KeyError:
                    pass
                reads[number] += 1
                assert len(cache) <= 16
                if step % 50 == number:
                    cache.resize(8 + number)
                    cache.resize(16)
                    cache.invalidate_prefix("x")
                if step % 97 == number:
                    cache.clear()
                try:
                    items = list(cache.items())
                except RuntimeError:  # changed by another thread meanwhile
                    continue
                assert all(key == value[0] for key, value in items)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert errors == []
    cache._check()
    stats = cache.stats()
    assert stats.entries == len(cache)
    assert stats.insertions == stats.entries + stats.removals + stats.evictions + stats.expirations
    # A setdefault that finds the key set meanwhile by another thread reads once more.
    assert stats.hits + stats.misses >= sum(reads)


def test_setdefault_gives_every_thread_the_same(make):
    cache = make(4)
    for step in range(200):
        barrier = threading.Barrier(4)
        got = []

        def work(step=step, barrier=barrier, got=got):
            barrier.wait(20)
            got.append(cache.setdefault(step, object()))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(set(map(id, got))) == 1
