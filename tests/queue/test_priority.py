"""Levels of priority, ageing, and turns between groups."""

import random
import weakref
from collections import Counter
from typing import Any

import pytest

from fastcore.testing.clock import VirtualClock


def take(queue: Any, n: int) -> list[Any]:
    return [queue.get(timeout=0) for _ in range(n)]


def test_higher_first_then_first_in_first_out(impl: Any) -> None:
    """WQ-10."""
    queue = impl.queue.WorkQueue()
    for key, priority in (("a", 0), ("b", -100), ("c", 5), ("d", 0), ("e", 5), ("f", -(2**31)), ("g", 2**31 - 1)):
        queue.add(key, priority)
    assert queue.stats().depth_by_priority == {2**31 - 1: 1, 5: 2, 0: 2, -100: 1, -(2**31): 1}
    assert take(queue, 7) == ["g", "c", "e", "a", "d", "b", "f"]


def test_raised_key_goes_to_the_end_of_its_new_level(impl: Any) -> None:
    """WQ-1, WQ-10."""
    queue = impl.queue.WorkQueue()
    queue.add("a", -100)
    queue.add("b", -100)
    queue.add("c")
    queue.add("a")
    assert queue.stats().depth_by_priority == {0: 2, -100: 1}
    assert queue.stats().adds == 3
    assert take(queue, 3) == ["c", "a", "b"]


def test_a_lower_priority_never_demotes(impl: Any) -> None:
    """WQ-10, WQ-11: a resync does not push back a key that an event made urgent."""
    queue = impl.queue.WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add("a", -100)
    assert take(queue, 2) == ["a", "b"]


def test_a_delayed_key_keeps_the_highest_priority(impl: Any, clock: VirtualClock) -> None:
    """WQ-10."""
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add_after("a", 1, priority=3)
    queue.add_after("a", 2, priority=7)
    queue.add_after("a", 0.5)
    queue.add_after("b", 1, priority=9)
    queue.add("b", priority=-1)
    queue.add("c", priority=8)
    assert queue.stats().depth_by_priority == {9: 1, 8: 1}
    clock.advance(1)
    assert take(queue, 3) == ["b", "c", "a"]


def test_a_requeue_keeps_the_popped_priority(impl: Any, clock: VirtualClock) -> None:
    """WQ-10: unless one is given."""
    queue = impl.queue.WorkQueue(clock=clock)
    for key in "abc":
        queue.add(key, -100)
    take(queue, 3)
    queue.add_after("a", 1)
    queue.add_rate_limited("b")
    queue.add_after("c", 1, priority=5)
    for key in "abc":
        queue.done(key)
    clock.advance(1)
    assert queue.stats().depth_by_priority == {5: 1, -100: 2}
    queue.add_after("new", 0)
    assert queue.stats().depth_by_priority == {5: 1, 0: 1, -100: 2}


def test_an_event_while_processing_has_its_own_priority(impl: Any) -> None:
    """WQ-2, WQ-10."""
    queue = impl.queue.WorkQueue()
    queue.add("a", 10)
    queue.get()
    queue.add("a", -100)
    queue.add("a", -5)
    queue.add("a", -50)
    queue.done("a")
    assert queue.stats().depth_by_priority == {-5: 1}


def test_many_levels(impl: Any) -> None:
    """WQ-10: as many priorities as keys, twice over, so that levels come and go."""
    queue = impl.queue.WorkQueue()
    for _ in range(2):
        for i in range(500):
            queue.add(i, (i * 389) % 500)
        got = take(queue, 500)
        assert [(i * 389) % 500 for i in got] == list(range(499, -1, -1))
        for key in got:
            queue.done(key)


def test_aging_serves_every_second_get(impl: Any, clock: VirtualClock) -> None:
    """WQ-12: an endless stream of urgent keys does not starve the others."""
    queue = impl.queue.WorkQueue(aging=30, clock=clock)
    queue.add("low-1", -100)
    queue.add("low-2", -100)
    got = []
    for i in range(64):
        queue.add(i)
        clock.advance(1)
        got.append(queue.get(timeout=0))
        queue.done(got[-1])
    assert got.index("low-1") in (30, 31)
    assert got.index("low-2") == got.index("low-1") + 2


@pytest.mark.parametrize("seed", range(5))
def test_a_starving_key_is_served_within_twice_the_depth(impl: Any, clock: VirtualClock, seed: int) -> None:
    """WQ-12: whatever is added meanwhile, in however many levels."""
    chance = random.Random(seed)
    queue = impl.queue.WorkQueue(aging=10, clock=clock)
    added: dict[int, int] = {}
    limits: dict[int, int] = {}
    starved = gets = 0
    for key in range(3000):
        priority = chance.choice([-100, -1, 0, 0, 0, 7]) if key < 200 else chance.choice([0, 7, key])
        queue.add(key, priority)
        added[key] = clock()
        clock.advance(chance.choice([0.1, 1]))
        if key % 30 == 0:
            continue  # more comes in than goes out
        for late in [k for k, at in added.items() if k not in limits and clock() - at > 10e9]:
            limits[late] = gets + 2 * len(queue)
        served = queue.get(timeout=0)
        gets += 1
        assert gets <= limits.get(served, gets)
        starved += served in limits
        del added[served]
        assert all(gets <= limits[k] for k in added if k in limits)
        queue.done(served)
    assert starved > 500


def test_without_aging_the_order_is_strict(impl: Any, clock: VirtualClock) -> None:
    queue = impl.queue.WorkQueue(aging=None, clock=clock)
    queue.add("low", -1)
    for i in range(100):
        queue.add(i)
        clock.advance(10_000)
        assert queue.get(timeout=0) == i
        queue.done(i)
    assert queue.get(timeout=0) == "low"


def test_groups_take_turns(impl: Any) -> None:
    """WQ-12: each backlogged workspace gets an equal share, within one get."""
    queue = impl.queue.WorkQueue(fair_by=lambda key: key[0])
    for workspace, keys in (("big", 300), ("mid", 100), ("small", 50)):
        for i in range(keys):
            queue.add((workspace, i))
    got = take(queue, 150)
    for end in range(1, 151):
        shares = Counter(workspace for workspace, _ in got[:end])
        assert max(shares.values()) - min(shares[w] for w in ("big", "mid", "small")) <= 1
    rest = take(queue, 300)
    assert Counter(workspace for workspace, _ in rest) == {"big": 250, "mid": 50}
    for workspace in ("big", "mid"):
        order = [i for w, i in got + rest if w == workspace]
        assert order == sorted(order)


@pytest.mark.parametrize("seed", range(5))
def test_groups_get_equal_shares_as_keys_come_and_go(impl: Any, seed: int) -> None:
    """WQ-12: of any two groups that both have keys for a while, neither gets more than one turn more than the other."""
    chance = random.Random(seed)
    queue = impl.queue.WorkQueue(fair_by=lambda key: key[0])
    waiting: Counter[int] = Counter()
    turns: dict[tuple[int, int], Counter[int]] = {}
    for i in range(2000):
        group = min(chance.randrange(12), 5)
        for j in range(chance.randrange(4)):
            queue.add((group, i, j))
            waiting[group] += 1
        if not waiting.total():
            continue
        backlogged = {g for g, n in waiting.items() if n}
        turns = {(a, b): turns.get((a, b), Counter()) for a in sorted(backlogged) for b in sorted(backlogged) if a < b}
        key = queue.get(timeout=0)
        queue.done(key)
        waiting[key[0]] -= 1
        for pair, served in turns.items():
            served[key[0]] += 1
            assert abs(served[pair[0]] - served[pair[1]]) <= 1, pair


def test_groups_take_turns_within_a_level(impl: Any, clock: VirtualClock) -> None:
    """WQ-10, WQ-12: priority comes first; a raised and a delayed key find their group's lane."""
    queue = impl.queue.WorkQueue(fair_by=lambda key: key[0], clock=clock)
    queue.add_after("a9", 1)
    for key in ("a1", "a2", "a3", "b1"):
        queue.add(key)
    queue.add("c1", -1)
    queue.add("a3", 1)
    clock.advance(1)
    assert take(queue, 6) == ["a3", "a1", "b1", "a2", "a9", "c1"]


def test_groups_come_and_go(impl: Any) -> None:
    """A queue that sees many workspaces, one after the other, keeps few of them."""

    class Workspace(str):
        pass

    made: weakref.WeakSet[Workspace] = weakref.WeakSet()
    largest = [0]

    def workspace(key: int) -> Workspace:
        value = Workspace(key // 4)
        made.add(value)
        largest[0] = max(largest[0], len(made))
        return value

    queue = impl.queue.WorkQueue(fair_by=workspace)
    for key in range(4000):
        queue.add(key)
        queue.done(queue.get(timeout=0))
    assert largest[0] <= 130
    for key in (1, 2, 8):
        queue.add(key)
    assert take(queue, 3) == [1, 8, 2]


def test_a_failing_fair_by_changes_nothing(impl: Any) -> None:
    queue = impl.queue.WorkQueue(fair_by=lambda key: key.workspace)
    with pytest.raises(AttributeError):
        queue.add("a")
    assert queue.stats() == impl.queue.WorkQueue().stats()
