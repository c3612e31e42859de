"""A loading cache against a model of one key: reads, answers, failures, sets, invalidations and time, in any order."""

import math

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from cache.sources import Manual
from fastcore.errors import NotFound

TTL, AFTER, STALE, NEGATIVE, THROTTLE = 10, 6, 15, 4, 3


class Model:
    """What the statements say about one key."""

    def __init__(self):
        self.forget()

    def forget(self):
        self.value = None  # None: nothing is known; "absent": it is known not to exist
        self.expires = -math.inf
        self.due = math.inf  # when a read starts a reload
        self.reloading = False
        self.quiet = -math.inf  # no loader before that, after a failure

    def store(self, value, now, ttl=TTL):
        self.forget()
        self.value, self.expires = value, now + ttl
        self.due = min(now + AFTER, self.expires)

    def deny(self, now):
        self.forget()
        self.value, self.expires = "absent", now + NEGATIVE

    def fail(self, now):
        self.reloading = False
        self.quiet = self.due = now + THROTTLE

    def holds(self, now):
        """Whether there is a value, be it old."""
        return self.value not in (None, "absent") and now < self.expires + STALE

    def answers(self, now):
        """Whether a read is answered without a load first."""
        return now < self.expires or (self.holds(now) and now < self.quiet)


class Pair:
    """A cache and its model."""

    def __init__(self, loading, policy):
        self.now = 0
        self.answer = "v0"
        self.calls = 0
        self.overtake = None
        self.manual = Manual()
        self.model = Model()
        self.cache = loading(
            4,
            self.load,
            ttl=TTL,
            refresh_after=AFTER,
            max_stale=STALE,
            negative_ttl=NEGATIVE,
            throttle=THROTTLE,
            timer=lambda: self.now,
            executor=self.manual,
            policy=policy,
        )

    def load(self, key):
        self.calls += 1
        if self.overtake is not None:
            self.overtake()
        if isinstance(self.answer, Exception):
            raise type(self.answer)(*self.answer.args)  # anew: a traceback grows each time that an error is raised
        return self.answer

    def wait(self, by):
        self.now += by

    def say(self, answer):
        self.answer = answer

    def set(self, value, ttl):
        assert self.cache.set("k", value, ttl=ttl) == (ttl != 0)
        self.model.forget()
        if ttl != 0:
            self.model.store(value, self.now, TTL if ttl is ... else math.inf if ttl is None else ttl)

    def invalidate(self, way):
        getattr(self.cache, way)(*(() if way == "invalidate_all" else ("k",)))
        self.model.forget()

    def read(self, way):
        before, (expected, loads) = self.calls, self.expected()
        try:
            if way == "getitem":
                value = self.cache["k"]
            elif way == "get":
                value = self.cache.get("k", "absent")
            elif way == "entry":
                entry = self.cache.get_entry("k")
                value = entry.value
                assert entry.stale == (self.now >= self.model.expires)
                event("stale" if entry.stale else "fresh")
            else:
                value = self.cache.get_many(["k"]).get("k", "absent")
        except NotFound:
            value = "absent"
        except OSError:
            value = "error"
        assert (value, self.calls - before) == (expected, loads)

    def expected(self):
        """What a read returns, and how often it calls the loader first; the model changes as the cache must."""
        model, now = self.model, self.now
        if model.answers(now):
            model.reloading |= model.value != "absent" and model.due <= now < model.expires
            return model.value, 0
        if isinstance(self.answer, NotFound):
            model.deny(now)
            return "absent", 1
        if isinstance(self.answer, OSError):
            value = model.value if model.holds(now) else "error"
            model.fail(now)
            return value, 1
        model.store(self.answer, now)
        return self.answer, 1

    def work(self, overtake=None):
        """Let the reloads in the background run; `overtake` happens to the key meanwhile."""
        model, before = self.model, self.calls
        if overtake is not None:
            self.overtake = lambda: self.cache.set("k", "set") if overtake == "set" else self.cache.invalidate("k")
        self.manual.work()
        self.overtake = None
        if not model.reloading or (self.calls == before and not model.holds(self.now)):  # or gone, as of no use
            assert self.calls == before
            return
        assert self.calls == before + 1
        event(f"reloaded, {overtake}, {type(self.answer).__name__}")
        if overtake is not None:
            model.forget()
            if overtake == "set":
                model.store("set", self.now)
        elif isinstance(self.answer, NotFound):
            model.deny(self.now)
        elif isinstance(self.answer, OSError):
            model.fail(self.now)
        else:
            model.store(self.answer, self.now)

    def check(self):
        model, now = self.model, self.now
        usable = model.answers(now) and model.value != "absent"
        assert ("k" in self.cache) == usable
        assert self.cache.peek("k", "none") == (model.value if usable else "none")
        stats = self.cache.stats()
        assert stats.insertions == stats.entries + stats.removals + stats.evictions + stats.expirations
        assert stats.loads == self.calls
        self.cache._inside()._check()


# Each as often as it takes to meet what comes of a load that is late, failing, or both.
STEPS = (
    *[("read", way) for way in ("getitem", "get", "entry", "many")] * 2,
    *[("wait", by) for by in (1, THROTTLE, THROTTLE, NEGATIVE, AFTER, AFTER, AFTER, TTL, STALE)],
    *[("say", answer) for answer in ("v1", "v2", OSError("down"), OSError("down"), NotFound("k"))],
    *[("work", overtake) for overtake in (None, None, None, "set", "invalidate")],
    *[("set", "s", ttl) for ttl in (..., THROTTLE, None, 0)],
    *[("invalidate", way) for way in ("invalidate", "invalidate_all", "invalidate_prefix")],
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
@given(steps=st.lists(st.sampled_from(STEPS), min_size=30, max_size=80))
def test_one_key(loading, policy, steps):
    """CA19, CA20, CA21, CA22: set, invalidate, load, fail, and time, against the statements."""
    pair = Pair(loading, policy)
    pair.read("getitem")
    for name, *arguments in steps:
        getattr(pair, name)(*arguments)
        pair.check()
