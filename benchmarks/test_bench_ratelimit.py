"""Token buckets and back-off beside their twins, token-bucket, limits and aiolimiter; in Redis beside limits there."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore._ext import backoff as ext_backoff
from fastcore._ext import bucket as ext_bucket
from fastcore._ext import keyed as ext_keyed
from fastcore._py import backoff as py_backoff
from fastcore._py import bucket as py_bucket
from fastcore._py import keyed as py_keyed
from fastcore.ratelimit import RedisTokenBucket
from fastcore.testing.kube import find_binary
from fastcore.testing.redis import RedisServer

ALLOW = "token bucket allow"
REFUSE = "token bucket allow, refused"
KEYED = "keyed bucket allow, 10,000 keys"
MANY = "keyed bucket, 10,000 keys at once"
RESERVE = "token bucket reserve"
REQUEST = "token bucket request, with its quota"
WAIT = "token bucket await, tokens there"
REDIS = "token bucket in Redis, a round trip"
BACKOFF = "item back-off when + forget"
PLENTY = 10**9
KEYS = [f"tenant-{i}" for i in range(10_000)]


def ours(what: str, ext: Any, py: Any) -> Any:
    return pytest.mark.parametrize(
        "module",
        [
            pytest.param(ext, marks=pytest.mark.subject(what, "fastcore")),
            pytest.param(py, marks=pytest.mark.subject(what, "fastcore twin")),
        ],
    )


def repeat(benchmark: Any, function: Any, *arguments: Any) -> None:
    def calls() -> None:
        for _ in range(CALLS):
            function(*arguments)

    def calls_without_arguments() -> None:
        for _ in range(CALLS):
            function()

    per_call(benchmark, calls if arguments else calls_without_arguments)


def each_key(benchmark: Any, function: Any, keys: list[Any] = KEYS) -> None:
    def calls() -> None:
        for key in keys:
            function(key)

    per_call(benchmark, calls, calls=len(keys), rounds=10)


@pytest.mark.subject(ALLOW, "time.monotonic_ns()")
def test_clock(benchmark: Any) -> None:
    repeat(benchmark, time.monotonic_ns)


@ours(ALLOW, ext_bucket, py_bucket)
def test_allow(benchmark: Any, module: Any) -> None:
    repeat(benchmark, module.TokenBucket(PLENTY, PLENTY).allow)


@ours(REFUSE, ext_bucket, py_bucket)
def test_refuse(benchmark: Any, module: Any) -> None:
    repeat(benchmark, module.TokenBucket(0, 0).allow)


@ours(RESERVE, ext_bucket, py_bucket)
def test_reserve(benchmark: Any, module: Any) -> None:
    repeat(benchmark, module.TokenBucket(PLENTY, PLENTY).reserve)


@ours(REQUEST, ext_bucket, py_bucket)
def test_request(benchmark: Any, module: Any) -> None:
    repeat(benchmark, module.TokenBucket(PLENTY, PLENTY).request)


def awaited(benchmark: Any, make: Any) -> None:
    """Measure an awaited call; `make` returns it, on the event loop."""
    with asyncio.Runner() as runner:

        async def setup() -> Any:
            return make()

        call = runner.run(setup())

        async def calls() -> None:
            for _ in range(CALLS):
                await call()

        per_call(benchmark, lambda: runner.run(calls()), rounds=20)


@ours(WAIT, ext_bucket, py_bucket)
def test_wait(benchmark: Any, module: Any) -> None:
    awaited(benchmark, lambda: module.TokenBucket(PLENTY, PLENTY).wait_async)


@pytest.mark.subject(WAIT, "asyncio.sleep(0)")
def test_wait_of_nothing(benchmark: Any) -> None:
    awaited(benchmark, lambda: lambda: asyncio.sleep(0))


@pytest.mark.subject(WAIT, "aiolimiter")
def test_wait_of_aiolimiter(benchmark: Any) -> None:
    peer = pytest.importorskip("aiolimiter")
    awaited(benchmark, lambda: peer.AsyncLimiter(PLENTY, 1).acquire)


@pytest.mark.subject(ALLOW, "token-bucket")
def test_allow_of_token_bucket(benchmark: Any) -> None:
    peer = pytest.importorskip("token_bucket")
    repeat(benchmark, peer.Limiter(PLENTY, PLENTY, peer.MemoryStorage()).consume, "key")


@pytest.mark.subject(ALLOW, "limits, fixed window")
def test_allow_of_limits(benchmark: Any) -> None:
    peer = pytest.importorskip("limits")
    limiter = peer.strategies.FixedWindowRateLimiter(peer.storage.MemoryStorage())
    repeat(benchmark, limiter.hit, peer.RateLimitItemPerSecond(int(PLENTY)), "key")


@pytest.mark.subject(KEYED, "dict.get")
def test_keys_of_a_dict(benchmark: Any) -> None:
    each_key(benchmark, dict.fromkeys(KEYS, 1).get)


@ours(KEYED, ext_keyed, py_keyed)
def test_keyed(benchmark: Any, module: Any) -> None:
    each_key(benchmark, module.KeyedTokenBucket(10, PLENTY, max_keys=20_000).allow)


@ours(MANY, ext_keyed, py_keyed)
def test_keyed_many(benchmark: Any, module: Any) -> None:
    keyed = module.KeyedTokenBucket(10, PLENTY, max_keys=20_000)
    per_call(benchmark, lambda: keyed.allow_many(KEYS), calls=len(KEYS), rounds=10)


@pytest.mark.subject(MANY, "fastcore, an array of str")
def test_keyed_array(benchmark: Any) -> None:
    keyed, keys = ext_keyed.KeyedTokenBucket(10, PLENTY, max_keys=20_000), np.array(KEYS)
    per_call(benchmark, lambda: keyed.allow_many(keys), calls=len(KEYS), rounds=10)


@pytest.mark.subject(MANY, "fastcore, a loop over allow")
def test_keyed_loop(benchmark: Any) -> None:
    keyed = ext_keyed.KeyedTokenBucket(10, PLENTY, max_keys=20_000)
    per_call(benchmark, lambda: [keyed.allow(key) for key in KEYS], calls=len(KEYS), rounds=10)


@pytest.mark.subject(KEYED, "token-bucket")
def test_keyed_of_token_bucket(benchmark: Any) -> None:
    peer = pytest.importorskip("token_bucket")
    each_key(benchmark, peer.Limiter(10, PLENTY, peer.MemoryStorage()).consume)


@pytest.mark.subject(KEYED, "limits, fixed window")
def test_keyed_of_limits(benchmark: Any) -> None:
    peer = pytest.importorskip("limits")
    limiter = peer.strategies.FixedWindowRateLimiter(peer.storage.MemoryStorage())
    item = peer.RateLimitItemPerSecond(int(PLENTY))
    each_key(benchmark, lambda key: limiter.hit(item, key), KEYS[:1000])


@ours(BACKOFF, ext_backoff, py_backoff)
def test_backoff(benchmark: Any, module: Any) -> None:
    backoff = module.ItemBackoff()

    def turns() -> None:
        when, forget = backoff.when, backoff.forget
        for key in KEYS[:CALLS]:
            when(key)
            forget(key)

    per_call(benchmark, turns)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    pytest.importorskip("redis")
    if find_binary("redis-server") is None:
        pytest.skip("no redis-server on PATH")
    with RedisServer() as server:
        yield server


def round_trips(benchmark: Any, function: Any) -> None:
    def calls() -> None:
        for _ in range(100):
            function()

    per_call(benchmark, calls, calls=100, rounds=20)


@pytest.mark.subject(REDIS, "redis-py ping")
def test_redis_ping(benchmark: Any, server: RedisServer) -> None:
    import redis

    with redis.Redis.from_url(server.url) as client:
        round_trips(benchmark, client.ping)


@pytest.mark.subject(REDIS, "fastcore")
def test_redis(benchmark: Any, server: RedisServer) -> None:
    with RedisTokenBucket(server.url, "bench", PLENTY, PLENTY) as bucket:
        round_trips(benchmark, bucket.allow)
        assert bucket.errors == 0


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("FixedWindowRateLimiter", marks=pytest.mark.subject(REDIS, "limits, fixed window")),
        pytest.param("SlidingWindowCounterRateLimiter", marks=pytest.mark.subject(REDIS, "limits, sliding window")),
    ],
)
def test_redis_of_limits(benchmark: Any, server: RedisServer, strategy: str) -> None:
    peer = pytest.importorskip("limits")
    limiter = getattr(peer.strategies, strategy)(peer.storage.RedisStorage(server.url))
    item = peer.RateLimitItemPerSecond(int(PLENTY))
    round_trips(benchmark, lambda: limiter.hit(item, "bench"))
