"""Rate limits and back-off: token buckets (one, or one a key) and per-item exponential delays.

`TokenBucket` offers three verbs: `allow` (drop), `reserve` (plan), `wait` and `wait_async` (slow down).
"""

from fastcore._impl import backoff, bucket, keyed, quota

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
    "Reservation",
    "TokenBucket",
    "WithMaxWait",
]
