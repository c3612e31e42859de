"""`RedisTokenBucket`: one budget for many processes, kept in Redis; what to do while Redis cannot be asked.

Every decision is one script call (the script and its arithmetic: _gcra.py). A circuit breaker stands before it: after
an error nobody asks Redis for `pause` seconds, so that a dead server costs one timeout and not one a call.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

from fastcore._gcra import FASTEST, SCRIPT, SHA, Quota, Scale, scale
from fastcore._impl import breaker, bucket
from fastcore._redis_clients import Clients
from fastcore.errors import CircuitOpenError, RateLimitError, WaitCancelled, WaitTimeout

logger = logging.getLogger("fastcore.ratelimit")

SHORTEST_S = 0.001  # sleeps of a wait
LONGEST_S = 86_400.0
POLICIES = ("open", "closed", "local")


def settings(rate: float, burst: float) -> tuple[float, float, Scale | None]:
    """Rate, burst and how they are counted, None meaning no limit; ValueError unless Redis can keep such a bucket."""
    rate, burst = math.ldexp(rate, 0), math.ldexp(burst, 0)
    if not (0.0 < rate <= FASTEST or rate == math.inf):
        raise ValueError(f"rate must be > 0 and <= {FASTEST:g} tokens/s (math.inf for no limit), not {rate!r}")
    if not 0.0 <= burst < math.inf:
        raise ValueError(f"burst must be a finite number of tokens >= 0, not {burst!r}")
    return rate, burst, None if rate == math.inf else scale(rate, burst)


def amount(n: float) -> float:
    """`n` as a float, if it is one that can be asked for."""
    n = math.ldexp(n, 0)
    if not n >= 0.0:
        raise ValueError(f"n must be >= 0 tokens, not {n!r}")
    return n


# What `_ask` comes back with: the script's answer, or what to do without one.
Answer = list[int] | Quota


def passed(answer: Answer) -> bool:
    """Whether the request may go ahead."""
    return answer[0] == 1 if isinstance(answer, list) else not answer.limited


def quota(answer: Answer, scale: Scale, n: float, taken: bool) -> Quota:
    """All that can be said of the request."""
    return scale.quota(answer, n, taken) if isinstance(answer, list) else answer


class RedisTokenBucket:
    """A token bucket in Redis, shared by every process that names the same key.

    A token bucket as `TokenBucket` is one: `rate` a second on average, `burst` at once. Its state is one key that holds
    the time at which the bucket is full again, on the server's clock: the clocks of the callers play no part. The key
    goes by itself when the bucket is full. One request is one script call: nothing is read first and written later, so
    callers share the budget exactly.

    While Redis cannot be asked, `on_error` decides: "open" allows every request that is not larger than the burst,
    "closed" refuses all, "local" limits this process alone, by a bucket of `rate / replicas` and `burst / replicas` (at
    least 1). After an error Redis is left alone for `pause` seconds, twice as long after each failed attempt to return,
    up to ten times as long; then one request tries again. The change of state is logged, each way, to
    `fastcore.ratelimit`.

    Each verb has a form for each kind of client: `allow`, `request`, `peek`, `wait` with a blocking one,
    `allow_async`, ... with one of redis.asyncio. A bucket made from a URL makes its own clients and offers both.

    Args:
        client: a client of redis-py (`redis.Redis`, `redis.RedisCluster` or those of `redis.asyncio`), or a URL. Let a
            client of yours have short timeouts and no retries; the bucket's own have `timeout` and none.
        key: the name in Redis, used as it is: one key a bucket, so any name (and any hash tag) suits a cluster.
        rate: tokens a second, > 0 and <= 1e12; `math.inf` allows everything and never asks.
        burst: capacity in tokens, finite and >= 0. A request for more is refused without asking.
        on_error: "open", "closed" or "local".
        replicas: number of processes that share the budget, >= 1; for "local".
        timeout: seconds to wait for Redis, > 0: for a connection, for an answer, and in the asynchronous form for both.
            It does not change a blocking client of yours.
        pause: seconds, > 0.
        clock: integer nanoseconds for the pause and the local bucket; default the monotonic clock.

    Raises:
        ImportError: redis-py is not installed (the extra `redis`).
        ValueError: an argument outside its range.
        TypeError: the blocking form with an asynchronous client, or the other way round.
    Complexity: one round trip a request; O(1) memory here, about 100 bytes in Redis for a key that is not full.
    Thread safety: every method may be called from any thread; the asynchronous form from any event loop if the bucket
    was made from a URL. `rate` and `burst` may be set: tokens taken before count in time, at the new rate.
    Source: GCRA, as in throttled and redis-cell; here with the server's time and whole numbers.

    Example:
        with RedisTokenBucket("redis://127.0.0.1:6379", "limits:api", rate=100, burst=20, on_error="local") as bucket:
            if not bucket.allow():
                ...
    """

    def __init__(
        self,
        client: Any,
        key: str,
        rate: float,
        burst: float,
        *,
        on_error: Literal["open", "closed", "local"] = "open",
        replicas: int = 1,
        timeout: float = 0.25,
        pause: float = 1.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        try:
            from redis import exceptions
        except ImportError as error:
            raise ImportError("RedisTokenBucket needs redis-py: pip install 'fastcore-k8s[redis]'") from error
        if on_error not in POLICIES:
            raise ValueError(f"on_error must be one of {', '.join(POLICIES)}, not {on_error!r}")
        if not replicas >= 1:
            raise ValueError(f"replicas must be >= 1, not {replicas!r}")
        for name, seconds in (("timeout", timeout), ("pause", pause)):
            if not 0.0 < seconds < math.inf:
                raise ValueError(f"{name} must be > 0 s and finite, not {seconds!r}")
        self.key = key
        self.on_error = on_error
        self._replicas = replicas
        self._timeout = timeout
        self._clients = Clients(client, timeout)
        self._no_script = exceptions.NoScriptError
        self._cut = (exceptions.ConnectionError, ConnectionError)
        self._failures = (exceptions.RedisError, OSError)  # TimeoutError is an OSError
        self._errors = 0
        self._why = ""
        self._noting = threading.Lock()
        self._lines = bucket.TokenBucket(0.1, 6, clock=clock)
        self._breaker = breaker.CircuitBreaker(
            f"redis token bucket {key}", failure_threshold=1, open_for=pause, clock=clock
        )
        self._breaker.on_transition(self._log)
        self._rate, self._burst, self._scale = settings(rate, burst)
        self._local = bucket.TokenBucket(*self._share(), clock=clock)

    # --- settings

    @property
    def rate(self) -> float:
        """Tokens a second, of all processes together."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._set(rate, self._burst)

    @property
    def burst(self) -> float:
        """Capacity in tokens."""
        return self._burst

    @burst.setter
    def burst(self, burst: float) -> None:
        self._set(self._rate, burst)

    def _set(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._scale = settings(rate, burst)
        self._local.rate, self._local.burst = self._share()

    def _share(self) -> tuple[float, float]:
        """Rate and burst of this process alone."""
        return self._rate / self._replicas, max(self._burst / self._replicas, min(self._burst, 1.0))

    @property
    def degraded(self) -> bool:
        """Whether Redis is being left alone after an error, so that `on_error` decides."""
        return self._breaker.state != "closed"

    @property
    def errors(self) -> int:
        """Calls to Redis that failed."""
        return self._errors

    # --- blocking

    def allow(self, n: float = 1) -> bool:
        """Take `n` tokens if they are there; never waits for tokens."""
        n, scale = amount(n), self._scale
        if n == 0.0 or scale is None:
            return True
        return n <= scale.burst and passed(self._ask(scale, n, True))

    def request(self, n: float = 1) -> Quota:
        """Do what `allow` does, and return a `Quota`: what remains, and when to come back."""
        n, scale = amount(n), self._scale
        return self._unlimited() if scale is None else quota(self._ask(scale, n, True), scale, n, True)

    def peek(self, n: float = 1) -> Quota:
        """Return what `request` would, and take nothing."""
        n, scale = amount(n), self._scale
        return self._unlimited() if scale is None else quota(self._ask(scale, n, False), scale, n, False)

    def wait(self, n: float = 1, timeout: float | None = None, *, stop: threading.Event | None = None) -> None:
        """Sleep until `n` tokens could be taken, asking again each time that they should be there.

        Who waits has no place in a queue: of several waiters, in one process or in many, any may come first.

        Args:
            n: tokens, 0 to `burst`.
            timeout: seconds; a wait that would last longer raises at once. None: no limit.
            stop: a `threading.Event`; setting it ends the wait.

        Raises:
            RateLimitError: `n` exceeds the burst.
            WaitTimeout: the tokens come after `timeout`; nothing was taken.
            WaitCancelled: `stop` was set.
        """
        wait = Wait(n, timeout)
        while stop is None or not stop.is_set():
            seconds = wait.seconds(self.request(n))
            if seconds == 0.0:
                return
            (time.sleep if stop is None else stop.wait)(seconds)
        raise WaitCancelled(f"stopped while waiting for {n!r} tokens of {self.key!r}")

    def _ask(self, scale: Scale, n: float, take: bool) -> Answer:
        client = self._clients.blocking()
        permit = self._permit()
        if isinstance(permit, float):
            return self._fall_back(n, take, permit)
        argument = scale.argument(n if take else 0.0)
        try:
            try:
                reply = self._run(client, argument)
            except self._cut:  # perhaps it died while nobody used it: once more, on a new connection
                reply = self._run(client, argument)
        except self._failures as error:
            return self._fall_back(n, take, self._failed(permit, error))
        except BaseException:
            permit.ignore()
            raise
        permit.success()
        return list(reply)

    def _run(self, client: Any, argument: bytes) -> Any:
        try:
            return client.evalsha(SHA, 1, self.key, argument)
        except self._no_script:
            return client.eval(SCRIPT, 1, self.key, argument)

    # --- asynchronous

    async def allow_async(self, n: float = 1) -> bool:
        """Do what `allow` does, without blocking the event loop."""
        n, scale = amount(n), self._scale
        if n == 0.0 or scale is None:
            return True
        return n <= scale.burst and passed(await self._ask_async(scale, n, True))

    async def request_async(self, n: float = 1) -> Quota:
        """Do what `request` does, without blocking the event loop."""
        n, scale = amount(n), self._scale
        return self._unlimited() if scale is None else quota(await self._ask_async(scale, n, True), scale, n, True)

    async def peek_async(self, n: float = 1) -> Quota:
        """Do what `peek` does, without blocking the event loop."""
        n, scale = amount(n), self._scale
        return self._unlimited() if scale is None else quota(await self._ask_async(scale, n, False), scale, n, False)

    async def wait_async(self, n: float = 1, timeout: float | None = None) -> None:
        """Wait as `wait` does, on the running event loop; a cancelled task takes nothing more."""
        wait = Wait(n, timeout)
        while True:
            seconds = wait.seconds(await self.request_async(n))
            if seconds == 0.0:
                return
            await asyncio.sleep(seconds)

    async def _ask_async(self, scale: Scale, n: float, take: bool) -> Answer:
        client = self._clients.asynchronous()
        permit = self._permit()
        if isinstance(permit, float):
            return self._fall_back(n, take, permit)
        argument = scale.argument(n if take else 0.0)
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    reply = await self._run_async(client, argument)
                except self._cut:
                    reply = await self._run_async(client, argument)
        except self._failures as error:
            return self._fall_back(n, take, self._failed(permit, error))
        except BaseException:
            permit.ignore()
            raise
        permit.success()
        return list(reply)

    async def _run_async(self, client: Any, argument: bytes) -> Any:
        try:
            return await client.evalsha(SHA, 1, self.key, argument)
        except self._no_script:
            return await client.eval(SCRIPT, 1, self.key, argument)

    # --- what both forms share

    def _unlimited(self) -> Quota:
        return Quota(False, self._burst, math.inf, 0.0, 0.0)

    def _permit(self) -> Any:
        """Leave to ask Redis; or the seconds for which nobody may."""
        try:
            return self._breaker.acquire()
        except CircuitOpenError as refused:
            return refused.remaining

    def _failed(self, permit: Any, error: BaseException) -> float:
        with self._noting:
            self._errors += 1
            self._why = f"{type(error).__name__}: {error}"
        permit.failure(error)
        return self._breaker.stats().remaining

    def _fall_back(self, n: float, take: bool, remaining: float) -> Quota:
        """Answer without Redis, which will be asked again in `remaining` seconds."""
        later = None if n > self._burst else remaining
        if self.on_error == "local":
            own = self._local.request(n) if take else self._local.peek(n)
            if own.retry_after is None:  # too much for this process's share
                own = Quota(True, own.limit, own.remaining, own.reset_after, later)
            return own
        if n == 0.0 or (self.on_error == "open" and n <= self._burst):
            return Quota(False, self._burst, math.floor(self._burst) if self.on_error == "open" else 0.0, 0.0, 0.0)
        return Quota(True, self._burst, 0.0, remaining, later)

    def _log(self, name: str, before: str, after: str, reason: str) -> None:
        if after == "half_open" or (before, after) == ("half_open", "open") or not self._lines.allow():
            return  # nothing has changed, or too often
        if after == "open":
            logger.warning("rate limit %r: Redis fails, on_error=%s decides: %s", self.key, self.on_error, self._why)
        else:
            logger.info("rate limit %r: Redis answers again", self.key)

    def close(self) -> None:
        """Close the blocking client that the bucket made; one of yours stays open."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the clients that the bucket made, those of other event loops excepted."""
        await self._clients.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        # Not the client: a URL may hold a password.
        return f"RedisTokenBucket({self.key!r}, rate={self._rate!r}, burst={self._burst!r}, on_error={self.on_error!r})"


class Wait:
    """How long to sleep after each refusal."""

    def __init__(self, n: float, timeout: float | None) -> None:
        self._n = n
        self._timeout = timeout
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout

    def seconds(self, quota: Quota) -> float:
        """Seconds to sleep before the next request; 0.0: the tokens are there."""
        if not quota.limited:
            return 0.0
        if quota.retry_after is None:
            raise RateLimitError(f"{self._n!r} tokens can never be had at burst {quota.limit!r}")
        if time.monotonic() + quota.retry_after > self._deadline:
            raise WaitTimeout(f"{self._n!r} tokens take longer than the timeout of {self._timeout!r} s")
        return min(max(quota.retry_after, SHORTEST_S), LONGEST_S)
