"""What a limiter says of a request beyond yes and no, in plain Python: `Quota`."""

import math
from typing import final

from fastcore._py.amounts import as_float
from fastcore._py.credit import CREDITS, covers, wait_ns


@final
class Quota:
    """The answer of a limiter to a request, made by `request` and `peek`."""

    __slots__ = ("_limit", "_limited", "_remaining", "_reset_after", "_retry_after")

    def __init__(
        self, limited: bool, limit: float, remaining: float, reset_after: float, retry_after: float | None
    ) -> None:
        self._limited = bool(limited)
        self._limit = as_float(limit)
        self._remaining = as_float(remaining)
        self._reset_after = as_float(reset_after)
        self._retry_after = retry_after

    @property
    def limited(self) -> bool:
        """Whether the request is refused."""
        return self._limited

    @property
    def limit(self) -> float:
        """The burst, in tokens."""
        return self._limit

    @property
    def remaining(self) -> float:
        """Whole tokens that are there now."""
        return self._remaining

    @property
    def reset_after(self) -> float:
        """Seconds until the bucket is full again."""
        return self._reset_after

    @property
    def retry_after(self) -> float | None:
        """Seconds until such a request passes, 0.0 if it does now; None: never."""
        return self._retry_after

    def headers(self) -> dict[str, str]:
        """Return HTTP headers: `RateLimit-Limit`, `-Remaining`, `-Reset`, and `Retry-After` for a refused request."""
        headers = {}
        if self.remaining < math.inf:
            headers["RateLimit-Limit"] = str(int(self.limit))
            headers["RateLimit-Remaining"] = str(int(self.remaining))
            if self.reset_after < math.inf:
                headers["RateLimit-Reset"] = str(math.ceil(self.reset_after))
        if self.limited and self.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(self.retry_after))
        return headers

    def __repr__(self) -> str:
        return (
            f"Quota(limited={self.limited}, limit={self.limit!r}, remaining={self.remaining!r}, "
            f"reset_after={self.reset_after!r}, retry_after={self.retry_after!r})"
        )


def quota_of(credit: float, cost: float, rate: float, full: float, take: bool) -> Quota:
    """Answer a request of `cost` made while the bucket holds `credit`; `take`: as it is after the request."""
    if rate == math.inf:
        return Quota(False, full / CREDITS, math.inf, 0.0, 0.0)
    limited = cost > 0.0 and (cost > full or not covers(credit, cost, rate))
    retry_after: float | None = 0.0
    if limited:
        retry_after = None if cost > full or rate == 0.0 else wait_ns(credit, cost, rate) / 1e9
    elif take:
        credit -= cost
    whole = math.floor(credit / CREDITS)
    if (whole + 1) * CREDITS <= full and covers(credit, (whole + 1) * CREDITS, rate):
        whole += 1
    reset_after = 0.0
    if credit < full:
        reset_after = math.inf if rate == 0.0 else wait_ns(credit, full, rate) / 1e9
    return Quota(limited, full / CREDITS, max(whole, 0), reset_after, retry_after)
