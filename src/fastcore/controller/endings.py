"""What becomes of a key when its reconcile ends: forgotten, delayed, retried with back-off, set aside, or dropped."""

from typing import TYPE_CHECKING, NamedTuple

from fastcore.clock import NS_PER_S
from fastcore.controller.context import Context, ReconcileTimeout
from fastcore.controller.failures import in_words, is_bug, says_it_all
from fastcore.controller.model import Request, Result, TerminalError
from fastcore.controller.turn import Turn

if TYPE_CHECKING:
    from fastcore.controller.controller import Controller


class Ending(NamedTuple):
    """How a reconcile ended.

    Args:
        result: "success", "requeue_after", "error", "timeout", "panic", "terminal error", "quarantine" or "cancelled".
        detail: what the error said.
        delay: seconds until the key comes back by itself; None if it does not.
    """

    result: str
    detail: str = ""
    delay: float | None = None


SUCCESS = Ending("success")
CANCELLED = Ending("cancelled")


def succeeded(controller: "Controller", request: Request, result: Result) -> Ending:
    """CT-3: forget the failures, then delay if asked to."""
    controller.queue.forget(request)
    controller.guards.quarantine.healthy(request)
    if result.requeue_after:
        controller.counters.requeue_after += 1
        controller.queue.add_after(request, result.requeue_after, result.priority)
        return Ending("requeue_after", delay=result.requeue_after)
    controller.counters.success += 1
    return SUCCESS


def failed(controller: "Controller", context: Context, turn: Turn, error: BaseException) -> Ending:
    """CT-2, CT-5, CT-6: count it, and retry with back-off unless it is terminal."""
    counters, queue, request = controller.counters, controller.queue, context.request
    counters.error += 1
    text = in_words(error)
    if isinstance(error, TerminalError):
        counters.terminal_errors += 1
        queue.forget(request)
        controller.guards.quarantine.healthy(request)
        context.log.error("terminal error, no retry: %s", text)
        return Ending("terminal error", text)
    if is_bug(error):
        return _panicked(controller, context, turn, error, text)
    controller.guards.quarantine.healthy(request)
    late = isinstance(error, ReconcileTimeout)
    counters.timeouts += late
    delay = controller.limiter.when(request)
    queue.add_after(request, delay)
    context.log.error(
        "reconcile failed: %s (failure %d in a row)", text, queue.retries(request),
        exc_info=None if says_it_all(error) else error,
    )  # fmt: skip
    return Ending("timeout" if late else "error", text, delay)


def _panicked(controller: "Controller", context: Context, turn: Turn, error: BaseException, text: str) -> Ending:
    queue, request = controller.queue, context.request
    controller.counters.panics += 1
    controller.flight.keep()
    if not controller.options.recover_panic:
        raise error
    quarantine, now = controller.guards.quarantine, controller.clock()
    if quarantine.failed(request):
        parked = quarantine.park(request, controller.guards.state(request, turn.scope), now)
        delay = (parked.until_ns - now) / NS_PER_S
        queue.forget(request)
        queue.add_after(request, delay)
        context.log.error(
            "bug in the reconciler: %s: %d in a row, so this object is set aside until it changes, or for %g s",
            text, quarantine.threshold, delay, exc_info=error,
        )  # fmt: skip
        return Ending("quarantine", text, delay)
    delay = controller.limiter.when(request)
    queue.add_after(request, delay)
    context.log.error("bug in the reconciler: %s (failure %d in a row)", text, queue.retries(request), exc_info=error)
    return Ending("panic", text, delay)
