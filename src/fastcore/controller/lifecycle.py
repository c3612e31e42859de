"""The order in which a manager's parts start and end."""

import asyncio
from collections.abc import Iterable
from typing import Any

from fastcore.controller.controller import Controller
from fastcore.controller.lease import Mandate
from fastcore.controller.sources import Sources


async def run_until(
    stop: asyncio.Event, sources: Sources, controllers: Iterable[Controller], mandate: Mandate | None = None
) -> None:
    """Start the sources, then the controllers; end both, in the other order, at `stop` or the first failure.

    With a mandate the sources run at once, so that the caches are warm, and the controllers that need it when it has
    been acquired (CT-8). A failure, such as a lost mandate, leaves running reconciles no grace: nobody knows what
    still works, or who else does (CT-10).

    Raises:
        Exception: that of the part that failed.
    """
    acquired = asyncio.Event()
    if mandate is None:
        acquired.set()
    sources.start()
    running = {
        controller: asyncio.create_task(_run(controller, acquired), name=f"controller-{controller.name}")
        for controller in controllers
    }
    held = [] if mandate is None else [asyncio.create_task(_hold(mandate, acquired), name="lease")]
    stopped = asyncio.create_task(stop.wait(), name="manager-stop")
    failure: BaseException | None = None
    try:
        parts: list[asyncio.Future[None]] = [sources.failed, *held, *running.values()]
        first: list[asyncio.Future[Any]] = [stopped, *parts]
        done, _ = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            if part in done:
                failure = failure or part.exception() or RuntimeError(f"{_name(part)} ended by itself")
    finally:
        stop.set()
        stopped.cancel()
        ending = asyncio.gather(*(c.stop(grace=0.0 if failure is not None else None) for c in running))
        if failure is None and held:
            either: list[asyncio.Future[Any]] = [ending, *held]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if held[0].done():  # the mandate was lost while running reconciles had their grace
                failure = held[0].exception()
                await asyncio.gather(*(controller.stop(grace=0.0) for controller in running))
        await ending
        for task in (*running.values(), *held):
            task.cancel()
        await asyncio.gather(stopped, *held, *running.values(), sources.stop(), return_exceptions=True)
    if failure is not None:
        raise failure


async def _hold(mandate: Mandate, acquired: asyncio.Event) -> None:
    await mandate.acquire()
    acquired.set()
    await mandate.hold()


async def _run(controller: Controller, acquired: asyncio.Event) -> None:
    if controller.options.needs_leader_election:
        await acquired.wait()
    await controller.run()


def _name(part: asyncio.Future[None]) -> str:
    return part.get_name() if isinstance(part, asyncio.Task) else "a source"
