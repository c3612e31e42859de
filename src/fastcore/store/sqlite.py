"""The store in a SQLite file: one connection writes, a few read, each used by one thread at a time."""

import contextlib
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastcore.store.backend import Batch, PoolOptions
from fastcore.store.errors import StoreClosed, StoreError, StoreTimeout, StoreUnavailable, VersionConflict, WatchExpired
from fastcore.store.fields import COLUMNS, FieldType
from fastcore.store.resource import Key, Row
from fastcore.store.schema import SQLITE
from fastcore.store.statements import Dialect, Statement

__all__ = ["SQLiteBackend"]

_READERS = 4
_STEPS = 10_000  # of SQLite's machine between two looks at the clock
_KEEP_DELETIONS_US = 24 * 3600 * 1_000_000
_COLUMNS = ", ".join(COLUMNS)
_KEY = "workspace = ? AND kind = ? AND namespace = ? AND name = ?"


class SQLiteDialect:
    """SQLite's way to say what differs."""

    placeholder = "?"
    differs = "IS NOT"

    def any_of(self, column: str, type: FieldType) -> str:
        """The condition that a column has one of the values of one parameter."""
        return f"{column} IN (SELECT value FROM json_each(?))"

    def one(self, type: FieldType, value: Any) -> Any:
        """A value as the driver takes it."""
        return value

    def several(self, type: FieldType, values: tuple[Any, ...]) -> Any:
        """Many values as the one parameter of `any_of`."""
        return json.dumps(values)


class SQLiteBackend:
    """See `Backend`. Readers see the last commit while somebody writes (WAL); writers wait for each other.

    Args:
        path: of the file, made if it is not there; "" is a database in memory, which ends with the store.
        pool: how long to wait for a connection; readers are at most four, and below `max_open`.
        statement_timeout: seconds that a statement may take, > 0.

    Raises:
        StoreUnavailable: the file cannot be opened, or is no database.
        StoreError: it was made by a newer version of this package.
    """

    dialect: Dialect = SQLiteDialect()

    def __init__(self, path: str, pool: PoolOptions, statement_timeout: float) -> None:
        self._path = path
        self._wait_s = pool.acquire_timeout
        self._timeout = statement_timeout
        self._closed = False
        self._writing = threading.Lock()
        self._listeners: dict[object, Callable[[], None]] = {}
        self._writer = self._connect()
        try:
            self._prepare()
            [(secret,)] = self._writer.execute("SELECT value FROM fastcore_meta WHERE name = 'secret'")
            self.secret = bytes.fromhex(secret)
        except BaseException as error:
            self._writer.close()
            if isinstance(error, sqlite3.Error):
                raise StoreUnavailable(f"cannot use {path or 'memory'} as a database: {error}") from error
            raise
        # In memory every connection would be a database of its own: there the writer reads, too.
        count = 0 if not path else min(_READERS, max(1, pool.max_open - 1))
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._all = [self._connect() for _ in range(count)]
        for reader in self._all:
            self._readers.put(reader)
        self.concurrency = count + 1

    def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The rows of a SELECT."""
        with self._reader() as connection:
            return connection.execute(statement.text, statement.parameters).fetchall()

    def put(self, row: Row, expected: int | None, now: int) -> tuple[Any, ...]:
        """Write one; its columns afterwards."""
        with self._transaction() as connection:
            self._put(connection, row, expected, now)
            [found] = connection.execute(f"SELECT {_COLUMNS} FROM fastcore_resources WHERE {_KEY}", row.key)
        return tuple(found)

    def put_many(self, rows: Sequence[Row], now: int) -> int:
        """Write all or none; how many of them changed anything."""
        with self._transaction() as connection:
            return sum(self._put(connection, row, None, now) for row in rows)

    def remove(self, key: Key, expected: int | None, now: int) -> bool:
        """Delete one; whether there was one."""
        with self._transaction() as connection:
            found = connection.execute(f"SELECT id, version FROM fastcore_resources WHERE {_KEY}", key).fetchone()
            if expected is not None and expected != (found[1] if found else 0):
                raise VersionConflict(key, expected, found[1] if found else 0)
            if found is None:
                return False
            connection.execute(f"DELETE FROM fastcore_resources WHERE {_KEY}", key)
            connection.execute(
                "INSERT OR REPLACE INTO fastcore_deletions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*key, self._next_version(connection), found[0], now),
            )
            self._prune(connection, now - _KEEP_DELETIONS_US)
        return True

    def newest(self) -> int:
        """The version of the last change."""
        with self._reader() as connection:
            [(version,)] = connection.execute("SELECT value FROM fastcore_meta WHERE name = 'version'")
        return int(version)

    def changes(self, workspace: str, kind: str, after: int, limit: int) -> Batch:
        """What changed after a version, oldest first."""
        where = "WHERE workspace = ? AND kind = ? AND version > ?"
        with self._reader() as connection:
            connection.execute("BEGIN")
            try:
                [(pruned,)] = connection.execute("SELECT value FROM fastcore_meta WHERE name = 'pruned'")
                if after < int(pruned):
                    raise WatchExpired(
                        f"deletions up to version {pruned} are forgotten, {after} was asked for: list again"
                    )
                rows = connection.execute(
                    f"SELECT {_COLUMNS}, 0 FROM fastcore_resources {where} UNION ALL "
                    f"SELECT workspace, kind, namespace, name, '{{}}', '{{}}', '{{}}', deleted_at, deleted_at, "
                    f"version, id, 1 FROM fastcore_deletions {where} ORDER BY version LIMIT ?",
                    (workspace, kind, after, workspace, kind, after, limit + 1),
                ).fetchall()
            finally:
                connection.execute("ROLLBACK")
        told = [(tuple(row[:-1]), bool(row[-1])) for row in rows[:limit]]
        return Batch(told, told[-1][0][COLUMNS.index("version")] if told else after, len(rows) > limit)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each write of this process; returns what ends that."""
        key = object()
        self._listeners[key] = listener

        def cancel() -> None:
            self._listeners.pop(key, None)

        return cancel

    def close(self, timeout: float) -> None:
        """Close every connection; those in use within `timeout` seconds."""
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + timeout
        for _ in self._all:
            with contextlib.suppress(queue.Empty):
                self._readers.get(timeout=max(0.0, deadline - time.monotonic())).close()
        if self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._writer.close()
            self._writing.release()
        self._tell()

    # --- Inside

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path or ":memory:", timeout=self._wait_s, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot open {self._path!r}: {error}; is its folder there?") from error
        return connection

    def _prepare(self) -> None:
        """Apply the migrations that are missing, each in a transaction of its own with its number."""
        connection = self._writer
        if self._path:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # with WAL a crash of the machine loses no consistency
        for number, migration in enumerate(SQLITE, 1):
            connection.execute("BEGIN IMMEDIATE")  # others that open the file now wait here
            try:
                [(present,)] = connection.execute("PRAGMA user_version")
                if present > len(SQLITE):
                    raise StoreError(
                        f"{self._path} has schema {present}, and this version of fastcore knows {len(SQLITE)}: "
                        "use the newer one"
                    )
                if present < number:
                    for statement in migration:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {number}")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def _put(self, connection: sqlite3.Connection, row: Row, expected: int | None, now: int) -> bool:
        found = connection.execute(
            f"SELECT version, spec, status, metadata FROM fastcore_resources WHERE {_KEY}", row.key
        ).fetchone()
        if expected is not None and expected != (found[0] if found else 0):
            raise VersionConflict(row.key, expected, found[0] if found else 0)
        if found is not None and tuple(found[1:]) == (row.spec, row.status, row.metadata):
            return False  # a write that changes nothing is none
        version = self._next_version(connection)
        if found is None:
            connection.execute(
                "INSERT INTO fastcore_resources (workspace, kind, namespace, name, version, created_at, updated_at, "
                "phase, spec, status, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row.key, version, now if row.created_at is None else row.created_at, now, row.phase, row.spec,
                 row.status, row.metadata),
            )  # fmt: skip
            connection.execute(f"DELETE FROM fastcore_deletions WHERE {_KEY}", row.key)
        else:
            connection.execute(
                f"UPDATE fastcore_resources SET version = ?, updated_at = ?, phase = ?, spec = ?, status = ?, "
                f"metadata = ? WHERE {_KEY}",
                (version, now, row.phase, row.spec, row.status, row.metadata, *row.key),
            )
        return True

    @staticmethod
    def _next_version(connection: sqlite3.Connection) -> int:
        connection.execute("UPDATE fastcore_meta SET value = value + 1 WHERE name = 'version'")
        [(version,)] = connection.execute("SELECT value FROM fastcore_meta WHERE name = 'version'")
        return int(version)

    @staticmethod
    def _prune(connection: sqlite3.Connection, before: int) -> None:
        [(last,)] = connection.execute("SELECT max(version) FROM fastcore_deletions WHERE deleted_at < ?", (before,))
        if last is not None:
            connection.execute("DELETE FROM fastcore_deletions WHERE deleted_at < ?", (before,))
            connection.execute("UPDATE fastcore_meta SET value = max(value, ?) WHERE name = 'pruned'", (last,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn():
            connection = self._writer
            with self._watched(connection):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.set_progress_handler(None, 0)
                        connection.execute("ROLLBACK")
                    raise
        self._tell()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writing.acquire(timeout=self._wait_s):
            raise StoreTimeout(f"no turn to write within {self._wait_s:g} s")
        try:
            if self._closed:
                raise StoreClosed("the store is closed")
            yield
        finally:
            self._writing.release()

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        if self._closed:
            raise StoreClosed("the store is closed")
        if not self._all:
            with self._turn(), self._watched(self._writer):
                yield self._writer
            return
        try:
            connection = self._readers.get(timeout=self._wait_s)
        except queue.Empty:
            raise StoreTimeout(f"no connection within {self._wait_s:g} s") from None
        try:
            with self._watched(connection):
                yield connection
        finally:
            if self._closed:
                connection.close()
            else:
                self._readers.put(connection)

    @contextlib.contextmanager
    def _watched(self, connection: sqlite3.Connection) -> Iterator[None]:
        """End statements that take too long, and tell the driver's errors in our words."""
        deadline = time.monotonic() + self._timeout
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise StoreTimeout(f"the statement took longer than {self._timeout:g} s") from error
            if "locked" in str(error):
                raise StoreTimeout(f"another process wrote for more than {self._wait_s:g} s") from error
            raise StoreUnavailable(f"{self._path or 'memory'}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreUnavailable(f"{self._path or 'memory'}: {error}") from error
        finally:
            with contextlib.suppress(sqlite3.ProgrammingError):
                connection.set_progress_handler(None, 0)

    def _tell(self) -> None:
        for listener in list(self._listeners.values()):
            listener()
