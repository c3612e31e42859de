"""Waits between failures that grow, and start over after a quiet time."""

from random import Random

from fastcore.clock import NS_PER_S, Clock, monotonic_ns, new_random


class Backoff:
    """Waits that double from `base` to `maximum`, each stretched by up to `jitter` of itself (RF-8).

    Starts over after `reset_after` seconds without a failure.

    Args:
        base: the first wait in seconds, > 0.
        maximum: no wait is longer before it is stretched, in seconds.
        factor: each wait is so many times the one before.
        jitter: part of itself that a wait may be stretched by, >= 0.
        reset_after: seconds, >= 0.
        clock: integer nanoseconds.
        random: of the jitter.

    Thread safety: none.
    Source: client-go's backoff manager.
    """

    def __init__(
        self,
        base: float = 0.8,
        maximum: float = 30.0,
        *,
        factor: float = 2.0,
        jitter: float = 1.0,
        reset_after: float = 120.0,
        clock: Clock = monotonic_ns,
        random: Random | None = None,
    ) -> None:
        self._base = base
        self._maximum = maximum
        self._factor = factor
        self._jitter = jitter
        self._reset_ns = int(reset_after * NS_PER_S)
        self._clock = clock
        self._random = random or new_random()
        self._delay = base
        self._failed_ns: int | None = None

    def next(self) -> float:
        """Note a failure; the seconds to wait after it."""
        now = self._clock()
        if self._failed_ns is not None and now - self._failed_ns > self._reset_ns:
            self._delay = self._base
        delay = self._delay
        self._delay = min(delay * self._factor, self._maximum)
        delay *= 1 + self._random.random() * self._jitter
        self._failed_ns = now + int(delay * NS_PER_S)
        return delay
