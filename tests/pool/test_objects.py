"""Object pools: reset on release, bounded, and hard to misuse."""

import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from fastcore.errors import PoolError


class Thing:
    def __init__(self) -> None:
        self.state = "new"


def reset(thing: Thing) -> None:
    thing.state = "reset"


def test_acquire_makes_or_reuses(impl: Any) -> None:
    """PO1: the object that was released last comes first."""
    pool = impl.pool.ObjectPool(Thing, reset=reset)
    first, second = pool.acquire(), pool.acquire()
    assert (first.state, first is second) == ("new", False)
    pool.release(first)
    pool.release(second)
    assert pool.acquire() is second
    assert pool.acquire() is first
    assert pool.stats() == (0, 2, 2, 2, 0, 0, 0, 0, 0)


def test_a_lent_object_is_the_borrowers(impl: Any) -> None:
    """PO1: an idle one that is lent and never released leaves with its borrower."""
    pool = impl.pool.ObjectPool(Thing)
    things = [pool.acquire() for _ in range(3)]
    for thing in things:
        pool.release(thing)
    refs = [weakref.ref(pool.acquire()) for _ in things]
    assert refs[0]() is things[2]
    del things, thing
    assert [ref() for ref in refs] == [None] * 3
    assert pool.stats().idle == 0


def test_reset_runs_at_release(impl: Any) -> None:
    """PO2: so that secrets do not linger."""
    pool = impl.pool.ObjectPool(Thing, reset=reset)
    thing = pool.acquire()
    thing.state = "secret"
    pool.release(thing)
    assert thing.state == "reset"


def test_none_is_ignored(impl: Any) -> None:
    """PO1."""
    for debug in (False, True):
        pool = impl.pool.ObjectPool(Thing, debug=debug)
        pool.release(None)
        assert pool.stats() == (0,) * 9


def test_idle_objects_are_bounded(impl: Any) -> None:
    resets = []
    pool = impl.pool.ObjectPool(Thing, reset=resets.append, max_idle=3)
    things = [pool.acquire() for _ in range(5)]
    for thing in things:
        pool.release(thing)
    stats = pool.stats()
    assert (stats.idle, stats.released, stats.dropped_full) == (3, 5, 2)
    assert resets == things[:3]
    none = impl.pool.ObjectPool(Thing, max_idle=0)
    none.release(none.acquire())
    assert none.stats().idle == 0


def test_large_objects_are_dropped(impl: Any) -> None:
    """PO1: one that grew to 100 MB does not stay; it is measured before the reset."""
    pool = impl.pool.ObjectPool(list, reset=list.clear, sizeof=len, max_bytes=10)
    for size, idle in ((10, 1), (11, 0)):
        items = pool.acquire()
        items.extend(range(size))
        pool.release(items)
        assert pool.stats().idle == idle
    assert pool.stats().dropped_oversized == 1


def test_size_defaults_to_getsizeof(impl: Any) -> None:
    pool = impl.pool.ObjectPool(bytearray, max_bytes=1000)
    pool.release(bytearray(100))
    pool.release(bytearray(2000))
    assert pool.stats().idle == 1


@pytest.mark.parametrize("broken", ["reset", "sizeof"])
def test_a_failing_reset_drops_the_object(impl: Any, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    """PO2: the caller is not disturbed, the log says what happened."""

    def fail(_: Any) -> int:
        raise RuntimeError("no")

    arguments = {"reset": fail} if broken == "reset" else {"sizeof": fail, "max_bytes": 1}
    pool = impl.pool.ObjectPool(Thing, **arguments)
    with caplog.at_level(logging.ERROR):
        pool.release(pool.acquire())
    assert (pool.stats().idle, pool.stats().dropped_failed) == (0, 1)
    assert [(r.name, r.message) for r in caplog.records] == [
        ("fastcore.pool", "A pooled object could not be reset and is dropped")
    ]


def test_an_interrupt_in_reset_passes_and_drops(impl: Any) -> None:
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    pool = impl.pool.ObjectPool(Thing, reset=interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.release(pool.acquire())
    assert pool.stats().idle == 0


def test_a_failing_factory_changes_nothing(impl: Any) -> None:
    def fail() -> Any:
        raise RuntimeError("no")

    pool = impl.pool.ObjectPool(fail, debug=True)
    with pytest.raises(RuntimeError, match="no"):
        pool.acquire()
    with pytest.raises(RuntimeError, match="no"), pool.lease():
        pass
    assert pool.stats() == (0,) * 9


def test_double_release_is_harmless(impl: Any) -> None:
    """PO2: nobody gets the same object twice."""
    resets = []
    pool = impl.pool.ObjectPool(Thing, reset=resets.append)
    thing = pool.acquire()
    pool.release(thing)
    pool.release(thing)
    assert pool.stats().double_releases == 1
    assert resets == [thing]
    assert pool.acquire() is not pool.acquire()


def test_double_release_among_many(impl: Any) -> None:
    """PO2: with a set of identities that grows, shrinks and collides."""
    pool = impl.pool.ObjectPool(Thing, max_idle=1000)
    things = [pool.acquire() for _ in range(700)]
    for thing in things + things[::3]:
        pool.release(thing)
    assert pool.stats().double_releases == 234
    out = [pool.acquire() for _ in range(500)]
    assert len(set(map(id, out))) == 500
    for thing in out[::2] + things[:200]:
        pool.release(thing)
    assert pool.stats().idle == 450
    assert pool.stats().double_releases == 434
    assert len({id(pool.acquire()) for _ in range(450)}) == 450
    assert pool.stats().created == 700


def test_a_foreign_object_is_adopted(impl: Any) -> None:
    """PO1: no promise about identity."""
    pool = impl.pool.ObjectPool(Thing)
    thing = Thing()
    pool.release(thing)
    assert pool.acquire() is thing


def test_double_release_raises_in_debug(impl: Any) -> None:
    """PO2: also after the object was dropped, or when it never came from here."""
    pool = impl.pool.ObjectPool(Thing, max_idle=1, debug=True)
    kept, dropped = pool.acquire(), pool.acquire()
    kept.name = "kept"
    pool.release(kept)
    pool.release(dropped)
    for thing in (kept, dropped):
        with pytest.raises(PoolError, match="released twice: its lease has ended before"):
            pool.release(thing)
    with pytest.raises(PoolError, match="released twice, or not from this pool: Thing at 0x"):
        pool.release(Thing())
    elsewhere = impl.pool.ObjectPool(Thing, debug=True).acquire()
    with pytest.raises(PoolError, match="not from this pool"):
        pool.release(elsewhere)
    assert elsewhere.state == "new", "the lease of the other pool goes on"
    assert pool.stats().double_releases == 4
    assert pool.acquire().name == "kept"


def test_an_object_that_left_its_handle_comes_back(impl: Any) -> None:
    """PO2, PO3: a method may return itself; its release ends the handle."""
    pool = impl.pool.ObjectPool(list, debug=True)
    handle = pool.acquire()
    itself = handle.append.__self__
    assert type(itself) is list
    pool.release(itself)
    with pytest.raises(PoolError, match="used after its lease ended"):
        handle.append(1)
    with pytest.raises(PoolError, match="released twice, or not from this pool: list"):
        pool.release(itself)
    assert pool.stats().idle == 1


def test_a_lease_returns_on_every_exit(impl: Any) -> None:
    """PO3."""
    for debug in (False, True):
        pool = impl.pool.ObjectPool(Thing, reset=reset, debug=debug)
        with pool.lease() as thing:
            assert thing.state == "new"
        assert pool.stats().idle == 1
        with pytest.raises(ZeroDivisionError), pool.lease() as thing:
            raise ZeroDivisionError
        assert pool.stats().idle == 1

        def generate(pool: Any = pool) -> Any:
            with pool.lease() as thing:
                yield thing

        generator = generate()
        next(generator)
        assert pool.stats().idle == 0
        generator.close()
        assert pool.stats().idle == 1


def test_a_lease_can_be_used_again_but_not_nested(impl: Any) -> None:
    lease = impl.pool.ObjectPool(Thing).lease()
    for _ in range(2):
        with lease, pytest.raises(PoolError, match="entered twice"), lease:
            pass


def test_use_after_release_raises_in_debug(impl: Any) -> None:
    """PO3: every kind of use; the next holder of the object is not touched."""
    pool = impl.pool.ObjectPool(list, reset=list.clear, debug=True)
    with pool.lease() as items:
        items.append(1)
        items += [2]
        items[0] = 3
        assert (len(items), items[0], 2 in items, list(items), bool(items)) == (2, 3, True, [3, 2], True)
        assert items == [3, 2]
        assert (str(items), repr(items)) == ("[3, 2]", "[3, 2]")
        assert isinstance(items, list)
        del items[0]
        stale = items
    acquired = pool.acquire()
    acquired.append(1)
    pool.release(acquired)
    uses = [
        lambda: acquired.append(1), lambda: stale.append(1), lambda: stale[0],
        lambda: len(stale), lambda: list(stale), lambda: 1 in stale,
        lambda: bool(stale), lambda: stale == [], lambda: str(stale), lambda: repr(stale), lambda: hash(stale),
        lambda: stale(), lambda: setattr(stale, "x", 1), lambda: delattr(stale, "x"),
        lambda: stale.__setitem__(0, 1), lambda: stale.__delitem__(0), lambda: stale.__iadd__([1]),
    ]  # fmt: skip
    with pool.lease() as items:
        for use in uses:
            with pytest.raises(PoolError, match="used after its lease ended"):
                use()
        assert items == []


def test_a_handle_forwards_calls_and_attributes(impl: Any) -> None:
    """PO3."""

    class Callable(Thing):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return args, kwargs

        def __iadd__(self, other: Any) -> Any:
            return other

    pool = impl.pool.ObjectPool(Callable, debug=True)
    with pool.lease() as thing:
        assert thing(1, a=2) == ((1,), {"a": 2})
        thing.state = "x"
        assert thing.state == "x"
        del thing.state
        assert not hasattr(thing, "state")
        assert hash(thing) == hash(thing.__hash__.__self__)
        thing += "replaced"
        assert thing == "replaced"


def test_releasing_inside_a_lease_is_found_in_debug(impl: Any) -> None:
    """PO2, PO3: by the leased handle."""
    pool = impl.pool.ObjectPool(Thing, debug=True)
    with pytest.raises(PoolError, match="released twice"), pool.lease() as thing:
        pool.release(thing)


def test_drain(impl: Any) -> None:
    pool = impl.pool.ObjectPool(Thing)
    things = [pool.acquire() for _ in range(3)]
    refs = [weakref.ref(thing) for thing in things]
    for thing in things:
        pool.release(thing)
    del things, thing
    assert pool.drain() == 3
    assert [ref() for ref in refs] == [None] * 3
    assert pool.drain() == 0
    pool.release(pool.acquire())
    assert pool.stats().idle == 1


@pytest.mark.parametrize("name", ["max_idle", "max_bytes"])
@pytest.mark.parametrize("value", [-1, 2**31])
def test_limits_are_checked(impl: Any, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be from 0 to 2\*\*31 - 1, got {value}"):
        impl.pool.ObjectPool(Thing, **{name: value})
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        impl.pool.ObjectPool(Thing, **{name: 1.5})


def test_other_arguments_are_checked(impl: Any) -> None:
    with pytest.raises(ValueError, match="sizeof has no effect without max_bytes"):
        impl.pool.ObjectPool(Thing, sizeof=len)
    with pytest.raises(TypeError, match="unexpected keyword argument 'maxsize'"):
        impl.pool.ObjectPool(Thing, maxsize=1)
    with pytest.raises(TypeError):
        impl.pool.ObjectPool()


def test_callbacks_may_use_the_pool(impl: Any) -> None:
    """PO2: reset, sizeof, factory and __del__ that acquire and release."""

    budget = [100]

    class Node:
        def __del__(self) -> None:
            if budget[0]:
                budget[0] -= 1
                pool.release(pool.acquire())

    depth = [0]

    def nested(_: Any) -> int:
        if depth[0] < 3:
            depth[0] += 1
            obj = pool.acquire()
            pool.release(obj)
            pool.release(obj)
            depth[0] -= 1
        return 1

    pool = impl.pool.ObjectPool(Node, reset=nested, sizeof=nested, max_bytes=1, max_idle=2)
    for _ in range(20):
        nodes = [pool.acquire() for _ in range(4)]
        for node in nodes:
            pool.release(node)
        assert pool.stats().idle <= 2
    assert budget == [0]
    del nodes, node
    same = pool.acquire()
    assert same is not pool.acquire()
    pool.drain()


def test_reset_that_releases_its_object(impl: Any) -> None:
    """PO2: a double release from within the first."""
    nested = [True]

    def again(thing: Thing) -> None:
        if nested:
            nested.pop()
            pool.release(thing)

    pool = impl.pool.ObjectPool(Thing, reset=again)
    pool.release(pool.acquire())
    assert (pool.stats().idle, pool.stats().double_releases) == (1, 1)


def test_cycles_through_a_pool_are_collected(impl: Any) -> None:
    for debug in (False, True):
        pool = impl.pool.ObjectPool(Thing, debug=debug)
        lent, idle = pool.acquire(), pool.acquire()
        lent.pool = idle.pool = pool
        pool.release(idle)
        refs = [weakref.ref(lent), weakref.ref(idle)]
        del pool, lent, idle
        gc.collect()
        assert [ref() for ref in refs] == [None, None]


def test_threads_never_share_an_object(impl: Any) -> None:
    pool = impl.pool.ObjectPool(lambda: [0], max_idle=4)
    errors = []

    def hammer() -> None:
        for i in range(3000):
            with pool.lease() as box:
                box[0] += 1
                if box[0] != 1:
                    errors.append(box[0])
                box[0] -= 1
            if i % 100 == 0:
                pool.drain()

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stats = pool.stats()
    assert stats.created + stats.reused == stats.released == 12_000
    assert stats.idle <= 4


def test_generic(impl: Any) -> None:
    assert impl.pool.ObjectPool[Thing](Thing).acquire().state == "new"
