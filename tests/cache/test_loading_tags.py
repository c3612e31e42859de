"""Tags of a loading cache: given by who sets, by who asks, by the cache's own `tags`, or kept by a reload."""

import asyncio
import threading

import pytest

from cache.sources import Manual, Source
from fastcore.errors import NotFound

KEYS = {"a": 1, "b": 2, "no": NotFound("no")}
WAIT_S = 20


@pytest.fixture
def source(clock):
    return Source(clock, KEYS)


def colour(key, value):
    """What the caches below are told of a value."""
    return [f"key-{key}", f"value-{value}"]


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_who_sets_or_asks_gives_tags(loading, clock, source, policy):
    """An entry goes with any of its tags, and only with them."""
    cache = loading(10, source, timer=clock, policy=policy)
    cache.set("x", 1, tags=["red"])
    assert cache.set_many({"y": 2, "z": 3}, tags=("red", "round")) == 2
    cache["plain"] = 4
    assert cache.get_or_load("a", None, tags=iter(["round"])) == 1
    assert asyncio.run(cache.aget_or_load("b", None, tags=["flat"])) == 2
    assert cache.invalidate_tag("blue") == 0
    assert cache.invalidate_tag("red") == 3
    assert sorted(cache) == ["a", "b", "plain"]
    assert cache.invalidate_tag("round") == 1
    assert cache.invalidate_tag("flat") == 1
    assert list(cache) == ["plain"]
    cache._inside()._check()


def test_what_is_remembered_as_absent_has_the_tags_of_who_asked(loading, clock, source):
    """CA20: an invalidated tag lets the loader be asked again."""
    cache = loading(10, source, timer=clock, negative_ttl=100)
    for _ in range(2):
        with pytest.raises(NotFound):
            cache.get_or_load("no", None, tags=["red"])
    assert source.calls == ["no"]
    assert cache.invalidate_tag("red") == 1
    assert cache.get("no") is None
    assert source.calls == ["no", "no"]


def test_the_cache_says_tags_of_what_has_none(loading, clock, source):
    """By whatever way a value comes in; tags that were given, be it none, are left alone."""
    cache = loading(10, source, bulk_loader=source.many, tags=colour, timer=clock, negative_ttl=100)
    for load in (
        lambda: cache["a"],
        lambda: cache.get_many(["a"]),
        lambda: asyncio.run(cache.aget("a")),
        lambda: asyncio.run(cache.aget_many(["a"])),
        lambda: cache.set("a", 1),
        lambda: cache.__setitem__("a", 1),
    ):
        for tag in ("key-a", "value-1"):
            load()
            assert cache.peek("a") == 1
            assert cache.invalidate_tag(tag) == 1
    for tags in (["own"], []):
        cache.set("a", 1, tags=tags)
        assert cache.invalidate_tag("value-1") == 0
        assert cache.invalidate_tag("own") == len(tags)
    assert cache.get("no") is None  # of what is not there it is not asked
    assert len(cache) == 2
    assert cache.invalidate_tag("key-no") == 0
    cache._inside()._check()


def test_what_the_cache_says_wrong(loading, clock, source, caplog):
    """An error of `tags` is one of the load: nothing is stored, and an old value may stand in."""
    answers = [["red"], OSError("no tags"), "red", [7]]

    def tags(key, value):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = loading(10, source, ttl=5, max_stale=50, throttle=1, tags=tags, timer=clock)
    assert cache["a"] == 1
    for wait in (6, 8, 10):
        clock.set(wait)
        assert cache.get_entry("a").stale
    assert len(source.calls) == 4
    assert [record.exc_info[0] for record in caplog.records] == [OSError, TypeError, TypeError]
    assert cache.stats().load_failures == 3
    assert cache.invalidate_tag("red") == 1
    answers.append("red")
    with pytest.raises(TypeError, match="tags must be an iterable of str, got 'red'"):
        cache.set("b", 1)
    assert len(cache) == 0
    with pytest.raises(TypeError, match="tags must be callable, got 'red'"):
        loading(10, tags="red")
    with pytest.raises(TypeError, match="tags must be an iterable of str, got 'red'"):
        cache.get_or_load("b", None, tags="red")


@pytest.mark.parametrize("act", ["key-a", "value-1", "else"])
@pytest.mark.parametrize("tags", [colour, None])
def test_an_invalidated_tag_fences_loads_that_may_have_it(loading, clock, source, act, tags):
    """CA18: what `tags` will say is known at the end alone, so every load under way is fenced; likewise without it."""
    cache = loading(10, source, timer=clock, tags=tags)
    source.meanwhile = lambda: cache.invalidate_tag(act)
    assert cache["a"] == 1
    assert "a" not in cache
    assert cache.stats().loads_discarded == 1
    assert cache.get_many(["b"], source.many) == {"b": 2}
    assert "b" not in cache


def test_a_load_with_tags_of_its_own_is_fenced_by_them(loading, clock, source):
    """CA18: and by no others."""
    cache = loading(10, source, timer=clock)
    source.meanwhile = lambda: cache.invalidate_tag("red")
    cache.get_or_load("a", None, tags=["red"])
    assert "a" not in cache
    cache.get_or_load("b", None, tags=["blue"])
    assert "b" in cache
    assert cache.invalidate_tag("blue") == 1


def test_one_who_asks_for_other_tags_does_not_join(loading, clock):
    """As with every cache: who invalidates a tag that was asked for must reach the load that was joined."""
    cache = loading(10, timer=clock)
    running, go_on = threading.Event(), threading.Event()

    def slow():
        running.set()
        assert go_on.wait(WAIT_S)
        return "slow"

    thread = threading.Thread(target=cache.get_or_load, args=("a", slow), kwargs={"tags": ["red"]})
    thread.start()
    assert running.wait(WAIT_S)
    assert cache.get_or_load("a", lambda: "fast", tags=["red", "round"]) == "fast"
    go_on.set()
    thread.join(WAIT_S)
    assert cache["a"] == "fast"
    assert cache.stats().loads_discarded == 1
    assert cache.invalidate_tag("round") == 1


@pytest.mark.parametrize("given", ["entry", "call", "cache"])
def test_tags_of_a_reload(loading, clock, source, given):
    """CA21: its own, or what `tags` says, or else those of the value that it replaces."""
    manual = Manual()
    cache = loading(
        10, source, ttl=10, refresh_after=5, timer=clock, executor=manual, tags=colour if given == "cache" else None
    )
    cache.set("a", 0, tags=["red"])
    clock.set(6)
    assert cache.get_or_load("a", None, tags=["blue"] if given == "call" else ()) == 0
    assert manual.work() == 1
    assert cache["a"] == 1
    expected = {"entry": "red", "call": "blue", "cache": "value-1"}[given]
    assert [cache.invalidate_tag(tag) for tag in ("red", "blue", "value-1")] == [
        tag == expected for tag in ("red", "blue", "value-1")
    ]
    cache._inside()._check()


@pytest.mark.parametrize("tag", ["red", "blue"])
def test_an_invalidated_tag_discards_the_reload(loading, clock, source, tag):
    """CA18, CA21: a reload that keeps its entry's tags is fenced by these alone."""
    manual = Manual()
    cache = loading(10, source, ttl=10, refresh_after=5, timer=clock, executor=manual)
    cache.set("a", 0, tags=["red"])
    clock.set(6)
    assert cache["a"] == 0
    source.meanwhile = lambda: cache.invalidate_tag(tag)
    assert manual.work() == 1
    assert cache.peek("a") == (None if tag == "red" else 1)
