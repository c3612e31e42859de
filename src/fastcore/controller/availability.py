"""What lets a manager's controllers work while other replicas of it run: the lead, a share of the keys, or nothing."""

import asyncio
from collections.abc import Iterable

from fastcore.controller.client import Client
from fastcore.controller.controller import Controller
from fastcore.controller.leader import LeaderElection, LeaderElector
from fastcore.controller.lease import LeaseClient, LeaseOptions, Mandate
from fastcore.controller.model import Request
from fastcore.controller.shard import Sharding, ShardMember
from fastcore.controller.workspace import Workspace


class Availability:
    """A manager's place among its replicas.

    Args:
        leader_election: one replica works at a time; True is `LeaderElection()`.
        sharding: all replicas work, each on its own keys.

    Attributes:
        elector: after `open`, if there is an election.
        member: after `open`, if keys are shared.

    Raises:
        ValueError: both are asked for.

    Thread safety: belongs to one event loop.
    """

    def __init__(self, leader_election: bool | LeaderElection | None, sharding: Sharding | None) -> None:
        if leader_election is True:
            leader_election = LeaderElection()
        self._election = leader_election or None
        if self._election is not None and sharding is not None:
            raise ValueError("leader_election and sharding exclude each other: one replica works, or all of them do")
        self._sharding = sharding
        self._controllers: list[Controller] = []
        self._shows: set[asyncio.Task[None]] = set()
        self.elector: LeaderElector | None = None
        self.member: ShardMember | None = None

    @property
    def options(self) -> LeaseOptions | None:
        """Of the election or the sharding; None if this replica is alone."""
        return self._election or self._sharding

    @property
    def mandate(self) -> Mandate | None:
        """What the controllers wait for; None if they need not."""
        return self.elector or self.member

    def open(self, client: Client, controllers: Iterable[Controller]) -> None:
        """Make ready to ask for the mandate.

        Args:
            client: the way to the Leases, with connections of its own: a renewal must not wait behind work.
            controllers: those that need the mandate are told what they own.

        Raises:
            ValueError: the Lease's name is left to be made up, and there is more than one controller.
        """
        self._controllers = [controller for controller in controllers if controller.options.needs_leader_election]
        options = self.options
        if options is None:
            return
        leases = LeaseClient(client, options.namespace or client.config.namespace)
        if self._election is not None:
            self.elector = LeaderElector(leases, self._election.name or self._lease_name(), self._election)
        elif self._sharding is not None:
            self.member = ShardMember(leases, self._sharding, running=self._running, gained=self._gained)
            for controller in self._controllers:
                controller.owns = self.member.owns

    def fenced(self, workspace: Workspace, controller: Controller) -> Workspace:
        """`workspace` as `controller` may use it: nothing is written when the mandate is over (LE-8)."""
        mandate = self.mandate
        if mandate is None or not controller.options.needs_leader_election:
            return workspace
        client = workspace.client.fenced(mandate.fence.check)
        return Workspace(workspace.name, client, workspace.namespace, workspace.wildcard)

    async def close(self) -> None:
        """Give the mandate back, or if work may still be running in threads, stop its writes and let it expire."""
        for task in self._shows:
            task.cancel()
        await asyncio.gather(*self._shows, return_exceptions=True)
        mandate = self.mandate
        if mandate is None:
            return
        if any(controller.left_behind for controller in self._controllers):
            mandate.fence.close("the process ends with work left behind in threads")
            return
        await mandate.release()

    def _lease_name(self) -> str:
        names = [controller.name for controller in self._controllers]
        if len(names) != 1:
            raise ValueError(
                f"a manager of {len(names)} controllers needs LeaderElection(name=...): a name made of theirs would "
                "change with them, and then the replicas of two releases would both lead"
            )
        return f"{names[0]}-leader"

    def _running(self) -> Iterable[Request]:
        for controller in self._controllers:
            yield from controller.reconciling()

    def _gained(self) -> None:
        for controller in self._controllers:
            task = asyncio.get_running_loop().create_task(controller.show_again(), name=f"{controller.name}-gained")
            self._shows.add(task)
            task.add_done_callback(self._shows.discard)
