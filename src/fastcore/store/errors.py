"""What a store refuses and what can go wrong with it; each type is also the builtin that a caller would expect."""

from fastcore.errors import FastcoreError

__all__ = [
    "CursorError",
    "QueryError",
    "ResourceError",
    "StoreClosed",
    "StoreError",
    "StoreTimeout",
    "StoreUnavailable",
    "VersionConflict",
    "WatchExpired",
]


class StoreError(FastcoreError):
    """Root of what a store raises."""


class ResourceError(StoreError, ValueError):
    """A resource or a part of its key cannot be stored; nothing was written."""


class QueryError(StoreError, ValueError):
    """A field, operator, order, limit or offset that the store does not allow; no SQL was sent."""


class CursorError(QueryError):
    """A cursor that this store did not make, or made for another query."""


class StoreTimeout(StoreError, TimeoutError):
    """The statement, or the wait for a connection, took longer than allowed. A write may or may not have happened."""


class StoreUnavailable(StoreError, ConnectionError):
    """The database cannot be reached, or the connection was lost. A write may or may not have happened."""


class StoreClosed(StoreError, RuntimeError):
    """The store is closed."""


class WatchExpired(StoreError):
    """The deletions since the version asked for are no longer known: list again, and watch from there."""


class VersionConflict(StoreError):
    """The resource is not at the version that the caller expected; nothing was written.

    Attributes:
        expected: the version that the caller named; 0 stands for "does not exist".
        found: the version in the store; 0 if there is no such resource.
    """

    def __init__(self, key: tuple[str, str, str, str], expected: int, found: int) -> None:
        self.key = key
        self.expected = expected
        self.found = found
        super().__init__(key, expected, found)

    def __str__(self) -> str:
        name = "/".join(self.key)
        if not self.found:
            return f"{name} does not exist, expected it at version {self.expected}"
        if not self.expected:
            return f"{name} exists already, at version {self.found}"
        return f"{name} is at version {self.found}, expected {self.expected}: read it again and repeat the change"
