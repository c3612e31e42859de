"""All keys of one group leave at once."""

import gc
import weakref
from typing import Any

import pytest

from fastcore.testing.clock import VirtualClock


def group_of(key: Any) -> Any:
    return key[0]


def test_ready_and_delayed_keys_of_the_group_leave(impl: Any, clock: VirtualClock) -> None:
    queue = impl.queue.WorkQueue(fair_by=group_of, clock=clock)
    for key in ("a1", "b1", "a2", "b2"):
        queue.add(key, priority=int(key[1]))
    queue.add_after("a3", 1)
    queue.add_after("b3", 1)
    queue.add_after("a4", 1)
    clock.advance(1)  # due, and not seen yet
    assert queue.discard("a") == 4
    assert queue.discard("a") == 0
    assert [queue.state(key) for key in ("a1", "a2", "a3", "a4")] == [None] * 4
    assert queue.stats().depth_by_priority == {2: 1, 1: 1, 0: 1}
    assert [queue.get(timeout=0) for _ in range(3)] == ["b2", "b1", "b3"]
    with pytest.raises(TimeoutError):
        queue.get(timeout=0)


@pytest.mark.parametrize("again", ["not", "add", "add_after"])
def test_a_key_in_process_stays_with_its_consumer(impl: Any, clock: VirtualClock, again: str) -> None:
    """WQ-2, WQ-3: it is not handed out again at done, unless it is added after the discard."""
    queue = impl.queue.WorkQueue(fair_by=group_of, clock=clock)
    queue.add("a1")
    assert queue.get(timeout=0) == "a1"
    if again != "not":
        getattr(queue, again)("a1", 1)
    assert queue.discard("a") == (again != "not")
    state = queue.state("a1")
    assert (state.state, state.due, state.again) == ("processing", None, False)
    queue.done("a1")
    assert queue.stats()[1:5] == (0, {}, 0, 0)
    queue.add("a1")
    assert queue.get(timeout=0) == "a1"
    queue.discard("a")
    queue.add("a1")
    queue.done("a1")
    assert queue.get(timeout=0) == "a1"


def test_back_off_is_forgotten(impl: Any) -> None:
    queue = impl.queue.WorkQueue(fair_by=group_of)
    for key in ("a1", "a2", "b1"):
        queue.add_rate_limited(key)
        queue.add_rate_limited(key)
    queue.add("a1")
    assert queue.get(timeout=0) == "a1"
    queue.discard("a")
    assert [queue.retries(key) for key in ("a1", "a2", "b1")] == [0, 0, 2]


def test_a_limiter_that_fails_is_asked_about_every_key(impl: Any) -> None:
    asked: list[str] = []

    class Limiter:
        def forget(self, key: str) -> None:
            asked.append(key)
            raise RuntimeError(key)

    queue = impl.queue.WorkQueue(fair_by=group_of, limiter=Limiter())
    for key in ("a1", "a2", "a3"):
        queue.add(key)
    with pytest.raises(RuntimeError) as caught:
        queue.discard("a")
    assert sorted(asked) == ["a1", "a2", "a3"]
    assert str(caught.value) == asked[0]
    assert len(queue) == 0


def test_what_cannot_be_discarded(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    with pytest.raises(ValueError, match="needs a queue with fair_by"):
        queue.discard(None)
    queue = impl.queue.WorkQueue(fair_by=group_of)
    assert queue.discard("nobody") == 0
    with pytest.raises(TypeError, match="unhashable"):
        queue.discard([])


def test_a_drain_ends_when_the_last_ready_keys_are_discarded(impl: Any) -> None:
    """WQ-5."""
    queue = impl.queue.WorkQueue(fair_by=group_of)
    queue.add("a1")
    assert not queue.shut_down_with_drain(0)
    assert queue.discard("a") == 1
    assert queue.shut_down_with_drain(0)


def test_other_groups_keep_their_turns_and_priorities(impl: Any) -> None:
    """WQ-10: many levels come and go."""
    queue = impl.queue.WorkQueue(fair_by=group_of)
    for n in range(100):
        queue.add(("a", n), priority=n)
        queue.add(("b", n), priority=-n)
        queue.add(("c", n), priority=n % 3)
    assert queue.discard("a") == 100
    taken = [queue.get(timeout=0) for _ in range(200)]
    assert [key for key in taken if key[0] == "b"] == [("b", n) for n in range(100)]
    assert sorted(key for key in taken if key[0] == "c") == [("c", n) for n in range(100)]
    assert queue.stats().depth_by_priority == {}


class Key:
    """Uses the queue when it ends, and whenever it is compared."""

    queue: Any = None
    ended = 0

    def __init__(self, group: str, n: int) -> None:
        self.group, self.n = group, n

    def __hash__(self) -> int:
        return self.n % 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and (self.group, self.n) == (other.group, other.n)

    def __del__(self) -> None:
        Key.ended += 1
        if Key.queue is not None:
            stats = Key.queue.stats()
            assert stats.depth + stats.delayed <= 41
            Key.queue.add(("late", 1))


def test_keys_that_end_use_the_queue(impl: Any) -> None:
    """Their `__del__` runs after all of them have left, and what it adds counts."""
    queue = impl.queue.WorkQueue(fair_by=lambda key: key.group if isinstance(key, Key) else key[0])
    for n in range(40):
        for group in "ab":
            queue.add_after(Key(group, n), 100 if n % 2 else 0)
    Key.ended, Key.queue = 0, queue
    try:
        assert queue.discard("a") == 40
        gc.collect()
        assert Key.ended == 40
        stats = queue.stats()
        assert (stats.depth, stats.delayed) == (21, 20)
    finally:
        Key.queue = None


class Group:
    """Looks equal to others of its name, and calls back when compared."""

    hook: Any = None

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        hook, Group.hook = Group.hook, None
        if hook is not None:
            hook()
        return isinstance(other, Group) and self.name == other.name


@pytest.mark.parametrize("call", ["add", "discard", "much", "raise"])
def test_the_comparison_of_groups_uses_the_queue(impl: Any, call: str) -> None:
    queue = impl.queue.WorkQueue(fair_by=lambda key: Group(key[0]))
    for key in ("a1", "b1"):
        queue.add(key)

    def hook() -> None:
        if call == "add":
            queue.add("a2")
        elif call == "discard":
            assert queue.discard(Group("a")) == 1
        elif call == "much":
            for n in range(200):
                queue.add(f"{chr(99 + n)}1")
            for _ in range(202):
                queue.done(queue.get(timeout=0))
        else:
            raise RuntimeError("no")

    Group.hook = hook
    if call == "raise":
        with pytest.raises(RuntimeError, match="no"):
            queue.discard(Group("a"))
        assert len(queue) == 2
    else:
        assert queue.discard(Group("a")) == {"add": 2, "discard": 0, "much": 0}[call]
    assert queue.discard(Group("b")) == (call != "much")


def test_nothing_keeps_the_keys(impl: Any) -> None:
    queue = impl.queue.WorkQueue(fair_by=lambda key: key.group)
    keys = [Key("a", n) for n in range(100)]
    for n, key in enumerate(keys):
        queue.add_after(key, 100 + n)
    for key in keys[:50]:
        queue.add(key)
    held = [weakref.ref(key) for key in keys]
    del keys, key
    assert queue.discard("a") == 100
    gc.collect()
    assert [ref() for ref in held] == [None] * 100
