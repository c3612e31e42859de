"""What a database does for the store: a handful of blocking calls, each one transaction, all arguments checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from fastcore.store.resource import Key, Row
from fastcore.store.statements import Dialect, Statement

__all__ = ["Backend", "Batch", "PoolOptions", "StoreStats"]


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How many connections to PostgreSQL, and for how long. A SQLite file has one that writes and up to four that read.

    Args:
        max_open: at most so many at once, 1 to 1000; a file has two at least.
        max_idle: at most so many kept while nobody uses them, 0 or more; more are closed when they come back.
        max_lifetime: seconds until a connection is replaced (up to 5 % earlier, so that not all go at once), > 0.
        max_idle_time: seconds until an unused connection is closed, > 0.
        acquire_timeout: seconds that a call waits for a connection, > 0.

    Raises:
        ValueError: one is outside its range.
    """

    max_open: int = 25
    max_idle: int = 10
    max_lifetime: float = 3600.0
    max_idle_time: float = 900.0
    acquire_timeout: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_open <= 1000:
            raise ValueError(f"max_open must be between 1 and 1000, not {self.max_open}")
        if self.max_idle < 0:
            raise ValueError(f"max_idle must be at least 0, not {self.max_idle}")
        for name in ("max_lifetime", "max_idle_time", "acquire_timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}")


class StoreStats(NamedTuple):
    """What a store's connections do now, and have done so far.

    Args:
        connections_open: now.
        connections_idle: of these, that nobody uses.
        connections_waiting: calls that wait for one.
        waits: calls that had to wait.
        wait_seconds: how long these did.
        timeouts: calls that waited in vain.
        opened: connections.
        lost: connections that broke.
    """

    connections_open: int
    connections_idle: int
    connections_waiting: int
    waits: int
    wait_seconds: float
    timeouts: int
    opened: int
    lost: int


class Batch(NamedTuple):
    """Changes in order: rows as `resource.from_row` takes them, each with whether it is a deletion.

    `version` is how far they reach; `more` says that there are others behind them.
    """

    rows: list[tuple[tuple[Any, ...], bool]]
    version: int
    more: bool


class Backend(Protocol):
    """SQLite or PostgreSQL. Every method may be called from any thread and ends within its deadlines."""

    dialect: Dialect
    secret: bytes
    concurrency: int

    def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The rows of a SELECT."""

    def put(self, row: Row, expected: int | None, now: int) -> tuple[Any, ...]:
        """Write one; its columns afterwards. Raises VersionConflict."""

    def put_many(self, rows: Sequence[Row], now: int) -> int:
        """Write all or none; how many of them changed anything."""

    def remove(self, key: Key, expected: int | None, now: int) -> bool:
        """Delete one; whether there was one. Raises VersionConflict."""

    def newest(self) -> int:
        """The version from which a watch that wants only news begins."""

    def changes(self, workspace: str, kind: str, after: int, limit: int) -> Batch:
        """What changed after a version. Raises WatchExpired."""

    def stats(self) -> StoreStats:
        """A reading of the counters."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each write of this process; returns what ends that."""

    def close(self, timeout: float) -> None:
        """Close every connection; those in use within `timeout` seconds."""
