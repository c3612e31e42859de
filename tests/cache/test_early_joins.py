"""A load can be joined while the cache still looks whether it is needed: those who did are served all the same."""

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fastcore import _singleflight
from fastcore.errors import ReentrancyError

WAIT_S = 20


class Key:
    """All collide, and equals are not identical; the first comparison after `trap` was set runs it."""

    trap: Any = None

    def __init__(self, n: int = 0) -> None:
        self.n = n

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        trap, Key.trap = Key.trap, None
        if trap is not None:
            trap()
        return isinstance(other, Key) and self.n == other.n


@pytest.fixture
def stage(impl: Any, make: Any) -> Iterator[SimpleNamespace]:
    """A cache that holds a key, and a trap: a second thread asks for the key, and has joined when the trap returns."""
    cache = make(4)
    cache.set(Key(), "there")
    joined = threading.Event()
    answers: list[Any] = []

    class Seen(type(cache)._flight_type):  # type: ignore[misc]
        def _join(self, wake: Any) -> Any:
            done = super()._join(wake)
            joined.set()
            return done

    type(cache)._flight_type, usual = Seen, type(cache)._flight_type
    other = threading.Thread(target=lambda: answers.append(load(cache, Key(), lambda: "loaded")))

    def trap() -> None:
        other.start()
        if impl.name == "ext":  # the twin keeps its lock meanwhile: nobody can join
            assert joined.wait(WAIT_S)

    yield SimpleNamespace(cache=cache, trap=trap, other=other, answers=answers)
    type(cache)._flight_type = usual
    Key.trap = None


def load(cache: Any, key: Key, loader: Any) -> Any:
    """As get_or_load for a key that was absent a moment ago."""
    return _singleflight.load(cache, type(cache)._flight_type, key, loader)


async def aload(cache: Any, key: Key, loader: Any) -> Any:
    return await _singleflight.aload(cache, type(cache)._flight_type, key, loader)


def test_what_turns_out_to_be_there_is_given_to_all(stage: SimpleNamespace) -> None:
    """CA15: who joined a load that is not needed gets what was found."""
    Key.trap = stage.trap
    assert load(stage.cache, Key(), lambda: "loaded") == "there"
    stage.other.join(WAIT_S)
    assert stage.answers == ["there"]


def test_an_interrupted_search_leaves_nobody_behind(stage: SimpleNamespace) -> None:
    """CA14: who joined a load whose search was interrupted starts over."""

    def interrupt() -> None:
        stage.trap()
        raise KeyboardInterrupt

    Key.trap = interrupt
    with pytest.raises(KeyboardInterrupt):
        load(stage.cache, Key(), lambda: "loaded")
    stage.other.join(WAIT_S)
    assert stage.answers == ["there"]
    assert stage.cache.get_or_load(Key(), lambda: "loaded") == "there"


async def test_a_task_gives_what_it_found_to_all(stage: SimpleNamespace) -> None:
    """CA15: as above, where the search runs for a task and a thread waits."""
    Key.trap = stage.trap
    assert await aload(stage.cache, Key(), lambda: "loaded") == "there"
    stage.other.join(WAIT_S)
    assert stage.answers == ["there"]


@pytest.mark.parametrize("ask", [load, lambda *arguments: asyncio.run(aload(*arguments))], ids=["thread", "loop"])
def test_a_comparison_may_not_wait_for_the_load_that_compares(make: Any, ask: Any) -> None:
    """CA13: a key whose comparison asks for the key itself would wait for ever; it gets an error instead."""
    cache = make(4)
    cache.set(Key(), "there")
    Key.trap = lambda: ask(cache, Key(), lambda: "loaded")
    with pytest.raises(ReentrancyError):
        load(cache, Key(), lambda: "loaded")
    assert load(cache, Key(), lambda: "loaded") == "there"


async def test_nor_in_a_task(make: Any) -> None:
    """CA13: as above, from an event loop."""
    cache = make(4)
    cache.set(Key(), "there")
    Key.trap = lambda: load(cache, Key(), lambda: "loaded")
    with pytest.raises(ReentrancyError):
        await aload(cache, Key(), lambda: "loaded")
    assert await aload(cache, Key(), lambda: "loaded") == "there"


def test_waiters_learn_of_a_failure_that_the_cache_cannot_note(make: Any) -> None:
    """CA14: a key whose comparison fails while a failed load is taken out does not leave waiters behind."""
    cache = make(4)
    cache._begin_load(Key(1), type(cache)._flight_type())  # to be compared with
    flights: list[Any] = []

    def broken() -> None:
        raise ArithmeticError

    class Seen(type(cache)._flight_type):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            flights.append(self)

    def loader() -> None:
        Key.trap = broken
        raise OSError

    with pytest.raises(ArithmeticError):
        _singleflight.load(cache, Seen, Key(), loader)
    assert flights[0].done
    with pytest.raises(OSError):
        flights[0].result()
