"""User code that calls the very object that runs it: nothing breaks, whatever hashing, comparing and dropping do.

Keys and values take their orders from the fuzzer's bytes: change the object, ask it for a load, raise. Answers are not
compared with the twin, which may compare other keys; the compiled object has to stay whole, and memory intact.
"""

from collections.abc import Callable
from typing import Any

from fastcore._ext import backoff, keyed, lru, queue, s3fifo, ttl
from fastcore.errors import FastcoreError
from fuzz.choices import Choices

MOST = 200  # operations in one course of events, those of user code included
DEEP = 3  # user code in user code in user code
EXPECTED = (KeyError, ValueError, RuntimeError, OSError, FastcoreError)

Operation = Callable[[Any, Any, Any], object]


class World:
    """An object, what can be done to it, and the user code that does so while it is at work."""

    def __init__(self, data: bytes) -> None:
        self.choices = Choices(data)
        self.depth = 0
        self.rest = MOST
        self.operations: list[Operation] = []
        self.object: Any = None

    def interfere(self) -> None:
        """What a hash, a comparison, a finaliser, a weigher or a clock may do."""
        if self.depth >= DEEP or self.rest <= 0 or not self.choices.left():
            return
        what = self.choices.below(8)
        if what == 0:
            raise OSError("from user code")
        if what < 4:
            self.step()

    def step(self) -> None:
        """One operation with keys and values that interfere."""
        self.depth += 1
        self.rest -= 1
        try:
            operation = self.choices.of(self.operations)
            operation(self.object, Key(self, self.choices.below(12)), Value(self))
        except EXPECTED:
            pass
        finally:
            self.depth -= 1


class Key:
    def __init__(self, world: World, n: int) -> None:
        self.world = world
        self.n = n

    def __hash__(self) -> int:
        return self.n % 3

    def __eq__(self, other: object) -> bool:
        self.world.interfere()
        return isinstance(other, Key) and self.n == other.n


class Value:
    def __init__(self, world: World) -> None:
        self.world = world

    def __del__(self) -> None:
        try:
            self.world.interfere()
        except OSError:
            pass


def take_all(iterable: Any) -> None:
    for _ in iterable:
        pass


def load(cache: Any, key: Any, value: Any) -> None:
    mine = lru.Load()
    current = cache._begin_load(key, mine)[1]
    if current is mine:
        cache._end_load(key, mine, value)


def fail(cache: Any, key: Any, value: Any) -> None:
    mine = lru.Load()
    if cache._begin_load(key, mine)[1] is mine:
        cache._fail_load(key, mine)


CACHE: list[Operation] = [
    lambda cache, key, value: cache.set(key, value),
    lambda cache, key, value: cache.__setitem__(key, value),
    lambda cache, key, value: cache.set(key, value, ttl=None),
    lambda cache, key, value: cache.setdefault(key, value),
    lambda cache, key, value: cache.get(key),
    lambda cache, key, value: cache.get_many([key, key]),
    lambda cache, key, value: key in cache,
    lambda cache, key, value: cache.peek(key),
    lambda cache, key, value: cache.pop(key, None),
    lambda cache, key, value: cache.popitem(),
    lambda cache, key, value: cache.invalidate(key),
    lambda cache, key, value: cache.invalidate_prefix("a"),
    lambda cache, key, value: cache.clear() if key.n == 0 else None,
    lambda cache, key, value: cache.resize(key.n),
    lambda cache, key, value: take_all(cache),
    lambda cache, key, value: take_all(cache._items()),
    lambda cache, key, value: len(cache),
    load,
    fail,
]

LIMIT: list[Operation] = [
    lambda limit, key, value: limit.allow(key),
    lambda limit, key, value: limit.allow(key, 2),
    lambda limit, key, value: len(limit),
]

BACKOFF: list[Operation] = [
    lambda backoff, key, value: backoff.when(key),
    lambda backoff, key, value: backoff.forget(key),
    lambda backoff, key, value: backoff.retries(key),
    lambda backoff, key, value: len(backoff),
]

QUEUE: list[Operation] = [
    lambda queue, key, value: queue.add(key),
    lambda queue, key, value: queue.add(key, priority=key.n % 3),
    lambda queue, key, value: queue.add_after(key, key.n - 2.0),
    lambda queue, key, value: queue.add_rate_limited(key),
    lambda queue, key, value: queue.get(timeout=0),
    lambda queue, key, value: queue.done(queue.get(timeout=0)),
    lambda queue, key, value: queue.done(key),
    lambda queue, key, value: queue.forget(key),
    lambda queue, key, value: queue.retries(key),
    lambda queue, key, value: len(queue),
    lambda queue, key, value: queue.stats(),
]


def build(world: World) -> None:
    """Give the world an object of any kind, whose callbacks interfere too."""
    now = 0

    def clock() -> int:
        nonlocal now
        now += 10**8
        world.interfere()
        return now

    def weigh(value: object) -> float:
        world.interfere()
        return 1.5

    choices = world.choices
    size = choices.below(10)
    sizing = choices.of([None, weigh])
    timer = choices.of([None, clock])
    match choices.below(6):
        case 0:
            world.object, world.operations = lru.LRUCache(size, sizing), CACHE
        case 1:
            touch = choices.of(["write", "access"])
            life = choices.of([60, 10**9])
            world.object = ttl.TTLCache(size, life, timer, sizing, touch=touch)
            world.operations = [*CACHE, lambda cache, key, value: cache.expire()]
        case 2:
            world.object, world.operations = s3fifo.S3FIFOCache(size, sizing, None, timer), CACHE
        case 3:
            world.object = keyed.KeyedTokenBucket(1, 3, max_keys=size + 1, clock=timer)
            world.operations = LIMIT
        case 4:
            world.object, world.operations = backoff.ItemBackoff(), BACKOFF
        case _:
            group = choices.of([None, lambda key: Key(world, key.n % 4)])
            world.object = queue.WorkQueue(fair_by=group, clock=timer, aging=choices.of([None, 1.0]))
            world.operations = QUEUE


def one_input(data: bytes) -> None:
    world = World(data)
    build(world)
    while world.choices.left() and world.rest > 0:
        world.step()
        if hasattr(world.object, "_check"):
            world.object._check()
    world.rest = 0
    world.object = None
