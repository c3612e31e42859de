"""The virtual loop: order, time, processes that die or freeze, and ends that never come."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from fastcore.testing.simulate.chance import Chance
from fastcore.testing.simulate.loop import Stuck, VirtualLoop
from fastcore.testing.simulate.owner import OWNER, Owner


def first(n: int) -> int:
    return 0


def make(pick: Callable[[int], int] = first, **more: Any) -> VirtualLoop:
    return VirtualLoop(pick, **more)  # type: ignore[abstract]


def run(main: Any, pick: Callable[[int], int] = first, **more: Any) -> Any:
    loop = make(pick, **more)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def test_hours_pass_at_once_and_timers_keep_their_order() -> None:
    async def main() -> tuple[list[int], float]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        for number, delay in enumerate((7200.0, 3600.0, 3600.0)):
            loop.call_later(delay, seen.append, number)
        await asyncio.sleep(10_000)
        return seen, loop.time()

    seen, now = run(main())
    assert seen == [1, 2, 0]
    assert 10_000 <= now < 10_001


def test_the_order_of_tasks_is_chosen_and_that_of_one_task_is_kept() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def count(name: str) -> None:
            for number in range(3):
                seen.append(f"{name}{number}")
                await asyncio.sleep(0)

        await asyncio.gather(*(count(name) for name in "abc"))
        return seen

    plain = run(main())
    assert plain == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]
    chance = Chance(1, 0, ((0, 1000),))
    mixed = run(main(), lambda n: chance() % n)
    assert mixed != plain
    assert sorted(mixed) == sorted(plain)
    for name in "abc":
        assert [seen for seen in mixed if seen[0] == name] == [f"{name}{number}" for number in range(3)]


def test_plain_callbacks_run_in_the_order_of_their_registration() -> None:
    """asyncio promises it, so that no choice may break it; tasks do not overtake one either."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        seen: list[str] = []

        async def note(text: str) -> None:
            seen.append(text)

        loop.call_soon(seen.append, "first")
        tasks = [asyncio.ensure_future(note("task"))]
        loop.call_soon(seen.append, "second")
        await asyncio.sleep(1)
        await asyncio.gather(*tasks)
        return seen

    assert run(main(), lambda n: n - 1) == ["first", "task", "second"]


def test_a_deadlock_and_an_endless_loop_are_found() -> None:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="every task waits for another"):
        run(waits())

    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="1000 steps"):
        run(spins(), limit=1000)


def in_process(owner: Owner, function: Callable[[], Any]) -> Any:
    context = contextvars.copy_context()
    context.run(OWNER.set, owner)
    return context.run(function)


def test_a_killed_process_takes_no_further_step() -> None:
    """Neither its tasks, nor its timers, nor what its `finally` blocks begin."""

    async def main() -> tuple[list[str], list[str]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        seen: list[str] = []
        seen_tasks: list[asyncio.Task[None]] = []
        victim = Owner("victim")

        async def work() -> None:
            try:
                await asyncio.sleep(10)
                seen.append("went on")
            finally:
                seen_tasks.append(loop.create_task(late()))
                await asyncio.sleep(1)
                seen.append("cleaned up")

        async def late() -> None:
            seen.append("late")

        def begin() -> None:
            seen_tasks.append(loop.create_task(work()))
            loop.call_later(5, seen.append, "timer")

        in_process(victim, begin)
        await asyncio.sleep(1)
        assert len(loop.pending(victim)) == 3  # the task, its sleep, the timer
        loop.kill(victim)
        await asyncio.sleep(100)
        return seen, loop.pending(victim)

    assert run(main()) == ([], [])


def test_a_frozen_process_goes_on_when_it_is_thawed() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        seen: list[float] = []
        owner = Owner("frozen")

        async def tick() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                seen.append(round(loop.time()))

        in_process(owner, lambda: loop.create_task(tick()))
        await asyncio.sleep(1.5)
        owner.frozen = True
        await asyncio.sleep(10)
        owner.frozen = False
        await asyncio.sleep(10)
        return seen

    assert run(main()) == [1, 12, 13]


def test_errors_that_nobody_sees_are_kept() -> None:
    async def main() -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)
        return loop.failures

    failures = run(main())
    assert isinstance(failures[0]["exception"], ZeroDivisionError)


def test_it_refuses_to_run_inside_another_loop_and_after_its_end() -> None:
    loop = make()

    async def nothing() -> None:
        return None

    async def outer() -> None:
        coroutine = nothing()
        with pytest.raises(RuntimeError, match="a loop is running in this thread already"):
            loop.run_until_complete(coroutine)
        coroutine.close()

    asyncio.run(outer())
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)


def test_chance_depends_on_seed_purpose_and_number_alone() -> None:
    whole = [Chance(5, 1, ((0, 100),))() for _ in range(1)]
    stream = Chance(5, 1, ((0, 100),))
    numbers = [stream() for _ in range(20)]
    assert numbers[0] == whole[0]
    part = Chance(5, 1, ((3, 5), (10, 11)))
    assert [part() for _ in range(20)] == [n if i in (3, 4, 10) else 0 for i, n in enumerate(numbers)]
    assert Chance(5, 2, ((0, 100),))() != numbers[0] != Chance(6, 1, ((0, 100),))()
