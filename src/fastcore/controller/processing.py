"""One turn of the loop: a key that was taken is dropped, put back for a while, or reconciled."""

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

from fastcore.clock import NS_PER_S
from fastcore.controller.context import Context
from fastcore.controller.endings import CANCELLED, failed, succeeded
from fastcore.controller.guards import Hold
from fastcore.controller.model import Request
from fastcore.controller.turn import TURN, Turn

if TYPE_CHECKING:
    from fastcore.controller.controller import Controller

log = logging.getLogger("fastcore.controller")

_numbers = itertools.count(1)


async def process(controller: "Controller", request: Request) -> None:
    """Do what a key that was taken needs; whatever becomes of it is settled before this returns (CT-4).

    Raises:
        Exception: a bug in the reconciler, if `recover_panic` is False.
    """
    scope = controller.scope(request.workspace)
    if scope is None:
        controller.drop(request, "no such workspace")
        level = logging.DEBUG if controller.parting else logging.ERROR
        log.log(level, "controller %s: %s is in no workspace of this manager: dropped", controller.name, request)
        return
    guards = controller.guards
    await guards.before(request, scope)
    if controller.owns is not None and not controller.owns(request):  # asked last: until it runs nothing waits
        controller.drop(request, "another shard")
        return
    clock, flight, counters = controller.clock, controller.flight, controller.counters
    now = clock()
    permit = guards.enter(request, scope, now)
    if isinstance(permit, Hold):
        flight.held(now, request, *permit)
        controller.queue.add_after(request, permit.seconds)
        return
    guards.detector.begin(request)
    turn = Turn(request, scope, clock, controller.pace, flight, controller.wrote)
    started, story = turn.started, controller.history.story(request)
    timeout = controller.options.reconcile_timeout
    context = Context(
        scope,
        request,
        controller=controller.name,
        number=next(_numbers),
        causes=controller.begin(turn),
        watched=controller.watched,
        deadline=None if timeout is None else started / NS_PER_S + timeout,
        clock=clock,
        loop=asyncio.get_running_loop(),
    )
    flight.start(started, request, context.number, context.cause_mask)
    story.started_ns = started
    story.reconciles += 1
    TURN.set(turn)
    ending = CANCELLED
    try:
        ending = succeeded(controller, request, await controller.invocation(context, request))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        ending = failed(controller, context, turn, error)  # what the reconciler awaited was cancelled: its own failure
    except Exception as error:
        ending = failed(controller, context, turn, error)
    finally:
        ended = clock()
        controller.end(turn)
        counters.time.observe((ended - started) / NS_PER_S)
        controller.ledger.close(turn, ended - started)
        guards.leave(permit, turn, ended)
        story.end(ended, *ending[:2])
        flight.end(ended, request, context.number, *ending)
        if turn.held:
            controller.release(turn, story)
        turn.release()
        TURN.set(None)
