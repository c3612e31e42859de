"""The gate of a circuit breaker in plain Python: lets calls through or not, counts how they end, tells listeners.

The theory of blocks and listeners stands at the head of `_ext/blocks.pxd` and `_ext/gate.pyx`. The lock guards the
circuit and everything else that changes; no user code runs under it. It is re-entrant because a signal handler or a
finaliser may call the breaker from between any two lines.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from threading import RLock
from typing import NamedTuple

from fastcore._py.amounts import checked_time
from fastcore._py.circuit import EXCLUDED, FAILURE, MODES, SUCCESS, VISIBLE, Circuit, News, Ticket
from fastcore._py.credit import INT64_MIN
from fastcore.errors import CircuitOpenError, RateLimitError, WaitTimeout

# What is excluded unless `only` names it: a refusal further in says nothing about the callee.
_EXCLUDED_REFUSALS = (CircuitOpenError, RateLimitError, WaitTimeout)

Listener = Callable[[str, str, str, str], object]
Matchers = tuple[tuple[type[BaseException], ...], tuple[Callable[[BaseException], object], ...]]


class BreakerStats(NamedTuple):
    """State, counters since the start, and what the rules see now."""

    state: str
    calls: int
    successes: int
    failures: int
    excluded: int
    slow: int
    rejected: int
    late_total: int
    dropped: int
    consecutive_failures: int
    window_calls: int
    window_failures: int
    window_slow: int
    trials: int
    remaining: float
    transitions: dict[tuple[str, str], int]
    mode: str
    would_open: int
    in_flight: int


def _matches(error: BaseException, matchers: Matchers) -> bool:
    types, predicates = matchers
    return isinstance(error, types) or any(predicate(error) for predicate in predicates)


class Gate:
    """What lets calls through; CircuitBreaker adds the ways to guard one."""

    def __init__(
        self,
        name: str,
        circuit: Circuit,
        exclude: Matchers,
        only: Matchers | None,
        clock: Callable[[], int],
        draw: Callable[[], float],
    ) -> None:
        self._name = name
        self._exclude = exclude
        self._only = only
        self._clock = clock
        self._random = draw
        self._timed = circuit.slow_ns > 0 or circuit.window.width > 0
        self._circuit = circuit
        self._seen = INT64_MIN
        self._cause: BaseException | None = None
        self._blocks = self._debts = self._dropped = 0
        self._records: list[tuple[tuple[int, int], Ticket]] = []
        self._news: deque[News] = deque()
        self._listeners: list[Listener] = []
        self._telling = False
        # Of the registry that the breaker is in: its listeners, when it was used, and how many calls there were then.
        self._shared: Iterable[Listener] = ()
        self._used = self._asked = 0
        self._lock = RLock()

    @property
    def name(self) -> str:
        """What errors, listeners and logs call it."""
        return self._name

    # --- around a call: no lock is held on entry

    def _held(self, now: int) -> int:
        self._seen = max(self._seen, now)
        return self._seen

    def _moved(self, news: News | None) -> None:
        """After each transition, under the lock: blocks without a record are late, and listeners have to be told."""
        self._debts += self._blocks
        self._blocks = 0
        if news:
            self._news.append(news)

    def _admit(self, block: tuple[int, int] | None = None) -> Ticket:
        if not self._timed and block is None:
            with self._lock:
                if self._circuit.state == "closed":
                    self._circuit.calls += 1
                    return Ticket(self._circuit.generation)
        now = checked_time(self._clock())
        with self._lock:
            now = self._held(now)
            ticket, refusal, news = self._circuit.enter(now)
            if news:
                self._moved(news)
            if block is not None and ticket is not None:
                self._records.append((block, ticket))
            cause = self._cause
            remaining = {"open": (self._circuit.until - now) / 1e9, "forced_open": math.inf}.get(refusal, 0.0)
        if news:
            self._tell()
        if ticket is None:
            raise CircuitOpenError(self._name, remaining, refusal) from cause
        return ticket

    def _settle(self, ticket: Ticket, outcome: str, error: BaseException | None) -> bool:
        """Count how a call ended; whether it counted."""
        displaced = None
        now = checked_time(self._clock()) if self._timed or outcome == FAILURE else None
        with self._lock:
            counted, news = self._circuit.count(ticket, 0 if now is None else self._held(now), outcome)
            if news:
                self._moved(news)
                if self._circuit.state != "metrics_only":
                    # The old cause may be the last reference to an exception; it goes after the section.
                    displaced = self._cause
                    self._cause = error
        if news:
            self._tell()
        del displaced
        return counted

    def _judge(self, error: BaseException) -> str:
        if _matches(error, self._exclude):
            return EXCLUDED
        if self._only is not None and _matches(error, self._only):
            return FAILURE
        if not isinstance(error, Exception) or isinstance(error, _EXCLUDED_REFUSALS):
            return EXCLUDED
        return FAILURE if self._only is None else SUCCESS

    def _raised(self, ticket: Ticket, error: BaseException) -> None:
        try:
            outcome = self._judge(error)
        except BaseException:
            self._settle(ticket, EXCLUDED, None)
            raise
        self._settle(ticket, outcome, error)

    def _tell(self) -> None:
        """Tell the listeners what is queued, unless somebody is at it; that one will tell this too."""
        with self._lock:
            if self._telling:
                return
            self._telling = True
        try:
            while True:
                draw = self._random()
                with self._lock:
                    self._circuit.draw = draw
                    if not self._news:
                        self._telling = False
                        return
                    news = self._news.popleft()
                for listener in [*self._listeners, *self._shared]:
                    try:
                        listener(self._name, *news)
                    except Exception:
                        logging.getLogger("fastcore.breaker").exception(
                            "a listener of circuit breaker %r failed", self._name
                        )
        except BaseException:
            with self._lock:
                self._telling = False
            raise

    # --- looking and steering

    @property
    def state(self) -> str:
        """Return "closed", "open" or "half_open"; open until a call comes after `open_for`. Reading changes nothing."""
        return VISIBLE[self._circuit.state]

    @property
    def mode(self) -> str:
        """Return "normal", "forced_open", "disabled" or "metrics_only"."""
        return MODES.get(self._circuit.state, "normal")

    def on_transition(self, listener: Listener, /) -> Listener:
        """Call `listener(name, from, to, reason)` once per transition, in order, outside any lock; returns it."""
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {listener!r}")
        self._listeners.append(listener)
        return listener

    def force_open(self) -> None:
        """Refuse every call until `reset`."""
        self._steer("forced_open", "forced")

    def disable(self) -> None:
        """Let every call pass and count none until `reset`."""
        self._steer("disabled", "disabled")

    def metrics_only(self) -> None:
        """Let every call pass until `reset`; count them, and tell once an outage that the breaker would open."""
        self._steer("metrics_only", "metrics_only")

    def reset(self) -> None:
        """Close, and forget outcomes, open times and calls in flight; the counters of `stats` go on."""
        self._steer("closed", "reset")

    def _steer(self, state: str, reason: str) -> None:
        with self._lock:
            displaced, self._cause = self._cause, None
            c = self._circuit
            self._moved(c.close(reason) if state == "closed" else c.start_mode(state, reason))
        self._tell()
        del displaced

    def _use(self, stamp: int) -> None:
        """Note that it was asked for."""
        self._used, self._asked = stamp, self._circuit.calls

    def _last_use(self, stamp: int) -> int:
        # More than the one call that it was asked for: somebody holds and uses it.
        if self._circuit.calls - self._asked > 1:
            self._use(stamp)
        return self._used

    def _idle(self) -> bool:
        """Whether nothing is lost if it is forgotten: closed, and no call in flight."""
        with self._lock:
            return self._circuit.state == "closed" and self._circuit.in_flight() == 0

    def stats(self) -> BreakerStats:
        """Return a BreakerStats: state, counters since the start, and what the rules see now."""
        now = checked_time(self._clock())
        with self._lock:
            now = self._held(now)
            c = self._circuit
            c.window.catch_up(now)
            remaining = {"open": max(c.until - now, 0) / 1e9, "forced_open": math.inf}.get(c.state, 0.0)
            return BreakerStats(
                state=VISIBLE[c.state],
                calls=c.calls,
                successes=c.successes,
                failures=c.failures,
                excluded=c.excluded,
                slow=c.slow,
                rejected=c.rejected,
                late_total=c.late,
                dropped=self._dropped,
                consecutive_failures=c.consecutive,
                window_calls=c.window.calls,
                window_failures=c.window.failures,
                window_slow=c.window.slow,
                trials=len(c.leases),
                remaining=remaining,
                transitions=dict(c.transitions),
                mode=MODES.get(c.state, "normal"),
                would_open=c.would_open,
                in_flight=c.in_flight(),
            )
