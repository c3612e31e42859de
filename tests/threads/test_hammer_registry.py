"""Threads on one registry of breakers: one breaker a name while it has something to say, and never too many."""

import contextlib
import random
from typing import Any

from fastcore.errors import CircuitOpenError
from threads.crew import crew


def test_registry(impl: Any, scale: int) -> None:
    """CB18: names come and go, some breakers open: whoever asks gets a breaker that works, and few are kept."""
    registry = impl.registry.BreakerRegistry(failure_threshold=2, open_for=1e-6, max_breakers=8)
    transitions: list[Any] = []
    discarded: list[bool] = []
    registry.on_transition(lambda *news: transitions.append(news))

    def work(number: int) -> None:
        chance = random.Random(number)
        for step in range(1500 * scale):
            name = f"name{chance.randrange(20)}"
            breaker = registry.get(name)
            assert breaker.name in (name, registry.overflow.name)
            try:
                permit = breaker.acquire()
            except CircuitOpenError:
                continue
            permit.failure(OSError()) if chance.random() < 0.4 else permit.success()
            match step % 50:
                case 0:
                    discarded.append(registry.discard(name))
                case 1:
                    assert len(registry) <= 8
                case 2:
                    assert all(one.name for one in registry)
                case 3:
                    assert len(registry.snapshot()) <= 9
                case 4:
                    with contextlib.suppress(ValueError):  # it is made already
                        registry.configure(name, failure_threshold=3)

    crew(work)
    stats = registry.stats()
    assert stats.breakers == len(registry) <= 8
    gone = stats.dropped + sum(discarded)
    assert stats.created <= gone + stats.breakers  # one that somebody holds comes back
    assert transitions


def test_registry_gives_all_one_breaker(impl: Any, scale: int) -> None:
    """CB18: threads that ask for a new name at once get the same breaker."""
    registry = impl.registry.BreakerRegistry(max_breakers=10_000)
    for n in range(100 * scale):
        got: list[Any] = []
        crew(lambda _, n=n, got=got: got.append(registry.get(f"name{n}")))
        assert len(set(map(id, got))) == 1
