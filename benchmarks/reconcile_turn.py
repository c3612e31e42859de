"""CPU time and instructions' worth of one turn of the reconcile loop: queue, guards, context, records, and no work.

    python benchmarks/reconcile_turn.py [turns]

A turn costs the same whatever the reconciler does; it is to be small beside the millisecond that a reconcile with its
requests may cost.
"""

import asyncio
import sys
import time
from typing import Any

from fastcore.controller.context import Scope
from fastcore.controller.controller import Controller
from fastcore.controller.handlers import Watch, itself
from fastcore.controller.model import CONFIG_MAP, Request
from fastcore.controller.options import Options
from fastcore.controller.predicates import Predicate


class Informer:
    """Synced, and empty."""

    def add_handler(self, handler: Any) -> None:
        """Nothing ever happens to it."""

    async def wait_synced(self, timeout: float) -> None:
        """It is."""


class Blue:
    """A workspace without a server."""

    name = "blue"
    client = None


async def measure(turns: int) -> float:
    """Microseconds of CPU a turn."""
    done = asyncio.Event()
    left = turns

    async def reconcile(ctx: Any, request: Request) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    watches = (Watch(CONFIG_MAP, itself, Predicate()),)
    controller = Controller("bench", CONFIG_MAP, watches, reconcile, Options(max_concurrent_reconciles=4))
    workspace: Any = Blue()
    informers: Any = {CONFIG_MAP: Informer()}
    make: Any = Scope
    controller.connect({"blue": make(workspace, informers, None, "bench")})
    for number in range(turns):
        controller.enqueue(Request("blue", "default", str(number)))
    began = time.process_time()
    running = asyncio.create_task(controller.run())
    await done.wait()
    took = time.process_time() - began
    await controller.stop()
    await running
    return took / turns * 1e6


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    best = min(asyncio.run(measure(count)) for _ in range(5))
    print(f"{best:.1f} us of CPU a turn (best of 5 times {count})")
