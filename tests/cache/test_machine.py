"""Long random histories: the compiled twin against the one in Python, and both against a plain model."""

from collections import OrderedDict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastcore._ext import lru as ext_lru
from fastcore._ext import ttl as ext_ttl
from fastcore._py import lru as py_lru
from fastcore._py import ttl as py_ttl

KEYS = st.one_of(st.integers(0, 12), st.sampled_from(["a", "ab", "abc", b"a", 1.0, True, None, (1, 2)]))
VALUES = st.integers(0, 5)
TAGS = st.lists(st.sampled_from(["red", "blue", "round"]), max_size=3)
TTLS = st.sampled_from([..., None, 0, 1, 3, 10, 16, 17, 300, 10**6, 2.5, 10**25])


def outcome(function):
    try:
        return function()
    except (KeyError, ValueError) as error:
        return type(error), str(error)


class Twins(RuleBasedStateMachine):
    """Every rule is done to both; every answer, and afterwards every trait, must be the same."""

    twins = ()

    def listened(self):
        """Options that let both tell what goes; each keeps its own log."""
        self.logs = ([], [])
        return [{"on_removal": lambda *news, log=log: log.append(news)} for log in self.logs]

    def both(self, function):
        left, right = (outcome(lambda twin=twin: function(twin)) for twin in self.twins)
        assert left == right
        return left

    @rule(key=KEYS, value=VALUES)
    def setitem(self, key, value):
        self.both(lambda c: c.__setitem__(key, value))

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key, value):
        self.both(lambda c: c.setdefault(key, value))

    @rule(key=KEYS)
    def reads(self, key):
        self.both(lambda c: (c.get(key), c.peek(key, "no"), key in c))

    @rule(key=KEYS)
    def getitem(self, key):
        self.both(lambda c: c[key])

    @rule(keys=st.lists(KEYS, max_size=6))
    def get_many(self, keys):
        self.both(lambda c: c.get_many(keys))

    @rule(key=KEYS)
    def pop(self, key):
        self.both(lambda c: c.pop(key))

    @rule(key=KEYS)
    def delete(self, key):
        self.both(lambda c: c.__delitem__(key))

    @rule(key=KEYS)
    def invalidate(self, key):
        self.both(lambda c: c.invalidate(key))

    @rule()
    def popitem(self):
        self.both(lambda c: c.popitem())

    @rule(prefix=st.sampled_from(["", "a", "ab", b"a", b""]))
    def invalidate_prefix(self, prefix):
        self.both(lambda c: c.invalidate_prefix(prefix))

    @rule(maxsize=st.sampled_from([0, 1, 2, 5, 9, 2.5, 40]))
    def resize(self, maxsize):
        self.both(lambda c: c.resize(maxsize))

    @rule(key=KEYS, value=VALUES, tags=TAGS)
    def set_with_tags(self, key, value, tags):
        self.both(lambda c: c.set(key, value, tags=tags))

    @rule(tag=st.sampled_from(["red", "blue", "round", ""]))
    def invalidate_tag(self, tag):
        self.both(lambda c: c.invalidate_tag(tag))

    @rule()
    def clear(self):
        self.both(lambda c: c.clear())

    @rule(reset=st.booleans())
    def counts(self, reset):
        self.both(lambda c: c._counts(reset))

    @rule(key=KEYS, value=VALUES, act=st.sampled_from(["nothing", "set", "invalidate", "clear", "fail"]))
    def load(self, key, value, act):
        def run(cache):
            loads = py_lru if isinstance(cache, py_lru.LRUCache) else ext_lru
            mine = loads.Load()
            found, current = cache._begin_load(key, mine)
            if found:
                return "found", current
            assert current is mine
            assert cache._begin_load(key, loads.Load()) == (False, mine)
            match act:
                case "set":
                    cache.set(key, 0)
                case "invalidate":
                    cache.invalidate(key)
                case "clear":
                    cache.clear()
                case "fail":
                    cache._fail_load(key, mine)
                    return mine.fenced
            fenced = mine.fenced
            return fenced, cache._end_load(key, mine, value), mine.fenced

        self.both(run)

    @invariant()
    def same(self):
        if not self.twins:
            return
        self.both(lambda c: c._check())
        self.both(lambda c: c._entries())
        self.both(lambda c: {key for key in c})  # noqa: C416 - without asking for the length
        self.both(lambda c: sorted(map(repr, c._items())))
        self.both(lambda c: (len(c), c.currsize, c.maxsize))
        self.both(lambda c: sorted((repr(key), sorted(tags)) for key, tags in c._tagged()))
        left, right = self.logs
        assert sorted(map(repr, left)) == sorted(map(repr, right))
        left.clear()
        right.clear()


class LRUTwins(Twins):
    @initialize(maxsize=st.integers(0, 12), weighted=st.booleans())
    def create(self, maxsize, weighted):
        weigh = (lambda value: value * 0.5) if weighted else None
        self.twins = tuple(
            kind(maxsize, weigh, **options)
            for kind, options in zip((ext_lru.LRUCache, py_lru.LRUCache), self.listened(), strict=True)
        )


class TTLTwins(Twins):
    @initialize(
        maxsize=st.integers(0, 12),
        ttl=st.sampled_from([1, 5, 17, 2.5, None]),
        weighted=st.booleans(),
        touch=st.sampled_from(["write", "access"]),
        jitter=st.sampled_from([0, 0.5]),
        start=st.sampled_from([0, -40, 2**40]),
    )
    def create(self, maxsize, ttl, weighted, touch, jitter, start):
        self.now = start
        weigh = (lambda value: value) if weighted else None
        self.twins = tuple(
            kind(maxsize, ttl, self.timer, weigh, touch=touch, jitter=jitter, rng=lambda: 0.25, **options)
            for kind, options in zip((ext_ttl.TTLCache, py_ttl.TTLCache), self.listened(), strict=True)
        )

    def timer(self):
        return self.now

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def set_with_ttl(self, key, value, ttl):
        self.both(lambda c: c.set(key, value, ttl=ttl))

    @rule(step=st.sampled_from([1, 2, 16, 256, 4096, -5, 0.5]))
    def advance(self, step):
        self.now += step

    @rule(ahead=st.sampled_from([None, 0, 2, 100]))
    def expire(self, ahead):
        at = None if ahead is None else self.now + ahead
        self.both(lambda c: sorted(map(repr, c.expire(at))))


TestLRUTwins = LRUTwins.TestCase
TestTTLTwins = TTLTwins.TestCase
TestLRUTwins.settings = TestTTLTwins.settings = settings(stateful_step_count=60)


class Thing:
    """A value that can be held weakly."""

    def __init__(self, number):
        self.number = number

    def __repr__(self):
        return f"Thing({self.number})"


class WeakTwins(RuleBasedStateMachine):
    """Values that somebody holds for a while: both twins lose the same entries, and say so (CA12)."""

    @initialize(maxsize=st.integers(1, 6))
    def create(self, maxsize):
        self.logs = ([], [])
        self.twins = tuple(
            kind(maxsize, weak_values=True, on_removal=lambda key, value, cause, log=log: log.append((key, cause)))
            for kind, log in zip((ext_lru.LRUCache, py_lru.LRUCache), self.logs, strict=True)
        )
        self.held = {}

    def both(self, function):
        left, right = (outcome(lambda twin=twin: function(twin)) for twin in self.twins)
        assert left == right
        return left

    @rule(key=st.integers(0, 8), tags=TAGS)
    def put(self, key, tags):
        thing = self.held[key] = Thing(key)
        self.both(lambda c: c.set(key, thing, tags=tags))

    @rule(key=st.integers(0, 8))
    def let_go(self, key):
        self.held.pop(key, None)

    @rule(key=st.integers(0, 8))
    def read(self, key):
        found = self.both(lambda c: c.get(key))
        assert found is None or found is self.held[key]

    @rule(key=st.integers(0, 8))
    def pop(self, key):
        self.both(lambda c: c.pop(key, None))

    @rule(tag=st.sampled_from(["red", "blue", "round"]))
    def invalidate_tag(self, tag):
        self.both(lambda c: c.invalidate_tag(tag))

    @rule(maxsize=st.integers(0, 6))
    def resize(self, maxsize):
        self.both(lambda c: c.resize(maxsize))

    @invariant()
    def same(self):
        self.both(lambda c: (len(c), sorted(c), c._check()))
        self.both(lambda c: all(c.peek(key) is self.held[key] for key in c))
        left, right = self.logs
        assert sorted(left) == sorted(right)


TestWeakTwins = WeakTwins.TestCase


class AgainstAModel(RuleBasedStateMachine):
    """The compiled LRU cache against an OrderedDict that says in ten lines what LRU means (CA1, CA2)."""

    def __init__(self):
        super().__init__()
        self.cache = ext_lru.LRUCache(5)
        self.model = OrderedDict()

    @rule(key=KEYS, value=VALUES)
    def set(self, key, value):
        self.cache[key] = value
        self.model[key] = value
        self.model.move_to_end(key)
        while len(self.model) > 5:
            self.model.popitem(last=False)

    @rule(key=KEYS)
    def get(self, key):
        assert self.cache.get(key) == self.model.get(key)
        if key in self.model:
            self.model.move_to_end(key)

    @rule(key=KEYS)
    def pop(self, key):
        assert self.cache.pop(key, "absent") == self.model.pop(key, "absent")

    @invariant()
    def order(self):
        assert self.cache._check() == list(self.model)


TestAgainstAModel = AgainstAModel.TestCase
