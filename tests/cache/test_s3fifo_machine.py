"""Long random histories of S3-FIFO: the compiled twin against the one in Python, and both against a plain model."""

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from cache.test_machine import KEYS, TTLS, VALUES, Twins
from fastcore._ext import s3fifo as ext
from fastcore._py import s3fifo as py


class S3FIFOTwins(Twins):
    @initialize(
        maxsize=st.sampled_from([0, 1, 5, 10, 20, 21]),
        ttl=st.sampled_from([None, None, 17, 2.5]),
        weighted=st.booleans(),
        touch=st.sampled_from(["write", "access"]),
    )
    def create(self, maxsize, ttl, weighted, touch):
        self.now = 0
        weigh = (lambda value: value) if weighted else None
        self.twins = tuple(
            kind(maxsize, weigh, ttl, self.timer, touch=touch, **options)
            for kind, options in zip((ext.S3FIFOCache, py.S3FIFOCache), self.listened(), strict=True)
        )

    def timer(self):
        return self.now

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def set_with_ttl(self, key, value, ttl):
        self.both(lambda c: c.set(key, value, ttl=ttl))

    @rule(first=st.integers(13, 60), count=st.integers(1, 30))
    def scan(self, first, count):
        self.both(lambda c: c.resize(20))
        for key in range(first, first + count):
            self.both(lambda c, key=key: c.get(key) or c.set(key, 1))

    @rule(step=st.sampled_from([1, 2, 16, -5, 0.5]))
    def advance(self, step):
        self.now += step

    @rule()
    def copy(self):
        def again(cache):
            arguments, named = cache._config()
            twin = type(cache)(*arguments, **named)
            twin._restore(cache._entries())
            return twin._check(), twin._entries()

        self.both(again)

    @invariant()
    def same_ghosts(self):
        if self.twins:
            self.both(lambda c: c._ghosts())


TestS3FIFOTwins = S3FIFOTwins.TestCase
TestS3FIFOTwins.settings = settings(stateful_step_count=60)


class Model:
    """S3-FIFO in as few lines as say what it is (CA26), for sizes from ten on."""

    def __init__(self, size):
        self.size = size
        self.small, self.main, self.ghosts, self.evicted = OrderedDict(), OrderedDict(), OrderedDict(), False

    def get(self, key):
        for queue in (self.small, self.main):
            if key in queue:
                queue[key] = min(3, queue[key] + 1)
                return True
        return False

    def add(self, key):
        known = self.ghosts.pop(key, None) is not None
        while len(self.small) + len(self.main) >= self.size:
            self.evict()
        full = not self.evicted and len(self.small) >= self.size // 10
        (self.main if known or full else self.small)[key] = 0

    def evict(self):
        self.evicted = True
        if self.small and len(self.main) <= self.size - self.size // 10:
            while self.small:
                key, uses = self.small.popitem(last=False)
                if uses < 2:
                    while len(self.ghosts) >= self.size * 9 // 10:
                        self.ghosts.popitem(last=False)
                    self.ghosts[key] = True
                    return
                self.main[key] = 0
            return
        while True:
            key, uses = self.main.popitem(last=False)
            if uses == 0:
                return
            self.main[key] = uses - 1


@pytest.mark.parametrize("kind", [ext.S3FIFOCache, py.S3FIFOCache])
@settings(max_examples=60)
@given(size=st.integers(10, 40), requests=st.lists(st.integers(0, 80), max_size=400))
def test_against_a_model(kind, size, requests):
    """CA26, request by request."""
    cache, model = kind(size), Model(size)
    for key in requests:
        hit = model.get(key)
        assert (cache.get(key) is not None) == hit
        if not hit:
            model.add(key)
            cache[key] = True
        assert set(cache) == {*model.small, *model.main}
    assert cache._check() == [*model.main, *model.small]
    assert len(cache._ghosts()) == len(model.ghosts)
