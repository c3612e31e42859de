"""Leader election: the rules one by one, and a search for two leaders in virtual time."""

from typing import Any

import pytest

from controller.lease_world import Process, World
from fastcore.controller.errors import ApiError
from fastcore.controller.fence import Fence, FencedError, lease_clock_ns
from fastcore.controller.leader import LeaderElection, LeaderElector
from fastcore.controller.lease import LeaseLost, Sighting, new_identity
from fastcore.testing.clock import VirtualClock

NAME = "web-leader"


class Candidate:
    """A process with an elector; `start` has it stand, lead and renew."""

    def __init__(self, world: World, name: str, rate: float = 1.0, **options: Any) -> None:
        self.process = Process(world, name, rate)
        self.elector = LeaderElector(
            self.process.leases,
            NAME,
            LeaderElection(identity=name, **options),
            clock=self.process.clock,
            sleep=self.process.sleep,
            random=world.random,
            now=self.process.now,
        )

    def start(self) -> "Candidate":
        self.process.run(self._work())
        return self

    async def _work(self) -> None:
        await self.elector.acquire()
        await self.elector.hold()

    def may_write(self) -> bool:
        return not self.process.dead and self.elector.fence.remaining_ns() > 0

    def leave(self) -> None:
        self.process.stop()
        self.process.run(self.elector.release())


def lease(world: World) -> dict[str, Any]:
    return world.server.leases[NAME]


def spec(world: World) -> dict[str, Any]:
    found: dict[str, Any] = lease(world)["spec"]
    return found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lease_duration": 10.0}, r"lease_duration must be > renew_deadline \(10.0 s\), not 10.0 s"),
        ({"renew_deadline": 2.4}, r"renew_deadline must be > 1.2 x retry_period \(2.0 s\), not 2.4 s"),
        ({"retry_period": 0}, "retry_period must be > 0 seconds, not 0"),
        ({"lease_duration": float("inf")}, "finite"),
        ({"lease_duration": 0.5, "renew_deadline": 0.3, "retry_period": 0.1}, "must be >= 1 second"),
        ({"identity": ""}, "identity must not be empty"),
        ({"namespace": ""}, "namespace must not be empty"),
        ({"name": "Web"}, "name must be 1 to 253 lower-case letters"),
        ({"on_lost": "sleep"}, "on_lost must be 'raise' or 'return', not 'sleep'"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    """LE-2."""
    with pytest.raises(ValueError, match=message):
        LeaderElection(**options)


def test_the_defaults_are_those_of_client_go() -> None:
    """LE-2."""
    options = LeaderElection()
    assert (options.lease_duration, options.renew_deadline, options.retry_period) == (15.0, 10.0, 2.0)


def test_a_lease_that_is_not_there_is_created() -> None:
    """LE-1, LE-4."""
    world = World()
    a = Candidate(world, "a").start()
    world.run(0.1)
    assert a.elector.leading
    found = spec(world)
    assert found["holderIdentity"] == "a"
    assert found["leaseDurationSeconds"] == 15
    assert found["leaseTransitions"] == 0
    assert found["acquireTime"] == found["renewTime"]
    assert found["renewTime"].startswith("2020-01-")
    assert len(found["renewTime"]) == len("2020-01-01T00:00:00.000000Z")


def test_parts_of_a_second_are_rounded_up() -> None:
    """LE-1: others may wait longer than asked for, never shorter."""
    world = World()
    Candidate(world, "a", lease_duration=15.2).start()
    world.run(0.1)
    assert spec(world)["leaseDurationSeconds"] == 16


def test_the_leader_renews_without_reading() -> None:
    """LE-4, LE-5: one PUT each retry period; acquireTime and leaseTransitions stay."""
    world = World()
    a = Candidate(world, "a").start()
    world.run(0.1)
    before, a.process.calls = dict(spec(world)), []
    world.run(20)
    assert a.process.calls == ["update"] * 10
    assert a.elector.slowpath == 0
    after = spec(world)
    assert after["renewTime"] > before["renewTime"]
    assert {**after, "renewTime": 0} == {**before, "renewTime": 0}


def test_a_renewal_that_finds_another_version_reads_first() -> None:
    """LE-5: the slow path, counted. LE-1: what others have written stays, also of coordinated election."""
    world = World()
    a = Candidate(world, "a").start()
    world.run(0.1)
    edited = world.server.get(NAME)
    edited["spec"].update(strategy="OldestEmulationVersion", preferredHolder="z")
    edited["metadata"]["labels"] = {"team": "x"}
    world.server.update(edited)
    a.process.calls = []
    world.run(2.1)
    assert a.process.calls == ["update", "get", "update"]
    assert a.elector.slowpath == 1
    assert a.elector.leading
    assert spec(world)["strategy"] == "OldestEmulationVersion"
    assert spec(world)["preferredHolder"] == "z"
    assert lease(world)["metadata"]["labels"] == {"team": "x"}


def test_a_dead_leader_is_followed_when_its_time_is_over_here() -> None:
    """LE-3, LE-4: by the observer's clock, whatever the times in the Lease say; the transition is counted."""
    world = World()
    a = Candidate(world, "a").start()
    world.run(0.1)
    first = dict(spec(world))
    stamped = world.server.get(NAME)
    stamped["spec"].update(renewTime="1999-01-01T00:00:00.000000Z", acquireTime="1999-01-01T00:00:00.000000Z")
    a.process.kill()
    world.server.update(stamped)
    b = Candidate(world, "b").start()
    world.run(14.9)
    assert not b.elector.leading
    assert b.elector.holder == "a"
    world.run(5)
    assert b.elector.leading
    found = spec(world)
    assert found["holderIdentity"] == "b"
    assert found["leaseTransitions"] == first["leaseTransitions"] + 1
    assert found["acquireTime"] == found["renewTime"] or found["acquireTime"] < found["renewTime"]
    assert found["acquireTime"] > "1999-01-02"


def test_a_fast_wall_clock_takes_nothing_over() -> None:
    """LE-3: a Lease that is renewed every other second is never expired, however old its stamps look."""
    world = World()
    Candidate(world, "a").start()
    b = Candidate(world, "b").start()
    world.run(200)
    assert not b.elector.leading
    assert spec(world)["leaseTransitions"] == 0


def test_the_lease_itself_says_how_long_it_lasts() -> None:
    """LE-3: the record's leaseDurationSeconds counts, ours only where it has none."""
    clock = VirtualClock()
    seen = Sighting(15.0)
    assert seen.expired(clock())
    seen.look({"spec": {"holderIdentity": "x", "leaseDurationSeconds": 40}}, clock())
    clock.advance(39)
    assert not seen.expired(clock())
    clock.advance(2)
    assert seen.expired(clock())
    seen.look({"spec": {"holderIdentity": "x"}}, clock())
    clock.advance(14)
    assert not seen.expired(clock())
    clock.advance(2)
    assert seen.expired(clock())


def test_candidates_wait_with_jitter_and_the_leader_without() -> None:
    """LE-6."""
    world = World(3)
    a = Candidate(world, "a").start()
    world.run(0.1)
    b = Candidate(world, "b").start()
    waits: dict[str, list[float]] = {"a": [], "b": []}
    for candidate in (a, b):
        sleep = candidate.elector._sleep

        def noting(seconds: float, *, sleep: Any = sleep, name: str = candidate.process.name) -> Any:
            waits[name].append(seconds)
            return sleep(seconds)

        candidate.elector._sleep = noting
    world.run(200)
    assert {round(wait, 3) for wait in waits["a"]} == {2.0}
    assert all(2.0 <= wait < 4.4 for wait in waits["b"])
    assert max(waits["b"]) - min(waits["b"]) > 1.0


def test_a_leader_that_cannot_renew_stops_at_the_renew_deadline() -> None:
    """LE-6, LE-8."""
    world = World()
    a = Candidate(world, "a").start()
    world.run(1)
    world.down = True
    world.run(8.9)
    assert a.may_write()
    world.run(0.2)
    assert not a.may_write()
    assert isinstance(a.process.error, LeaseLost)
    assert "could not be renewed for 10.0 s" in str(a.process.error)
    with pytest.raises(FencedError, match="not held any more"):
        a.elector.fence.check()


def test_a_leader_that_sees_another_stops_at_once() -> None:
    """LE-6."""
    world = World()
    a = Candidate(world, "a").start()
    world.run(1)
    stolen = world.server.get(NAME)
    stolen["spec"]["holderIdentity"] = "thief"
    world.server.update(stolen)
    world.run(1.1)
    assert not a.may_write()
    assert "now held by thief" in str(a.process.error)


def test_release_lets_the_next_one_take_over_within_a_retry_period() -> None:
    """LE-7: empty holder, one second, transitions kept; the next takes it at its next try."""
    world = World()
    a = Candidate(world, "a").start()
    b = Candidate(world, "b").start()
    world.run(10)
    a.leave()
    world.run(0.01)
    found = spec(world)
    assert (found["holderIdentity"], found["leaseDurationSeconds"], found["leaseTransitions"]) == ("", 1, 0)
    assert not a.may_write()
    world.run(4.4)
    assert b.elector.leading
    assert spec(world)["leaseTransitions"] == 1


def test_release_is_tried_again_on_a_conflict() -> None:
    """LE-7."""
    world = World()
    a = Candidate(world, "a").start()
    world.run(1)
    update, conflicts = world.server.update, [1, 2]

    def busy(changed: dict[str, Any]) -> dict[str, Any]:
        if conflicts.pop():
            edited = world.server.get(NAME)
            edited["metadata"]["labels"] = {"n": str(len(conflicts))}
            update(edited)
        return update(changed)

    conflicts.insert(0, 0)
    world.server.update = busy  # type: ignore[method-assign]
    a.leave()
    world.run(1)
    assert spec(world)["holderIdentity"] == ""


def test_what_may_have_been_acquired_is_given_back() -> None:
    """LE-7: also when the answer to the create never came."""
    world = World()
    a = Candidate(world, "a")
    answered = a.process.answered
    a.process.answered = lambda number, result, error: (
        None if isinstance(result, dict) else answered(number, result, error)
    )  # type: ignore[method-assign]
    a.start()
    world.run(1)
    assert spec(world)["holderIdentity"] == "a"
    a.process.answered = answered  # type: ignore[method-assign]
    a.leave()
    world.run(1)
    assert spec(world)["holderIdentity"] == ""


def test_nothing_is_given_back_that_is_anothers_or_if_told_so() -> None:
    """LE-7."""
    world = World()
    a = Candidate(world, "a", release_on_exit=False).start()
    b = Candidate(world, "b").start()
    world.run(5)
    b.leave()
    a.leave()
    world.run(1)
    assert spec(world)["holderIdentity"] == "a"
    assert not a.may_write()


def test_a_lease_that_vanishes_is_not_taken_while_its_holder_may_write() -> None:
    """LE-4, LE-8: the holder makes it anew; nobody else does before its time is over."""
    world = World()
    a = Candidate(world, "a").start()
    b = Candidate(world, "b").start()
    world.run(5)
    a.process.paused = True
    del world.server.leases[NAME]
    world.run(9)
    assert NAME not in world.server.leases
    a.process.unpause()
    world.run(4)
    assert spec(world)["holderIdentity"] == "a" if a.may_write() else "b"
    assert not (a.may_write() and b.may_write())


def test_a_process_that_wakes_up_late_finds_the_fence_closed() -> None:
    """LE-8: before any of its timers has run, and although nobody has told it anything."""
    world = World()
    a = Candidate(world, "a").start()
    b = Candidate(world, "b").start()
    world.run(5)
    assert a.may_write()
    a.process.paused = True
    world.run(30)
    assert b.may_write()
    assert not a.may_write()
    writes = len([w for w in world.server.writes if w[0] == "a"])
    a.process.unpause()
    world.run(30)
    assert isinstance(a.process.error, LeaseLost)
    assert len([w for w in world.server.writes if w[0] == "a"]) <= writes + 1  # the one that was on its way


def test_an_elector_serves_one_term() -> None:
    world = World()
    a = Candidate(world, "a").start()
    world.run(1)
    a.leave()
    world.run(1)
    a.start()
    world.run(1)
    assert "make a new elector" in str(a.process.error)


def test_the_fence_opens_once_and_closes_for_good() -> None:
    """LE-8: also when the clock goes back, or a late answer would move it."""
    clock = VirtualClock(1000)
    fence = Fence("lease x", clock=clock)
    with pytest.raises(FencedError, match="lease x is not held \\(not yet\\)"):
        fence.check()
    assert not fence.move(900)
    assert not fence.closed
    assert fence.move(2000)
    fence.check()
    assert fence.move(1500)
    assert fence.remaining_ns() == 1000
    clock.set(2000)
    with pytest.raises(FencedError, match="was not renewed in time"):
        fence.check()
    clock.set(1500)
    assert not fence.move(5000)
    assert fence.closed


def test_the_clock_counts_while_the_machine_sleeps() -> None:
    """LE-8: CLOCK_BOOTTIME where there is one."""
    first = lease_clock_ns()
    assert isinstance(first, int)
    assert lease_clock_ns() >= first


def test_identities_differ_and_name_the_host() -> None:
    one, two = new_identity(), new_identity()
    assert one != two
    assert one.rpartition("_")[0] == two.rpartition("_")[0] != ""


@pytest.mark.parametrize("seed", range(150))
def test_there_are_never_two_leaders_and_at_last_one(seed: int) -> None:
    """LE-3, LE-6, LE-8: under pauses, crashes, lost and late requests, and clocks of different rates."""
    world = World(seed, faulty=True)
    random = world.random
    candidates = [Candidate(world, f"c{i}", random.uniform(0.85, 1.15)) for i in range(3)]
    terms = 0

    def one_at_most() -> None:
        writers = [c.process.name for c in candidates if c.may_write()]
        assert len(writers) <= 1, f"{writers} may write at {world.now_ns / 1e9:.3f} s"

    world.check = one_at_most
    for candidate in candidates:
        candidate.start()
    for _ in range(60):
        index = random.randrange(len(candidates))
        process = candidates[index].process
        action = random.random()
        if action < 0.3:
            process.paused = True
        elif action < 0.6:
            process.unpause()
        elif action < 0.7:
            process.kill()
        elif action < 0.75 and not process.ended:
            candidates[index].leave()
        elif action < 0.8:
            world.down = not world.down
        if process.dead or (process.ended and not process.paused):
            terms += 1
            candidates[index] = Candidate(world, f"c{index}-{terms}", random.uniform(0.85, 1.15)).start()
        world.run(random.choice([0.5, 3, 12]))
    world.faulty = world.down = False
    for candidate in candidates:
        candidate.process.unpause()
    for i, candidate in enumerate(candidates):
        if candidate.process.ended:
            candidates[i] = Candidate(world, f"last{i}", 1.0).start()
    world.run(60)
    assert sum(c.may_write() for c in candidates) == 1


def test_api_errors_are_survived() -> None:
    """LE-6: a server that refuses for a while costs nothing but time."""
    world = World()
    a = Candidate(world, "a")
    get = world.server.get

    def refuse(name: str) -> dict[str, Any]:
        if world.now_ns < 20e9:
            raise ApiError("no", status=500)
        return get(name)

    world.server.get = refuse  # type: ignore[method-assign]
    a.start()
    world.run(19)
    assert not a.elector.leading
    world.run(10)
    assert a.elector.leading
