"""Uses each primitive 1,000 times and prints what that left behind: usage: leaks.py [TIMES]

On the twin that FASTCORE_PURE asks for.

A line of JSON a scenario: its name, and by how much references (on a debug interpreter), blocks of Python's allocator
and bytes of the C library's heap (on glibc) grew. What grows by less than a tenth of one a round is no leak; what grows
by more gets two more chances, since tables that other modules keep double now and then.
"""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import logging
import sys
import weakref
from collections.abc import Callable
from typing import Any

from fastcore import IMPLEMENTATION
from fastcore.cache import LRUCache, TTLCache, cached, cachedmethod
from fastcore.errors import FastcoreError
from fastcore.testing.clock import VirtualClock

ROUNDS, CHANCES = 1000, 3
BYTES = 16  # the smallest block of a C library
KINDS = ("references", "blocks", "bytes")


def module(name: str) -> Any:
    return importlib.import_module(f"fastcore._{IMPLEMENTATION}.{name}")


class Heap(ctypes.Structure):
    """What glibc's mallinfo2 tells."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used"]
    ] + [(name, ctypes.c_size_t) for name in ("free", "keepcost")]


def heap_reader() -> Callable[[], int]:
    try:
        read = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):  # no glibc, or an old one
        return lambda: 0
    read.restype = Heap
    return lambda: read().used + read().hblkhd


heap = heap_reader()


def references() -> int:
    """The references that a debug interpreter knows of; 0 elsewhere.

    Cython does not take back the one to its type that it gives each coroutine: these cost nothing, and do not count.
    """
    if not hasattr(sys, "gettotalrefcount"):
        return 0
    types = [
        kind for name, owner in sys.modules.items() if name.startswith("_cython_") for kind in vars(owner).values()
    ]
    return sys.gettotalrefcount() - sum(map(sys.getrefcount, types))


def held() -> list[int]:
    """References, blocks of Python's allocator, bytes of the C library's heap; 0 for what cannot be told."""
    while gc.collect():
        pass
    return [references(), sys.getallocatedblocks(), heap()]


# Scenarios. Each makes its objects anew, uses them in every way, errors included, and drops them.


class Key:
    """Compares in Python; two of the same number are equal and not identical."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __hash__(self) -> int:
        return self.n % 2

    def __eq__(self, other: object) -> bool:
        return self.n == other.n if isinstance(other, Key) else NotImplemented


class BadKey:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise OSError


def fail(*_: object) -> None:
    raise OSError("down")


def use_cache(cache: Any) -> None:
    for n in range(12):
        cache[Key(n)] = [n]
        cache.set(n, "x" * 100)
        cache.set(f"name{n}", cache)  # a cycle
    cache.get(Key(11)), cache.get(12345), cache.peek(3), cache.pop(2, None), cache.setdefault(50, [50])
    for change in (lambda: cache.pop(999), lambda: cache[BadKey()], lambda: cache.set(BadKey(), 1), lambda: cache[[]]):
        with contextlib.suppress(KeyError, OSError, TypeError):
            change()
    iterator = iter(cache)
    next(iterator)
    cache[77] = 77
    with contextlib.suppress(RuntimeError):
        next(iterator)
    list(cache), cache._entries(), cache._counts(), cache._check()
    cache.get_many([1, 2, 3]), cache.popitem(), cache.invalidate(77), cache.invalidate_prefix("name1")
    load = module("lru").Load()
    cache._begin_load("loaded", load)
    cache._end_load("loaded", load, ["loaded"])
    other = module("lru").Load()
    cache._begin_load("failed", other)
    cache._fail_load("failed", other)
    cache.resize(3)
    cache.clear()
    cache[1] = weakref.ref(cache)


def lru() -> None:
    use_cache(module("lru").LRUCache(20))
    use_cache(module("lru").LRUCache(20.5, getsizeof=lambda value: 0.5))
    for arguments in ((-1,), ("x",)):
        with contextlib.suppress(ValueError, TypeError):
            module("lru").LRUCache(*arguments)


def ttl() -> None:
    clock = VirtualClock()
    for cache in (
        module("ttl").TTLCache(20, 5),
        module("ttl").TTLCache(20, 5, timer=clock, jitter=0.5),
        module("ttl").TTLCache(20, 5, touch="access", getsizeof=lambda value: 1),
    ):
        use_cache(cache)
        cache.set(1, [1], ttl=2.5)
        clock.advance(10)
        cache.get(1), cache.expire(), len(cache)


class Service:
    def __init__(self) -> None:
        self.cache = LRUCache(4)

    @cachedmethod(lambda self: self.cache)
    def get(self, n: int) -> list[int]:
        return [n]


def caches() -> None:
    cache = LRUCache(8)
    cache.get_or_load("a", lambda: [1])
    with contextlib.suppress(OSError):
        cache.get_or_load("b", lambda: fail())

    async def load() -> list[int]:
        await asyncio.sleep(0)
        return [1]

    async def main() -> None:
        await asyncio.gather(*(cache.aget_or_load("c", load) for _ in range(3)))
        task = asyncio.ensure_future(cache.aget_or_load("d", asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())

    @cached(TTLCache(4, 60))
    def add(a: int, b: int = 0) -> list[int]:
        return [a + b]

    add(1), add(1, b=2), add(1, 2), add(1)
    Service().get(1)


def bucket() -> None:
    clock = VirtualClock()
    limit = module("bucket").TokenBucket(10, 3, clock=clock, sleep=clock.advance)
    limit.allow(), limit.wait(2), limit.tokens, repr(limit)
    limit.reserve(3, max_delay=1).cancel()
    limit.rate, limit.burst = 20, 4
    for misuse in (
        lambda: limit.wait(99),
        lambda: limit.wait(4, timeout=0),
        lambda: limit.allow(-1),
        lambda: limit.allow("x"),
    ):
        with contextlib.suppress(FastcoreError, ValueError, TypeError):
            misuse()
    limit.allow_at(10**10), limit.reserve_at(10**10, 2).cancel_at(10**10)
    with contextlib.suppress(ValueError):
        module("bucket").TokenBucket(-1, 3)


def keyed() -> None:
    clock = VirtualClock()
    limit = module("keyed").KeyedTokenBucket(10, 3, max_keys=4, clock=clock)
    for n in range(20):
        limit.allow(Key(n % 7))
        clock.advance(0.01)
    for misuse in (lambda: limit.allow([]), lambda: limit.allow(BadKey()), lambda: limit.allow_many([[]])):
        with contextlib.suppress(TypeError, OSError):
            misuse()


def backoff() -> None:
    one = module("backoff").ItemBackoff()
    both = module("backoff").MaxOf(one, module("bucket").TokenBucket(10, 3))
    for _ in range(3):
        both.when(Key(1)), both.retries(Key(1))
    both.forget(Key(1)), one.when("left"), repr(both)
    with contextlib.suppress(TypeError):
        one.when([])


def breaker() -> None:
    clock = VirtualClock()
    one = module("breaker").CircuitBreaker(
        "b", failure_threshold=2, open_for=1, window=5, exclude=(KeyError, fail), clock=clock
    )
    one.on_transition(lambda *news: [*news])
    one.on_transition(fail)
    guarded = one(lambda *a, **k: (a, k))
    guarded(1, b=2), one.call(int, "5"), guarded.__name__

    @one
    async def later() -> None:
        raise OSError

    def blocked() -> None:
        with one:
            raise OSError([1])

    for _ in range(2):
        for call in (blocked, lambda: one.call(fail), lambda: guarded(), lambda: asyncio.run(later()), one.acquire):
            with contextlib.suppress(FastcoreError, OSError):
                call()
        clock.advance(100)
    with contextlib.suppress(FastcoreError):
        one.acquire().failure(OSError())
    one.force_open(), one.reset(), one.stats(), repr(one)
    one.acquire()  # dropped without a report
    with contextlib.suppress(ValueError):
        module("breaker").CircuitBreaker("b", open_for=-1)


def registry() -> None:
    one = module("registry").BreakerRegistry(max_breakers=2, failure_threshold=1)
    one.on_transition(lambda *news: [*news])
    one.configure("a", open_for=1)
    for name in ("a", "b", "c", "a", "d"):
        with contextlib.suppress(OSError, FastcoreError):
            one.get(name).call(fail)
    for steer in ("disable", "metrics_only", "reset"):
        getattr(one.get("c"), steer)()
        with contextlib.suppress(OSError, FastcoreError):
            one.get("c").call(fail)
    one.snapshot(), one.stats(), [*one], repr(one), one.discard("a"), one.discard("x")
    for misuse in (lambda: one.get(1), lambda: one.configure("e", open_for=0)):
        with contextlib.suppress(TypeError, ValueError):
            misuse()


def pool() -> None:
    for debug in (False, True):
        one = module("pool").ObjectPool(list, reset=lambda items: items.clear(), max_idle=2, max_bytes=200, debug=debug)
        lent = [one.acquire() for _ in range(4)]
        lent[0].extend(range(100))
        for items in [*lent, *lent, None]:
            with contextlib.suppress(FastcoreError):
                one.release(items)
        with one.lease() as items:
            items.append(items)
        lease = one.lease()
        with contextlib.suppress(FastcoreError), lease, lease:
            pass
        with contextlib.suppress(FastcoreError):
            repr(items)
        one.stats()
        with contextlib.suppress(OSError):
            module("pool").ObjectPool(fail).acquire()
        failing = module("pool").ObjectPool(list, reset=fail)
        failing.release(failing.acquire())
        buffers = module("buffers").BufferPool(64, debug=debug)
        with buffers.lease() as buffer:
            buffer[0] = 1
        one.age(), one.trim(), module("pool").trim_all(), one.drain(), buffers.stats()


def queue() -> None:
    clock = VirtualClock()
    one = module("queue").WorkQueue(fair_by=lambda key: key.n % 3, clock=clock)
    for n in range(20):
        one.add(Key(n % 9), priority=n % 3)
        one.add_after(Key(n), 1)
        one.add_rate_limited(Key(n % 5))
        one.forget(Key(n % 5)), one.retries(Key(n))
    first = one.get()
    one.add(first), one.done(first), len(one)
    clock.advance(5)
    len(one), one.stats()
    for misuse in (
        lambda: one.add([]),
        lambda: one.done(Key(99)),
        lambda: one.add(BadKey()),
        lambda: one.add(Key(1), 2**40),
    ):
        with contextlib.suppress(TypeError, ValueError, OSError, AttributeError):
            misuse()

    async def consume() -> None:
        one.done(await one.aget())
        waiting = asyncio.ensure_future(empty.aget())
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    empty = module("queue").WorkQueue()
    asyncio.run(consume())
    with contextlib.suppress(FastcoreError):
        empty.get(timeout=0.00001)
    one.add_after(Key(100), 1000)
    one.shut_down_with_drain(0)
    with contextlib.suppress(FastcoreError):
        while True:
            one.done(one.get())
    one.shut_down()


def documents() -> tuple[Any, Any]:
    text = json.dumps(
        {"spec": {"ports": [{"containerPort": n, "name": f"p{n}"} for n in range(6)], "n": 1.5, "é": None}}
    )
    one, other = json.loads(text), json.loads(text)
    other["spec"]["ports"].reverse()
    other["spec"]["ports"][2]["name"] = "日本"
    other["spec"].update(n=10**30, more=[{}, []])
    return one, other


def diff() -> None:
    one, other = documents()
    of = module("diff")
    of.diff(one, other, ignore=["spec.n", ("spec", "*")]), of.diff(other, one, list_keys={}), of.covers(one, other)
    [change.where for change in of.diff(one, other)]
    plan = module("plan").plan
    plan({"a": one, "b": one}, {"a": other, "c": one}, exact=True), plan({"a": one}, {"a": other})
    for misuse in (
        lambda: of.diff({1: 2}, {1: 2, 3: 4}),
        lambda: of.diff(1, {2}),
        lambda: of.diff(one, other, ignore="x"),
    ):
        with contextlib.suppress(TypeError):
            misuse()
    endless: list[Any] = []
    endless.append(endless)
    with contextlib.suppress(RecursionError):
        of.diff(endless, [[]])
    endless.clear()


def patch() -> None:
    one, other = documents()
    of = module("patch")
    of.apply_json_patch(one, of.json_patch(one, other))
    of.apply_json_patch(
        one, [{"op": "move", "from": "/spec/n", "path": "/m"}, {"op": "copy", "from": "/m", "path": "/x"}]
    )
    of.apply_merge_patch(one, of.merge_patch(other, one["spec"]["ports"][0]))
    for bad in (
        [{"op": "test", "path": "/spec/n", "value": 7}],
        [{"op": "remove", "path": "/no"}],
        [1],
        3,
        [{"op": "add"}],
    ):
        with contextlib.suppress(FastcoreError):
            of.apply_json_patch(one, bad)
    with contextlib.suppress(FastcoreError):
        of.merge_patch({}, {"a": None})


def fingerprint() -> None:
    of = module("fingerprint")
    of.fingerprint(documents()[1], key=b"0123456789abcdef")
    for misuse in (
        lambda: of.fingerprint({1: 1}),
        lambda: of.fingerprint({"a": b""}),
        lambda: of.fingerprint(1, key=b""),
    ):
        with contextlib.suppress(TypeError, ValueError):
            misuse()


def arrays() -> None:
    """What goes through numpy, whose release builds do not report their references to a debug interpreter."""
    module("fingerprint").fingerprints(documents())
    module("keyed").KeyedTokenBucket(10, 3, max_keys=4).allow_many([Key(1), Key(2), "x"])
    for debug in (False, True):
        buffers = module("buffers").BufferPool(64, debug=debug)
        with buffers.lease_array(5) as array:
            array[:] = 1
        with contextlib.suppress(TypeError):
            buffers.lease_array(3, "O")


SCENARIOS = (lru, ttl, caches, bucket, keyed, backoff, breaker, registry, pool, queue, diff, patch, fingerprint, arrays)


def growth(scenario: Callable[[], object], rounds: int) -> list[int]:
    """By how much a scenario's rounds grow what is held."""
    for _ in range(CHANCES):
        before = held()
        for _ in range(rounds):
            scenario()
        grown = [now - then for then, now in zip(before, held(), strict=True)]
        if scenario is arrays:
            grown[0] = 0
        if max(grown[:2]) < rounds // 10 and grown[2] < BYTES * rounds:
            break
    return grown


def main() -> None:
    logging.disable()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for scenario in SCENARIOS:
        for _ in range(rounds // 5):
            scenario()
        grown = growth(scenario, rounds)
        print(json.dumps({"scenario": scenario.__name__, **dict(zip(KINDS, grown, strict=True))}), flush=True)


if __name__ == "__main__":
    main()
