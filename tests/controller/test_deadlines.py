"""Deadlines of many requests at once: who is cancelled when, and what is left behind."""

import asyncio

import pytest

from fastcore.controller.deadlines import Deadlines


async def wait(deadlines: Deadlines, seconds: float, what: float) -> str:
    """What became of a wait of `what` seconds that may take `seconds`."""
    deadline = deadlines.begin(seconds)
    try:
        await asyncio.sleep(what)
    except asyncio.CancelledError as error:
        if deadline.expired and deadline.caused(error):
            return "expired"
        raise
    finally:
        deadlines.end(deadline)
    return "ended"


async def test_only_waits_over_their_deadline_are_cancelled() -> None:
    """Each row has its own timeout, and each wait in it its own deadline."""
    deadlines = Deadlines()
    found = await asyncio.gather(
        wait(deadlines, 0.05, 30), wait(deadlines, 0.05, 0), wait(deadlines, 30, 0.1), wait(deadlines, 0.05, 30)
    )
    assert found == ["expired", "ended", "ended", "expired"]
    assert await wait(deadlines, 0.01, 30) == "expired"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_later_waits_of_a_row_expire_later() -> None:
    """The timer of a row moves on to the next deadline when the first wait has ended."""
    deadlines, loop = Deadlines(), asyncio.get_running_loop()
    first = asyncio.create_task(wait(deadlines, 0.2, 0.01))
    await asyncio.sleep(0.1)
    began = loop.time()
    assert await wait(deadlines, 0.2, 30) == "expired"
    assert loop.time() - began >= 0.19
    assert await first == "ended"


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    """Also when it comes together with the deadline's own."""
    deadlines = Deadlines()
    task = asyncio.create_task(wait(deadlines, 30, 30))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def both() -> str:
        deadline = deadlines.begin(0.01)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            me = asyncio.current_task()
            assert me is not None
            me.cancel()  # somebody else, before this task ran again
            if deadline.expired and deadline.caused(error):
                return "expired"
            raise
        finally:
            deadlines.end(deadline)
        return "ended"

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(both())


async def test_nothing_is_kept_of_what_has_ended() -> None:
    """A row holds what runs, however many have run, and goes with its timer when nothing runs."""
    deadlines = Deadlines()
    long = asyncio.create_task(wait(deadlines, 30, 0.1))
    for _ in range(100):
        await wait(deadlines, 30, 0)
    [row] = deadlines._rows.values()
    assert len(row.entries) == 1
    timer = row.timer
    assert timer is not None
    assert not timer.cancelled()
    assert await long == "ended"
    assert timer.cancelled()
    assert not deadlines._rows
    assert await wait(deadlines, 0.01, 30) == "expired"  # and it can begin again


async def test_an_expired_wait_leaves_later_rows_alone() -> None:
    """One that is slow to end after its deadline does not take the timer of those that have come since."""
    deadlines = Deadlines()

    async def slow() -> bool:
        deadline = deadlines.begin(0.01)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            caused = deadline.expired and deadline.caused(error)
            await asyncio.sleep(0.05)
            return caused
        finally:
            deadlines.end(deadline)
        return False

    first = asyncio.create_task(slow())
    await asyncio.sleep(0.03)
    assert await wait(deadlines, 0.01, 30) == "expired"
    later = asyncio.create_task(wait(deadlines, 0.01, 30))
    assert await first
    assert await later == "expired"
    assert not deadlines._rows


async def test_rows_go_when_their_time_is_over() -> None:
    deadlines = Deadlines()
    for i in range(20):
        await wait(deadlines, 0.01 + i / 10000, 0)
    await asyncio.sleep(0.1)
    assert not deadlines._rows
