"""What a program pays while it is profiled at 100 looks a second."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.conftest import once

from fastcore.observe.profiles.sampler import cpu_profile, wall_profile

COST = "speed lost while profiled, with 20 threads that wait"
SECONDS = 1.0
ROUNDS = 5


def turns() -> int:
    """How often a busy program gets round in a second."""
    end, count = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        sum(range(200))
        count += 1
    return count


@pytest.mark.parametrize(
    "take",
    [
        pytest.param(cpu_profile, marks=pytest.mark.subject(COST, "profile")),
        pytest.param(wall_profile, marks=pytest.mark.subject(COST, "wall")),
    ],
)
def test_cost(benchmark: Any, take: Callable[..., object]) -> None:
    end = threading.Event()
    idle = [threading.Thread(target=end.wait) for _ in range(20)]
    for thread in idle:
        thread.start()
    alone = watched = 0
    for _ in range(ROUNDS):
        alone = max(alone, turns())
        stop = threading.Event()
        sampler = threading.Thread(target=take, args=(600, stop))
        sampler.start()
        watched = max(watched, turns())
        stop.set()
        sampler.join()
    end.set()
    for thread in idle:
        thread.join()
    once(benchmark, max(0.0, 100 * (1 - watched / alone)), "%")
