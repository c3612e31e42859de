"""Waits between failures."""

from random import Random

from fastcore.clock import NS_PER_S
from fastcore.controller.backoff import Backoff


def test_backoff_doubles_with_jitter_up_to_its_maximum(clock):
    """RF-8: 800 ms x2 up to 30 s, each stretched to between once and twice."""
    backoff = Backoff(clock=clock, random=Random(3))
    for base in [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30]:
        assert base <= backoff.next() <= 2 * base


def test_backoff_starts_over_after_two_quiet_minutes(clock):
    """RF-8: reset after 2 min without failure."""
    backoff = Backoff(clock=clock, jitter=0)
    assert [backoff.next() for _ in range(3)] == [0.8, 1.6, 3.2]
    clock.advance(3.2 + 120)
    assert backoff.next() == 6.4
    clock.set(clock() + int((6.4 + 120) * NS_PER_S) + 1)
    assert backoff.next() == 0.8
