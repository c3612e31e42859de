"""How requests flow: which of the server's flow schemas took them, and what a client's own limit made them wait."""

from collections.abc import Awaitable, Callable, Mapping

from fastcore.controller.counters import Histogram
from fastcore.ratelimit import TokenBucket

WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Upper bounds in seconds, those of client-go."""

OTHER = "other"
_SCHEMA, _LEVEL = "x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"
_MAX_SCHEMAS = 100


class Flow:
    """Counts requests by the flow schema that took them, and paces them if the client has a limit of its own.

    By default there is no limit: API Priority and Fairness shares the server out, and says so by 429 and Retry-After,
    while a client's own bucket makes requests wait that the server had room for.

    Args:
        limiter: taken from before each request, retries included; None is no limit. Watches do not take.

    Attributes:
        accepted: answers by the uids of (flow schema, priority level); beyond 100 pairs they count as "other".
        rejected: 429s by the uid of the priority level, "" where the answer names none.
        waits: seconds waited for the limiter, by HTTP method.

    Complexity: O(1) a request.
    Thread safety: use from one event loop.
    """

    def __init__(self, limiter: TokenBucket | None = None) -> None:
        self.limiter = limiter
        self.accepted: dict[tuple[str, str], int] = {}
        self.rejected: dict[str, int] = {}
        self.waits: dict[str, Histogram] = {}

    async def take(self, limiter: TokenBucket, method: str, sleep: Callable[[float], Awaitable[None]]) -> float:
        """Wait for the turn of a request; the seconds that it took. Being cancelled gives the token back."""
        reservation = limiter.reserve()
        delay = reservation.delay
        if delay > 0:
            try:
                await sleep(delay)
            except BaseException:
                reservation.cancel()
                raise
        waited = self.waits.get(method)
        if waited is None:
            waited = self.waits[method] = Histogram(WAIT_BUCKETS)
        waited.observe(delay)
        return delay

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Note what an answer says about the flow that it came through."""
        level = headers.get(_LEVEL, "")
        if status == 429:
            rejected = self.rejected
            key = level if level in rejected or len(rejected) < _MAX_SCHEMAS else OTHER
            rejected[key] = rejected.get(key, 0) + 1
        elif level:
            accepted = self.accepted
            pair = (headers.get(_SCHEMA, ""), level)
            if pair not in accepted and len(accepted) >= _MAX_SCHEMAS:
                pair = (OTHER, OTHER)
            accepted[pair] = accepted.get(pair, 0) + 1
