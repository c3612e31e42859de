"""The order in which a manager's parts start and end."""

import asyncio
from collections.abc import Iterable
from typing import Any

from fastcore.controller.controller import Controller
from fastcore.controller.sources import Sources


async def run_until(stop: asyncio.Event, sources: Sources, controllers: Iterable[Controller]) -> None:
    """Start the sources, then the controllers; end both, in the other order, at `stop` or the first failure.

    A failure leaves running reconciles no grace: nobody knows what still works.

    Raises:
        Exception: that of the part that failed.
    """
    sources.start()
    running = {
        controller: asyncio.create_task(controller.run(), name=f"controller-{controller.name}")
        for controller in controllers
    }
    stopped = asyncio.create_task(stop.wait(), name="manager-stop")
    failure: BaseException | None = None
    try:
        parts: list[asyncio.Future[None]] = [sources.failed, *running.values()]
        first: list[asyncio.Future[Any]] = [stopped, *parts]
        done, _ = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            if part in done:
                failure = failure or part.exception() or RuntimeError(f"{_name(part)} ended by itself")
    finally:
        stop.set()
        stopped.cancel()
        grace = 0.0 if failure is not None else None
        await asyncio.gather(*(controller.stop(grace=grace) for controller in running))
        for task in running.values():
            task.cancel()
        await asyncio.gather(stopped, *running.values(), sources.stop(), return_exceptions=True)
    if failure is not None:
        raise failure


def _name(part: asyncio.Future[None]) -> str:
    return part.get_name() if isinstance(part, asyncio.Task) else "a source"
