"""What a queue tells about one key."""

from typing import Any

import pytest

from fastcore.testing.clock import VirtualClock


def test_a_key_is_followed_through_the_queue(impl: Any, clock: VirtualClock) -> None:
    """ready, processing and delayed are the places where a key can be."""
    queue = impl.queue.WorkQueue(clock=clock)
    assert queue.state("a") is None
    queue.add_after("a", 5.0, 3)
    clock.advance(1)
    assert queue.state("a") == ("delayed", 3, None, 4.0, False)
    clock.advance(6)
    assert queue.state("a") == ("ready", 3, 2.0, None, False)  # since it was due, whoever looks
    assert queue.get(timeout=0) == "a"
    clock.advance(0.5)
    assert queue.state("a") == ("processing", 3, 0.5, None, False)
    queue.add_after("a", 2.0)
    assert queue.state("a") == ("processing", 3, 0.5, 2.0, False)
    queue.add("a", 9)
    assert queue.state("a") == ("processing", 9, 0.5, None, True)
    queue.done("a")
    assert queue.state("a").state == "ready"
    assert queue.get(timeout=0) == "a"
    queue.done("a")
    assert queue.state("a") is None


def test_looking_changes_nothing(impl: Any, clock: VirtualClock) -> None:
    queue = impl.queue.WorkQueue(clock=clock)
    queue.add("a")
    before = queue.stats()
    for key in ("a", "b"):
        queue.state(key)
    assert queue.stats() == before
    with pytest.raises(TypeError):
        queue.state([])
