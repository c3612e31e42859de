"""How long the idle objects of a pool have not been needed; the theory stands in `_ext/ages.pxd`."""


class Ages:
    """Of a stack of idle objects: how many at the bottom were not needed in this period, and in the one before."""

    __slots__ = ("_begun", "_ends", "low", "period", "victims")

    def __init__(self) -> None:
        self.period = 0  # nanoseconds; 0: objects do not age
        self._ends = 0
        self._begun = False
        self.low = 0
        self.victims = 0

    def end_period(self, now: int, depth: int) -> int:
        """If the period is over: how many objects to drop from the bottom."""
        drop = 0
        if self._begun:
            if now < self._ends:
                return 0
            # Two periods without a look are two in which the bottom was not needed.
            drop = self.low if now - self._ends >= self.period else min(self.low, self.victims)
            self.victims = self.low - drop
            self.low = depth - drop
        self._begun = True
        self._ends = now + self.period
        return drop

    def end_early(self, depth: int) -> int:
        """How many objects at the bottom were not needed in this period, which ends now and leaves no victims."""
        drop = self.low
        self.victims = 0
        self.low = depth - drop
        return drop
