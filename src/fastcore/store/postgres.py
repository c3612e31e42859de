"""The store in PostgreSQL, over psycopg and its pool."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool, PoolTimeout

from fastcore.store.backend import PoolOptions, StoreStats
from fastcore.store.errors import StoreError, StoreTimeout, StoreUnavailable
from fastcore.store.fields import FieldType
from fastcore.store.schema import POSTGRES
from fastcore.store.sql import Session, SqlBackend
from fastcore.store.statements import Dialect

__all__ = ["PostgresBackend"]

_MIGRATIONS = 0x66617374_636F7265  # the advisory lock of whoever applies them
_THREADS = 8


class PostgresDialect:
    """PostgreSQL's way to say what differs."""

    placeholder = "?"
    differs = "IS DISTINCT FROM"

    def any_of(self, column: str, type: FieldType) -> str:
        """The condition that a column has one of the values of one parameter."""
        return f"{column} = ANY(?)"

    def one(self, type: FieldType, value: Any) -> Any:
        """A value as the driver takes it."""
        return value

    def several(self, type: FieldType, values: tuple[Any, ...]) -> Any:
        """Many values as the one parameter of `any_of`."""
        return list(values)


class _Session:
    """A connection that takes `?` for a parameter; no text of ours has one, or a percent sign, for anything else."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> Any:
        return self._connection.execute(text.replace("?", "%s").encode(), parameters)

    def executemany(self, text: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        cursor = self._connection.cursor()
        cursor.executemany(text.replace("?", "%s").encode(), parameters)
        return cursor


class PostgresBackend(SqlBackend):
    """See `Backend`.

    Args:
        url: "postgresql://...", as libpq has it.
        pool: connections.
        statement_timeout: seconds that the server lets a statement take, > 0.

    Raises:
        StoreUnavailable: the server cannot be reached, or refuses.
        StoreError: the tables were made by a newer version of this package.
    """

    dialect: Dialect = PostgresDialect()

    def __init__(self, url: str, pool: PoolOptions, statement_timeout: float) -> None:
        super().__init__()
        self._timeout = statement_timeout
        self._max_idle = pool.max_idle
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            url,
            kwargs={"application_name": "fastcore", "connect_timeout": max(2, round(pool.acquire_timeout))},
            min_size=0,
            max_size=pool.max_open,
            timeout=pool.acquire_timeout,
            max_lifetime=pool.max_lifetime,
            max_idle=pool.max_idle_time,
            reconnect_timeout=pool.acquire_timeout,
            configure=self._configure,
            check=ConnectionPool.check_connection,
            name="fastcore-store",
            open=False,
        )
        self.concurrency = min(_THREADS, pool.max_open)
        try:
            self._pool.open()
            self._prepare()
            with self._reading() as session:
                [(secret,)] = session.execute("SELECT text FROM fastcore_meta WHERE name = 'secret'").fetchall()
        except BaseException:
            self._pool.close()
            raise
        self.secret = bytes.fromhex(secret)

    def close(self, timeout: float) -> None:
        """Close every connection; those in use within `timeout` seconds."""
        if not self._closed:
            self._closed = True
            self._pool.close(timeout)
            self._tell()

    def stats(self) -> StoreStats:
        """A reading of the pool's counters."""
        told = self._pool.get_stats()
        return StoreStats(
            told["pool_size"],
            told["pool_available"],
            told.get("requests_waiting", 0),
            told.get("requests_queued", 0),
            told.get("requests_wait_ms", 0) / 1000,
            told.get("requests_errors", 0),
            told.get("connections_num", 0),
            told.get("connections_lost", 0),
        )

    def _configure(self, connection: "psycopg.Connection[Any]") -> None:
        milliseconds = max(1, round(self._timeout * 1000))
        connection.execute("SELECT set_config('statement_timeout', %s, false)", (str(milliseconds),))
        connection.commit()

    def _prepare(self) -> None:
        """Apply the migrations that are missing, in one transaction; others that open the store now wait."""
        with self._connected() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATIONS,))
            [(there,)] = connection.execute("SELECT to_regclass('fastcore_meta') IS NOT NULL").fetchall()
            present = 0
            if there:
                [(present,)] = connection.execute("SELECT number FROM fastcore_meta WHERE name = 'schema'").fetchall()
            if present > len(POSTGRES):
                raise StoreError(
                    f"the database has schema {present}, and this version of fastcore knows {len(POSTGRES)}: "
                    "use the newer one"
                )
            for migration in POSTGRES[present:]:
                for statement in migration:
                    connection.execute(statement.encode())
            connection.execute("UPDATE fastcore_meta SET number = %s WHERE name = 'schema'", (len(POSTGRES),))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._connected() as connection:
            # Whoever has this row writes; the others wait, so versions are committed in their order.
            connection.execute("SELECT number FROM fastcore_meta WHERE name = 'version' FOR UPDATE")
            yield _Session(connection)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._connected() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield _Session(connection)

    @contextlib.contextmanager
    def _connected(self) -> "Iterator[psycopg.Connection[Any]]":
        """A connection with a transaction, and the driver's errors in our words, which never say the password."""
        self._check_open()
        try:
            with self._pool.connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise StoreUnavailable(f"no connection within {self._pool.timeout:g} s: {self._state()}") from error
        except errors.QueryCanceled as error:
            raise StoreTimeout(f"the statement took longer than {self._timeout:g} s") from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise StoreUnavailable(f"PostgreSQL: {error}") from error
        self._trim()

    def _state(self) -> str:
        stats = self._pool.get_stats()
        names = ("pool_size", "pool_available", "requests_waiting", "connections_errors")
        return ", ".join(f"{name} {stats.get(name, 0)}" for name in names)

    def _trim(self) -> None:
        """Close what is idle beyond `max_idle`."""
        while self._pool.get_stats()["pool_available"] > self._max_idle:
            try:
                connection = self._pool.getconn(timeout=0.001)
            except PoolTimeout:
                return
            connection.close()
            self._pool.putconn(connection)
