"""The shared interface against cachetools itself: the same calls, the same answers."""

import random

import cachetools
import pytest

MISSING = "missing"


def run(cache, operations, clock=None):
    """The answer of each operation, an exception counting as one."""
    answers = []
    for operation, *arguments in operations:
        try:
            if operation == "advance":
                clock.set(clock() + arguments[0])
                answer = None
            elif operation == "len":
                answer = len(cache), cache.currsize, cache.maxsize
            elif operation == "content":
                answer = sorted(map(repr, dict(cache.items()) if clock is None else dict.fromkeys(cache)))
            elif operation == "in":
                answer = arguments[0] in cache
            elif operation == "expire":
                answer = sorted(cache.expire())
            else:
                answer = getattr(cache, operation)(*arguments)
        except (KeyError, ValueError) as error:
            answer = type(error), *(error.args if isinstance(error, KeyError) else ())
        answers.append((operation, arguments, answer))
    return answers


def history(seed, timed):
    chance = random.Random(seed)
    for _ in range(400):
        key, value = chance.randrange(15), chance.randrange(5)
        yield chance.choice(
            [
                ("__setitem__", key, value),
                ("__setitem__", key, value),
                ("__getitem__", key),
                ("get", key, MISSING),
                ("get", key),
                ("pop", key, MISSING),
                ("pop", key),
                ("setdefault", key, value),
                ("__delitem__", key),
                ("in", key),
                ("len",),
                ("popitem",),
                ("update", {key: value, key + 1: value}),
            ]
        )
        if timed:
            yield ("content",)
            if chance.random() < 0.3:
                yield ("advance", chance.choice([1, 3, 9]))
            if chance.random() < 0.1:
                yield ("expire",)
        if chance.random() < 0.01:
            yield ("clear",)


@pytest.mark.parametrize("weigh", [None, lambda value: value + 1])
@pytest.mark.parametrize("seed", range(6))
def test_lru(caches, seed, weigh):
    operations = list(history(seed, timed=False))
    ours, theirs = caches.LRUCache(7, weigh), cachetools.LRUCache(7, weigh)
    assert run(ours, operations) == run(theirs, operations)


@pytest.mark.parametrize("weigh", [None, lambda value: value + 1])
@pytest.mark.parametrize("seed", range(6))
def test_ttl(caches, clock, seed, weigh):
    operations = list(history(seed, timed=True))
    ours = run(caches.TTLCache(7, 10, clock, weigh), operations, clock)
    clock.set(0)
    theirs = run(cachetools.TTLCache(7, 10, clock, weigh), operations, clock)
    assert ours == theirs


def test_same_names(caches):
    """Every public name of the cachetools classes exists."""
    for ours, theirs in (
        (caches.LRUCache, cachetools.LRUCache),
        (caches.TTLCache, cachetools.TTLCache),
    ):
        assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))
