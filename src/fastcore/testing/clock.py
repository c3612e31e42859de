"""A clock that moves only when told to."""

from fastcore.clock import NS_PER_S


class VirtualClock:
    """Integer nanoseconds that stand still until `advance` or `set` moves them.

    Example:
        >>> clock = VirtualClock()
        >>> clock.advance(1.5)
        >>> clock()
        1500000000
    """

    def __init__(self, start_ns: int = 0) -> None:
        self.now_ns = start_ns

    def __call__(self) -> int:
        """Now, in nanoseconds."""
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Move by `seconds`; a negative value jumps back, as a broken clock would."""
        self.now_ns += round(seconds * NS_PER_S)

    def set(self, now_ns: int) -> None:
        """Jump to `now_ns`."""
        self.now_ns = now_ns
