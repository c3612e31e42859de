"""A replica's own Lease in its shard group: how it gets one, keeps it, and gives it back."""

import logging
import math
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import NoReturn

from fastcore.clock import NS_PER_S, Clock
from fastcore.controller.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from fastcore.controller.fence import Fence
from fastcore.controller.lease import (
    LeaseLost,
    LeaseOptions,
    Leases,
    Sighting,
    Sleep,
    holder_of,
    micro_time,
    new_identity,
)
from fastcore.controller.model import Resource
from fastcore.controller.roster import DRAINED_ANNOTATION, GROUP_LABEL, given_back, uid_of

log = logging.getLogger("fastcore.shard")

_TRIES = 3


class Membership:
    """One Lease that only its owner renews. Unlike a leader's it is never taken over, and never made anew: who has lost
    it is out for good (so a process that wakes up late finds that out, and not that it may go on).

    Args:
        leases: where the Lease is.
        group: the shard group.
        options: timings and identity.
        clock, sleep, now: as for `ShardMember`.

    Attributes:
        identity: of this replica.
        fence: lets writes out while the membership lasts.
        drained: the epoch for which the Lease says that we have drained.
        uid: of the Lease.
    """

    def __init__(
        self,
        leases: Leases,
        group: str,
        options: LeaseOptions,
        *,
        clock: Clock,
        sleep: Sleep,
        now: Callable[[], datetime],
    ) -> None:
        self.identity = options.identity or new_identity()
        self._name = f"{group}-{blake2b(self.identity.encode(), digest_size=8).hexdigest()}"
        self.fence = Fence(f"lease {leases.namespace}/{self._name} of shard group {group}", clock=clock)
        self.drained = 0
        self._leases = leases
        self._group = group
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._lease: Resource | None = None  # as the server answered last
        self._renewed_ns = 0

    @property
    def uid(self) -> str:
        """Of the Lease; "" before there is one."""
        return "" if self._lease is None else uid_of(self._lease)

    @property
    def patience(self) -> float:
        """Seconds that one request may take: several fit into the time until the fence closes."""
        return self._options.renew_deadline / 4

    async def enter(self) -> None:
        """Create the Lease. One of the same identity, of a process before us, has to expire first."""
        spec = self._spec()
        meta = {"namespace": self._leases.namespace, "name": self._name, "labels": {GROUP_LABEL: self._group}}
        lease = {"metadata": meta, "spec": {**spec, "acquireTime": spec["renewTime"], "leaseTransitions": 0}}
        before = Sighting(self._options.lease_duration)
        while self._lease is None:
            sent = self._clock()
            try:
                self._lease = await self._leases.create(lease, self.patience)
                self._extend(sent)
            except AlreadyExistsError:
                await self._outlast(before)
            except ApiError as error:
                log.warning("%s: %s", self.fence.what, error)
            if self._lease is None:
                await self._sleep(self._options.retry_period)
        while not self.fence.remaining_ns():  # this process was stopped just after it had sent the request
            await self.renew()

    async def renew(self, drained: int | None = None) -> None:
        """Renew the Lease and tell for which epoch we have drained; without reading it first, if that works (LE-5).

        Raises:
            LeaseLost: it is not ours any more, or the time is over.
        """
        lease = self._lease
        for _ in range(_TRIES):
            if lease is None:
                self.lose("it has been taken away or deleted")
            meta = lease["metadata"]
            notes = dict(meta.get("annotations") or {})
            if drained is not None:
                notes[DRAINED_ANNOTATION] = str(drained)
            spec = {**lease["spec"], **self._spec()}
            sent = self._clock()
            try:
                lease = {**lease, "metadata": {**meta, "annotations": notes}, "spec": spec}
                self._lease = await self._leases.update(lease, self.patience)
            except ConflictError:
                # Our last update was done but its answer lost, or somebody has edited the Lease.
                lease = await self._reread()
                continue
            except NotFoundError:
                self.lose("it has been taken away or deleted")
            except ApiError as error:
                log.warning("%s: %s", self.fence.what, error)
                return
            self._extend(sent)
            if drained is not None:
                self.drained = drained
            return

    async def renew_if_due(self) -> None:
        """Renew, unless that has just been done."""
        if self._clock() - self._renewed_ns >= 0.75 * self._options.retry_period * NS_PER_S:
            await self.renew()

    async def wait(self, seconds: float) -> None:
        """Sleep, but no longer than the membership lasts.

        Raises:
            LeaseLost: it is over.
        """
        await self._sleep(min(seconds, self.fence.remaining_ns() / NS_PER_S))
        self.check()

    def check(self) -> None:
        """Return if the membership lasts.

        Raises:
            LeaseLost: it does not.
        """
        if self.fence.remaining_ns() <= 0:
            self.lose(
                f"it was not renewed for {self._options.renew_deadline} s, the renew_deadline: look at the API server "
                "and at what kept this process from running"
            )

    def lose(self, why: str) -> NoReturn:
        """Close the fence.

        Raises:
            LeaseLost: always.
        """
        self.fence.close(why)
        raise LeaseLost(f"{self.fence.what}: {why}")

    async def leave(self) -> bool:
        """Close the fence and write into the Lease that nobody holds it (LE-7); False if it was lost before."""
        self.fence.close("released")
        for _ in range(_TRIES if self._lease is not None else 0):
            lease = await self._reread()
            if lease is None:
                return False
            try:
                await self._leases.update(given_back(lease), self.patience)
                return True
            except ConflictError:
                continue
        return False

    async def _reread(self) -> Resource | None:
        """The Lease, if it is still ours."""
        try:
            lease = await self._leases.get(self._name, self.patience)
        except NotFoundError:
            return None
        return lease if uid_of(lease) == self.uid and holder_of(lease) == self.identity else None

    async def _outlast(self, before: Sighting) -> None:
        """Take the Lease that has our name from its holder once it has expired, and then out of the way."""
        try:
            lease = await self._leases.get(self._name, self.patience)
            before.look(lease, self._clock())
            if not holder_of(lease):
                await self._leases.delete(lease, self.patience)
            elif before.expired(self._clock()):
                await self._leases.update(given_back(lease), self.patience)
            else:
                log.warning("another process has the identity %r: waiting until it is gone", self.identity)
        except ApiError as error:
            log.debug("%s: %s", self.fence.what, error)

    def _extend(self, sent: int) -> None:
        if self.fence.move(sent + round(self._options.renew_deadline * NS_PER_S)):
            self._renewed_ns = sent

    def _spec(self) -> Resource:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._options.lease_duration),
            "renewTime": micro_time(self._now()),
        }
