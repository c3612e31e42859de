"""One reconcile under way: what it waits for, what it writes, and which events of its own key come meanwhile.

The turn that is under way in a task is in `TURN`, so that whatever a reconciler calls, in tasks or threads of its own
too, is put down to the right key without being handed anything.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from fastcore.clock import NS_PER_S, Clock
from fastcore.controller.model import Kind, Request

if TYPE_CHECKING:
    from fastcore.controller.client import Client
    from fastcore.controller.concurrency import Pace
    from fastcore.controller.context import Scope
    from fastcore.controller.handlers import Shown
    from fastcore.controller.recorder import FlightRecorder

_MOST_HELD = 16
_READS = frozenset({"GET", "HEAD"})


class _Answer(Protocol):
    @property
    def status(self) -> int: ...


A = TypeVar("A", bound=_Answer)


class Held(NamedTuple):
    """An event of a key that came while the key was reconciled."""

    priority: int
    cause: int
    shown: "Shown"


class Written(NamedTuple):
    """A write of this turn and its answer.

    Args:
        client: sent it.
        kind: of the object.
        sent: the body, or None if it is no object, such as a JSON patch.
        answer: the object as it is now.
        method: POST creates, PUT replaces, PATCH changes.
        observe: whether the next read is to see it.
        text: the answer as it came.
    """

    client: "Client"
    kind: Kind
    sent: Mapping[str, Any] | None
    answer: dict[str, Any]
    method: str
    observe: bool = True
    text: bytes | None = None


class Turn:
    """What one reconcile does; costs in nanoseconds, which do not overlap.

    Args:
        request: what is reconciled.
        scope: the workspace's part of the controller.
        clock: integer nanoseconds.
        pace: is told how requests went.
        flight: records them.
        wrote: is told of each write.

    Attributes:
        server_ns: time during which at least one request was under way.
        limiter_ns: time that the server asked to wait (`Retry-After`).
        decode_ns: reading answers.
        collector_ns: in the cyclic collector.
        answered: requests that got an answer below 500.
        broken: requests that got none, or a 5xx.
        written: writes that succeeded.
        own: versions that this turn's writes led to, and those that they followed, by kind, namespace and name.
        held: events that are looked at when the turn is over.

    Thread safety: belongs to the event loop.
    """

    __slots__ = (
        "_flight", "_in_flight", "_pace", "_since", "_wrote", "answered", "broken", "clock", "collector_ns",
        "decode_ns", "ended", "held", "limiter_ns", "own", "request", "scope", "server_ns", "started", "written",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        scope: "Scope",
        clock: Clock,
        pace: "Pace",
        flight: "FlightRecorder",
        wrote: "Callable[[Turn, Written], None]",
    ) -> None:
        self.request = request
        self.scope = scope
        self.clock = clock
        self.started = clock()
        self._pace = pace
        self._flight = flight
        self._wrote = wrote
        self._in_flight = self._since = 0
        self.server_ns = self.limiter_ns = self.decode_ns = self.collector_ns = 0
        self.answered = self.broken = self.written = 0
        self.own: dict[tuple[Kind, str, str, str], str | None] = {}
        self.held: list[Held] = []
        self.ended = False

    async def exchange(self, sending: Awaitable[A], method: str, target: str) -> A:
        """Await the answer to a request, and note what came and how long it took."""
        began = self.clock()
        if not self._in_flight:
            self._since = began
        self._in_flight += 1
        status = 0
        try:
            answer = await sending
            status = answer.status
            return answer
        finally:
            now = self.clock()
            self._in_flight -= 1
            if not self._in_flight:
                self.server_ns += now - self._since
            if status == 0 or status >= 500:
                self.broken += 1
            else:
                self.answered += 1
                if status < 300 and method not in _READS:
                    self.written += 1
            self._pace.answered(now, now - began, status)
            self._flight.request(now, self.request, method, target, status, now - began)

    def waited(self, seconds: float) -> None:
        """Note that the server asked to wait so long."""
        self.limiter_ns += int(seconds * NS_PER_S)

    def collected(self, pause_ns: int) -> None:
        """Note a pause of the collector; in the middle of a request it is not the server's time."""
        self.collector_ns += pause_ns
        if self._in_flight:
            self.server_ns -= pause_ns

    def wrote(self, write: Written) -> None:
        """Note a write that succeeded, unless the turn is over: then nobody waits for it."""
        if not self.ended:
            self._wrote(self, write)

    def release(self) -> None:
        """Let go of the workspace: what was begun during the turn, such as a connection, remembers the turn."""
        del self.scope
        self.held = []

    def hold(self, priority: int, cause: int, shown: "Shown") -> bool:
        """Keep an event of the turn's own key until the end of the turn; False if there are too many."""
        if len(self.held) >= _MOST_HELD:
            return False
        self.held.append(Held(priority, cause, shown))
        return True

    def is_own(self, shown: "Shown") -> bool:
        """Whether an event shows just the step that a write of this turn made, from the version before it (WR-9)."""
        if not self.own or shown.new is None:
            return False
        meta = shown.new["metadata"]
        key = (shown.kind, meta.get("namespace") or "", meta["name"], meta.get("resourceVersion") or "")
        if key not in self.own:
            return False
        return self.own[key] == (None if shown.old is None else shown.old["metadata"].get("resourceVersion"))


TURN: ContextVar[Turn | None] = ContextVar("fastcore_turn", default=None)
"""The reconcile that the running code belongs to."""
