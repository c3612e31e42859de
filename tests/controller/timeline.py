"""Time that moves only when told to, for what sleeps as well as for what looks at the clock."""

import asyncio
from datetime import UTC, datetime, timedelta

from fastcore.clock import NS_PER_S
from fastcore.testing.clock import VirtualClock

START = datetime(2026, 11, 23, 12, 30, 45, 999, tzinfo=UTC)


class Timeline(VirtualClock):
    """A clock, the time of day, and sleeps that end when `pass_by` has moved both past their end."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The time of day."""
        return START + timedelta(microseconds=self.now_ns / 1000)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock is `seconds` further."""
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_ns + round(seconds * NS_PER_S), woken))
        await woken

    def sleeps(self) -> list[float]:
        """The seconds that are left of each sleep."""
        return sorted((end - self.now_ns) / NS_PER_S for end, woken in self._sleepers if not woken.done())

    async def pass_by(self, seconds: float) -> None:
        """Move on, from one sleep's end to the next, and let what wakes run."""
        target = self.now_ns + round(seconds * NS_PER_S)
        while ends := [end for end, woken in self._sleepers if not woken.done() and end <= target]:
            self.now_ns = min(ends)
            for end, woken in list(self._sleepers):
                if end <= self.now_ns and not woken.done():
                    woken.set_result(None)
            self._sleepers = [(end, woken) for end, woken in self._sleepers if not woken.done()]
            for _ in range(10):
                await asyncio.sleep(0)
        self.now_ns = target
