"""A queue for each worker: who gets a job, and who steals it."""

import threading
from random import Random
from typing import Any

import pytest

from fastcore.clock import monotonic_ns
from fastcore.errors import ShutDown
from fastcore.queue import WorkQueue
from fastcore.work import Job, WorkerPool
from fastcore.work.jobs import Handle
from fastcore.work.lanes import WorkerLanes


def new_queue(suffix: str) -> "WorkQueue[Any]":
    return WorkQueue(name=suffix)


def handle(name: str = "1") -> Handle:
    return Handle(Job(name, "note", print), None, 0, monotonic_ns, lambda _: False)


def test_least_loaded_wins() -> None:
    """WP-7: the fewest queued and running, the lowest index among equals."""
    lanes, handles = WorkerLanes(new_queue, 3, None), [handle() for _ in range(7)]
    for one in handles:
        lanes.put(one)
    assert [one.lane for one in handles] == [0, 1, 2, 0, 1, 2, 0]
    taken = lanes.take(1)
    assert lanes.loads() == [3, 2, 2], "what runs counts, too"
    lanes.leave(taken)
    last = handle()
    lanes.put(last)
    assert last.lane == 1


def test_two_choices() -> None:
    """WP-7: by option the less loaded of two at random; no worker gets far ahead."""
    lanes = WorkerLanes(new_queue, 8, Random(7))
    for _ in range(800):
        lanes.put(handle())
    loads = lanes.loads()
    assert sum(loads) == 800
    assert max(loads) - min(loads) <= 8
    assert max(loads) > 100, "chance took part"


def test_idle_worker_steals_from_the_most_loaded() -> None:
    """WP-7: with equal jobs the loads stay within one of each other."""
    lanes = WorkerLanes(new_queue, 3, None)
    for _ in range(9):
        lanes.put(handle())
    running = [lanes.take(worker) for worker in range(3)]
    while sum(lanes.loads()) > 3:
        for worker, one in enumerate(running):
            lanes.leave(one)
            running[worker] = lanes.take(worker)
            assert max(lanes.loads()) - min(lanes.loads()) <= 1
    for one in running:
        lanes.leave(one)
    for _ in range(3):
        lanes.put(handle())
    lanes.put(most := handle())
    first, second = lanes.take(2), lanes.take(2)
    assert (first.lane, second.lane, second.worker) == (2, 0, 2)
    assert lanes.loads() == [1, 1, 2]
    lanes.leave(second)
    assert lanes.take(0) is most


def test_sleeping_worker_is_woken_for_anothers_job() -> None:
    """WP-7: a job that chance gave to a busy worker is stolen by one that has nothing to do."""

    class Always(Random):
        def sample(self, *args: Any, **kwargs: Any) -> Any:
            return [0, 1]

    lanes, found = WorkerLanes(new_queue, 3, Always()), []
    for _ in range(2):
        lanes.put(handle())
    lanes.take(0)
    lanes.take(1)
    idle = threading.Thread(target=lambda: found.append(lanes.take(2)))
    idle.start()
    while not lanes._idle[2]:
        pass
    lanes.put(one := handle())
    idle.join(10)
    assert found == [one]
    assert lanes.loads() == [1, 1, 1]


def test_what_is_left_at_the_end_is_stolen_too() -> None:
    """WP-9: after shutdown a worker goes once all queues are empty."""
    lanes = WorkerLanes(new_queue, 2, None)
    for _ in range(4):
        lanes.put(handle())
    lanes.shut_down()
    for _ in range(4):
        lanes.leave(lanes.take(0))
    with pytest.raises(ShutDown):
        lanes.take(0)
    assert lanes.loads() == [0, 0]


@pytest.mark.parametrize("balance", ["least_loaded", "two_choices"])
def test_pool_of_lanes(balance: Any, no_leaks: None) -> None:
    """WP-7: every job runs once, cancelled ones excepted, whichever way they are spread."""
    ran: list[int] = []
    with WorkerPool(workers=4, rate=None, balance=balance, random=Random(1)) as pool:
        handles = [pool.submit(Job(str(n), "note", lambda n=n: ran.append(n), n % 3)) for n in range(500)]
        cancelled = {n for n in range(0, 500, 50) if handles[n].cancel()}
        for n, one in enumerate(handles):
            if n not in cancelled:
                one.result(10)
    assert len(ran) == len(set(ran))
    assert set(ran) >= set(range(500)) - cancelled


def test_delayed_job_keeps_its_lane(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """WP-5: loads are right when a breaker has a job wait."""
    lanes = WorkerLanes(new_queue, 2, None)
    lanes.put(one := handle())
    assert lanes.take(1) is one, "stolen"
    assert lanes.loads() == [0, 1]
    lanes.put_back(one, 60)
    assert lanes.loads() == [1, 0]
    lanes.hurry(one, 0)
    lanes.leave(lanes.take(0))
    assert lanes.loads() == [0, 0]
