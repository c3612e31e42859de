"""Circuit breaker in plain Python: `CircuitBreaker` and the `Permit` of its two-step form.

The theory of blocks and listeners stands at the head of the compiled twin. The lock guards the circuit and everything
else that changes; no user code runs under it. It is re-entrant because a signal handler or a finaliser may call the
breaker from between any two lines.
"""

import logging
import math
import random
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from operator import index
from threading import RLock, get_ident
from types import TracebackType
from typing import Any, Literal, NamedTuple, final

from fastcore._py.bucket import as_float, checked_time
from fastcore._py.circuit import EXCLUDED, FAILURE, SUCCESS, VISIBLE, Circuit, News, Ticket, to_ns
from fastcore._py.credit import INT64_MIN
from fastcore._py.window import Window
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


def _positive(name: str, value: float) -> float:
    number = as_float(value)
    if not number > 0.0:
        raise ValueError(f"{name} must be > 0 seconds, not {value!r}")
    return number


def _share(name: str, value: float) -> float:
    number = as_float(value)
    if not 0.0 < number <= 1.0:
        raise ValueError(f"{name} must be > 0 and <= 1, not {value!r}")
    return number


def _at_least_one(name: str, value: int) -> int:
    number = index(value)
    if number < 1:
        raise ValueError(f"{name} must be >= 1, not {value!r}")
    return number


def _matchers(name: str, given: Any) -> Matchers:
    """Exception types, and predicates of an exception, from what was given for `name`."""
    types, predicates = [], []
    for item in given if isinstance(given, (tuple, list, set, frozenset)) else (given,):
        if isinstance(item, type) and issubclass(item, BaseException):
            types.append(item)
        elif callable(item) and not isinstance(item, type):
            predicates.append(item)
        else:
            raise TypeError(f"{name} takes exception types and predicates, not {item!r}")
    return tuple(types), tuple(predicates)


def _matches(error: BaseException, matchers: Matchers) -> bool:
    types, predicates = matchers
    return isinstance(error, types) or any(predicate(error) for predicate in predicates)


def _whoami() -> tuple[int, int]:
    """The running thread, and the running asyncio task or 0."""
    task = None
    if asyncio := sys.modules.get("asyncio"):
        try:
            task = asyncio.current_task()
        except (RuntimeError, AttributeError):
            task = None
    return get_ident(), 0 if task is None else id(task)


@final
class Permit:
    """The right to make one call, given by `CircuitBreaker.acquire`; report how the call ended."""

    __slots__ = ("_breaker", "_reported", "_ticket")

    _breaker: "CircuitBreaker"
    _reported: bool
    _ticket: Ticket

    def __init__(self) -> None:
        raise TypeError("a Permit comes from CircuitBreaker.acquire")

    def _report(self, outcome: str, error: BaseException | None) -> bool:
        with self._breaker._lock:
            if self._reported:
                return False
            self._reported = True
        return self._breaker._settle(self._ticket, outcome, error)

    def success(self) -> bool:
        """Report that the call succeeded; whether that counted (False: late, or already reported)."""
        return self._report(SUCCESS, None)

    def failure(self, error: BaseException | None = None, /) -> bool:
        """Report that the call failed, with the exception if there is one; whether that counted."""
        return self._report(FAILURE, error)

    def ignore(self) -> bool:
        """Report that the call says nothing about the callee; whether that counted."""
        return self._report(EXCLUDED, None)

    def __del__(self) -> None:
        if hasattr(self, "_breaker") and not self._reported:
            self._report(EXCLUDED, None)
            with self._breaker._lock:
                self._breaker._dropped += 1
            logging.getLogger("fastcore.breaker").warning(
                "a permit of circuit breaker %r was dropped without a report", self._breaker.name
            )


@final
class CircuitBreaker:
    """Stop calling what keeps failing, and try again later."""

    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int | None = None,
        open_for: float = 60.0,
        half_open_permits: int = 1,
        successes_needed: int = 1,
        window: float | timedelta | None = None,
        failure_rate: float | None = None,
        min_calls: int | None = None,
        slow_call: float | None = None,
        slow_rate: float | None = None,
        exclude: Any = (),
        only: Any = None,
        half_open_timeout: float | None = None,
        open_growth: float = 2.0,
        open_max: float | None = None,
        jitter: float = 0.1,
        buckets: int = 10,
        clock: Callable[[], int] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if hasattr(self, "_circuit"):
            raise TypeError("a CircuitBreaker is initialised once")
        if not isinstance(name, str):
            raise TypeError(f"Argument 'name' has incorrect type (expected str, got {type(name).__name__})")
        c = Circuit()
        seconds = _positive("open_for", open_for)
        c.open_ns = c.trial_ns = to_ns(seconds)
        c.period = seconds
        if half_open_timeout is not None:
            c.trial_ns = to_ns(_positive("half_open_timeout", half_open_timeout))
        c.successes_needed = _at_least_one("successes_needed", successes_needed)
        c.permits = _at_least_one("half_open_permits", half_open_permits)
        c.growth = as_float(open_growth)
        if not 1.0 <= c.growth < math.inf:
            raise ValueError(f"open_growth must be >= 1 and finite, not {open_growth!r}")
        c.open_max = seconds * 10.0 if open_max is None else as_float(open_max)
        if not c.open_max >= seconds:
            raise ValueError(f"open_max must be >= open_for ({seconds!r} s), not {open_max!r}")
        c.jitter = as_float(jitter)
        if not 0.0 <= c.jitter <= 1.0:
            raise ValueError(f"jitter must be >= 0 and <= 1, not {jitter!r}")
        buckets = _at_least_one("buckets", buckets)
        self._set_window(c, window, failure_rate, min_calls, slow_call, slow_rate, buckets)
        if failure_threshold is not None:
            c.failure_threshold = _at_least_one("failure_threshold", failure_threshold)
        elif c.window.size == 0:
            c.failure_threshold = 10
        self._name = name
        self._exclude = _matchers("exclude", exclude)
        self._only = None if only is None else _matchers("only", only)
        self._clock = time.monotonic_ns if clock is None else clock
        self._random = random.random if rng is None else rng.random
        c.draw = self._random()
        self._timed = c.slow_ns > 0 or c.window.width > 0
        self._circuit = c
        self._seen = INT64_MIN
        self._cause: BaseException | None = None
        self._blocks = self._debts = self._dropped = 0
        self._records: list[tuple[tuple[int, int], Ticket]] = []
        self._news: deque[News] = deque()
        self._listeners: list[Listener] = []
        self._telling = False
        self._lock = RLock()

    @staticmethod
    def _set_window(
        c: Circuit,
        window: float | timedelta | None,
        failure_rate: float | None,
        min_calls: int | None,
        slow_call: float | None,
        slow_rate: float | None,
        buckets: int,
    ) -> None:
        if slow_call is not None:
            c.slow_ns = to_ns(_positive("slow_call", slow_call))
        if slow_rate is not None:
            if slow_call is None:
                raise ValueError(f"slow_rate={slow_rate!r} needs slow_call, the seconds beyond which a call is slow")
            c.slow_rate = _share("slow_rate", slow_rate)
        if failure_rate is not None:
            c.failure_rate = _share("failure_rate", failure_rate)
        elif window is not None and slow_rate is None:
            c.failure_rate = 0.5
        if window is None and (failure_rate is not None or slow_rate is not None):
            window = 100
        c.min_calls = 10 if min_calls is None else _at_least_one("min_calls", min_calls)
        if isinstance(window, timedelta):
            window = window.total_seconds()
        if isinstance(window, float):
            if not 1.0 <= window < 1e9:
                raise ValueError(f"a time window must be >= 1 second and finite, not {window!r}")
            c.window = Window(buckets + 1, to_ns(window / buckets))
        elif window is not None:
            c.window = Window(_at_least_one("window", window))
            c.min_calls = min(c.min_calls, c.window.size)

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
                for listener in list(self._listeners):
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

    # --- guarding

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `fn(*args, **kwargs)` if the breaker lets it through, and count how it ends."""
        ticket = self._admit()
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._raised(ticket, error)
            raise
        self._settle(ticket, SUCCESS, None)
        return result

    async def acall(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        """Await `fn(*args, **kwargs)` if the breaker lets it through, and count how it ends."""
        ticket = self._admit()
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            self._raised(ticket, error)
            raise
        self._settle(ticket, SUCCESS, None)
        return result

    def __call__(self, fn: Callable[..., Any], /) -> Callable[..., Any]:
        """Decorate a function or coroutine function, so that each of its calls goes through the breaker."""
        if isgeneratorfunction(fn) or isasyncgenfunction(fn):
            raise TypeError(f"a generator runs after its call has returned: put `with breaker:` inside {fn!r}")
        if iscoroutinefunction(fn) or iscoroutinefunction(getattr(fn, "__call__", None)):  # noqa: B004

            @wraps(fn)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                return await self.acall(fn, *args, **kwargs)

            return awaited

        @wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self.call(fn, *args, **kwargs)

        return guarded

    def acquire(self) -> Permit:
        """Ask for one call and report its end yourself; raises CircuitOpenError if refused."""
        permit = Permit.__new__(Permit)
        permit._ticket = self._admit()
        permit._reported = False
        permit._breaker = self
        return permit

    def __enter__(self) -> "CircuitBreaker":
        """Ask for one call: the block. Its end is counted as that of a called function."""
        if not self._timed:
            with self._lock:
                if self._circuit.state == "closed" and self._debts == 0 and not self._records:
                    self._circuit.calls += 1
                    self._blocks += 1
                    return self
        self._admit(_whoami())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Literal[False]:
        """Count how the block ended; an exception passes on."""
        with self._lock:
            plain = self._blocks > 0
            if plain:
                self._blocks -= 1
                ticket = Ticket(self._circuit.generation)
        if not plain:
            ticket = self._leave()
        if error is None:
            self._settle(ticket, SUCCESS, None)
        else:
            self._raised(ticket, error)
        return False

    def _leave(self) -> Ticket:
        """The ticket of the block that this thread and task leave."""
        me = _whoami()
        with self._lock:
            for i in reversed(range(len(self._records))):
                if self._records[i][0] == me:
                    return self._records.pop(i)[1]
            if self._debts > 0:
                self._debts -= 1
                return Ticket()
            if not self._records:
                raise RuntimeError(f"circuit breaker {self._name!r} is left by a block that never entered it")
            # A generator may be closed by another task than ran it: the newest record is as good as any.
            return self._records.pop()[1]

    # --- looking and steering

    @property
    def state(self) -> str:
        """Return "closed", "open" or "half_open"; open until a call comes after `open_for`. Reading changes nothing."""
        return VISIBLE[self._circuit.state]

    def on_transition(self, listener: Listener, /) -> Listener:
        """Call `listener(name, from, to, reason)` once per transition, in order, outside any lock; returns it."""
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {listener!r}")
        self._listeners.append(listener)
        return listener

    def force_open(self) -> None:
        """Refuse every call until `reset`."""
        with self._lock:
            displaced, self._cause = self._cause, None
            self._moved(self._circuit.move("forced", "forced"))
        self._tell()
        del displaced

    def reset(self) -> None:
        """Close, and forget outcomes, open times and calls in flight; the counters of `stats` go on."""
        with self._lock:
            displaced, self._cause = self._cause, None
            self._moved(self._circuit.close("reset"))
        self._tell()
        del displaced

    def stats(self) -> BreakerStats:
        """Return a BreakerStats: state, counters since the start, and what the rules see now."""
        now = checked_time(self._clock())
        with self._lock:
            now = self._held(now)
            c = self._circuit
            c.window.catch_up(now)
            remaining = {"open": max(c.until - now, 0) / 1e9, "forced": math.inf}.get(c.state, 0.0)
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
            )

    def __repr__(self) -> str:
        return f"CircuitBreaker({self._name!r}, state={self.state!r})"
