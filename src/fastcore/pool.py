"""Pools of objects that are slow to make: reset when they come back, bounded in number and size.

`ObjectPool` and `BufferPool` are the compiled classes themselves; docs/pool.md says when a pool pays.
"""

from fastcore._impl import pool as _pool

BufferPool = _pool.BufferPool
ObjectPool = _pool.ObjectPool
PoolStats = _pool.PoolStats

__all__ = ["BufferPool", "ObjectPool", "PoolStats"]
