"""Resources in a SQL database: pages that do not shift, versions that do not get lost, and a watch of what changes."""

from fastcore.store.backend import PoolOptions, StoreStats
from fastcore.store.errors import (
    CursorError,
    QueryError,
    ResourceError,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    VersionConflict,
    WatchExpired,
)
from fastcore.store.operators import Eq, Ge, Gt, In, Le, Lt, Ne, Prefix, Range
from fastcore.store.query import OrderBy, Page, QueryOptions
from fastcore.store.resource import Key, Resource
from fastcore.store.store import ResourceStore, StoreEvent, SyncStore

__all__ = [
    "CursorError",
    "Eq",
    "Ge",
    "Gt",
    "In",
    "Key",
    "Le",
    "Lt",
    "Ne",
    "OrderBy",
    "Page",
    "PoolOptions",
    "Prefix",
    "QueryError",
    "QueryOptions",
    "Range",
    "Resource",
    "ResourceError",
    "ResourceStore",
    "StoreClosed",
    "StoreError",
    "StoreEvent",
    "StoreStats",
    "StoreTimeout",
    "StoreUnavailable",
    "SyncStore",
    "VersionConflict",
    "WatchExpired",
]
