"""Keys whose `__hash__`, `__eq__` and `__del__` use the queue that holds them."""

import contextlib
import gc
import random
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fastcore._ext import queue as ext


class Key:
    """A key that collides with every other and calls back when compared."""

    hook: Callable[["Key", "Key"], None] | None = None

    def __init__(self, name: int) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Key)
        hook, Key.hook = Key.hook, None
        if hook is not None:
            hook(self, other)
        return self.name == other.name


@pytest.fixture(autouse=True)
def _no_hook() -> Any:
    Key.hook = None
    yield
    Key.hook = None


def drain(queue: Any) -> list[int]:
    names = []
    while len(queue):
        key = queue.get(timeout=0)
        names.append(key.name)
        queue.done(key)
    return names


def test_eq_adds_the_key_that_is_being_added(impl: Any) -> None:
    """WQ-1 holds."""
    queue = impl.queue.WorkQueue()
    queue.add(Key(0))
    Key.hook = lambda a, b: queue.add(Key(1))
    queue.add(Key(1))
    assert drain(queue) == [0, 1]


def test_eq_adds_the_key_that_is_being_done(impl: Any) -> None:
    """WQ-2: the key is ready again after done, whichever comparison of done adds it."""
    for skip in range(4):
        queue = impl.queue.WorkQueue()
        queue.add(Key(0))
        queue.add(Key(1))
        assert [queue.get().name, queue.get().name] == [0, 1]
        calls = []

        def hook(a: Key, b: Key, queue: Any = queue, calls: list[int] = calls, skip: int = skip) -> None:
            calls.append(0)
            if len(calls) <= skip:
                Key.hook = hook
            else:
                queue.add(Key(1))

        Key.hook = hook
        queue.done(Key(1))
        if Key.hook is None:
            assert queue.stats().processing == 1
            assert len(queue) == 1
            assert queue.get().name == 1
            queue.done(Key(1))
        Key.hook = None
        queue.done(Key(0))
        assert queue.stats()[1:5] == (0, {}, 0, 0)


def test_eq_ends_the_key_that_is_being_done(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    queue.add(Key(0))
    queue.add(Key(1))
    queue.get()
    queue.get()

    def hook(a: Key, b: Key) -> None:
        queue.done(Key(1))
        queue.add(Key(1))

    Key.hook = hook
    with pytest.raises(ValueError, match="not being processed"):
        queue.done(Key(1))
    assert queue.get().name == 1


def test_eq_adds_the_key_that_is_being_done_and_raises(impl: Any) -> None:
    """WQ-2: the error ends `done`, whose key is still being processed, and the add counts."""
    for skip in range(2):
        queue = impl.queue.WorkQueue()
        queue.add(Key(0))
        queue.add(Key(1))
        queue.get()
        queue.get()
        calls = []

        def hook(a: Key, b: Key, queue: Any = queue, calls: list[int] = calls, skip: int = skip) -> None:
            calls.append(0)
            if len(calls) <= skip:
                Key.hook = hook
                return
            queue.add(Key(1))
            raise RuntimeError("no")

        Key.hook = hook
        with pytest.raises(RuntimeError, match="no"):
            queue.done(Key(1))
        assert queue.stats()[1:5] == (0, {}, 2, 0)
        queue.done(Key(1))
        assert queue.stats()[1:5] == (1, {0: 1}, 1, 0)
        assert queue.get(timeout=0).name == 1


def use(queue: Any) -> None:
    """Grow, shrink, add, hand out and end, so that nothing stays where it was."""
    for name in range(2, 200):
        queue.add(Number(name))
    for _ in range(198):
        queue.done(queue.get(timeout=0))


class Number(Key):
    """Its hash is that of all other keys only for 0 and 1."""

    def __hash__(self) -> int:
        return 1 if self.name < 2 else self.name


def interleave(queue: Any, call: str, event: str, run: Callable[[Callable[[], None]], None]) -> list[int]:
    """`run` something in the comparison of a call; the keys that are left once the queue was used a lot more: 1."""
    queue.add(Number(0))
    queue.get(timeout=0)
    processing = {0}
    if call == "done":
        queue.add(Number(1))
        queue.get(timeout=0)
        processing.add(1)

    def between() -> None:
        if event == "much":
            use(queue)
        elif event == "same":
            queue.add(Number(1))
        else:
            queue.done(Number(0))
            if event == "both gone" and call == "done":
                queue.done(Number(1))

    Key.hook = lambda a, b: run(between)
    try:
        queue.done(Number(1)) if call == "done" else getattr(queue, call)(Number(1), 0)
    except ValueError:
        assert (call, event) == ("done", "both gone")
    Key.hook = None
    ended = {"same": set(), "other gone": {0}, "both gone": {0, 1}, "much": set()}[event]
    processing -= ended | {1}
    stats = queue.stats()
    assert (stats.depth, stats.processing) == (int(call != "done" or event == "same"), len(processing))
    for _ in range(stats.depth):
        assert queue.get(timeout=0).name == 1
        with pytest.raises(TimeoutError):
            queue.get(timeout=0)
        queue.done(Number(1))
    for name in processing:
        queue.done(Number(name))
    assert queue.stats()[1:5] == (0, {}, 0, 0)
    use(queue)
    queue.add(Number(1))
    return drain(queue)


CALLS = pytest.mark.parametrize("call", ["add", "add_after", "done"])
EVENTS = pytest.mark.parametrize("event", ["same", "other gone", "both gone", "much"])


@CALLS
@EVENTS
def test_eq_uses_the_queue(impl: Any, call: str, event: str) -> None:
    """WQ-1, WQ-2, WQ-3: what a comparison did counts."""
    assert interleave(impl.queue.WorkQueue(), call, event, lambda between: between()) == [1]


@CALLS
@EVENTS
def test_another_thread_comes_between_comparisons(call: str, event: str) -> None:
    """WQ-1, WQ-2, WQ-3: a comparison that blocks lets other threads in, where the twin's lock keeps them out."""

    def run(between: Callable[[], None]) -> None:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(between).result(30)

    assert interleave(ext.WorkQueue(), call, event, run) == [1]


def test_eq_ends_the_key_and_hands_out_another(impl: Any) -> None:
    """WQ-2: the call that finds its key done by its own comparison leaves the key alone that came after it."""
    for skip in range(4):
        queue = impl.queue.WorkQueue()
        keys = [Key(0), Key(1)]
        for key in keys:
            queue.add(key)
        assert [queue.get(), queue.get()] == keys
        calls = []

        def hook(
            a: Key, b: Key, queue: Any = queue, keys: list[Key] = keys, calls: list[int] = calls, skip: int = skip
        ) -> None:
            calls.append(0)
            if len(calls) <= skip:
                Key.hook = hook
                return
            queue.done(keys[1])
            queue.add(Key(2))
            assert queue.get().name == 2

        queue.done(keys[0])
        queue.add(keys[0])
        assert queue.get() is keys[0]
        Key.hook = hook
        with contextlib.suppress(ValueError):
            queue.done(keys[1])
        ended = Key.hook is None
        Key.hook = None
        assert queue.stats().processing == 1 + ended
        queue.done(keys[0])
        if ended:
            queue.done(Key(2))
        assert queue.stats()[1:5] == (0, {}, 0, 0)


def test_done_keys_are_let_go(impl: Any) -> None:
    """WQ-1: neither the key that was handed out nor an equal one stays once it is done."""
    queue = impl.queue.WorkQueue()
    for same in (True, False, True):
        key = Key(0)
        ref = weakref.ref(key)
        queue.add(key)
        assert queue.get() is key
        queue.add(Key(0))
        queue.done(key if same else Key(0))
        queue.get()
        queue.done(key if same else Key(0))
        del key
        assert ref() is None


def test_eq_that_raises_changes_nothing(impl: Any) -> None:
    queue = impl.queue.WorkQueue()
    queue.add(Key(0))
    queue.add(Key(1))
    queue.get()
    before = queue.stats()

    def hook(a: Key, b: Key) -> None:
        raise RuntimeError("no")

    for call in (queue.add, queue.done, lambda key: queue.add_after(key, 1)):
        Key.hook = hook
        with pytest.raises(RuntimeError, match="no"):
            call(Key(2))
    after = queue.stats()
    assert (before[1:4], before[5:7]) == (after[1:4], after[5:7])
    queue.done(Key(0))
    assert drain(queue) == [1]


def test_del_uses_the_queue(impl: Any) -> None:
    queue = impl.queue.WorkQueue()

    class Chained(Key):
        def __del__(self) -> None:
            if self.name:
                queue.add(Chained(self.name - 1))

    queue.add(Chained(50))
    for name in range(50, -1, -1):
        key = queue.get(timeout=0)
        assert key.name == name
        queue.done(key)
        del key


def test_hash_and_eq_at_random(impl: Any) -> None:
    """Whatever comparisons do, nothing crashes and the counters stay true."""
    chance = random.Random(7)
    for _ in range(300):
        queue = impl.queue.WorkQueue(aging=None)

        def anything(queue: Any = queue) -> None:
            key = Key(chance.randrange(4))
            try:
                chance.choice(
                    [
                        lambda: queue.add(key, chance.randrange(3)),
                        lambda: queue.add_after(key, chance.choice([0, 0.000001, 100])),
                        lambda: queue.get(timeout=0),
                        lambda: queue.done(key),
                    ]
                )()
            except (ValueError, TimeoutError, RuntimeError):
                pass

        def hook(a: Key, b: Key, anything: Callable[[], None] = anything) -> None:
            for _ in range(chance.randrange(3)):
                anything()
            if chance.random() < 0.2:
                raise RuntimeError("no")
            if chance.random() < 0.5:
                Key.hook = hook

        for _ in range(40):
            Key.hook = hook
            anything()
        Key.hook = None
        stats = queue.stats()
        assert stats.depth == sum(stats.depth_by_priority.values()) >= 0
        assert stats.processing >= 0
        for _ in range(stats.depth):
            queue.get(timeout=0)
        assert queue.stats().processing == stats.processing + stats.depth


@pytest.mark.parametrize("call", ["add", "get", "done", "stats", "shut_down"])
def test_a_queue_whose_keys_the_collector_took_is_empty(call: str) -> None:
    """The collector empties the list of keys to break a cycle; finalisers may then still use the queue."""
    queue = ext.WorkQueue[str](fair_by=lambda key: key)
    for key in ("processing", "ready", "delayed", "again"):
        queue.add(key) if key != "delayed" else queue.add_after(key, 100)
    assert queue.get() == "processing"
    (book,) = (part for part in gc.get_referents(queue) if type(part).__name__ == "Book")
    (keys,) = (part for part in gc.get_referents(book) if type(part) is list)
    assert "ready" in keys
    keys.clear()
    if call == "add":
        queue.add("new")
        assert queue.get(timeout=0) == "new"
        queue.done("new")
    elif call == "get":
        with pytest.raises(TimeoutError):
            queue.get(timeout=0)
    elif call == "done":
        with pytest.raises(ValueError, match="not being processed"):
            queue.done("processing")
    else:
        getattr(queue, call)()
    if call != "shut_down":
        for n in range(100):
            queue.add(str(n))
    for _ in range(len(queue)):
        queue.done(queue.get(timeout=0))
    queue.shut_down()
    assert queue.stats()[1:5] == (0, {}, 0, 0)
