"""The store in a SQLite file: one connection writes, a few read, each used by one thread at a time."""

import contextlib
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

from fastcore.store.backend import PoolOptions, StoreStats
from fastcore.store.errors import StoreError, StoreTimeout, StoreUnavailable
from fastcore.store.fields import FieldType
from fastcore.store.schema import SQLITE
from fastcore.store.sql import Session, SqlBackend
from fastcore.store.statements import Dialect

__all__ = ["SQLiteBackend"]

_READERS = 4
_STEPS = 10_000  # of SQLite's machine between two looks at the clock


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


class SQLiteBackend(SqlBackend):
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
        super().__init__()
        self._path = path
        self._wait_s = pool.acquire_timeout
        self._timeout = statement_timeout
        self._waits = self._timeouts = 0
        self._wait_ns = 0
        self._turns = threading.Lock()
        self._writer = self._connect()
        try:
            self._prepare()
            [(secret,)] = self._writer.execute("SELECT text FROM fastcore_meta WHERE name = 'secret'")
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

    def stats(self) -> StoreStats:
        """A reading of the counters; threads that wait just now are not told apart."""
        count = 0 if self._closed else len(self._all) + 1
        idle = 0 if self._closed else self._readers.qsize() + (not self._turns.locked())
        return StoreStats(count, idle, 0, self._waits, self._wait_ns / 1e9, self._timeouts, len(self._all) + 1, 0)

    def close(self, timeout: float) -> None:
        """Close every connection; those in use within `timeout` seconds."""
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + timeout
        for _ in self._all:
            with contextlib.suppress(queue.Empty):
                self._readers.get(timeout=max(0.0, deadline - time.monotonic())).close()
        if self._turns.acquire(timeout=max(0.0, deadline - time.monotonic())):
            self._writer.close()
            self._turns.release()
        self._tell()

    def _connect(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(
                self._path or ":memory:", timeout=self._wait_s, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot open {self._path!r}: {error}; is its folder there?") from error

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

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._turn(), self._watched(self._writer), self._transaction(self._writer, "BEGIN IMMEDIATE"):
            yield self._writer

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Session]:
        self._check_open()
        if not self._all:
            with self._turn(), self._watched(self._writer), self._transaction(self._writer, "BEGIN"):
                yield self._writer
            return
        connection = self._idle_reader()
        try:
            with self._watched(connection), self._transaction(connection, "BEGIN"):
                yield connection
        finally:
            if self._closed:
                connection.close()
            else:
                self._readers.put(connection)

    def _idle_reader(self) -> sqlite3.Connection:
        with contextlib.suppress(queue.Empty):
            return self._readers.get_nowait()
        began = time.monotonic_ns()
        try:
            return self._readers.get(timeout=self._wait_s)
        except queue.Empty:
            self._timeouts += 1
            raise StoreTimeout(f"no connection within {self._wait_s:g} s") from None
        finally:
            self._waited(began)

    def _waited(self, began: int) -> None:
        self._waits += 1
        self._wait_ns += time.monotonic_ns() - began

    @staticmethod
    @contextlib.contextmanager
    def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
        connection.execute(begin)
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.set_progress_handler(None, 0)
                connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        self._check_open()
        if not self._turns.acquire(blocking=False):
            began = time.monotonic_ns()
            got = self._turns.acquire(timeout=self._wait_s)
            self._waited(began)
            if not got:
                self._timeouts += 1
                raise StoreTimeout(f"no turn to write within {self._wait_s:g} s")
        try:
            self._check_open()
            yield
        finally:
            self._turns.release()

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
