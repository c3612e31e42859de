"""Circuit breaker in plain Python: the ways to guard a call, and the `Permit` of the two-step form."""

import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, final

from fastcore._py.circuit import EXCLUDED, FAILURE, SUCCESS, Circuit, Ticket
from fastcore._py.gate import BreakerStats as BreakerStats
from fastcore._py.gate import Gate
from fastcore._py.settings import at_least_one, matchers, set_rules, set_times


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
class CircuitBreaker(Gate):
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
        c.successes_needed = at_least_one("successes_needed", successes_needed)
        c.permits = at_least_one("half_open_permits", half_open_permits)
        set_times(c, open_for, half_open_timeout, open_growth, open_max, jitter)
        set_rules(c, failure_threshold, window, failure_rate, min_calls, slow_call, slow_rate, buckets)
        super().__init__(
            name,
            c,
            matchers("exclude", exclude),
            None if only is None else matchers("only", only),
            time.monotonic_ns if clock is None else clock,
            random.random if rng is None else rng.random,
        )
        c.draw = self._random()

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

    def __repr__(self) -> str:
        return f"CircuitBreaker({self._name!r}, state={self.state!r})"
