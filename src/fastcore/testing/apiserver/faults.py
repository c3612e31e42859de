"""What goes wrong on purpose: late, refused, broken-off and stale answers, lost bookmarks, lost history, a wrong clock.

A carrier (the HTTP server, a simulation) asks `judge` about each request while there are faults, waits as the verdict
says, and hands the verdict to `API.handle`. Nothing here waits or reads a clock, so a simulation can drive it step by
step; all chance comes from the seeds of the scopes.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastcore.testing.apiserver.fault import Fault, StaleReplica, Verdict
from fastcore.testing.apiserver.message import Request
from fastcore.testing.apiserver.replica import Replica
from fastcore.testing.apiserver.scope import Call, Scope
from fastcore.testing.apiserver.status import StatusError, expired
from fastcore.testing.apiserver.target import WILDCARD

if TYPE_CHECKING:
    from fastcore.testing.apiserver.api import API
    from fastcore.testing.apiserver.watch import WatchStream

_LONGEST = 3600.0


@dataclass
class Faults:
    """The faults of one API server.

    Every method that adds a fault takes the arguments of `Scope` as keywords (verbs, kind, workspace, namespace, name,
    after, count, probability, seed) and returns a `Fault`.

    Args:
        api: the server's API.
        call: runs a function in the server's thread; the server sets it. Default: directly.

    Attributes:
        active: those in force, oldest first; empty costs a request nothing.
        clock_offset: seconds by which the server's wall clock is wrong.

    Thread safety: faults may be added and removed from any thread; `judge` belongs to the server's.

    Example:
        >>> from fastcore.testing.apiserver.api import API
        >>> api = API()
        >>> fault = api.faults.error(429, retry_after=1, verbs=("get",), count=1)
        >>> request = Request("GET", "/api/v1/namespaces/default")
        >>> api.handle(request, api.faults.judge(request)).code
        429
        >>> api.handle(request, api.faults.judge(request)).code
        200
    """

    api: "API"
    call: Callable[[Callable[[], Any]], Any] = field(default=lambda function: function())
    active: tuple[Fault, ...] = ()
    clock_offset: float = 0.0
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    # Faults that stay

    def latency(self, seconds: float, *, answer: bool = False, **scope: Any) -> Fault:
        """Requests take longer.

        Args:
            seconds: 0 < seconds <= 3600.
            answer: False: the request is handled that much later. True: it is handled at once and only the answer is
                late, so what a read says may have changed meanwhile, and a write is done before its client knows.
            **scope: see `Scope`.

        Raises:
            ValueError: a number is out of its range.
        """
        _check_seconds(seconds)
        detail = {"before": 0.0 if answer else seconds, "after": seconds if answer else 0.0}
        return self._add("latency", scope, detail)

    def lag(self, seconds: float, **scope: Any) -> Fault:
        """Events of watches that are opened from now on come up to `seconds` late (0 < seconds <= 3600), in order."""
        _check_seconds(seconds)
        return self._add("lag", {"verbs": ("watch",), **scope}, {"seconds": seconds})

    def error(self, code: int, *, retry_after: int | None = None, message: str = "", **scope: Any) -> Fault:
        """Requests are refused with a `Status`, and are not handled.

        Args:
            code: 400..599; the usual reason goes with it, such as "TooManyRequests" with 429.
            retry_after: whole seconds for the header `Retry-After`, >= 0; None: no such header.
            message: what the `Status` says.
            **scope: see `Scope`.

        Raises:
            ValueError: a number is out of its range.
        """
        if not 400 <= code <= 599:
            raise ValueError(f"code must be in 400..599, not {code}")
        if retry_after is not None and not 0 <= retry_after <= _LONGEST:
            raise ValueError(f"retry_after must be in 0..{_LONGEST:.0f} s, not {retry_after}")
        return self._add("error", scope, {"code": code, "retry_after": retry_after, "message": message})

    def reset(self, *, answer: bool = False, **scope: Any) -> Fault:
        """Connections are reset: before the request is handled, or (`answer`) after, so that its client cannot know."""
        return self._add("reset", scope, {"when": "answer" if answer else "request"})

    def stale(self, revision: int | None = None, **scope: Any) -> Fault:
        """A replica falls behind: it answers as of `revision` (None: now) until the fault is removed.

        That concerns what a real server answers from its cache: gets, lists and watches that name a resourceVersion,
        "0" included. Without one, reads are consistent, and so they are here. A list or get that asks for a later
        revision gets 504 "Too large resource version"; a watch sees nothing newer until the replica has caught up.

        Raises:
            ValueError: the revision lies in the future or has left the history.
        """
        checked = Scope(**scope)
        try:
            replica: Replica = self.call(lambda: Replica.of(self.api.store, revision))
        except StatusError as error:
            raise ValueError(f"no replica can be at revision {revision}: {error}") from None
        return self._append(lambda number: StaleReplica(self, number, checked, replica))

    def bookmarks(self, copies: int, **scope: Any) -> Fault:
        """Bookmarks are lost (`copies=0`) or come more than once (2..10); the one that ends initial events never is.

        The scope counts bookmarks of running watches, not requests.
        """
        if not 0 <= copies <= 10:
            raise ValueError(f"copies must be in 0..10, not {copies}")
        return self._add("bookmarks", scope, {"copies": copies})

    # Things that happen once

    def compact(self, revision: int | None = None) -> None:
        """Forget the history up to a revision (None: up to now): older watches, lists and tokens answer 410."""
        self.call(lambda: self.api.store.compact(revision))

    def expire_watches(self, kind: str = "", workspace: str = "") -> int:
        """Running watches get an ERROR event with code 410, and end; returns how many."""
        return self._each_watch(kind, workspace, lambda stream: stream.fail(expired("too old resource version")))

    def cut_watches(self, kind: str = "", workspace: str = "") -> int:
        """The connections of running watches are reset, and what waits in them is lost; returns how many."""
        return self._each_watch(kind, workspace, lambda stream: stream.end(drop=True))

    def shift_clock(self, seconds: float) -> None:
        """The server's wall clock jumps by `seconds`, also back; it shows in timestamps only, as on a real server."""
        if not math.isfinite(seconds):
            raise ValueError(f"seconds must be finite, not {seconds}")
        self.clock_offset += seconds

    # What the server asks

    def judge(self, request: Request) -> Verdict | None:
        """What is to happen to a request, None if nothing; counts as one request of every scope that matches."""
        if not self.active:
            return None
        verdict: Verdict | None = None
        call = Call.of(request)
        for fault in self.active:
            if fault.kind != "bookmarks" and fault.dice.hit(call):
                verdict = verdict or Verdict()
                fault.apply(verdict)
        return verdict

    def copies(self, stream: "WatchStream") -> int:
        """How often a bookmark is to be sent to a watch."""
        for fault in self.active:
            if fault.kind == "bookmarks" and fault.dice.hit(_call_of(stream)):
                copies: int = fault.detail["copies"]
                return copies
        return 1

    def remove(self, number: int) -> bool:
        """End a fault; whether it was in force."""
        with self._lock:
            found = [fault for fault in self.active if fault.id == number]
            self.active = tuple(fault for fault in self.active if fault.id != number)
        for fault in found:
            self.call(fault.released)
        return bool(found)

    def clear(self) -> None:
        """End every fault; the clock is right again."""
        with self._lock:
            ended, self.active = self.active, ()
            self.clock_offset = 0.0
        for fault in ended:
            self.call(fault.released)

    def _add(self, kind: str, scope: dict[str, Any], detail: dict[str, Any]) -> Fault:
        checked = Scope(**scope)
        return self._append(lambda number: Fault(self, number, kind, checked, detail))

    def _append(self, make: Callable[[int], Fault]) -> Fault:
        with self._lock:
            self._number += 1
            fault = make(self._number)
            # A new tuple, so that a request that is being judged sees the old set or the new one.
            self.active = (*self.active, fault)
        return fault

    def _each_watch(self, kind: str, workspace: str, act: "Callable[[WatchStream], None]") -> int:
        scope = Scope(kind=kind, workspace=workspace)

        def run() -> int:
            chosen = [stream for stream in self.api.watches if scope.matches(_call_of(stream))]
            for stream in chosen:
                act(stream)
            return len(chosen)

        count: int = self.call(run)
        return count


def _call_of(stream: "WatchStream") -> Call:
    target = stream.target
    place = stream.workspace if stream.workspace is not None else WILDCARD
    return Call("watch", target.resource.group, target.resource.plural, "", place, target.namespace, target.name)


def _check_seconds(seconds: float) -> None:
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"seconds must be more than 0 and at most {_LONGEST:.0f}, not {seconds}")
