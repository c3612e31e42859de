"""Single flight in threads."""

import sys
import threading
import traceback

import pytest

from fastcore.errors import ReentrancyError

WAIT_S = 20


class Gate:
    """A loader that tells when it runs and returns when it may."""

    def __init__(self, result=None):
        self.calls = 0
        self.running = threading.Event()
        self.open = threading.Event()
        self.result = result

    def __call__(self):
        self.calls += 1
        self.running.set()
        assert self.open.wait(WAIT_S)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class Caller(threading.Thread):
    """Calls `function` and keeps what came of it."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function = function
        self.value = self.error = None
        self.start()

    def run(self):
        try:
            self.value = self.function()
        except BaseException as error:
            self.error = error

    def outcome(self):
        self.join(WAIT_S)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.value


def followers(cache, key, number):
    """Threads that ask for a key in flight, and do wait for it by the time this returns."""

    def never():
        raise AssertionError("the load in flight was not joined")

    threads = [Caller(lambda: cache.get_or_load(key, never)) for _ in range(number)]
    flight = cache._begin_load(key, type(cache)._flight_type())[1]
    while flight._waiting < number:
        assert all(t.is_alive() for t in threads)
    return threads


def test_many_callers_one_load(make):
    """CA15: N concurrent callers, one call of the loader, one object for all."""
    cache = make(5)
    loader = Gate(object())
    first = Caller(lambda: cache.get_or_load("k", loader))
    assert loader.running.wait(WAIT_S)
    others = followers(cache, "k", 8)
    loader.open.set()
    assert {id(t.outcome()) for t in [first, *others]} == {id(loader.result)}
    assert loader.calls == 1
    assert cache["k"] is loader.result
    assert cache.get_or_load("k", loader) is loader.result


def test_a_failing_load(make):
    """CA15: all waiters get the error, each its own traceback; nothing is stored; the next caller tries again."""
    cache = make(5)
    loader = Gate(LookupError("no such thing"))
    loader.result.detail = [1]
    first = Caller(lambda: cache.get_or_load("k", loader))
    assert loader.running.wait(WAIT_S)
    others = followers(cache, "k", 4)
    loader.open.set()
    for thread in [first, *others]:
        thread.join(WAIT_S)
    assert first.error is loader.result
    errors = [t.error for t in others]
    assert len({id(e) for e in [loader.result, *errors]}) == 5
    for error in errors:
        assert type(error) is LookupError
        assert error.args == ("no such thing",)
        assert error.detail is loader.result.detail
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert frames.count("__call__") == 1
        assert frames.count("get_or_load") == 1
        assert frames.count("result") == 1
    assert "k" not in cache
    assert cache.get_or_load("k", lambda: 7) == 7


class Told(Exception):
    def __init__(self, name, code):
        self.name, self.code = name, code
        super().__init__(f"{name} failed")


@pytest.mark.parametrize(
    "error",
    [
        Told("x", 3),
        OSError(2, "missing", "/file"),
        KeyError("k"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ExceptionGroup("several", [ValueError(1), TypeError(2)]),
        ImportError("no", name="module"),
        ReentrancyError("own"),
        StopIteration(5),
    ],
    ids=lambda e: type(e).__name__,
)
def test_waiters_get_the_same_error(make, error):
    """CA15: the copy for a waiter is of the same type, with the same message, attributes, notes and cause."""
    cache = make(5)
    error.add_note("a note")
    error.__cause__ = ValueError("the cause")
    loader = Gate(error)
    first = Caller(lambda: cache.get_or_load("k", loader))
    assert loader.running.wait(WAIT_S)
    (other,) = followers(cache, "k", 1)
    loader.open.set()
    other.join(WAIT_S)
    first.join(WAIT_S)
    copy = other.error
    assert copy is not error
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.args == error.args
    assert vars(copy) == vars(error)
    assert copy.__notes__ is not error.__notes__
    assert copy.__cause__ is error.__cause__


def test_invalidation_during_a_load(make):
    """CA17: earlier waiters get the old result, later callers load anew, and the old result is never stored."""

    def delete(cache):
        with pytest.raises(KeyError):
            del cache["k"]

    for invalidate in (lambda cache: cache.invalidate("k"), lambda cache: cache.pop("k", None), delete):
        cache = make(5)
        old, new = Gate("old"), Gate("new")
        first = Caller(lambda cache=cache, old=old: cache.get_or_load("k", old))
        assert old.running.wait(WAIT_S)
        (earlier,) = followers(cache, "k", 1)
        invalidate(cache)
        later = Caller(lambda cache=cache, new=new: cache.get_or_load("k", new))
        assert new.running.wait(WAIT_S)
        (follower,) = followers(cache, "k", 1)
        old.open.set()
        assert first.outcome() == earlier.outcome() == "old"
        assert "k" not in cache
        new.open.set()
        assert later.outcome() == follower.outcome() == "new"
        assert cache["k"] == "new"


def test_the_new_load_ends_before_the_old(make):
    """CA17: the order in which the loads end does not matter."""
    cache = make(5)
    old = Gate("old")
    first = Caller(lambda: cache.get_or_load("k", old))
    assert old.running.wait(WAIT_S)
    cache.invalidate("k")
    assert cache.get_or_load("k", lambda: "new") == "new"
    old.open.set()
    assert first.outcome() == "old"
    assert cache["k"] == "new"


def test_invalidating_everything_during_loads(make):
    """CA18: invalidate_all, clear and invalidate_prefix fence loads of keys that were never there."""
    for invalidate, stored in (
        (lambda cache: cache.invalidate_all(), set()),
        (lambda cache: cache.clear(), set()),
        (lambda cache: cache.invalidate_prefix("ab"), {"b"}),
        (lambda cache: cache.invalidate_prefix(b"ab"), {"ab", "abc", "b"}),
    ):
        cache = make(9)
        loaders = {key: Gate(key) for key in ("ab", "abc", "b")}
        threads = [Caller(lambda c=cache, k=k, g=g: c.get_or_load(k, g)) for k, g in loaders.items()]
        assert all(gate.running.wait(WAIT_S) for gate in loaders.values())
        invalidate(cache)
        for gate in loaders.values():
            gate.open.set()
        assert [t.outcome() for t in threads] == ["ab", "abc", "b"]
        assert set(cache) == stored
        assert cache.stats().loads_discarded == 3 - len(stored)


def test_set_during_a_load_wins(make):
    """CA19: the loaded value is discarded, whatever the way of setting."""
    for store in (
        lambda cache: cache.set("k", "set"),
        lambda cache: cache.update(k="set"),
        lambda cache: cache.setdefault("k", "set"),
        lambda cache: cache.set_many({"k": "set"}),
    ):
        cache = make(5)
        gate = Gate("loaded")
        first = Caller(lambda cache=cache, gate=gate: cache.get_or_load("k", gate))
        assert gate.running.wait(WAIT_S)
        store(cache)
        assert cache.get_or_load("k", lambda: "other") == "set"
        gate.open.set()
        assert first.outcome() == "loaded"
        assert cache["k"] == "set"


def test_set_and_evicted_during_a_load(make):
    """CA19: the loaded value stays out even when the set one has gone again."""
    cache = make(1)
    assert cache.get_or_load("k", lambda: cache.set("k", 1) and cache.set("other", 2) and "loaded") == "loaded"
    assert dict(cache) == {"other": 2}


def test_eviction_is_no_fence(make):
    """CA17: making room and popitem say nothing about the key that is being loaded."""
    cache = make(1)

    def loader():
        cache.update(a=1, b=2)
        cache.popitem()
        cache.resize(1)
        return "loaded"

    assert cache.get_or_load("k", loader) == "loaded"
    assert cache["k"] == "loaded"


def test_zero_ttl_during_a_load(caches):
    """CA19: setting with ttl 0 is a set too."""
    cache = caches.TTLCache(5, 10)
    assert cache.get_or_load("k", lambda: cache.set("k", 1, ttl=0) or "loaded") == "loaded"
    assert "k" not in cache


def test_a_load_too_large_to_store(make):
    """CA10, CA15: the callers get it all the same."""
    cache = make(3, getsizeof=len)
    assert cache.get_or_load("k", lambda: "large") == "large"
    assert "k" not in cache


def test_a_weigher_that_raises_fails_the_load(make):
    cache = make(3, getsizeof=lambda value: 1 / value)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_load("k", lambda: 0)
    assert cache.get_or_load("k", lambda: 1) == 1


def test_a_loader_that_asks_for_its_own_key(make):
    """CA15: would wait for itself for ever; raises instead."""
    cache = make(3)
    with pytest.raises(ReentrancyError, match="the loader of 'k' asks the cache for 'k' itself"):
        cache.get_or_load("k", lambda: cache.get_or_load("k", lambda: 1))
    assert cache.get_or_load("k", lambda: cache.get_or_load("other", lambda: 1) + 1) == 2


def test_an_interrupted_load_is_taken_over(make):
    """CA16: what interrupts the thread that loads is its own affair; those who wait start over."""
    cache = make(3)
    gate = Gate(KeyboardInterrupt())
    first = Caller(lambda: cache.get_or_load("k", gate))
    assert gate.running.wait(WAIT_S)
    second = Caller(lambda: cache.get_or_load("k", lambda: "second"))
    flight = cache._begin_load("k", type(cache)._flight_type())[1]
    while flight._waiting < 1:
        assert second.is_alive()
    gate.open.set()
    assert second.outcome() == "second"
    first.join(WAIT_S)
    assert isinstance(first.error, KeyboardInterrupt)
    assert cache["k"] == "second"


def test_how_loaders_are_called(make):
    """A loader gets the key if it has a parameter without default."""
    cache = make(20)

    class Loads:
        def with_key(self, key):
            return key

        def without(self):
            return "without"

        def __call__(self, key):
            return key

    loads = Loads()
    for number, (loader, expected) in enumerate(
        [
            (lambda: "none", "none"),
            (lambda key: key, ...),
            (lambda bound=5: bound, 5),
            (lambda *anything: anything, ()),
            (lambda key, extra=1: (key, extra), (..., 1)),
            (loads.with_key, ...),
            (loads.without, "without"),
            (loads, ...),
            ({k: k for k in range(20)}.__getitem__, ...),
            (dict, {}),
        ]
    ):
        want = number if expected is ... else (number, 1) if expected == (..., 1) else expected
        assert cache.get_or_load(number, loader) == want


def test_an_asynchronous_loader_is_refused(make):
    cache = make(3)

    async def loader():
        return 1

    with pytest.raises(TypeError, match="the loader of 'k' is asynchronous; use aget_or_load"):
        cache.get_or_load("k", loader)
    assert "k" not in cache


def test_keys_that_disturb_the_loads_in_flight(make):
    """CA13: comparisons of keys run in the table of loads too."""
    cache = make(5)

    class Key:
        def __init__(self, n):
            self.n = n

        def __hash__(self):
            return 1

        def __eq__(self, other):
            cache.invalidate_all()
            return self.n == other.n

    def nested(depth):
        if depth == 0:
            return 0
        return cache.get_or_load(Key(depth), lambda: nested(depth - 1)) + 1

    assert nested(10) == 10
    cache._check()


def test_hammer(make):
    """CA15, CA17, CA19: threads that load, set and invalidate a few keys never see a value older than the last set."""
    cache = make(8)
    version = dict.fromkeys(range(6), 0)
    locks = {key: threading.Lock() for key in version}
    failures = []
    sys.setswitchinterval(1e-5)

    def reader(seed):
        key = seed % 6
        for _ in range(1500):
            key = (key * 5 + seed) % 6
            floor = version[key]
            got = cache.get_or_load(key, lambda k=key: version[k])
            if got < floor:
                failures.append((key, got, floor))

    def writer(seed):
        key = seed % 6
        for step in range(1500):
            key = (key * 5 + seed) % 6
            with locks[key]:
                version[key] += 1
                if step % 2:
                    cache.invalidate(key)
                else:
                    cache[key] = version[key]
            if step % 100 == 0:
                cache._check() if step % 200 else cache.invalidate_all()

    # A reader that joined before a write may get the value from before it: only stored values must not be stale.
    def checker():
        for _ in range(1500):
            for key, lock in locks.items():
                with lock:
                    got = cache.peek(key)
                    if got is not None and got != version[key]:
                        failures.append(("stored", key, got, version[key]))

    threads = [Caller(lambda n=n: reader(n)) for n in range(5)] + [Caller(lambda n=n: writer(n)) for n in (1, 2)]
    threads.append(Caller(checker))
    try:
        for thread in threads:
            thread.outcome()
    finally:
        sys.setswitchinterval(0.005)
    assert [f for f in failures if f[0] == "stored"] == []
    cache._check()
    assert cache.stats().entries == len(cache)
