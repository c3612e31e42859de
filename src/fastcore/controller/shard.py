"""Sharding over replicas: every key belongs to one process of a group, and to no two at a time, whoever comes or goes.

Every replica has a Lease, its membership. One more Lease, the roster, lists the members, and its resourceVersion is the
epoch. Rendezvous hashing says whose a key is in an epoch. A replica that learns of a new epoch stops taking keys that
are not its own in it, waits for those that it still works on, and then writes the epoch into its Lease: it has drained.
It takes keys that are new to it only when every member of the epoch has drained for exactly this epoch.

docs/availability.md has the argument why no key ever has two owners; tests/controller/test_shard_model.py looks for
one, under pauses, crashes, lost requests and clocks that run at different rates.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from fastcore.clock import NS_PER_S, Clock, utc_now
from fastcore.controller.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from fastcore.controller.fence import lease_clock_ns
from fastcore.controller.lease import LeaseOptions, Leases, Sighting, Sleep, check_name, micro_time
from fastcore.controller.membership import Membership
from fastcore.controller.model import Request
from fastcore.controller.rendezvous import Member, key_hash, wins
from fastcore.controller.roster import GROUP_LABEL, Group, Roster, given_back, read_roster, uid_of, write_roster

log = logging.getLogger("fastcore.shard")

_HURRY = 4  # rounds a retry period while keys change hands


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding(LeaseOptions):
    """How a manager shares the keys with others.

    Args:
        group: name of the roster, the same for all who share: at most 63 lower-case letters, digits, "-" and ".".
        namespace, identity, lease_duration, renew_deadline, retry_period, release_on_exit, on_lost: as in
            `LeaseOptions`.

    Raises:
        ValueError: an argument outside its range, or timings that do not fit together (LE-2).
    """

    group: str

    def __post_init__(self) -> None:
        super(Sharding, self).__post_init__()  # the class that slots=True makes is another one
        check_name("group", self.group, 63)


class ShardMember:
    """One replica's place in a group.

    Args:
        leases: where the Leases are.
        options: group, timings and identity.
        running: the keys that are being worked on now.
        gained: called when keys may have become this replica's that were not: every object has to be looked at.
        clock: integer nanoseconds, of a clock that goes on while the machine sleeps.
        sleep: waits so many seconds.
        now: the time of day, for people who read the Leases.

    Attributes:
        group: its name.
        identity: of this replica.
        fence: lets writes out while the membership lasts.
        roster: the epoch that counts here; None before it has joined.
        handovers: epochs that have been settled.

    Complexity: one list of the group and one update a retry period; four times as many lists while keys change hands.
    Thread safety: `owns` may be called from any thread, the rest belongs to one event loop.
    """

    def __init__(
        self,
        leases: Leases,
        options: Sharding,
        *,
        running: Callable[[], Iterable[Request]],
        gained: Callable[[], None],
        clock: Clock = lease_clock_ns,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._membership = Membership(leases, options.group, options, clock=clock, sleep=sleep, now=now)
        self.group = options.group
        self.identity = self._membership.identity
        self.fence = self._membership.fence
        self.roster: Roster | None = None
        self.handovers = 0
        self._leases = leases
        self._options = options
        self._running = running
        self._gained = gained
        self._clock = clock
        self._now = now
        self._me = Member(self.identity)
        self._rivals: frozenset[Member] | None = None  # all whom a key's score has to beat; None: nothing is ours
        self._settled = 0  # epoch for which all members have drained
        self._sightings: dict[str, Sighting] = {}  # of the others' Leases, by uid
        self._vanished: dict[str, int] = {}  # when a Lease on the roster was first found missing, by uid

    def owns(self, request: Request) -> bool:
        """Whether a key is in this replica's hands now.

        Complexity: O(members).
        """
        rivals = self._rivals
        return rivals is not None and wins(self._me, rivals, key_hash(*request))

    @property
    def settled(self) -> bool:
        """Whether this replica has taken every key that is its own in the present epoch."""
        return self.roster is not None and self._settled == self.roster.epoch

    async def acquire(self) -> None:
        """Return once this replica is on the roster; it may have no keys yet.

        Raises:
            LeaseLost: its Lease was taken away meanwhile.
        """
        await self._membership.enter()
        log.info("%s is a member of shard group %s", self.identity, self.group)
        while True:
            await self._round()
            if self.roster is not None:
                return
            await self._membership.wait(self._options.retry_period / _HURRY)

    async def hold(self) -> None:
        """Stay a member until cancelled: renew, watch the others, hand over and take over.

        Raises:
            LeaseLost: the membership could not be kept.
        """
        period = self._options.retry_period
        while True:
            await self._membership.wait(period if self.settled else period / _HURRY)
            await self._round()

    async def release(self) -> None:
        """Leave: stop writing, and let the others have the keys. Only when no work is left (LE-7)."""
        self._rivals = None
        if not self._options.release_on_exit:
            self.fence.close("the process ends")
            return
        try:
            if await self._membership.leave():
                await self._agree(await self._look())  # the others would do it a little later
                log.info("%s has left shard group %s", self.identity, self.group)
        except ApiError as error:
            log.warning("%s was not released, it expires by itself: %s", self.fence.what, error)

    async def _round(self) -> None:
        """Look at the group once, and do what is to be done."""
        membership = self._membership
        try:
            await membership.renew_if_due()
            membership.check()
            group = await self._look()
            mine = group.members.get(self.identity)
            if mine is None or uid_of(mine) != membership.uid:
                membership.lose("it has been taken away or deleted")
            roster = await self._agree(group)
            membership.check()
            if roster is None:
                return
            self._adopt(roster)
            if membership.drained != roster.epoch and all(map(self.owns, self._running())):
                await membership.renew(drained=roster.epoch)
                membership.check()
            if membership.drained == roster.epoch and group.have_drained(roster.epoch, but=self.identity):
                self._settle(roster)
        except (AlreadyExistsError, ConflictError, NotFoundError) as error:
            log.debug("shard group %s: another was faster: %s", self.group, error)
        except ApiError as error:
            log.warning("shard group %s: %s", self.group, error)

    async def _look(self) -> Group:
        """The group now; Leases that have expired are taken away from their owners.

        That a Lease could be replaced in the version that was seen proves that its owner has not renewed it since: it
        has stopped writing, and it cannot come back (LE-3, LE-8).
        """
        patience = self._membership.patience
        group = Group.of(self.group, await self._leases.list(f"{GROUP_LABEL}={self.group}", patience))
        now = self._clock()
        before, self._sightings = self._sightings, {}
        for identity, lease in list(group.members.items()):
            uid = uid_of(lease)
            sighting = self._sightings[uid] = before.get(uid) or Sighting(self._options.lease_duration)
            sighting.look(lease, now)
            if identity != self.identity and sighting.expired(now):
                group.left.append(await self._leases.update(given_back(lease), patience))
                del group.members[identity]
                log.warning("shard group %s: %s has not renewed its Lease and is out", self.group, identity)
        return group

    async def _agree(self, group: Group) -> Roster | None:
        """The roster, if it lists exactly the members whose Leases are there; else have it do so.

        A roster that lists others never counts. Leases that were given back are deleted once they are off the roster.
        One that vanished otherwise may have an owner who does not know yet: it stays on the roster for as long as its
        owner may write.
        """
        members = group.uids()
        roster = None if group.roster is None else read_roster(group.roster)
        if roster is not None and roster.members == members:
            self._vanished.clear()
            for lease in group.left:
                await self._leases.delete(lease, self._membership.patience)
            return roster
        now = self._clock()
        accounted = {*members.values(), *map(uid_of, group.left)}
        missing = [uid for uid in (roster.members.values() if roster is not None else ()) if uid not in accounted]
        self._vanished = {uid: self._vanished.get(uid, now) for uid in missing}
        if any(now - since <= self._options.lease_duration * NS_PER_S for since in self._vanished.values()):
            return None
        spec = {"holderIdentity": self.identity, "renewTime": micro_time(self._now())}
        return await write_roster(self._leases, self.group, group.roster, members, spec, self._membership.patience)

    def _adopt(self, roster: Roster) -> None:
        """Keep what is ours in the new epoch, too; everything else is not handed out any more."""
        before = self.roster
        if before is not None and roster.epoch < before.epoch:
            self._membership.lose(f"its server has gone back from revision {before.epoch} to {roster.epoch}")
        if before is None or roster.epoch > before.epoch:
            self.roster = roster
            if self._rivals is not None:
                # Whoever wins among the members of all epochs since wins in each of them.
                self._rivals |= self._others(roster)
            log.info("shard group %s: epoch %d has %d members", self.group, roster.epoch, len(roster.members))

    def _settle(self, roster: Roster) -> None:
        """Take what is ours, now that every member has drained for this very epoch."""
        if self._settled == roster.epoch:
            return
        before, self._rivals = self._rivals, self._others(roster)
        self._settled = roster.epoch
        self.handovers += 1
        log.info("shard group %s: epoch %d is settled", self.group, roster.epoch)
        if before != self._rivals:
            self._gained()

    def _others(self, roster: Roster) -> frozenset[Member]:
        return frozenset(Member(identity) for identity in roster.members if identity != self.identity)
