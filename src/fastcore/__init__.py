"""Compiled primitives for Kubernetes controllers, and a controller runtime on top of them.

The primitives are here; the runtime is `fastcore.controller`, what tests need is `fastcore.testing`.
"""

from typing import TYPE_CHECKING

from fastcore._impl import IMPLEMENTATION
from fastcore._version import __version__
from fastcore.breaker import BreakerRegistry, CircuitBreaker
from fastcore.cache import LoadingCache, LRUCache, S3FIFOCache, TTLCache, cached, cachedmethod
from fastcore.diff import (
    Change,
    Plan,
    apply_json_patch,
    apply_merge_patch,
    apply_strategic_merge_patch,
    covers,
    fingerprint,
    fingerprints,
    json_patch,
    merge_patch,
    plan,
    strategic_merge_patch,
    three_way_patch,
)
from fastcore.errors import (
    CircuitOpenError,
    FastcoreError,
    NotFound,
    ObjectError,
    PatchConflict,
    PatchError,
    PatchTestFailed,
    PoolError,
    RateLimitError,
    ReentrancyError,
    ShutDown,
    WaitCancelled,
    WaitTimeout,
)
from fastcore.objects import ObjectStore
from fastcore.pool import BufferPool, ObjectPool
from fastcore.queue import WorkQueue
from fastcore.ratelimit import ItemBackoff, KeyedTokenBucket, MaxOf, TokenBucket

if TYPE_CHECKING:
    from fastcore.diff import diff  # at run time the name is the module, which can be called like its function

__all__ = [
    "IMPLEMENTATION",
    "BreakerRegistry",
    "BufferPool",
    "Change",
    "CircuitBreaker",
    "CircuitOpenError",
    "FastcoreError",
    "ItemBackoff",
    "KeyedTokenBucket",
    "LRUCache",
    "LoadingCache",
    "MaxOf",
    "NotFound",
    "ObjectError",
    "ObjectPool",
    "ObjectStore",
    "PatchConflict",
    "PatchError",
    "PatchTestFailed",
    "Plan",
    "PoolError",
    "RateLimitError",
    "ReentrancyError",
    "S3FIFOCache",
    "ShutDown",
    "TTLCache",
    "TokenBucket",
    "WaitCancelled",
    "WaitTimeout",
    "WorkQueue",
    "__version__",
    "apply_json_patch",
    "apply_merge_patch",
    "apply_strategic_merge_patch",
    "cached",
    "cachedmethod",
    "covers",
    "diff",
    "fingerprint",
    "fingerprints",
    "json_patch",
    "merge_patch",
    "plan",
    "strategic_merge_patch",
    "three_way_patch",
]
