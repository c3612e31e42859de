"""The state machine of a circuit breaker: no clock, no lock. The transition table stands in `_ext/circuit.pxd`."""

from fastcore._py.credit import INT64_MAX, INT64_MIN
from fastcore._py.window import Window

SUCCESS, FAILURE, EXCLUDED = "success", "failure", "excluded"
# The modes are states that only `close` ends; to those who ask they look like another.
MODES = {"forced_open": "forced_open", "disabled": "disabled", "metrics_only": "metrics_only"}
VISIBLE = {
    "closed": "closed", "open": "open", "half_open": "half_open",
    "forced_open": "open", "disabled": "closed", "metrics_only": "closed",
}  # fmt: skip
UNCOUNTED = -1
News = tuple[str, str, str]


def to_ns(seconds: float) -> int:
    """Seconds >= 0 as nanoseconds, stopping at 292 years."""
    return INT64_MAX if seconds >= 9.2e9 else int(seconds * 1e9 + 0.5)


class Ticket:
    """What a call was admitted with."""

    __slots__ = ("generation", "lease", "start")

    def __init__(self, generation: int = 0, lease: int = 0, start: int = 0) -> None:
        self.generation = generation  # 0: of none; UNCOUNTED: not to be counted
        self.lease = lease
        self.start = start


class Circuit:
    """Settings, state and counters of one breaker, and the rules that move it."""

    def __init__(self) -> None:
        self.failure_threshold = 0  # 0: no such rule
        self.successes_needed = 1
        self.permits = 1
        self.min_calls = 10
        self.failure_rate = 0.0  # 0: no such rule
        self.slow_rate = 0.0  # 0: no such rule
        self.slow_ns = 0  # 0: no call is slow
        self.open_ns = 0
        self.trial_ns = 0
        self.growth = 1.0
        self.open_max = 0.0
        self.jitter = 0.0
        self.state = "closed"
        self.generation = 1
        self.until = 0  # when the open time is over
        self.period = 0.0  # the open time in seconds, before jitter
        self.draw = 0.0  # a random number in [0, 1) for the next jitter
        self.would_be_open = False  # in metrics-only mode: the rule that was told is still met
        self.consecutive = 0
        self.trials_succeeded = 0
        self.window = Window()
        self.leases: dict[int, int] = {}  # number -> deadline
        self.last_lease = 0
        self.calls = self.successes = self.failures = self.excluded = self.slow = self.rejected = self.late = 0
        self.lost = self.would_open = 0
        self.transitions: dict[tuple[str, str], int] = {}

    def move(self, state: str, reason: str) -> News | None:
        """Start a generation in `state`; the news, None if nobody can tell."""
        pair = VISIBLE[self.state], VISIBLE[state]
        news = None
        if pair[0] != pair[1]:
            news = (*pair, reason)
            self.transitions[pair] = self.transitions.get(pair, 0) + 1
        self.state = state
        self.would_be_open = False
        self.generation += 1
        self.consecutive = 0
        self.trials_succeeded = 0
        self.leases.clear()
        self.window.clear()
        return news

    def _open_again(self, now: int, reason: str) -> News | None:
        self.period = min(self.period * self.growth, self.open_max)
        self.until = min(now + to_ns(self.period * (1.0 + self.jitter * (2.0 * self.draw - 1.0))), INT64_MAX)
        return self.move("open", reason)

    def in_flight(self) -> int:
        """Calls that were admitted and have not reported; one that was given up as lost is counted when it does."""
        return self.calls + self.lost - self.successes - self.failures - self.excluded - self.late

    def start_mode(self, state: str, reason: str) -> News | None:
        """Any state to one that only `close` ends."""
        self.until = INT64_MIN
        return self.move(state, reason)

    def close(self, reason: str) -> News | None:
        """Any state to closed."""
        self.period = self.open_ns / 1e9
        return self.move("closed", reason)

    def enter(self, now: int) -> tuple[Ticket | None, str, News | None]:
        """Admit a call: its ticket, or None and why not; and the news."""
        news = None
        if self.state == "open" and now >= self.until:
            news = self.move("half_open", "open_time_over")
        if self.state == "half_open" and self.leases and min(self.leases.values()) <= now:
            self.failures += 1
            self.lost += 1
            news = self._open_again(now, "trial_lost")
        lease = 0
        if self.state == "half_open" and len(self.leases) < self.permits:
            self.last_lease = lease = self.last_lease + 1
            self.leases[lease] = min(now + self.trial_ns, INT64_MAX)
        if self.state == "disabled":
            return Ticket(UNCOUNTED), "", news
        if self.state in ("closed", "metrics_only") or lease:
            self.calls += 1
            return Ticket(self.generation, lease, now), "", news
        self.rejected += 1
        return None, {"open": "open", "half_open": "half_open_full", "forced_open": "forced_open"}[self.state], news

    def _tripped(self) -> str:
        """The rule of the closed state that the failure or slow call just counted fulfils; empty if none."""
        if 0 < self.failure_threshold <= self.consecutive:
            return "failures"
        calls = self.window.calls
        if self.window.size > 0 and calls >= self.min_calls:
            # Shares, not products: 7 / 100 is exactly the 0.07 that somebody wrote, 0.07 * 100 is more than 7.
            if self.failure_rate > 0.0 and self.window.failures / calls >= self.failure_rate:
                return "failure_rate"
            if self.slow_rate > 0.0 and self.window.slow / calls >= self.slow_rate:
                return "slow_rate"
        return ""

    def _watch(self, now: int, bad: bool) -> News | None:
        """In metrics-only mode, after each call: the news that the breaker would have opened."""
        reason = self._tripped()
        if not reason:
            self.would_be_open = False
        elif bad and not self.would_be_open and now >= self.until:
            self.would_be_open = True
            self.would_open += 1
            self.until = min(now + self.open_ns, INT64_MAX)
            return "closed", "closed", reason
        return None

    def count(self, ticket: Ticket, now: int, outcome: str) -> tuple[bool, News | None]:
        """Count how a call ended: whether it counted, and the news."""
        if ticket.generation == UNCOUNTED:
            return False, None
        if ticket.generation != self.generation:
            self.late += 1
            return False, None
        self.leases.pop(ticket.lease, None)
        if outcome == EXCLUDED:
            self.excluded += 1
            return True, None
        failed = outcome == FAILURE
        slow = 0 < self.slow_ns < now - ticket.start
        self.slow += slow
        self.failures += failed
        self.successes += not failed
        if self.state == "half_open":
            if failed:
                return True, self._open_again(now, "trial_failed")
            if slow and self.slow_rate > 0.0:
                return True, self._open_again(now, "trial_slow")
            self.trials_succeeded += 1
            return True, self.close("recovered") if self.trials_succeeded >= self.successes_needed else None
        self.consecutive = self.consecutive + 1 if failed else 0
        if self.window.size > 0:
            self.window.record(now, failed, slow)
        if self.state == "metrics_only":
            return True, self._watch(now, failed or slow)
        if (failed or slow) and (reason := self._tripped()):
            self.until = min(now + self.open_ns, INT64_MAX)
            return True, self.move("open", reason)
        return True, None
