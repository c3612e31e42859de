"""One fault: which requests it hits, and what it does to them."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from fastcore.testing.apiserver.replica import Replica
from fastcore.testing.apiserver.scope import Dice, Scope
from fastcore.testing.apiserver.status import StatusError

if TYPE_CHECKING:
    from fastcore.testing.apiserver.faults import Faults

_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass
class Verdict:
    """What is to happen to one request; a carrier obeys it in this order.

    Attributes:
        delay: seconds to wait before the request is handled.
        reset: "request": break the connection off, the request is never handled; "answer": handle it, then break the
            connection off instead of answering; "": neither.
        error: the answer instead of handling it; `API.handle` gives it.
        replica: the stale replica that answers, if it is a read that a replica may answer; `API.handle` sees to it.
        answer_delay: seconds to wait between handling and answering.
        lag: seconds by which the events of this watch come late; the carrier keeps them back that long.
    """

    delay: float = 0.0
    reset: str = ""
    error: StatusError | None = None
    replica: Replica | None = None
    answer_delay: float = 0.0
    lag: float = 0.0


class Fault:
    """One fault that is in force until it is removed, is spent, or all are cleared.

    Also a context manager: `with faults.error(500): ...` removes it at the end.

    Attributes:
        id: its number, for the admin API.
        kind: "latency", "error", "reset", "stale", "bookmarks" or "lag".
        hits: requests (or bookmarks) that it has hit so far.
    """

    def __init__(self, owner: "Faults", number: int, kind: str, scope: Scope, detail: dict[str, Any]) -> None:
        self.id = number
        self.kind = kind
        self.scope = scope
        self.detail = detail
        self._owner = owner
        self.dice = Dice(scope)

    @property
    def hits(self) -> int:
        """Requests (or bookmarks) that it has hit so far."""
        return self.dice.hits

    def apply(self, verdict: Verdict) -> None:
        """Add what this fault does to what is to happen; of two that exclude each other the older one wins."""
        if self.kind == "latency":
            verdict.delay += self.detail["before"]
            verdict.answer_delay += self.detail["after"]
        elif self.kind == "lag":
            verdict.lag += self.detail["seconds"]
        elif verdict.error is None and not verdict.reset:
            if self.kind == "reset":
                verdict.reset = self.detail["when"]
            else:
                verdict.error = _error(self.detail)

    def released(self) -> None:
        """The fault is no longer in force."""

    def remove(self) -> None:
        """End the fault; harmless if it has ended."""
        self._owner.remove(self.id)

    def describe(self) -> dict[str, Any]:
        """The fault as the admin API shows it."""
        scope = {name: value for name, value in asdict(self.scope).items() if value != getattr(Scope, name)}
        return {"id": self.id, "fault": self.kind, **self.detail, **scope, "hits": self.hits, "spent": self.dice.spent}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class StaleReplica(Fault):
    """Reads that a cache may answer come from an old snapshot, and watches stand still there until this is removed."""

    def __init__(self, owner: "Faults", number: int, scope: Scope, replica: Replica) -> None:
        super().__init__(owner, number, "stale", scope, {"revision": replica.revision})
        self.replica = replica

    def apply(self, verdict: Verdict) -> None:
        """The oldest replica answers."""
        if verdict.replica is None:
            verdict.replica = self.replica

    def released(self) -> None:
        """The replica catches up: its watches get what they missed."""
        for stream in list(self._owner.api.watches):
            if stream.replica is self.replica:
                stream.catch_up()


def _error(detail: dict[str, Any]) -> StatusError:
    code, retry_after = detail["code"], detail["retry_after"]
    details = None if retry_after is None else {"retryAfterSeconds": retry_after}
    message = detail["message"] or f"the embedded API server was told to answer {code}"
    return StatusError(code, _REASONS.get(code, ""), message, details, retry_after)
