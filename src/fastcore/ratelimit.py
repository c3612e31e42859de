"""Rate limits and back-off: token buckets (one, one a key, or one in Redis) and per-item exponential delays.

`TokenBucket` offers three verbs: `allow` (drop), `reserve` (plan), `wait` and `wait_async` (slow down).
"""

from typing import TYPE_CHECKING, Any

from fastcore._impl import backoff, bucket, keyed, quota

if TYPE_CHECKING:
    from fastcore._redis_bucket import RedisTokenBucket as RedisTokenBucket

FastSlow = backoff.FastSlow
ItemBackoff = backoff.ItemBackoff
KeyedTokenBucket = keyed.KeyedTokenBucket
MaxOf = backoff.MaxOf
Quota = quota.Quota
Reservation = bucket.Reservation
TokenBucket = bucket.TokenBucket
WithMaxWait = backoff.WithMaxWait

__all__ = [
    "FastSlow",
    "ItemBackoff",
    "KeyedTokenBucket",
    "MaxOf",
    "Quota",
    "RedisTokenBucket",
    "Reservation",
    "TokenBucket",
    "WithMaxWait",
]


def __getattr__(name: str) -> Any:
    """Load the bucket in Redis when it is first named: it brings asyncio and logging along."""
    if name != "RedisTokenBucket":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastcore._redis_bucket import RedisTokenBucket

    globals()[name] = RedisTokenBucket
    return RedisTokenBucket
