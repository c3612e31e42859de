"""Token buckets and back-off beside their twins, token-bucket and limits."""

import time
from typing import Any

import pytest
from benchmarks.conftest import CALLS, per_call

from fastcore._ext import backoff as ext_backoff
from fastcore._ext import bucket as ext_bucket
from fastcore._ext import keyed as ext_keyed
from fastcore._py import backoff as py_backoff
from fastcore._py import bucket as py_bucket
from fastcore._py import keyed as py_keyed

ALLOW = "token bucket allow"
REFUSE = "token bucket allow, refused"
KEYED = "keyed bucket allow, 10,000 keys"
MANY = "keyed bucket, 10,000 keys at once"
RESERVE = "token bucket reserve"
BACKOFF = "item back-off when + forget"
PLENTY = 10**9
KEYS = [f"tenant-{i}" for i in range(10_000)]


def ours(what: str, ext: Any, py: Any, target: str = "") -> Any:
    return pytest.mark.parametrize(
        "module",
        [
            pytest.param(ext, marks=pytest.mark.subject(what, "fastcore", target=target)),
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


@ours(ALLOW, ext_bucket, py_bucket, "<= 2.5 x")
def test_allow(benchmark: Any, module: Any) -> None:
    repeat(benchmark, module.TokenBucket(PLENTY, PLENTY).allow)


@ours(REFUSE, ext_bucket, py_bucket)
def test_refuse(benchmark: Any, module: Any) -> None:
    repeat(benchmark, module.TokenBucket(0, 0).allow)


@ours(RESERVE, ext_bucket, py_bucket)
def test_reserve(benchmark: Any, module: Any) -> None:
    repeat(benchmark, module.TokenBucket(PLENTY, PLENTY).reserve)


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


@ours(KEYED, ext_keyed, py_keyed, ">= 8 x faster than token-bucket")
def test_keyed(benchmark: Any, module: Any) -> None:
    each_key(benchmark, module.KeyedTokenBucket(10, PLENTY, max_keys=20_000).allow)


@ours(MANY, ext_keyed, py_keyed)
def test_keyed_many(benchmark: Any, module: Any) -> None:
    keyed = module.KeyedTokenBucket(10, PLENTY, max_keys=20_000)
    per_call(benchmark, lambda: keyed.allow_many(KEYS), calls=len(KEYS), rounds=10)


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
