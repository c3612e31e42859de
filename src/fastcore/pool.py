"""Pools of objects that are slow to make: reset when they come back, bounded in number, size and age.

`ObjectPool` and `BufferPool` are the compiled classes themselves; docs/pool.md says when a pool pays.
"""

from fastcore._impl import buffers as _buffers
from fastcore._impl import pool as _pool

BufferPool = _buffers.BufferPool
ObjectPool = _pool.ObjectPool
PoolStats = _pool.PoolStats
trim_all = _pool.trim_all

__all__ = ["BufferPool", "ObjectPool", "PoolStats", "trim_all"]
