"""Rate limits and back-off: token buckets (one, or one a key) and per-item exponential delays.

`TokenBucket` offers three verbs: `allow` (drop), `reserve` (plan), `wait` and `wait_async` (slow down).
"""

from fastcore._impl import backoff, bucket, keyed

ItemBackoff = backoff.ItemBackoff
KeyedTokenBucket = keyed.KeyedTokenBucket
MaxOf = backoff.MaxOf
Reservation = bucket.Reservation
TokenBucket = bucket.TokenBucket

__all__ = ["ItemBackoff", "KeyedTokenBucket", "MaxOf", "Reservation", "TokenBucket"]
