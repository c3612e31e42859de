"""Leader election: of all processes that ask for one Lease, one works at a time (LE-1 to LE-8).

The record and the rules are client-go's, so a Go program can stand for the same Lease. Beyond them: every write is
fenced by the local clock (LE-8), and a Lease that vanishes while its holder is within its time is not taken at once.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

from fastcore.clock import NS_PER_S, Clock, new_random, utc_now
from fastcore.controller.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from fastcore.controller.fence import Fence, lease_clock_ns
from fastcore.controller.lease import (
    LeaseLost,
    LeaseOptions,
    Leases,
    Sighting,
    Sleep,
    check_name,
    holder_of,
    micro_time,
    new_identity,
)
from fastcore.controller.model import Resource

log = logging.getLogger("fastcore.leader")

_JITTER = (1.0, 2.2)  # x retry_period between two tries to become the leader (LE-6)
_RELEASES = 5  # tries to give the Lease back


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElection(LeaseOptions):
    """How a manager stands for election.

    Args:
        name: of the Lease; None is the controller's name and "-leader", which only a manager of one controller has.
            Every replica has to use the same, in every release: two names are two leaders.
        namespace, identity, lease_duration, renew_deadline, retry_period, release_on_exit, on_lost: as in
            `LeaseOptions`.

    Raises:
        ValueError: an argument outside its range, or timings that do not fit together (LE-2).
    """

    name: str | None = None

    def __post_init__(self) -> None:
        super(LeaderElection, self).__post_init__()  # the class that slots=True makes is another one
        if self.name is not None:
            check_name("name", self.name, 253)


class LeaderElector:
    """Stands for one Lease, and renews it once it has it.

    Args:
        leases: where the Lease is.
        name: of the Lease.
        options: timings and identity.
        clock: integer nanoseconds, of a clock that goes on while the machine sleeps.
        sleep: waits so many seconds.
        random: for the jitter.
        now: the time of day, for people who read the Lease.

    Attributes:
        identity: what the Lease shows while this process leads.
        fence: lets writes out while it leads.
        leading: whether it leads, as far as it knows; `fence.check` knows better.
        holder: identity of the leader as last seen; "" is nobody.
        slowpath: renewals that could not be made without reading first (LE-5).

    Thread safety: belongs to one event loop.

    Example:
        elector = LeaderElector(LeaseClient(client, "default"), "web-leader", LeaderElection())
        await elector.acquire()
        keeping = asyncio.create_task(elector.hold())
    """

    def __init__(
        self,
        leases: Leases,
        name: str,
        options: LeaderElection,
        *,
        clock: Clock = lease_clock_ns,
        sleep: Sleep = asyncio.sleep,
        random: Random | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self.identity = options.identity or new_identity()
        self.fence = Fence(f"lease {leases.namespace}/{name}", clock=clock)
        self.leading = False
        self.holder = ""
        self.slowpath = 0
        self._leases = leases
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._random = random or new_random()
        self._now = now
        self._lease: Resource | None = None  # as the server answered last
        self._sighting = Sighting(options.lease_duration)
        self._unsure = False  # a write that would make us the holder got no answer: it may have been done

    async def acquire(self) -> None:
        """Return once this process leads; tries for as long as it takes. One term an elector: make a new one.

        Raises:
            LeaseLost: its term is over.
        """
        if self.fence.closed:
            raise LeaseLost(f"the term of {self.identity} is over: make a new elector")
        log.info("standing for %s as %s", self.fence.what, self.identity)
        while not await self._try():
            await self._sleep(self._options.retry_period * self._random.uniform(*_JITTER))
        log.info("leading: %s holds %s", self.identity, self.fence.what)

    async def hold(self) -> None:
        """Renew until cancelled.

        Raises:
            LeaseLost: somebody else leads, or no renewal succeeded within `renew_deadline`.
        """
        wait = self._options.retry_period
        while True:
            await self._sleep(min(wait, self.fence.remaining_ns() / NS_PER_S))
            if self.fence.remaining_ns() > 0:
                await self._try()
            if not self.leading:
                raise LeaseLost(f"{self.fence.what} is now held by {self.holder}: this process stops")
            if self.fence.remaining_ns() <= 0:
                self._step_down("it was not renewed in time")
                raise LeaseLost(
                    f"{self.fence.what} could not be renewed for {self._options.renew_deadline} s, the renew_deadline: "
                    "look at the API server and at what kept this process from running"
                )

    async def release(self) -> None:
        """Stop writing, and give the Lease back if this process has it, or may have it (LE-7).

        Call it when no work is left. What cannot be given back expires by itself.
        """
        self.fence.close("released")
        held, self.leading = self.leading or self._unsure, False
        if not (held and self._options.release_on_exit):
            return
        for _ in range(_RELEASES):
            try:
                lease = await self._leases.get(self.name, self._options.retry_period)
                if holder_of(lease) != self.identity:
                    return
                stamp = micro_time(self._now())
                given = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": stamp, "acquireTime": stamp}
                lease = {**lease, "spec": {**lease["spec"], **given}}
                await self._leases.update(lease, self._options.retry_period)
            except NotFoundError:
                return
            except ConflictError:
                continue
            except ApiError as error:
                log.warning("%s was not released, it expires by itself: %s", self.fence.what, error)
                return
            log.info("released %s", self.fence.what)
            return

    async def _try(self) -> bool:
        """One try to get or renew the Lease; False if that failed or it is another's."""
        try:
            if self.leading and self._lease is not None:
                try:
                    return await self._write(self._lease)
                except ApiError as error:
                    self.slowpath += 1
                    log.debug("renewing %s without reading it: %s", self.fence.what, error)
            return await self._read_and_write()
        except (ConflictError, AlreadyExistsError) as error:
            log.debug("another was faster to write %s: %s", self.fence.what, error)
        except ApiError as error:
            log.warning("%s: %s", self.fence.what, error)
        return False

    async def _read_and_write(self) -> bool:
        try:
            lease = await self._leases.get(self.name, self._patience())
        except NotFoundError:
            # Whoever held it may not have noticed yet that it is gone.
            if not self.leading and self.holder and not self._sighting.expired(self._clock()):
                return False
            return await self._write(None)
        now = self._clock()
        self._sighting.look(lease, now)
        self.holder = holder = holder_of(lease)
        if holder and holder != self.identity:
            self._unsure = False
            if self.leading:
                self._step_down(f"{holder} has it")
                return False
            if not self._sighting.expired(now):
                return False
        return await self._write(lease)

    async def _write(self, lease: Resource | None) -> bool:
        """Create the Lease, or write ourselves into it if it is still as `lease` says (LE-4)."""
        stamp = micro_time(self._now())
        before = (lease or {}).get("spec") or {}
        spec = {
            **before,  # also what we know nothing of, such as strategy and preferredHolder
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._options.lease_duration),
            "renewTime": stamp,
        }
        if lease is None:
            spec.update(acquireTime=stamp, leaseTransitions=0)
        elif before.get("holderIdentity") != self.identity:
            spec.update(acquireTime=stamp, leaseTransitions=(before.get("leaseTransitions") or 0) + 1)
        sent = self._clock()
        self._unsure = True
        if lease is None:
            meta = {"namespace": self._leases.namespace, "name": self.name}
            answer = await self._leases.create({"metadata": meta, "spec": spec}, self._patience())
        else:
            answer = await self._leases.update({**lease, "spec": spec}, self._patience())
        self._unsure = False
        self._lease = answer
        self._sighting.look(answer, self._clock())
        self.holder = self.identity
        # The time of sending: whoever judges us begins to count when the server has it, which is later (LE-8).
        in_time = self.fence.move(sent + round(self._options.renew_deadline * NS_PER_S))
        self.leading = self.leading or in_time
        return in_time

    def _patience(self) -> float:
        """Seconds that one request may take: two fit into the time that is left."""
        half = self._options.renew_deadline / 2
        left = self.fence.remaining_ns() / NS_PER_S
        return max(0.001, min(half, left)) if self.leading else half

    def _step_down(self, why: str) -> None:
        self.fence.close(why)
        self.leading = False
