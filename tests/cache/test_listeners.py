"""Who is told that entries have gone, when, and why."""

import gc
import logging
import threading
import weakref

import pytest

from fastcore.errors import ReentrancyError

WAIT_S = 20


@pytest.fixture(params=["LRUCache", "TTLCache", "S3FIFOCache"])
def build(request, caches):
    """Makes a cache of any kind with options; entries live as long as `ttl` says, for ever if it is None."""

    def build(maxsize, ttl=None, timer=None, getsizeof=None, **options):
        match request.param:
            case "LRUCache" if ttl is None:
                return caches.LRUCache(maxsize, getsizeof, **options)
            case "S3FIFOCache":
                return caches.S3FIFOCache(maxsize, getsizeof, ttl, timer, **options)
            case _:
                return caches.TTLCache(maxsize, ttl, timer, getsizeof, **options)

    return build


class Log(list):
    """A listener that keeps what it hears, and calls back into the cache."""

    cache = None

    def __call__(self, key, value, cause):
        self.append((key, value, cause))
        if self.cache is not None:
            self.cache._check()
            assert self.cache.peek(key) != value


def test_every_cause(build):
    """CA12: explicit, replaced, size and expired; each entry that goes is told of once, with its key and value."""
    log, now = Log(), 0
    cache = log.cache = build(2, ttl=10, timer=lambda: now, on_removal=log)

    def heard():
        found = log[:]
        log.clear()
        return found

    cache["a"] = 1
    assert heard() == []
    cache["a"] = 2
    assert heard() == [("a", 1, "replaced")]
    assert cache.set("a", 3)
    assert heard() == [("a", 2, "replaced")]
    cache.update(b=1, c=1)
    ((key, _, cause),) = heard()
    assert (key in cache, cause) == (False, "size")
    assert cache.pop("c") == 1
    assert heard() == [("c", 1, "explicit")]
    (left,) = cache
    del cache[left]
    assert [(k, c) for k, _, c in heard()] == [(left, "explicit")]
    cache["d"] = 4
    assert cache.invalidate("d")
    cache["xd"] = 5
    assert cache.invalidate_prefix("x") == 1
    cache["e"] = 6
    assert cache.popitem() == ("e", 6)
    assert heard() == [("d", 4, "explicit"), ("xd", 5, "explicit"), ("e", 6, "explicit")]
    cache.update(f=7, g=8)
    cache.clear()
    assert sorted(heard()) == [("f", 7, "explicit"), ("g", 8, "explicit")]
    cache.set("h", 9)
    assert cache.set("h", 10, ttl=0) is False
    assert heard() == [("h", 9, "explicit")]
    cache.update(i=1, j=2)
    now = 10
    assert cache.get("i") is None
    assert cache.pop("i", None) is None
    assert heard() == [("i", 1, "expired")]
    assert len(cache) == 0
    assert heard() == [("j", 2, "expired")]
    cache["k"] = 3
    now = 20
    assert cache.expire() == [("k", 3)]
    cache["l"] = 4
    assert cache.expire(30) == [("l", 4)]
    assert heard() == [("k", 3, "expired"), ("l", 4, "expired")]
    cache["m"] = 5
    now = 40
    cache["n"] = 6
    assert heard() == [("m", 5, "expired")]


def test_a_smaller_maximum(build):
    """CA11: a smaller maximum evicts at once, and the listeners see cause `size`."""
    removed, evicted = Log(), Log()
    cache = build(5, on_removal=removed, on_eviction=evicted)
    cache.update((i, i) for i in range(5))
    removed.cache = cache
    cache.resize(2)
    assert len(removed) == 3
    assert {cause for _, _, cause in removed} == {"size"}
    assert evicted == removed
    assert {key for key, _, _ in removed} == set(range(5)) - set(cache)


def test_by_weight(build):
    """CA10, CA12: one large entry may push out several, and one too large removes its key."""
    removed, evicted = Log(), Log()
    cache = build(10, getsizeof=lambda value: value, on_removal=removed, on_eviction=evicted)
    cache.update(a=3, b=3, c=3)
    cache["d"] = 9
    assert sorted(removed) == [("a", 3, "size"), ("b", 3, "size"), ("c", 3, "size")]
    assert evicted == removed
    assert cache.set("d", 11) is False
    assert removed[3:] == [("d", 9, "explicit")]
    assert len(evicted) == 3


def test_counts_and_causes_agree(build):
    """CA25, CA12: what is told and what is counted is the same."""
    log, now = Log(), 0
    cache = build(4, ttl=7, timer=lambda: now, on_removal=log)
    for step in range(300):
        now += step % 3
        key = step * 7 % 11
        match step % 6:
            case 0 | 1 | 2:
                cache[key] = step
            case 3:
                cache.pop(key, None)
            case 4:
                cache.get_or_load(key, lambda step=step: step)
            case 5:
                len(cache)
    stats = cache.stats()
    causes = [cause for _, _, cause in log]
    assert causes.count("size") == stats.evictions
    assert causes.count("expired") == stats.expirations
    assert causes.count("explicit") == stats.removals
    assert causes.count("replaced") == stats.updates
    assert stats.insertions == stats.entries + len(log) - stats.updates


def test_on_removal_may_call_the_cache(build):
    """CA12: it runs outside the section, and what it does is told in turn before it returns."""
    log = []

    def listener(key, value, cause):
        log.append((key, cause))
        if isinstance(key, int) and key:
            cache[key - 1] = value

    cache = build(1, on_removal=listener)
    for key in (3, 7):
        cache[key] = "x"
    assert log == [(3, "size"), (7, "size"), (2, "size"), (6, "size"), (1, "size"), (5, "size"), (0, "size")]
    assert cache._check() == [4]


def test_an_error_in_on_removal_is_logged(build, caplog):
    """CA12: it never changes the result of the call, and the next listener call comes all the same."""
    heard = []

    def listener(key, value, cause):
        heard.append(key)
        raise ZeroDivisionError(key)

    cache = build(5, on_removal=listener)
    cache.update(a=1, b=2)
    with caplog.at_level(logging.ERROR, "fastcore.cache"):
        assert cache.pop("a") == 1
        cache.clear()
    assert heard == ["a", "b"]
    assert [record.getMessage() for record in caplog.records] == [
        "on_removal raised ZeroDivisionError('a')",
        "on_removal raised ZeroDivisionError('b')",
    ]
    assert caplog.records[0].exc_info[1].__traceback__ is not None


def test_an_interrupt_in_on_removal_goes_through(build):
    def listener(key, value, cause):
        raise KeyboardInterrupt

    cache = build(5, on_removal=listener)
    cache["a"] = 1
    with pytest.raises(KeyboardInterrupt):
        del cache["a"]
    assert cache._check() == []


OPERATIONS = {
    "getitem": lambda c: c["b"],
    "get": lambda c: c.get("b"),
    "peek": lambda c: c.peek("b"),
    "contains": lambda c: "b" in c,
    "get_many": lambda c: c.get_many(["b"]),
    "setitem": lambda c: c.__setitem__("b", 1),
    "set": lambda c: c.set("z", 1),
    "setdefault": lambda c: c.setdefault("z", 1),
    "delitem": lambda c: c.__delitem__("b"),
    "pop": lambda c: c.pop("b", None),
    "popitem": lambda c: c.popitem(),
    "invalidate": lambda c: c.invalidate("b"),
    "invalidate_prefix": lambda c: c.invalidate_prefix("b"),
    "invalidate_all": lambda c: c.invalidate_all(),
    "clear": lambda c: c.clear(),
    "resize": lambda c: c.resize(1),
    "len": len,
    "list": list,
    "items": lambda c: list(c.items()),
    "repr": repr,
    "stats": lambda c: c.stats(),
    "currsize": lambda c: c.currsize,
    "get_or_load": lambda c: c.get_or_load("z", lambda: 1),
    "copy": lambda c: c.__copy__(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_on_eviction_may_not_call_the_cache(build, operation):
    """CA12: every call gets a defined error, not a deadlock, and changes nothing."""
    errors = []

    def listener(key, value, cause):
        try:
            operation(cache)
        except ReentrancyError as error:
            errors.append(str(error))

    cache = build(2, on_eviction=listener)
    cache.update(a=1, b=2)
    cache["c"] = 3
    assert errors == [f"on_eviction of this {type(cache).__name__} called it; use on_removal for that"]
    assert len(cache._check()) == 2
    assert cache["c"] == 3
    assert cache.maxsize == 2
    assert cache.stats().loads == 0


def test_on_eviction_hears_only_what_the_cache_removes(build):
    """CA12: size and expired, but not what a caller removes or replaces."""
    log, now = Log(), 0
    cache = build(2, ttl=5, timer=lambda: now, on_eviction=log)
    cache.update(a=1, b=2)
    cache["a"] = 3
    del cache["b"]
    cache.pop("a")
    cache.update(c=1)
    cache.clear()
    assert log == []
    cache.update(d=1, e=2, f=3)
    assert [cause for _, _, cause in log] == ["size"]
    now = 5
    cache["g"] = 1
    assert [cause for _, _, cause in log] == ["size", "expired", "expired"]


def test_an_error_in_on_eviction_is_logged(build, caplog):
    """CA12: after the section, and on_removal still hears of the entry."""
    log = Log()

    def listener(key, value, cause):
        raise ZeroDivisionError

    cache = build(1, on_eviction=listener, on_removal=log)
    cache["a"] = 1
    with caplog.at_level(logging.ERROR, "fastcore.cache"):
        cache["b"] = 2
    assert caplog.messages == ["on_eviction raised ZeroDivisionError()"]
    assert log == [("a", 1, "size")]
    assert cache["b"] == 2


def test_an_interrupt_in_on_eviction_leaves_the_cache_open(build):
    def listener(key, value, cause):
        raise KeyboardInterrupt

    cache = build(1, on_eviction=listener)
    cache["a"] = 1
    with pytest.raises(KeyboardInterrupt):
        cache["b"] = 2
    assert cache["b"] == 2
    assert cache._check() == ["b"]


def test_others_wait_for_on_eviction(build):
    """CA12: another thread sees the cache before the operation or after its listener has returned."""
    inside, leave, answers = threading.Event(), threading.Event(), []

    def listener(key, value, cause):
        inside.set()
        assert leave.wait(WAIT_S)
        answers.append("told")

    def ask(operation):
        answers.append(operation(cache))

    cache = build(2, on_eviction=listener)
    cache.update(a=1, b=2)
    evictor = threading.Thread(target=lambda: cache.set("c", 3))
    evictor.start()
    assert inside.wait(WAIT_S)
    askers = [
        threading.Thread(target=ask, args=(operation,))
        for operation in (lambda c: c["c"], lambda c: len(c), lambda c: c.get("nothing"), lambda c: c.set("c", 3))
    ]
    for thread in askers:
        thread.start()
    askers[0].join(0.05)
    assert answers == []
    leave.set()
    for thread in (evictor, *askers):
        thread.join(WAIT_S)
    assert answers[0] == "told"
    assert sorted(map(repr, answers[1:])) == ["2", "3", "None", "True"]
    cache._check()


def test_many_threads(build):
    """CA12, CA25: listeners hear of each entry once, whatever runs beside them."""
    removed, evicted = [], []
    cache = build(8, on_removal=lambda *a: removed.append(a), on_eviction=lambda *a: evicted.append(a))

    def work(number):
        for step in range(300):
            cache[step * (number + 3) % 29] = (number, step)
            cache.get(step % 29)
            cache.pop(step % 31, None)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    cache._check()
    stats = cache.stats()
    causes = [cause for _, _, cause in removed]
    assert len(evicted) == causes.count("size") == stats.evictions
    assert causes.count("replaced") == stats.updates
    assert causes.count("explicit") == stats.removals
    values = [value for _, value, _ in removed]
    assert len(set(values)) == len(values)


def test_a_listener_that_holds_its_cache_is_collected(build):
    class Owner:
        def heard(self, key, value, cause):
            raise AssertionError

    for option in ("on_removal", "on_eviction"):
        owner = Owner()
        owner.cache = build(5, **{option: owner.heard})
        owner.cache["a"] = owner
        reference = weakref.ref(owner)
        del owner
        gc.collect()
        assert reference() is None


def test_options_are_checked(build):
    with pytest.raises(TypeError, match="on_removal must be callable, got 3"):
        build(5, on_removal=3)
    with pytest.raises(TypeError, match="on_eviction must be callable, got 'x'"):
        build(5, on_eviction="x")
    with pytest.raises(TypeError, match="unexpected keyword argument 'on_what'"):
        build(5, on_what=None)
