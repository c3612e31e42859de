"""The compiled caches against their twins: whatever is done to both, both answer alike and look alike afterwards."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from fastcore._ext import lru as ext_lru
from fastcore._ext import s3fifo as ext_s3fifo
from fastcore._ext import shadow as ext_shadow
from fastcore._ext import ttl as ext_ttl
from fastcore._py import lru as py_lru
from fastcore._py import s3fifo as py_s3fifo
from fastcore._py import shadow as py_shadow
from fastcore._py import ttl as py_ttl
from fuzz.choices import Choices

KEYS: list[Hashable] = [*range(9), "a", "ab", "abc", b"a", b"ab", 1.0, True, None, (1, 2), (1, (2, "x")), 2**61 - 1, -1]
TAGS = ["red", "green", "blue"]
PREFIXES = ["", "a", "ab", "abcd", b"", b"a"]
SIZES = [0, 1, 2, 3, 5, 8, 9, 17, 40, 2.5, 300]
TTLS = [None, 0, 1, 2, 3, 5, 15, 16, 17, 255, 256, 257, 4095, 70_000, 10**9, 10**25, 0.5, 2.5]
STEPS = [1, 2, 3, 15, 16, 17, 256, 4096, 2**20, -1, -300, 0.25]
MOST = 300  # operations in one course of events


class Side:
    """One twin, and the loads that run in it."""

    def __init__(self, make: Callable[..., Any], load: Callable[[], Any], listens: bool, shadow: Any) -> None:
        self.news: list[str] = []
        listener = {"on_removal": lambda *news: self.news.append(repr(news))} if listens else {}
        self.cache = make(**listener)
        self.shadow = shadow(self.cache, 1.0) if shadow else None
        self.new_load = load
        self.loads: list[tuple[Hashable, Any]] = []

    def begin(self, key: Hashable) -> object:
        load = self.new_load()
        found, current = self.cache._begin_load(key, load)
        if found:
            return "found", current
        if current is not load:
            return "joined", [mine for _, mine in self.loads].index(current)
        self.loads.append((key, load))
        return "begun"

    def end(self, number: int, value: object) -> object:
        if not self.loads:
            return None
        key, load = self.loads.pop(number % len(self.loads))
        return load.fenced, self.cache._end_load(key, load, value)

    def fail(self, number: int) -> object:
        if not self.loads:
            return None
        key, load = self.loads.pop(number % len(self.loads))
        self.cache._fail_load(key, load)
        return load.fenced

    def look(self) -> tuple[object, ...]:
        """All that can be seen of the cache from outside and inside."""
        cache = self.cache
        keys = cache._check()
        news, self.news = sorted(self.news), []
        sampled = self.shadow.report() if self.shadow else None
        items = sorted(map(repr, cache._items()))
        return keys, items, cache._entries(), len(cache), cache.currsize, cache._counts(), news, repr(sampled)


class Clock:
    now: float = 0

    def __call__(self) -> float:
        return self.now


def twins(choices: Choices) -> tuple[list[Side], Clock]:
    """Two caches alike, of any kind, and their clock."""
    clock = Clock()
    clock.now = choices.of([0, -40, 2**40, 0.5])
    size, kind = choices.of(SIZES), choices.below(3)
    weigh = choices.of([None, lambda value: value, lambda value: value * 0.5, lambda value: 0])
    lifetime = choices.of(TTLS)
    jitter = choices.of([0, 0.5])
    touch = choices.of(["write", "access"])
    listens, shadowed = choices.below(3) == 2, choices.below(3) == 2
    sides = []
    for lru, ttl, s3fifo, shadow in (
        (ext_lru, ext_ttl, ext_s3fifo, ext_shadow),
        (py_lru, py_ttl, py_s3fifo, py_shadow),
    ):
        if kind == 0:
            make = partial(lru.LRUCache, size, weigh)
        elif kind == 1:
            named = {"touch": touch, "jitter": jitter, "rng": lambda: 0.25}
            make = partial(ttl.TTLCache, size, lifetime, clock, weigh, **named)
        else:
            make = partial(s3fifo.S3FIFOCache, size, weigh, lifetime, clock)
        sides.append(Side(make, lru.Load, listens, shadow.Shadow if shadowed and size else None))
    return sides, clock


def operation(choices: Choices) -> Callable[[Side], object]:
    """Something to do to a cache, its arguments chosen."""
    kind, key, value = choices.below(26), choices.of(KEYS), choices.below(6)
    match kind:
        case 0 | 1 | 2:
            return lambda side: side.cache.set(key, value)
        case 3:
            return lambda side: side.cache.__setitem__(key, value)
        case 4 | 5:
            lifetime = choices.of(TTLS)
            return lambda side: side.cache.set(key, value, ttl=lifetime)
        case 6:
            return lambda side: side.cache.setdefault(key, value)
        case 7 | 8:
            return lambda side: side.cache.get(key)
        case 9:
            return lambda side: side.cache[key]
        case 10:
            return lambda side: (side.cache.peek(key, "no"), key in side.cache)
        case 11:
            keys = [choices.of(KEYS) for _ in range(choices.below(8))]
            return lambda side: side.cache.get_many(keys)
        case 12:
            return lambda side: side.cache.pop(key)
        case 13:
            return lambda side: side.cache.__delitem__(key)
        case 14:
            return lambda side: side.cache.popitem()
        case 15:
            return lambda side: side.cache.invalidate(key)
        case 16:
            prefix = choices.of(PREFIXES)
            return lambda side: side.cache.invalidate_prefix(prefix)
        case 17:
            size = choices.of(SIZES)
            return lambda side: side.cache.resize(size)
        case 18:
            return lambda side: side.cache.clear() if value == 0 else None
        case 19 | 20:
            return lambda side: side.begin(key)
        case 21:
            number = choices.below(8)
            return lambda side: side.end(number, value)
        case 22:
            number = choices.below(8)
            return lambda side: side.fail(number)
        case 23 if value > 3:
            ahead = choices.of([None, *STEPS])
            return lambda side: sorted(map(repr, side.cache.expire(ahead))) if hasattr(side.cache, "expire") else None
        case 24:
            tags = [choices.of(TAGS) for _ in range(choices.below(4))]
            return lambda side: side.cache.set(key, value, tags=tags)
        case 25:
            tag = choices.of(TAGS)
            return lambda side: side.cache.invalidate_tag(tag)
        case _:
            return lambda side: side.cache._counts(value == 0)


def outcome(side: Side, act: Callable[[Side], object]) -> object:
    try:
        return act(side)
    except (KeyError, ValueError) as error:
        return type(error), str(error)


def one_input(data: bytes) -> None:
    choices = Choices(data)
    sides, clock = twins(choices)
    for _ in range(MOST):
        if not choices.left():
            break
        if choices.below(5) == 4:
            clock.now += choices.of(STEPS)
            continue
        act = operation(choices)
        left, right = (outcome(side, act) for side in sides)
        assert left == right, (left, right)
        left, right = (outcome(side, Side.look) for side in sides)
        assert left == right, (left, right)
