"""`cached` and `cachedmethod`: cachetools' interface, single flight, functions and coroutines."""

import asyncio
import copy
import functools
import inspect
import pickle
import threading
from operator import attrgetter

import cachetools
import pytest

from fastcore.cache import (
    CacheInfo,
    LRUCache,
    TTLCache,
    cached,
    cachedmethod,
    hashkey,
    methodkey,
    typedkey,
    typedmethodkey,
)

CACHES = [lambda: LRUCache(10), lambda: TTLCache(10, 100), dict, lambda: cachetools.LRUCache(10)]


@pytest.fixture(params=CACHES, ids=["LRUCache", "TTLCache", "dict", "cachetools"])
def cache(request):
    return request.param()


def counted(result=lambda *args, **kwargs: (args, kwargs)):
    """A function that counts its calls in `calls`."""

    def function(*args, **kwargs):
        """Documentation."""
        function.calls += 1
        return result(*args, **kwargs)

    function.calls = 0
    return function


def test_caches_results(cache):
    function = counted()
    wrapped = cached(cache)(function)
    assert wrapped(1) == wrapped(1) == ((1,), {})
    assert wrapped(1, b=2, a=1) == wrapped(1, a=1, b=2)
    assert wrapped(1.0) == ((1,), {})
    assert function.calls == 2
    assert (wrapped.cache, wrapped.cache_key, wrapped.cache_lock, wrapped.cache_condition) == (
        cache,
        hashkey,
        None,
        None,
    )
    assert wrapped.__wrapped__ is function
    assert wrapped.__doc__ == "Documentation."
    wrapped.cache_clear()
    assert len(cache) == 0
    wrapped(1)
    assert function.calls == 3
    assert not hasattr(wrapped, "cache_info")


def test_info(cache):
    wrapped = cached(cache, info=True)(counted())
    for argument in (1, 2, 1):
        wrapped(argument)
    limit = None if isinstance(cache, dict) else 10
    assert wrapped.cache_info() == CacheInfo(hits=1, misses=2, maxsize=limit, currsize=2)
    wrapped.cache_clear()
    assert wrapped.cache_info() == (0, 0, limit, 0)


@pytest.mark.parametrize("way", ["lock", "condition"])
def test_the_lock_is_held_around_the_cache_alone(cache, way):
    held = []

    class Lock:
        depth = 0

        def __enter__(self):
            self.depth += 1
            held.append(True)

        def __exit__(self, *error):
            self.depth -= 1

    lock = Lock()
    wrapped = cached(cache, **{way: lock})(counted(lambda x: lock.depth))
    assert wrapped(1) == wrapped(1) == 0
    assert len(held) >= 3
    assert (wrapped.cache_lock, wrapped.cache_condition) == ((lock, None) if way == "lock" else (None, lock))
    wrapped.cache_clear()


def test_errors_are_not_cached(cache):
    function = counted(lambda x: 1 // x)
    wrapped = cached(cache)(function)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            wrapped(0)
    assert function.calls == 2
    with pytest.raises(TypeError, match="unhashable"):
        wrapped([])
    with pytest.raises(TypeError):
        wrapped(1, 2)


def test_a_key_error_of_the_function(cache):
    with pytest.raises(KeyError, match="own"):
        cached(cache)(counted(lambda: {}["own"]))()


def test_too_large_results_are_returned():
    for small in (LRUCache(0), cachetools.LRUCache(0)):
        function = counted()
        wrapped = cached(small)(function)
        assert wrapped(1) == wrapped(1)
        assert function.calls == 2


def test_keys():
    assert hashkey(1, 2) == (1, 2)
    assert hashkey(a=1, b=2) == hashkey(b=2, a=1) != hashkey(("a", 1), ("b", 2))
    assert methodkey("self", 1, a=2) == hashkey(1, a=2)
    assert typedkey(1) != typedkey(1.0)
    assert typedkey(a=1) != typedkey(a=1.0)
    assert typedmethodkey(None, 1) == typedkey(1)
    function = counted(lambda x: type(x))
    wrapped = cached(LRUCache(9), key=typedkey)(function)
    assert (wrapped(1), wrapped(1.0), wrapped(1)) == (int, float, int)
    assert function.calls == 2


def test_single_flight_in_threads(cache):
    """CA15: for any mapping."""
    gate, running = threading.Event(), threading.Event()

    def slow(x):
        running.set()
        assert gate.wait(20)
        return object()

    function = counted(slow)
    wrapped = cached(cache)(function)
    results = []
    threads = [threading.Thread(target=lambda: results.append(wrapped(1))) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert running.wait(20)
    gate.set()
    for thread in threads:
        thread.join(20)
    assert len({id(r) for r in results}) == 1
    assert function.calls == 1


def test_a_failing_flight_in_threads(cache):
    """CA15: the next caller tries again."""
    answers = iter([ValueError("first"), 2])

    def function():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    wrapped = cached(cache)(function)
    with pytest.raises(ValueError, match="first"):
        wrapped()
    assert wrapped() == wrapped() == 2


async def test_coroutine_functions(cache):
    """CA15, CA16: for any mapping."""
    calls = []

    @cached(cache, info=True)
    async def function(x):
        calls.append(x)
        await asyncio.sleep(0.01)
        return [x]

    assert inspect.iscoroutinefunction(function)
    results = await asyncio.gather(*(function(1) for _ in range(5)), function(2))
    assert [r[0] for r in results] == [1, 1, 1, 1, 1, 2]
    assert all(r is results[0] for r in results[:5])
    assert await function(1) is results[0]
    assert sorted(calls) == [1, 2]
    assert function.cache_info().hits == 1

    @cached(cache)
    async def never():
        await asyncio.sleep(100)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await never()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


def test_invalidation_during_a_call():
    """CA17: a result that was computed before an invalidation is not stored."""
    cache = LRUCache(10)

    @cached(cache)
    def function():
        cache.invalidate_all()
        return 1

    assert function() == 1
    assert len(cache) == 0


def test_recursive_functions(cache):
    @cached(cache)
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(50) == 12586269025


def test_missing_and_setitem_of_a_subclass():
    class Own(LRUCache):
        stored = 0

        def __setitem__(self, key, value):
            self.stored += 1
            super().__setitem__(key, value)

        def __missing__(self, key):
            if key == (0,):
                return "nothing"
            raise KeyError(key)

    cache = Own(5)
    wrapped = cached(cache)(counted(lambda x: x))
    assert (wrapped(0), wrapped(1), wrapped(1)) == ("nothing", 1, 1)
    assert cache.stored == 1


def test_as_a_method_of_a_class(cache):
    class Thing:
        @cached(cache, key=methodkey)
        def method(self, x):
            return self, x

        @staticmethod
        @cached(cache)
        def static(x):
            return x

        @functools.cached_property
        def other(self):
            return 1

    first, second = Thing(), Thing()
    assert first.method(1) == (first, 1)
    assert second.method(1) == (first, 1)
    assert Thing.static(5) == first.static(5) == 5


def test_cache_must_be_there():
    with pytest.raises(TypeError, match="cache must not be None"):
        cached(None)
    with pytest.raises(TypeError, match="cache must be callable"):
        cachedmethod(LRUCache(1))


class Thing:
    def __init__(self, info=False):
        self.cache = LRUCache(10)
        self.calls = 0

    @cachedmethod(attrgetter("cache"), info=True)
    def method(self, x, y=0):
        """Documentation."""
        self.calls += 1
        return x + y

    @cachedmethod(attrgetter("cache"), key=functools.partial(hashkey, "coroutine"))
    async def coroutine(self, x):
        self.calls += 1
        await asyncio.sleep(0)
        return x


class Derived(Thing):
    @cachedmethod(attrgetter("cache"), key=functools.partial(hashkey, "derived"))
    def method(self, x, y=0):
        return super().method(x, y) * 10


def test_methods():
    first, second = Thing(), Thing()
    assert first.method(1) == first.method(1) == Thing.method(first, 1) == 1
    assert (first.calls, second.calls) == (1, 0)
    assert second.method(1) == 1
    assert first.method(1, y=2) == 3
    assert first.method.cache is first.cache
    assert first.method.cache_info() == (2, 2, 10, 2)
    assert second.method.cache_info().misses == 1
    first.method.cache_clear()
    assert len(first.cache) == 0
    assert len(second.cache) == 1
    assert first.method.__doc__ == Thing.method.__doc__ == "Documentation."
    assert first.method.cache_lock is first.method.cache_condition is None
    assert first.method.cache_key(1) == (1,)


async def test_coroutine_methods():
    thing = Thing()
    assert await asyncio.gather(*(thing.coroutine(i % 2) for i in range(6))) == [0, 1] * 3
    assert thing.calls == 2


def test_overridden_methods():
    thing = Derived()
    assert thing.method(1) == thing.method(1) == 10
    assert thing.calls == 1
    assert set(thing.cache) == {("derived", thing, 1), (1, 0)}


def test_objects_with_cached_methods_can_be_copied():
    thing = Thing()
    thing.method(1)
    for clone in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert clone.method(1) == 1
        assert clone.method(7) == 7
        assert clone.calls == 2
        assert clone.method.instance is clone
    assert thing.calls == 1


def test_locks_of_objects():
    class Locked:
        def __init__(self):
            self.cache = {}
            self.lock = threading.RLock()

        @cachedmethod(attrgetter("cache"), lock=attrgetter("lock"))
        def method(self, x):
            return x

    thing = Locked()
    assert thing.method(1) == thing.method(1) == 1
    assert thing.method.cache_lock is thing.lock


def test_objects_without_dict():
    class Slotted:
        __slots__ = ("cache",)

        @cachedmethod(attrgetter("cache"))
        def method(self):
            return 1

    with pytest.raises(TypeError, match="'method' needs instances with a __dict__, 'Slotted' has none"):
        Slotted().method()
