"""SIGTERM and SIGINT while something runs: the first calls back, a second one has its usual effect."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

log = logging.getLogger("fastcore.controller")

_SIGNALS = ("SIGTERM", "SIGINT")


@contextlib.contextmanager
def handled(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first signal; then, and at the end of the block, the handlers of before are back.

    Only the main thread gets signals: in any other this does nothing.

    Args:
        stop: called from a signal handler, so between any two steps of the main thread; it must only set something.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            if signal.getsignal(number) is received:
                signal.signal(number, handler)

    def received(number: int, frame: FrameType | None) -> None:
        restore()
        log.info("%s: stopping", signal.Signals(number).name)
        stop()

    for name in _SIGNALS:
        number = getattr(signal, name)
        before[number] = signal.signal(number, received)
    try:
        yield
    finally:
        restore()
