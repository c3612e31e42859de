"""The members of a shard group as all of them see it: one Lease that lists them, whose resourceVersion is the epoch."""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fastcore.controller.lease import Leases, holder_of
from fastcore.controller.model import Resource, revision

GROUP_LABEL = "fastcore.dev/shard-group"
"""Label of every Lease of a group."""
MEMBERS_ANNOTATION = "fastcore.dev/members"
"""Of the roster: a JSON object of each member's identity and the uid of its Lease."""
DRAINED_ANNOTATION = "fastcore.dev/drained"
"""Of a member: the epoch for which it works on nothing that is not its own."""


class Roster(NamedTuple):
    """The members of one epoch.

    Args:
        epoch: resourceVersion of the roster's Lease: it only grows, even if somebody deletes the Lease.
        members: uid of each member's Lease, by identity.
    """

    epoch: int
    members: Mapping[str, str]


class Group(NamedTuple):
    """The Leases of a group, as of one moment.

    Args:
        roster: the roster's Lease, if there is one.
        members: the members' Leases, by identity.
        left: members' Leases that were given back, or taken away after they had expired.
    """

    roster: Resource | None
    members: dict[str, Resource]
    left: list[Resource]

    @classmethod
    def of(cls, name: str, leases: Iterable[Resource]) -> "Group":
        """Sort the Leases of the group `name`."""
        group = cls(None, {}, [])
        for lease in leases:
            if lease["metadata"]["name"] == name:
                group = group._replace(roster=lease)
            elif identity := holder_of(lease):
                group.members[identity] = lease
            else:
                group.left.append(lease)
        return group

    def uids(self) -> dict[str, str]:
        """What a roster of these members says."""
        return {identity: uid_of(lease) for identity, lease in self.members.items()}

    def have_drained(self, epoch: int, *, but: str) -> bool:
        """Whether every member except `but` has drained for exactly this epoch."""
        told = str(epoch)
        return all(
            (lease["metadata"].get("annotations") or {}).get(DRAINED_ANNOTATION) == told
            for identity, lease in self.members.items()
            if identity != but
        )


async def write_roster(
    leases: Leases, name: str, before: Resource | None, members: Mapping[str, str], spec: Resource, timeout: float
) -> Roster | None:
    """Have the roster list `members`, if it still is as `before` says.

    Args:
        leases: where it is.
        name: of the group.
        before: the roster's Lease as it was read; None creates it.
        members: uid of each member's Lease, by identity.
        spec: what people who read the Lease may like to know.
        timeout: seconds.

    Returns:
        The new roster.

    Raises:
        ApiError: it could not be written; ConflictError or AlreadyExistsError if somebody else has.
    """
    note = {MEMBERS_ANNOTATION: json.dumps(members, sort_keys=True)}
    if before is None:
        meta = {"namespace": leases.namespace, "name": name, "labels": {GROUP_LABEL: name}, "annotations": note}
        return read_roster(await leases.create({"metadata": meta, "spec": spec}, timeout))
    meta = before["metadata"]
    meta = {**meta, "annotations": {**(meta.get("annotations") or {}), **note}}
    return read_roster(
        await leases.update({**before, "metadata": meta, "spec": {**(before.get("spec") or {}), **spec}}, timeout)
    )


def read_roster(lease: Resource) -> Roster | None:
    """What a roster's Lease says, or None if it says nothing that makes sense."""
    epoch = revision(lease)
    try:
        members = json.loads((lease["metadata"].get("annotations") or {}).get(MEMBERS_ANNOTATION, ""))
    except ValueError:
        return None
    return Roster(epoch, members) if epoch is not None and isinstance(members, dict) else None


def given_back(lease: Resource) -> Resource:
    """A member's Lease as one that nobody holds any more.

    If the server takes it in place of the version that was seen, its owner has not renewed that since, and cannot.
    """
    return {**lease, "spec": {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}


def uid_of(lease: Resource) -> str:
    """Of a Lease's object."""
    uid: str = lease["metadata"]["uid"]
    return uid
