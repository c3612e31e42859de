"""What a loading cache shares with the others: who is told of values that have gone, and who gets copies."""

import asyncio
import gc
import logging
import weakref

import pytest

from cache.sources import Manual, Source
from fastcore.errors import NotFound, ReentrancyError


@pytest.fixture
def source(clock):
    return Source(clock, {"a": 1, "b": 2, "none": None, "no": NotFound("no")})


class Log(list):
    """A listener that keeps what it hears."""

    def __call__(self, *heard):
        self.append(heard)

    def take(self):
        heard = self[:]
        self.clear()
        return heard


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_every_cause(loading, clock, source, policy):
    """CA12: a listener hears of values, each once, as they go; a reload replaces."""
    log, evicted, manual = Log(), Log(), Manual()
    cache = loading(
        2,
        source,
        ttl=10,
        refresh_after=5,
        timer=clock,
        executor=manual,
        policy=policy,
        on_removal=log,
        on_eviction=evicted,
    )
    assert cache["a"] == 1
    assert log.take() == []
    cache["a"] = 5
    assert log.take() == [("a", 1, "replaced")]
    clock.set(6)
    assert cache["a"] == 5
    assert manual.work() == 1
    assert log.take() == [("a", 5, "replaced")]
    assert cache.invalidate("a")
    cache.set("xa", 1, tags=["red"])
    assert cache.invalidate_tag("red") == 1
    cache["xb"] = 2
    assert cache.invalidate_prefix("x") == 1
    cache["c"] = 3
    del cache["c"]
    cache["d"] = 4
    cache.clear()
    assert log.take() == [(k, v, "explicit") for k, v in [("a", 1), ("xa", 1), ("xb", 2), ("c", 3), ("d", 4)]]
    cache.set_many({"x": 1, "y": 2, "z": 3})
    ((key, value, cause),) = log.take()
    assert (cause, key in cache) == ("size", False)
    assert evicted.take() == [(key, value, "size")]
    clock.set(100)
    assert len(cache) == 0
    assert {cause for _, _, cause in log} == {cause for _, _, cause in evicted} == {"expired"}
    assert len(log) == len(evicted) == 2


def test_what_is_remembered_as_absent_is_no_value(loading, clock, source):
    """CA12, CA20: nobody hears of it; but of the value whose place it took. None that is kept is a value."""
    log = Log()
    cache = loading(10, source, ttl=10, negative_ttl=5, cache_none=True, timer=clock, on_removal=log)
    assert cache.get("no") is None
    assert cache.invalidate("no")
    assert cache.get("no") is None
    cache["no"] = 1
    assert log.take() == []
    clock.set(20)
    assert cache.get("no") is None
    assert [key for key, _, _ in log.take()] == ["no"]
    assert cache["none"] is None
    assert cache.invalidate("none")
    assert log.take() == [("none", None, "explicit")]
    source.values["b"] = 2
    assert cache["b"] == 2
    source.values["b"] = NotFound("b")
    assert cache.get_or_load("b", None) == 2
    clock.set(29)
    cache.set("b", 3, ttl=2)
    assert log.take() == [("b", 2, "replaced")]


@pytest.mark.parametrize(("negative_ttl", "cause"), [(5, "replaced"), (0, "explicit")])
def test_a_value_that_is_found_to_be_gone(loading, clock, source, negative_ttl, cause):
    """CA12, CA20: its place is taken by that there is nothing, or by nothing at all."""
    log = Log()
    cache = loading(10, source, ttl=10, max_stale=50, negative_ttl=negative_ttl, timer=clock, on_removal=log)
    assert cache["a"] == 1
    source.values["a"] = NotFound("a")
    clock.set(20)
    assert cache.get("a") is None
    assert log == [("a", 1, cause)]


def test_listeners_and_the_cache(loading, clock, source, caplog):
    """CA12: on_removal may call the cache, on_eviction may not; what they raise is logged."""
    heard = []

    def removed(key, value, cause):
        heard.append((key, cache.get(key)))
        raise OSError("removed")

    def evicted(key, value, cause):
        with pytest.raises(ReentrancyError, match="use on_removal"):
            cache.get(key)
        with pytest.raises(ReentrancyError):
            cache.get_or_load("fresh", lambda: 1)
        with pytest.raises(ReentrancyError):
            cache.invalidate_tag("red")
        heard.append(key)
        raise OSError("evicted")

    cache = loading(1, source, timer=clock, on_removal=removed)
    cache["b"] = 5
    assert cache.invalidate("b")
    assert heard == [("b", 2)]
    heard.clear()
    cache = loading(1, source, timer=clock, on_eviction=evicted)
    cache["x"] = 1
    cache["y"] = 2
    assert heard == ["x"]
    assert [r.getMessage().split(" raised")[0] for r in caplog.records if r.levelno == logging.ERROR] == [
        "on_removal",
        "on_eviction",
    ]
    assert cache.get_or_load("fresh", lambda: 1) == 1  # no load was left behind
    cache._inside()._check()


def test_a_listener_that_holds_its_cache_is_collected(loading):
    class Owner:
        def heard(self, key, value, cause):
            raise AssertionError

        def tags(self, key, value):
            return ["red"]

    owner = Owner()
    owner.cache = loading(5, on_removal=owner.heard, on_eviction=owner.heard, tags=owner.tags, copier=owner.tags)
    owner.cache["a"] = owner
    reference = weakref.ref(owner)
    del owner
    gc.collect()
    assert reference() is None


READS = {
    "getitem": lambda c: c["a"],
    "get": lambda c: c.get("a"),
    "peek": lambda c: c.peek("a"),
    "get_entry": lambda c: c.get_entry("a").value,
    "get_many": lambda c: c.get_many(["a"])["a"],
    "get_or_load": lambda c: c.get_or_load("a", None),
    "aget": lambda c: asyncio.run(c.aget("a")),
    "aget_entry": lambda c: asyncio.run(c.aget_entry("a")).value,
    "aget_many": lambda c: asyncio.run(c.aget_many(["a"]))["a"],
    "aget_or_load": lambda c: asyncio.run(c.aget_or_load("a", None)),
}


@pytest.mark.parametrize("way", [None, "on_read", "on_write", "both"])
@pytest.mark.parametrize("read", READS)
def test_who_shares_a_value(loading, clock, way, read):
    """CA28: by reference by default; `on_write` holds a copy, `on_read` hands out copies."""
    original = ["value"]
    cache = loading(10, lambda: original, timer=clock, copy=way)
    loads = read != "peek"
    if not loads:
        cache["a"] = original
    first = READS[read](cache)
    second = READS[read](cache)
    assert first == second == ["value"]
    original.append("changed")
    assert cache["a"] == (["value"] if way in ("on_write", "both") else original)
    assert (second is READS[read](cache)) == (way in (None, "on_write"))
    first.append("mine")
    second.append("mine too")
    assert ("mine too" in cache["a"]) == (way in (None, "on_write"))
    assert (first is original) == (way is None or (way == "on_write" and loads))


def test_a_stale_value_is_copied_too(loading, clock):
    """CA22, CA28: whoever gets an old value gets a copy; a reload stores a copy of what it loads."""
    loaded, manual = [["one"], ["two"]], Manual()
    answers = [*loaded, OSError("down")]

    def load():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = loading(
        10, load, ttl=10, refresh_after=5, max_stale=50, timer=clock, executor=manual, copy="both", copier=list
    )
    assert cache["a"] == ["one"]
    clock.set(6)
    assert cache["a"] == ["one"]
    assert manual.work() == 1
    for value in loaded:
        value.append("changed")
    clock.set(20)
    cache["a"].append("mine")
    assert cache["a"] == ["two"]
    assert cache.get_entry("a").stale


def test_none_and_nothing_are_not_copied(loading, clock, source):
    """A copier gets values that a loader returned, never what stands for their absence."""
    cache = loading(10, source, negative_ttl=9, cache_none=True, timer=clock, copy="both", copier=lambda v: v + 0)
    assert [cache.get("none"), cache.get("none"), cache.get("no"), cache.get("no", 5), cache["a"]] == [
        None,
        None,
        None,
        5,
        1,
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_removal": 3}, TypeError, "on_removal must be callable, got 3"),
        ({"on_eviction": "x"}, TypeError, "on_eviction must be callable, got 'x'"),
        ({"copy": "deep"}, ValueError, "copy must be 'on_read', 'on_write', 'both' or None, got 'deep'"),
        ({"copier": 3}, TypeError, "copier must be callable, got 3"),
        ({"weak_values": True}, TypeError, r"LoadingCache\(\) got an unexpected keyword argument 'weak_values'"),
    ],
)
def test_options_are_checked(loading, options, error, message):
    with pytest.raises(error, match=message):
        loading(10, **options)
