"""What leader election and sharding share: their timings, the calls they make, and what can be said of another's Lease.

Nobody here compares a time that another machine wrote with a clock of this one (LE-3). A holder counts from the moment
before it *sent* its last successful renewal; an observer counts from the moment at which it *saw* that renewal, which
is later. As the holder's patience (`renew_deadline`) is shorter than the observer's (`lease_duration`), the holder has
stopped before anybody takes over, as long as their clocks' rates differ by less than the ratio of the two.
"""

import math
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from fastcore.clock import NS_PER_S
from fastcore.controller.errors import DecodeError
from fastcore.controller.fence import Fence
from fastcore.controller.model import LEASE, Resource
from fastcore.controller.requester import Requester
from fastcore.errors import FastcoreError

Sleep = Callable[[float], Awaitable[None]]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_TYPE = {"apiVersion": LEASE.api_version, "kind": LEASE.kind}


class LeaseLost(FastcoreError, RuntimeError):
    """This process no longer holds the Lease that let it work: it has to stop at once (LE-6, CT-10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOptions:
    """Where a Lease is and how long it counts; what `LeaderElection` and `Sharding` have in common.

    Args:
        namespace: where the Lease is; None is the namespace of the configuration: the pod's, or the context's.
        identity: of this process among all; None is its host's name and a random part. Never the same for two.
        lease_duration: seconds without a renewal after which others take over; > `renew_deadline`, and >= 1, as
            Leases count whole seconds (parts are rounded up).
        renew_deadline: seconds after its last renewal until which this process writes; > 1.2 x `retry_period`.
        retry_period: seconds between two tries to get or to renew the Lease, > 0.
        release_on_exit: give the Lease back at an orderly end, so that others take over in about one retry period
            instead of a lease duration (LE-7). It is not given back while any work may still run.
        on_lost: "raise" lets `Manager.run` raise `LeaseLost`, so that the process ends and its supervisor starts it
            anew; "return" lets it return.

    Raises:
        ValueError: the three times do not fit together (LE-2), a text is empty, or `on_lost` is another word.
    """

    namespace: str | None = None
    identity: str | None = None
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    release_on_exit: bool = True
    on_lost: Literal["raise", "return"] = "raise"

    def __post_init__(self) -> None:
        if not 1 <= self.lease_duration < math.inf:
            raise ValueError(f"lease_duration must be >= 1 second and finite, not {self.lease_duration!r}")
        if not self.retry_period > 0:
            raise ValueError(f"retry_period must be > 0 seconds, not {self.retry_period!r}")
        if not self.renew_deadline > 1.2 * self.retry_period:
            raise ValueError(
                f"renew_deadline must be > 1.2 x retry_period ({self.retry_period!r} s), not {self.renew_deadline!r} s"
            )
        if not self.lease_duration > self.renew_deadline:
            raise ValueError(
                f"lease_duration must be > renew_deadline ({self.renew_deadline!r} s), not {self.lease_duration!r} s: "
                "others would take over before this process has stopped"
            )
        for name in ("namespace", "identity"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} must not be empty; None picks one")
        if self.on_lost not in ("raise", "return"):
            raise ValueError(f"on_lost must be 'raise' or 'return', not {self.on_lost!r}")


class Leases(Protocol):
    """The Leases of one namespace; `LeaseClient` for a server, something else in tests.

    Every call raises an `ApiError`, also when `timeout` seconds have passed: then nobody knows what has been done.
    """

    namespace: str

    async def get(self, name: str, timeout: float) -> Resource:
        """One Lease."""
        ...

    async def create(self, lease: Resource, timeout: float) -> Resource:
        """Create a Lease."""
        ...

    async def update(self, lease: Resource, timeout: float) -> Resource:
        """Replace the Lease of this resourceVersion."""
        ...

    async def delete(self, lease: Resource, timeout: float) -> None:
        """Delete this very Lease, of its uid and resourceVersion."""
        ...

    async def list(self, label_selector: str, timeout: float) -> list[Resource]:
        """The Leases with these labels, all as of one moment that is not earlier than the call."""
        ...


class LeaseClient:
    """The Leases of one namespace on a server. A failure is told and not retried: the loops around it do that, and
    each of their rounds counts.

    Args:
        requester: the way to the server; not a fenced one.
        namespace: of the Leases.

    Thread safety: use from one event loop.
    """

    def __init__(self, requester: Requester, namespace: str) -> None:
        self.namespace = namespace
        self._requester = requester

    async def get(self, name: str, timeout: float) -> Resource:
        """One Lease."""
        return _object(await self._call("GET", name, None, timeout))

    async def create(self, lease: Resource, timeout: float) -> Resource:
        """Create a Lease."""
        return _object(await self._call("POST", None, {**_TYPE, **lease}, timeout))

    async def update(self, lease: Resource, timeout: float) -> Resource:
        """Replace the Lease of this resourceVersion."""
        return _object(await self._call("PUT", lease["metadata"]["name"], {**_TYPE, **lease}, timeout))

    async def delete(self, lease: Resource, timeout: float) -> None:
        """Delete this very Lease, of its uid and resourceVersion."""
        meta = lease["metadata"]
        conditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        await self._call("DELETE", meta["name"], options, timeout)

    async def list(self, label_selector: str, timeout: float) -> list[Resource]:
        """The Leases with these labels; without a resourceVersion, so the server has to ask its quorum."""
        items = _object(await self._call("GET", None, None, timeout, labelSelector=label_selector)).get("items")
        return items or []

    async def _call(self, method: str, name: str | None, body: Resource | None, timeout: float, **params: str) -> bytes:
        path = LEASE.path(self.namespace, name)
        raw = None if body is None else msgspec.json.encode(body)
        return await self._requester.request(method, path, params=params, body=raw, timeout=timeout, retries=0)


class Mandate(Protocol):
    """What lets this process work for a time: the lead, or a share.

    Attributes:
        fence: refuses writes when the time is over.
    """

    fence: Fence

    async def acquire(self) -> None:
        """Return when the work may begin; waits for as long as that takes."""
        ...

    async def hold(self) -> None:
        """Keep the mandate until cancelled.

        Raises:
            LeaseLost: it could not be kept; the fence is closed already.
        """
        ...

    async def release(self) -> None:
        """Close the fence and let others take over at once. Only when no work is left (LE-7)."""
        ...


class Sighting:
    """A Lease as this process last saw it change, by its own clock (LE-3).

    Args:
        default_s: seconds that count if the Lease does not say how long it lasts.
    """

    __slots__ = ("_default_s", "_seen_ns", "_spec")

    def __init__(self, default_s: float) -> None:
        self._default_s = default_s
        self._spec: Mapping[str, Any] | None = None
        self._seen_ns = 0

    def look(self, lease: Mapping[str, Any], now_ns: int) -> None:
        """Note the Lease as it is, read from the server not later than `now_ns`."""
        spec = lease.get("spec") or {}
        if spec != self._spec:
            self._spec = spec
            self._seen_ns = now_ns

    def expired(self, now_ns: int) -> bool:
        """Whether a holder that renewed when this was seen last has had its time; True if nothing was ever seen."""
        if self._spec is None:
            return True
        seconds = self._spec.get("leaseDurationSeconds") or self._default_s
        return now_ns - self._seen_ns > seconds * NS_PER_S


def new_identity() -> str:
    """The host's name, which tells operators the pod, and a random part, which makes it unique."""
    return f"{socket.gethostname()[:180]}_{secrets.token_hex(8)}"


def check_name(what: str, name: str, longest: int) -> None:
    """Refuse what the API server would not take as the name of a Lease.

    Raises:
        ValueError: lower-case letters, digits, "-" and "." are allowed, and `longest` of them.
    """
    if len(name) > longest or not _NAME.fullmatch(name):
        raise ValueError(f"{what} must be 1 to {longest} lower-case letters, digits, '-' and '.', not {name!r}")


def holder_of(lease: Mapping[str, Any]) -> str:
    """Who holds a Lease; "" is nobody."""
    holder: str = (lease.get("spec") or {}).get("holderIdentity") or ""
    return holder


def micro_time(moment: datetime) -> str:
    """A time as Leases have it (LE-1).

    Args:
        moment: in UTC.
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _object(body: bytes) -> Resource:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise DecodeError(f"the answer is no JSON object: {error}") from error
