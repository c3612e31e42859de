"""What may keep a key that was taken from being reconciled now: quarantine, a fight or loop, a workspace's breaker."""

import asyncio
import logging
from collections.abc import Hashable
from typing import NamedTuple

from fastcore.breaker import Permit
from fastcore.clock import Clock
from fastcore.controller.breakers import Breakers
from fastcore.controller.context import Scope
from fastcore.controller.detector import Detector, Finding, Target, managers_of
from fastcore.controller.model import Kind, Request
from fastcore.controller.options import Options
from fastcore.controller.quarantine import Quarantine
from fastcore.controller.turn import Turn

log = logging.getLogger("fastcore.controller")

_ASK_S = 2.0


class Hold(NamedTuple):
    """A key has to wait: why, in a word, and how many seconds."""

    why: str
    seconds: float


class Guards:
    """The guards of one controller.

    Args:
        name: the controller's.
        kind: of its primary objects.
        options: which guards there are.
        clock: integer nanoseconds; None is the monotonic clock.

    Thread safety: belongs to the event loop.
    """

    def __init__(self, name: str, kind: Kind, options: Options, clock: Clock | None) -> None:
        self._name = name
        self._kind = kind
        self._slow_down = options.slow_down
        self._unnamed: dict[Request, tuple[Target, ...]] = {}
        self.quarantine = Quarantine(options.quarantine_after, options.quarantine_period)
        self.breakers = Breakers(options.breaker_threshold, clock)
        self.detector = Detector()

    def enter(self, request: Request, scope: Scope, now_ns: int) -> Hold | Permit | None:
        """A hold, or what `leave` wants back."""
        if self.quarantine.get(request) is not None:
            seconds = self.quarantine.remaining(request, self.state(request, scope), now_ns)
            if seconds > 0:
                return Hold("quarantine", seconds)
        if self._slow_down:
            seconds = self.detector.remaining(request, now_ns)
            if seconds > 0:
                return Hold("slowed down", seconds)
        permit = self.breakers.enter(request.workspace)
        return Hold("breaker", permit) if isinstance(permit, float) else permit

    def leave(self, permit: Permit | None, turn: Turn, now_ns: int) -> None:
        """A reconcile has ended, in whatever way."""
        self.breakers.leave(permit, turn)
        if turn.written:
            finding = self.detector.end(turn.request, turn.written, now_ns)
            if finding is not None:
                self._found(turn, finding)

    def state(self, request: Request, scope: Scope) -> Hashable:
        """What of an object has to change for another try to make sense: its identity, and generation or version."""
        obj = scope.informers[self._kind].get(request.namespace, request.name)
        if obj is None:
            return None
        meta = obj["metadata"]
        return meta.get("uid"), meta.get("generation") or meta.get("resourceVersion")

    async def before(self, request: Request, scope: Scope) -> None:
        """Find out who undoes our writes, once a fight: now that the object is as the other side wants it."""
        targets = self._unnamed.pop(request, None) if self._unnamed else None
        if targets is None:
            return
        owners: dict[str, None] = {}
        try:
            for kind, namespace, name in dict.fromkeys(target[:3] for target in targets):
                async with asyncio.timeout(_ASK_S):
                    live = await scope.workspace.client.get(kind, namespace or None, name)
                for target in targets:
                    if target[:3] == (kind, namespace, name):
                        owners.update(dict.fromkeys(managers_of(live, target.path)))
        except Exception as error:
            log.debug("controller %s: nobody says who fights over %s: %s", self._name, request, error)
        paths = ", ".join(map(str, targets[:5])) + (", ..." if len(targets) > 5 else "")
        whom = ", ".join(owners) or "an unknown manager"
        self._tell(
            scope,
            request,
            "FieldFight",
            f"field fight over {paths}: set again and again, and undone by {whom}; reconciles of this object are "
            "slowed down. Let one of the two own the field.",
        )

    def forget(self, workspace: str) -> None:
        """Drop what is known of a workspace that was removed."""
        self.breakers.drop(workspace)
        self.quarantine.forget(workspace)

    def _found(self, turn: Turn, finding: Finding) -> None:
        if finding.why == "fight":
            self._unnamed[turn.request] = finding.targets
            if len(self._unnamed) > 1024:
                del self._unnamed[next(iter(self._unnamed))]
            return
        paths = ", ".join(map(str, finding.targets[:5])) or "no field that is watched"
        self._tell(
            turn.scope,
            turn.request,
            "HotLoop",
            f"hot loop: every reconcile writes, and is woken by nothing but its own write to {paths}; reconciles of "
            "this object are slowed down. Write only what differs.",
        )

    def _tell(self, scope: Scope, request: Request, reason: str, message: str) -> None:
        log.warning("controller %s: %s: %s", self._name, request, message)
        primary = scope.informers[self._kind].get(request.namespace, request.name)
        if primary is not None:
            scope.events.event(
                {"apiVersion": self._kind.api_version, "kind": self._kind.kind, "metadata": primary["metadata"]},
                "Warning", reason, message,
            )  # fmt: skip
