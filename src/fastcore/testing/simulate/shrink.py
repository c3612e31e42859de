"""Makes a failing schedule short: fewer steps first, then fewer choices of chance, as long as it fails alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from fastcore.testing.simulate.run import Outcome
from fastcore.testing.simulate.schedule import Ranges, Schedule

_T = TypeVar("_T")


class Shrinker:
    """Delta debugging over a schedule.

    Args:
        run: runs a schedule.
        failed: how it went first.
        limit: runs at most, >= 0.

    Attributes:
        best: the shortest failing run so far.
        runs: made so far.

    Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input".
    """

    def __init__(self, run: Callable[[Schedule], Outcome], failed: Outcome, limit: int) -> None:
        self.best = failed
        self.runs = 0
        self._run = run
        self._limit = limit

    def shrink(self) -> Outcome:
        """The shortest failing run that was found; O(n log n) runs mostly, O(n * n) at worst, `limit` at most."""
        schedule = self.best.schedule
        for plain in (
            replace(schedule, order=(), latency=()),
            replace(schedule, order=()),
            replace(schedule, latency=()),
        ):
            if self._fails(plain):
                break
        self._steps()
        self._chance("latency")
        self._chance("order")
        self._steps()
        return self.best

    def _fails(self, schedule: Schedule) -> bool:
        if self.runs >= self._limit or schedule == self.best.schedule:
            return False
        self.runs += 1
        outcome = self._run(schedule)
        before, now = self.best.violation, outcome.violation
        if now is None or before is None or now.what != before.what:
            return False
        self.best = outcome
        return True

    def _steps(self) -> None:
        _minimize(
            self.best.schedule.steps,
            lambda steps: self._fails(self.best.schedule.with_steps(steps)),
        )

    def _chance(self, stream: str) -> None:
        def with_ranges(ranges: Ranges) -> Schedule:
            schedule = self.best.schedule
            return replace(schedule, order=ranges) if stream == "order" else replace(schedule, latency=ranges)

        if not getattr(self.best.schedule, stream) or self._fails(with_ranges(())):
            return
        count = self.best.choices if stream == "order" else self.best.latencies
        pieces = [(start, min(start + 16, count)) for start in range(0, count, 16)]
        _minimize(tuple(pieces), lambda kept: self._fails(with_ranges(_joined(kept))))


def _minimize(items: tuple[_T, ...], fails: Callable[[tuple[_T, ...]], bool]) -> None:
    """Leave out ever smaller parts of `items` as long as what remains fails."""
    size = len(items)
    while size >= 1 and items:
        size = min(size, len(items))
        start, shorter = 0, False
        while start < len(items):
            rest = items[:start] + items[start + size :]
            if fails(rest):
                items, shorter = rest, True
            else:
                start += size
        if size == 1 and not shorter:
            return
        size = size if shorter and size == 1 else size // 2


def _joined(pieces: Sequence[tuple[int, int]]) -> Ranges:
    out: list[tuple[int, int]] = []
    for start, end in pieces:
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return tuple(out)
