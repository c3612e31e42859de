"""A search for a key with two owners: real shard members on a simulated server, network and clocks, in virtual time."""

from typing import Any

import pytest

from controller.lease_world import Process, World
from fastcore.controller.lease import LeaseLost
from fastcore.controller.model import Request
from fastcore.controller.roster import MEMBERS_ANNOTATION
from fastcore.controller.shard import Sharding, ShardMember

GROUP = "web"
KEYS = [Request("default", "shop", f"k{i}") for i in range(24)]
FEW = KEYS[:8]  # where each of many steps looks at all of them


class Replica:
    """A process with a shard member, and reconciles that take their time."""

    def __init__(self, world: World, name: str, rate: float = 1.0, **options: Any) -> None:
        self.world = world
        self.process = Process(world, name, rate)
        self.running: set[Request] = set()
        self.gains = 0
        self.member = ShardMember(
            self.process.leases,
            Sharding(group=GROUP, identity=name, **options),
            running=lambda: self.running,
            gained=self._gained,
            clock=self.process.clock,
            sleep=self.process.sleep,
            now=self.process.now,
        )

    def start(self) -> "Replica":
        self.process.run(self._work())
        return self

    async def _work(self) -> None:
        await self.member.acquire()
        await self.member.hold()

    def _gained(self) -> None:
        self.gains += 1

    def reconcile(self, key: Request, seconds: float) -> None:
        """Begin one if the key is ours; it ends when the process runs, not while it is paused."""
        if self.member.owns(key) and not self.process.paused and key not in self.running:
            self.running.add(key)
            self.world.after(seconds, lambda: self._end(key))

    def _end(self, key: Request) -> None:
        if self.process.paused:
            self.process.waiting.append(lambda: self.running.discard(key))
        else:
            self.running.discard(key)

    def holds(self, key: Request) -> bool:
        """Whether this process may still write for `key`."""
        if self.process.dead or self.member.fence.remaining_ns() <= 0:
            return False
        return key in self.running or self.member.owns(key)

    def leave(self) -> None:
        """An orderly end: all reconciles have come to theirs."""
        self.running.clear()
        self.process.stop()
        self.process.run(self.member.release())


def owners(replicas: list[Replica], key: Request) -> list[str]:
    return [replica.process.name for replica in replicas if replica.holds(key)]


def one_owner_at_most(world: World, replicas: list[Replica]) -> None:
    for key in FEW:
        names = owners(replicas, key)
        assert len(names) <= 1, f"{names} have {key} at {world.now_ns / 1e9:.3f} s"


def started(world: World, count: int, seconds: float = 20.0) -> list[Replica]:
    replicas = [Replica(world, f"r{i}").start() for i in range(count)]
    world.check = lambda: one_owner_at_most(world, replicas)
    world.run(seconds)
    return replicas


def assert_shared(replicas: list[Replica]) -> None:
    for key in KEYS:
        assert len(owners(replicas, key)) == 1, key


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_every_key_gets_an_owner(count: int) -> None:
    replicas = started(World(), count)
    assert_shared(replicas)
    assert all(any(replica.holds(key) for key in KEYS) for replica in replicas)
    assert all(replica.member.settled for replica in replicas)


def test_who_comes_takes_only_its_own() -> None:
    """Nothing moves between those who were there, and they go on with what they keep."""
    world = World()
    replicas = started(world, 3)
    before = {key: owners(replicas, key)[0] for key in KEYS}
    gains = [replica.gains for replica in replicas]
    replicas.append(Replica(world, "new").start())
    world.run(5)
    after = {key: owners(replicas, key)[0] for key in KEYS}
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved
    assert {after[key] for key in moved} == {"new"}
    assert [replica.gains for replica in replicas[:3]] == gains


def test_a_running_reconcile_holds_its_key_back() -> None:
    world = World()
    replicas = started(world, 2)
    coming = Replica(world, "r2")
    before = {key: owners(replicas, key)[0] for key in KEYS}
    lasting = [replica for replica in replicas for key in KEYS if before[key] == replica.process.name]
    for key, replica in zip(KEYS, lasting, strict=True):
        by_name = next(r for r in replicas if r.process.name == before[key])
        assert replica in replicas
        by_name.reconcile(key, 60)
    replicas.append(coming.start())
    world.run(50)
    assert not any(coming.member.owns(key) for key in KEYS)
    for replica in replicas[:2]:  # no longer handed out, though still worked on
        assert any(key in replica.running and not replica.member.owns(key) for key in KEYS)
    world.run(20)
    assert any(coming.member.owns(key) for key in KEYS)
    assert_shared(replicas)


def test_who_leaves_in_order_is_followed_within_a_few_retry_periods() -> None:
    """LE-7."""
    world = World()
    replicas = started(world, 3)
    replicas[0].leave()
    world.run(5)
    assert_shared(replicas)
    world.run(5)
    assert len(world.server.leases) == 3  # two members and the roster: what was left is cleared away


def test_who_is_killed_is_followed_after_a_lease_duration() -> None:
    """LE-3."""
    world = World()
    replicas = started(world, 3)
    replicas[0].process.kill()
    world.run(14)
    assert any(not owners(replicas, key) for key in KEYS)
    world.run(12)
    assert_shared(replicas)
    assert len(world.server.leases) == 3


def test_who_wakes_up_late_is_out() -> None:
    """LE-8."""
    world = World()
    replicas = started(world, 2)
    replicas[0].process.paused = True
    world.run(40)
    assert all(owners(replicas, key) == ["r1"] for key in KEYS)
    replicas[0].process.unpause()
    world.run(40)
    assert isinstance(replicas[0].process.error, LeaseLost)
    assert all(owners(replicas, key) == ["r1"] for key in KEYS)


def test_who_was_evicted_is_out_even_with_time_left() -> None:
    """LE-6."""
    world = World()
    replicas = started(world, 2)
    name = next(n for n, x in world.server.leases.items() if x["spec"]["holderIdentity"] == "r0" and n != GROUP)
    del world.server.leases[name]
    world.run(30)
    assert "taken away or deleted" in str(replicas[0].process.error)
    assert all(owners(replicas, key) == ["r1"] for key in KEYS)


@pytest.mark.parametrize("what", ["deleted", "emptied", "junk"])
def test_a_roster_that_somebody_spoils_is_mended(what: str) -> None:
    world = World()
    replicas = started(world, 3)
    if what == "deleted":
        del world.server.leases[GROUP]
    else:
        roster = world.server.get(GROUP)
        roster["metadata"]["annotations"][MEMBERS_ANNOTATION] = "{}" if what == "emptied" else "]"
        world.server.update(roster)
    world.run(10)
    assert_shared(replicas)
    assert all(replica.process.error is None for replica in replicas)


def test_a_server_that_goes_back_in_time_ends_the_membership() -> None:
    """A restored backup: what was agreed on may not be there any more."""
    world = World()
    replicas = started(world, 1)
    roster = world.server.leases[GROUP]
    roster["metadata"]["resourceVersion"] = "50"
    world.run(10)
    assert "gone back" in str(replicas[0].process.error)


def test_an_identity_that_is_still_in_use_is_waited_for() -> None:
    """A StatefulSet's pod that comes back under its name: its former self may not know yet that it is dead."""
    world = World()
    replicas = started(world, 2)
    replicas[0].process.kill()
    replicas.append(Replica(world, "r0").start())
    world.run(13)
    assert replicas[2].member.roster is None
    world.run(20)
    assert_shared(replicas)


def search(seed: int) -> list[Replica]:
    """A run that checks after each step; the replicas after two minutes of peace at its end."""
    world = World(seed, faulty=True)
    random = world.random
    replicas = [Replica(world, f"r{i}", random.uniform(0.85, 1.15)).start() for i in range(random.randrange(2, 5))]
    everyone = list(replicas)
    world.check = lambda: one_owner_at_most(world, everyone)
    for step in range(50):
        index = random.randrange(len(replicas))
        replica = replicas[index]
        action = random.random()
        if action < 0.2:
            replica.process.paused = True
        elif action < 0.45:
            replica.process.unpause()
        elif action < 0.53:
            replica.process.kill()
        elif action < 0.6 and not replica.process.paused and not replica.process.ended:
            replica.leave()
        elif action < 0.64:
            world.down = not world.down
        for key in random.sample(FEW, 4):
            random.choice(replicas).reconcile(key, random.uniform(0.1, 8))
        if replica.process.dead or (replica.process.ended and not replica.process.paused):
            replicas[index] = Replica(world, f"s{step}", random.uniform(0.85, 1.15)).start()
            everyone.append(replicas[index])
        world.run(random.choice([0.3, 2, 9]))
    world.faulty = world.down = False
    for replica in everyone:
        replica.process.unpause()
    world.run(40)
    if all(replica.process.ended for replica in everyone):
        everyone.append(Replica(world, "last").start())
    world.run(120)
    return everyone


@pytest.mark.parametrize("seed", range(30))
def test_no_key_ever_has_two_owners_and_each_has_one_at_last(seed: int) -> None:
    """LE-3, LE-8: pauses, crashes, partitions, lost and late requests, clocks of different rates, slow reconciles."""
    everyone = search(seed)
    assert [len(owners(everyone, key)) for key in KEYS] == [1] * len(KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1300))
def test_no_key_ever_has_two_owners_in_many_runs(seed: int) -> None:
    """LE-3, LE-8."""
    everyone = search(seed)
    assert [len(owners(everyone, key)) for key in KEYS] == [1] * len(KEYS)
