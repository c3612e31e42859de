"""What client-go's work queue promises: each key once, never to two consumers at a time."""

import gc
import weakref
from typing import Any

import pytest

from fastcore.testing.clock import VirtualClock


def take(queue: Any, n: int) -> list[Any]:
    return [queue.get(timeout=0) for _ in range(n)]


def test_add_twice_is_once(impl: Any) -> None:
    """WQ-1."""
    queue = impl.queue.WorkQueue()
    for _ in range(3):
        queue.add("a")
    assert len(queue) == 1
    assert queue.get() == "a"
    assert len(queue) == 0
    assert queue.stats().adds == 1


def test_add_while_processing_waits_for_done(impl: Any) -> None:
    """WQ-2."""
    queue = impl.queue.WorkQueue()
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    with pytest.raises(TimeoutError):
        queue.get(timeout=0)
    queue.done("a")
    assert len(queue) == 1
    assert queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


def test_first_in_first_out(impl: Any) -> None:
    """WQ-3."""
    queue = impl.queue.WorkQueue()
    for key in "abcab":
        queue.add(key)
    assert take(queue, 3) == ["a", "b", "c"]


def test_readded_key_goes_behind_the_others(impl: Any) -> None:
    """WQ-3: client-go's TestReinsert and TestCollapse."""
    queue = impl.queue.WorkQueue()
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.add("b")
    queue.done("a")
    assert take(queue, 2) == ["b", "a"]


def test_equal_keys_are_one(impl: Any) -> None:
    """WQ-1: the key that was added first is handed out, whatever equal object follows."""
    queue = impl.queue.WorkQueue()
    first, second = 1.0, 1
    queue.add(first)
    queue.add(second)
    assert queue.get() is first
    queue.done(second)
    assert queue.stats().processing == 0


@pytest.mark.parametrize("prepare", ["unknown", "ready", "delayed", "twice"])
def test_done_without_get_is_an_error(impl: Any, prepare: str) -> None:
    queue = impl.queue.WorkQueue()
    if prepare == "ready":
        queue.add("a")
    elif prepare == "delayed":
        queue.add_after("a", 100)
    elif prepare == "twice":
        queue.add("a")
        queue.done(queue.get())
    before = queue.stats()
    with pytest.raises(ValueError, match=r"done\(\) of a key that is not being processed: 'a'"):
        queue.done("a")
    assert queue.stats() == before


def test_unhashable_key_changes_nothing(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    for call in (queue.add, queue.done, lambda key: queue.add_after(key, 1), queue.add_rate_limited):
        with pytest.raises(TypeError, match="unhashable"):
            call([])
    assert queue.stats() == impl.queue.WorkQueue().stats()


@pytest.mark.parametrize("aging", [0, -1.0, float("nan")])
def test_bad_aging(impl: Any, aging: float) -> None:
    with pytest.raises(ValueError, match="aging must be > 0 seconds or None"):
        impl.queue.WorkQueue(aging=aging)


def test_bad_arguments_name_value_and_limit(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    with pytest.raises(ValueError, match=r"priority must be from -2\*\*31 to 2\*\*31 - 1, got 2147483648"):
        queue.add("a", 2**31)
    with pytest.raises(ValueError, match=rf"got {-(10**30)}"):
        queue.add("a", -(10**30))
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        queue.add("a", 1.5)
    with pytest.raises(ValueError, match="got nan"):
        queue.add_after("a", float("nan"))
    with pytest.raises(TypeError, match="must be real number, not str"):
        queue.add_after("a", "1")
    with pytest.raises(ValueError, match="timeout must be >= 0 seconds, got -1"):
        queue.get(timeout=-1)
    with pytest.raises(ValueError, match="timeout must be >= 0 seconds, got nan"):
        queue.shut_down_with_drain(float("nan"))
    assert not queue.shutting_down
    assert len(queue) == 0


def test_clock_must_give_integers(impl: Any) -> None:
    queue = impl.queue.WorkQueue(clock=lambda: 1.5)
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        queue.add("a")
    assert queue.stats.__name__ == "stats"


def test_generic_name_and_weakref(impl: Any) -> None:
    queue = impl.queue.WorkQueue[str](name="webapps")
    assert queue.name == "webapps"
    assert weakref.ref(queue)() is queue
    with pytest.raises(AttributeError):
        queue.name = "other"


def test_keys_are_let_go_after_done(impl: Any) -> None:
    class Key:
        pass

    queue = impl.queue.WorkQueue()
    key = Key()
    ref = weakref.ref(key)
    queue.add(key)
    queue.done(queue.get())
    del key
    assert ref() is None


def test_cycles_through_the_queue_are_collected(impl: Any) -> None:
    class Key:
        queue: Any = None

    queue = impl.queue.WorkQueue()
    refs = []
    for state in ("ready", "processing", "dirty", "delayed"):
        key = Key()
        key.queue = queue
        refs.append(weakref.ref(key))
        if state == "delayed":
            queue.add_after(key, 1000)
            continue
        queue.add(key, priority=1 if state != "ready" else 0)
        if state != "ready":
            assert queue.get(timeout=0) is key
        if state == "dirty":
            queue.add(key)
    del queue, key
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


def test_clock_that_goes_back_is_held(impl: Any, clock: VirtualClock) -> None:
    queue = impl.queue.WorkQueue(clock=clock)
    clock.set(10**9)
    queue.add("a")
    queue.add_after("b", 1)
    clock.set(0)
    queue.done(queue.get())
    stats = queue.stats()
    assert (stats.queue_duration.sum, stats.work_duration.sum) == (0, 0)
    clock.set(2 * 10**9 - 1)
    assert len(queue) == 0
    clock.set(2 * 10**9)
    assert len(queue) == 1
