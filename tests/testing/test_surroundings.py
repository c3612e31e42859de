"""Time and chance of one's own for whatever asks `fastcore.clock`, and for nobody else."""

import threading
import time
from datetime import UTC, datetime
from random import Random

from fastcore.clock import Surroundings, monotonic_ns, new_random, own_clock, surrounded, utc_now

MOMENT = datetime(2030, 1, 2, tzinfo=UTC)
AROUND = Surroundings(clock=lambda: 42, now=lambda: MOMENT, new_random=lambda: Random(7))


def test_inside_everything_comes_from_the_surroundings_and_outside_from_the_system() -> None:
    assert own_clock() is None
    with surrounded(AROUND):
        assert (monotonic_ns(), utc_now()) == (42, MOMENT)
        assert own_clock() is AROUND.clock
        assert new_random().random() == Random(7).random()
    before = time.monotonic_ns()
    assert before <= monotonic_ns() <= time.monotonic_ns()
    assert utc_now().tzinfo is UTC
    assert new_random().random() != new_random().random()


def test_other_threads_are_not_surrounded() -> None:
    seen: list[object] = []
    with surrounded(AROUND):
        thread = threading.Thread(target=lambda: seen.append(own_clock()))
        thread.start()
        thread.join()
    assert seen == [None]
