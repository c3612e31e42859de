"""Keys, values and callables whose code calls the cache in the middle of an operation on it."""

import random

import pytest

from fastcore.errors import NotFound

ACTIONS = {
    "insert": lambda cache, n: cache.set(n, n),
    "insert many": lambda cache, n: [cache.set((n, i), i) for i in range(20)],
    "delete": lambda cache, n: cache.pop(next(iter(cache), None), None),
    "clear": lambda cache, n: cache.clear(),
    "resize": lambda cache, n: cache.resize(4 + n % 5),
    "popitem": lambda cache, n: cache and cache.popitem(),
    "iterate": lambda cache, n: [dict(cache.items()), len(cache), cache.stats()],
    "raise": None,
}


class Raised(Exception):
    pass


def world(action, cache_of, limit=400):
    """Key and value types that do `action` when they are hashed, compared and dropped; `armed` switches them."""
    state = {"armed": True, "depth": 0, "calls": 0}

    def act():
        cache = cache_of()
        if not state["armed"] or state["depth"] or cache is None or state["calls"] > limit:
            return
        state["depth"] += 1
        state["calls"] += 1
        try:
            if ACTIONS[action] is None:
                if state["calls"] % 3 == 0:
                    raise Raised
            else:
                ACTIONS[action](cache, state["calls"])
        finally:
            state["depth"] -= 1

    class Key:
        def __init__(self, n):
            self.n = n

        def __hash__(self):
            act()
            return self.n % 3

        def __eq__(self, other):
            act()
            return isinstance(other, Key) and self.n == other.n

        def __del__(self):
            if action != "raise":
                act()

    class Value:
        def __del__(self):
            if action != "raise":
                act()

    return state, Key, Value


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_any_operation_with_hostile_keys_and_values(make, action, seed):
    """CA13, CA14: whatever hashing, comparing and dropping do to the cache, it stays whole and within its size."""
    cache = make(8)
    state, key, value = world(action, lambda: cache)
    chance = random.Random(seed)
    operations = [
        lambda k: cache.set(k, value()),
        lambda k: cache.get(k),
        lambda k: cache.pop(k, None),
        lambda k: k in cache,
        lambda k: cache.setdefault(k, value()),
        lambda k: cache.peek(k),
        lambda k: cache.invalidate(k),
        lambda k: cache.get_many([k]),
        lambda k: cache.get_or_load(k, value),
    ]
    for _ in range(300):
        state["calls"] = 0
        try:
            chance.choice(operations)(key(chance.randrange(12)))
        except Raised:
            pass
        state["armed"] = False
        assert len(cache) <= 9
        cache._check()
        state["armed"] = True
    state["armed"] = False
    for k in cache._check():
        assert cache.peek(k) is not None
    cache.clear()


@pytest.mark.parametrize("action", ["insert", "clear", "delete", "resize", "popitem"])
def test_hostile_weighers(make, action):
    """CA13: a weigher that calls the cache."""
    busy = False

    def weigh(value):
        nonlocal busy
        if not busy:
            busy = True
            ACTIONS[action](cache, random.randrange(20))
            busy = False
        return 1 + hash(value) % 2

    cache = make(8, getsizeof=weigh)
    chance = random.Random(3)
    for i in range(300):
        key = chance.randrange(12)
        chance.choice([cache.set, cache.setdefault])(key, i)
        assert cache.currsize <= 8
        cache._check()


def test_a_key_whose_comparison_always_inserts(make):
    """CA13: a search that is disturbed at every comparison still ends, and nothing is inserted over the maximum."""
    cache = make(1000)
    counter = iter(range(10**6))

    class Key:
        def __hash__(self):
            return 5

        def __eq__(self, other):
            cache[next(counter)] = 0
            return self is other

    keys = [Key() for _ in range(20)]
    for key in keys:
        cache[key] = key
        cache._check()
    for key in keys:
        assert cache[key] is key


def test_a_comparison_that_removes_its_own_entry(make):
    """CA13: an entry that vanishes while it is found equal is not there."""
    cache = make(10)

    class Key:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            cache.clear()
            return True

    cache[Key()] = 1
    assert cache.get(Key()) is None
    cache[Key()] = 1
    with pytest.raises(KeyError):
        del cache[Key()]
    cache._check()
    assert len(cache) == 0


class Unhashable:
    __hash__ = None


def test_unhashable_keys(recent):
    """CA14: TypeError, and the state is unchanged."""
    cache = recent(2)
    cache.update(a=1, b=2)
    before = cache.stats()
    for operation in (
        lambda k: cache[k],
        lambda k: cache.get(k),
        lambda k: cache.get(k, 1),
        lambda k: cache.peek(k),
        lambda k: k in cache,
        lambda k: cache.set(k, 1),
        lambda k: cache.setdefault(k, 1),
        lambda k: cache.pop(k),
        lambda k: cache.pop(k, None),
        lambda k: cache.invalidate(k),
        lambda k: cache.get_or_load(k, lambda: 1),
        lambda k: cache.__delitem__(k),
        lambda k: cache.__setitem__(k, 1),
    ):
        for key in ([], Unhashable()):
            with pytest.raises(TypeError, match="unhashable"):
                operation(key)
    assert cache._check() == ["a", "b"]
    assert cache.stats() == before


def test_a_comparison_that_raises(recent):
    """CA14: the exception propagates, and the state is unchanged."""

    class Key:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            raise Raised

    cache = recent(2)
    key = Key()
    cache[key] = 1
    cache["b"] = 2
    for operation in (
        lambda k: cache[k],
        lambda k: cache.get(k),
        lambda k: k in cache,
        lambda k: cache.set(k, 1),
        lambda k: cache.pop(k, None),
    ):
        with pytest.raises(Raised):
            operation(Key())
        assert cache._check() == [key, "b"]
    cache["c"] = 3
    cache["d"] = 4
    assert cache._check() == ["c", "d"]


def test_a_value_that_looks_at_the_cache_when_it_is_displaced(recent):
    """CA13: by the time a displaced value is dropped, the cache is complete again."""
    seen = []

    class Value:
        def __del__(self):
            seen.append((sorted(cache), len(cache)))
            cache._check()

    cache = recent(2)
    cache["a"] = Value()
    cache["a"] = 1
    cache["b"] = Value()
    cache["c"] = 2
    cache["d"] = 3
    cache["d"] = Value()
    cache.clear()
    assert seen == [(["a"], 1), (["c", "d"], 2), ([], 0)]


def test_a_hostile_timer(caches):
    """CA13: a timer that calls the cache."""
    now = 0

    def timer():
        nonlocal now
        now += 1
        if now % 5 == 0:
            cache.clear()
        elif now % 3 == 0:
            cache.set(now % 7, now)
        return now

    cache = caches.TTLCache(4, 9, timer=timer)
    for i in range(300):
        cache[i % 6] = i
        cache.get(i % 5)
        assert len(cache) <= 4
        cache._check()


def test_callables_that_end_the_cache():
    """CA13: the last reference to the cache goes while a method of it runs."""
    from fastcore.cache import LRUCache

    box = {}

    class Key:
        def __hash__(self):
            box.clear()
            return 1

    box["cache"] = LRUCache(2)
    box["cache"].get(Key())
    box["cache"] = LRUCache(2, getsizeof=lambda value: box.clear() or 1)
    box["cache"]["a"] = 1
    assert not box


@pytest.mark.parametrize("weigh", [None, lambda value: 2])
@pytest.mark.parametrize("there", [False, True])
def test_a_comparison_that_leaves_no_room(make, weigh, there):
    """CA1, CA13: the cache shrinks while the key that is to be stored is compared: it ends up empty, and whole."""

    class Shrinking:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            cache.resize(0)
            return there

    cache = make(4, getsizeof=weigh)
    cache.set(Shrinking(), "old")
    assert not cache.set(Shrinking(), "new")
    assert (len(cache), cache.currsize, cache._check()) == (0, 0, [])
    cache.resize(4)
    assert cache.set("a", 1)
    assert cache._check() == ["a"]


OPERATIONS = {
    "get": lambda cache, key: cache.get(key),
    "subscript": lambda cache, key: cache[key],
    "peek": lambda cache, key: cache.peek(key),
    "contains": lambda cache, key: key in cache,
    "set": lambda cache, key: cache.set(key, "new"),
    "assign": lambda cache, key: cache.__setitem__(key, "new"),
    "setdefault": lambda cache, key: cache.setdefault(key, "new"),
    "pop": lambda cache, key: cache.pop(key, None),
    "delete": lambda cache, key: cache.__delitem__(key),
    "invalidate": lambda cache, key: cache.invalidate(key),
    "load": lambda cache, key: cache.get_or_load(key, lambda: "new"),
    "load many": lambda cache, key: cache.get_many([key], lambda keys: dict.fromkeys(keys, "new")),
}


def dying(cache, last_act):
    """A type of keys that are all in one bucket: the first to be compared while `bombs` are armed removes itself, and
    does `last_act` when the search lets go of it."""

    class Key:
        bombs = []  # noqa: RUF012 - one list for all

        def __init__(self, n):
            self.n = n
            self.armed = False

        def __hash__(self):
            return 1

        def __eq__(self, other):
            for key in (self, other):
                if Key.bombs and Key.bombs[0] is key:
                    Key.bombs.clear()
                    key.armed = True
                    cache.invalidate(key)
            return self.n == other.n

        def __del__(self):
            if self.armed:
                last_act(cache, Key)

    return Key


def absent(key):
    raise NotFound(key)


def clear(cache, key):
    cache.invalidate_all()


def replace(cache, key):
    cache.invalidate_all()
    for n in range(6, 9):
        cache[key(n)] = "other"


def add(cache, key):
    cache[key(2)] = "other"


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (kind, operation)
        for kind in ("LRUCache", "TTLCache", "S3FIFOCache", "LoadingCache", "tagged", "told")
        for operation in OPERATIONS
        if kind != "LoadingCache" or operation not in ("setdefault", "pop")
    ],
)
@pytest.mark.parametrize("last_act", [clear, replace, add], ids=lambda act: act.__name__)
@pytest.mark.parametrize("there", [False, True])
def test_a_key_that_dies_at_the_end_of_a_search(caches, loading, kind, operation, last_act, there):
    """CA13: the search was the last to hold a key that it had rejected, and the key changes the cache when it goes."""
    if kind == "LoadingCache":
        cache = loading(10, absent, ttl=60)
    elif kind == "told":
        cache = caches.LRUCache(10, on_removal=lambda *gone: None, on_eviction=lambda *gone: None)
    else:
        cache = caches.TTLCache(10, 60) if kind == "TTLCache" else getattr(caches, kind, caches.LRUCache)(10)
    key = dying(cache, last_act)
    terms = {"tags": ["all"]} if kind == "tagged" else {}
    bomb = key(1)
    cache.set(bomb, "old", **terms)
    cache.set(key(2 if there else 3), "old", **terms)
    key.bombs.append(bomb)
    del bomb
    try:
        OPERATIONS[operation](cache, key(2))
    except KeyError:
        pass
    assert not key.bombs
    inner = cache._inside() if kind == "LoadingCache" else cache
    keys = [k.n for k in inner._check()]
    assert len(keys) == len(set(keys)) == len(cache)
    if operation in ("set", "assign", "setdefault", "load", "load many"):
        assert cache.peek(key(2)) in (("other", "new") if last_act is add else ("new",))
    elif operation in ("pop", "delete", "invalidate"):
        assert 2 not in keys
    else:
        assert (cache.peek(key(2)) is not None) == (last_act is add)
