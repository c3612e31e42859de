"""Those who wait for a queue: threads on a lock, tasks on a future, woken one at a time.

A crowd belongs to one queue and is only touched under that queue's lock. Waiting and waking happen outside of it, and
may run user code: an event loop's `call_soon_threadsafe` and `call_later`, the observer of waits.
"""

import threading
from collections.abc import Iterable
from typing import Any, final

from fastcore._waits import waits
from fastcore.clock import monotonic_ns

NEVER = 2**63 - 1
# A task's timer is armed anew after a day: event loops differ in the longest delay that they take.
_LOOP_MAX_NS = 86_400_000_000_000


def _resolve(future: Any, /) -> None:
    if not future.done():
        future.set_result(None)


@final
class Waiter:
    """One wait: of a thread, or of a task on `loop`."""

    __slots__ = ("_lock", "_loop", "_timer", "future", "pause")

    def __init__(self, loop: Any = None) -> None:
        self.pause = NEVER
        self.future: Any = None
        self._loop = loop
        self._timer: Any = None
        if loop is None:
            self._lock = threading.Lock()
            self._lock.acquire()
        else:
            self.future = loop.create_future()

    def wake(self) -> bool:
        """End the wait; False if the task's event loop is closed, so that nobody waits there any more."""
        if self._loop is None:
            self._lock.release()
            return True
        from asyncio import _get_running_loop

        try:
            if _get_running_loop() is self._loop:
                _resolve(self.future)
            else:
                self._loop.call_soon_threadsafe(_resolve, self.future)
        except RuntimeError:
            return False
        return True

    def block(self, ns: int) -> None:
        """Block the thread until woken, at most `ns`."""
        observer = waits.observer
        began = 0 if observer is None else monotonic_ns()
        self._lock.acquire(True, min(max(ns, 0) / 1e9, threading.TIMEOUT_MAX))
        if observer is not None:
            observer(monotonic_ns() - began)

    def arm(self, ns: int) -> None:
        """End the task's wait after `ns`."""
        if ns != NEVER:
            self._timer = self._loop.call_later(min(ns, _LOOP_MAX_NS) / 1e9, _resolve, self.future)

    def disarm(self) -> None:
        """Cancel what `arm` started."""
        if self._timer is not None:
            self._timer.cancel()


@final
class Crowd:
    """The waiters of one queue."""

    __slots__ = ("consumers", "drainers", "leader", "woken")

    def __init__(self) -> None:
        self.consumers: dict[Waiter, None] = {}
        self.drainers: dict[Waiter, None] = {}
        self.leader: Waiter | None = None
        self.woken: list[Waiter] = []

    def enlist(self, waiter: Waiter, pause: int) -> None:
        """Let a consumer wait; the first while a delayed key is due in `pause` nanoseconds becomes the leader."""
        self.consumers[waiter] = None
        waiter.pause = NEVER
        if self.leader is None and pause != NEVER:
            self.leader = waiter
            waiter.pause = pause

    def delist(self, waiter: Waiter | None) -> None:
        """Take a consumer out."""
        if waiter is not None:
            self.consumers.pop(waiter, None)
            if self.leader is waiter:
                self.leader = None

    def signal(self) -> None:
        """Have the consumer that waits longest look again."""
        for waiter in self.consumers:
            self._signal(waiter)
            break

    def rearm(self) -> None:
        """Have the leader, or else some consumer, look at a new earliest due time."""
        if self.leader is not None:
            self._signal(self.leader)
        else:
            self.signal()

    def _signal(self, waiter: Waiter) -> None:
        self.delist(waiter)
        self._wake_soon([waiter])

    def end(self) -> None:
        """Have all consumers look again, for the last time."""
        self.leader = None
        self._wake_soon(self.consumers)
        self.consumers.clear()

    def release(self) -> None:
        """End the wait of all drainers."""
        self._wake_soon(self.drainers)
        self.drainers.clear()

    def _wake_soon(self, waiters: Iterable[Waiter]) -> None:
        self.woken.extend(waiters)

    def take_woken(self) -> list[Waiter]:
        """Those to be woken now."""
        woken, self.woken = self.woken, []
        return woken
