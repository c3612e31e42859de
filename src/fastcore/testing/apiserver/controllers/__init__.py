"""What a cluster does besides storing objects: garbage collection, namespaces, Deployments that become ready.

Each controller hears of every write and notes what it concerns; its work runs afterwards, one step at a time, from the
loop that it was given. Nothing here waits for time to pass, so a test that drives the steps itself is deterministic.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from fastcore.testing.apiserver.api import API
from fastcore.testing.apiserver.controllers.deployments import Deployments
from fastcore.testing.apiserver.controllers.garbage import GarbageCollector
from fastcore.testing.apiserver.controllers.namespaces import Namespaces
from fastcore.testing.apiserver.status import StatusError
from fastcore.testing.apiserver.storage import Collection, Event

BUILT_IN_CONTROLLERS = ("garbage", "namespaces", "deployments")
_KINDS = {"garbage": GarbageCollector, "namespaces": Namespaces, "deployments": Deployments}
_BURST = 50
_log = logging.getLogger("fastcore.apiserver")
CallSoon = Callable[[Callable[[], Any]], Any]


class Controllers:
    """Runs the chosen controllers on one queue.

    Args:
        api: what they watch and change.
        names: which of `BUILT_IN_CONTROLLERS`.
        call_soon: runs a function after the present one; None: `step` is called by hand, or `run_on` comes later.

    Raises:
        ValueError: there is no controller of that name.
    """

    def __init__(self, api: API, names: tuple[str, ...], call_soon: CallSoon | None = None) -> None:
        unknown = [name for name in names if name not in _KINDS]
        if unknown:
            raise ValueError(f"no built-in controller {unknown[0]!r}; there are {', '.join(BUILT_IN_CONTROLLERS)}")
        self._api = api
        self._call_soon = call_soon
        self._queue: deque[tuple[Any, Any]] = deque()
        self._queued: set[tuple[Any, Any]] = set()
        self._scheduled = False
        self._active: list[Any] = [_KINDS[name](api) for name in names]
        api.store.listeners.append(self._observe)
        for collection in list(api.store.collections.values()):
            for record in collection.select(None, ""):
                self._observe(collection, Event(record.revision, None, record, False))

    def run_on(self, call_soon: CallSoon) -> None:
        """From now on do the work as it comes, on the loop that `call_soon` belongs to."""
        self._call_soon = call_soon
        self._schedule()

    def pause(self) -> None:
        """Do nothing more until `run_on` or `step`; what happens meanwhile is noted."""
        self._call_soon = None
        self._scheduled = False

    def _observe(self, collection: Collection, event: Event) -> None:
        for controller in self._active:
            for item in controller.observe(collection, event):
                work = (controller, item)
                if work not in self._queued:
                    self._queued.add(work)
                    self._queue.append(work)
        self._schedule()

    def _schedule(self) -> None:
        if self._queue and not self._scheduled and self._call_soon is not None:
            self._scheduled = True
            self._call_soon(self._run)

    def _run(self) -> None:
        # A burst at a time, so that requests are served in between.
        self._scheduled = False
        for _ in range(_BURST):
            if not self.step():
                return
        self._schedule()

    def step(self) -> bool:
        """Do the next piece of work; False if there is none."""
        if not self._queue:
            return False
        work = self._queue.popleft()
        self._queued.discard(work)
        controller, item = work
        try:
            controller.reconcile(item)
        except StatusError as error:
            # A schema that has become stricter, say: the object stays as it is until its next change.
            _log.warning("%s: %s", type(controller).__name__, error)
        return True
