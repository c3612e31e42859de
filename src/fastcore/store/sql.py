"""What the store does in SQL that both databases understand; how each runs a transaction is its own affair.

Writers come one after the other, in both: versions are committed in their order, so that a watch sees none too late.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from fastcore.store.backend import Batch
from fastcore.store.errors import StoreClosed, VersionConflict, WatchExpired
from fastcore.store.fields import COLUMNS
from fastcore.store.resource import Key, Row
from fastcore.store.statements import Statement

__all__ = ["Session", "SqlBackend"]

_KEEP_DELETIONS_US = 24 * 3600 * 1_000_000
_COLUMNS = ", ".join(COLUMNS)
_VERSION_AT = COLUMNS.index("version")
_KEY = "workspace = ? AND kind = ? AND namespace = ? AND name = ?"
_INSERT = (
    "INSERT INTO fastcore_resources (workspace, kind, namespace, name, version, created_at, updated_at, phase, spec, "
    "status, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPSERT = f"""{_INSERT} ON CONFLICT (workspace, kind, namespace, name) DO UPDATE SET version = excluded.version,
    updated_at = excluded.updated_at, phase = excluded.phase, spec = excluded.spec, status = excluded.status,
    metadata = excluded.metadata WHERE fastcore_resources.spec <> excluded.spec
    OR fastcore_resources.status <> excluded.status OR fastcore_resources.metadata <> excluded.metadata"""
_REMEMBER = """INSERT INTO fastcore_deletions VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (workspace, kind, namespace, name) DO UPDATE SET version = excluded.version, id = excluded.id,
    deleted_at = excluded.deleted_at"""


class Session(Protocol):
    """A connection within a transaction; `?` stands for a parameter."""

    def execute(self, text: str, parameters: Sequence[Any] = (), /) -> Any:
        """A cursor with the rows."""

    def executemany(self, text: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        """A cursor that says how many rows changed."""


class SqlBackend:
    """See `Backend`; a subclass gives the transactions."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[], None]] = {}
        self._closed = False
        self._process = os.getpid()

    def _check_open(self) -> None:
        """Refuse a call to a store that is closed, or was opened before this process was forked: what it inherited of
        the connections is still its parent's, and is left alone."""
        if self._closed:
            raise StoreClosed("the store is closed")
        if self._process != os.getpid():
            raise StoreClosed("this process was forked after the store was opened: open one of its own")

    def _writing(self) -> AbstractContextManager[Session]:
        """A transaction that no other writer is beside; committed at its end, rolled back if something is raised."""
        raise NotImplementedError

    def _reading(self) -> AbstractContextManager[Session]:
        """A transaction that sees one state."""
        raise NotImplementedError

    def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The rows of a SELECT."""
        with self._reading() as session:
            rows: list[tuple[Any, ...]] = session.execute(statement.text, statement.parameters).fetchall()
        return rows

    def put(self, row: Row, expected: int | None, now: int) -> tuple[Any, ...]:
        """Write one; its columns afterwards."""
        with self._writing() as session:
            self._put(session, row, expected, now)
            [found] = session.execute(f"SELECT {_COLUMNS} FROM fastcore_resources WHERE {_KEY}", row.key).fetchall()
        self._tell()
        return tuple(found)

    def put_many(self, rows: Sequence[Row], now: int) -> int:
        """Write all or none; how many of them changed anything."""
        if not rows:
            return 0
        with self._writing() as session:
            last = _version(session)
            parameters = [
                (*row.key, version, now if row.created_at is None else row.created_at, now, row.phase, row.spec,
                 row.status, row.metadata)
                for version, row in enumerate(rows, last + 1)
            ]  # fmt: skip
            changed = int(session.executemany(_UPSERT, parameters).rowcount)
            if changed:
                session.executemany(f"DELETE FROM fastcore_deletions WHERE {_KEY}", [row.key for row in rows])
                session.execute("UPDATE fastcore_meta SET number = ? WHERE name = 'version'", (last + len(rows),))
        self._tell()
        return changed

    def remove(self, key: Key, expected: int | None, now: int) -> bool:
        """Delete one; whether there was one."""
        with self._writing() as session:
            found = session.execute(f"SELECT id, version FROM fastcore_resources WHERE {_KEY}", key).fetchone()
            if expected is not None and expected != (found[1] if found else 0):
                raise VersionConflict(key, expected, found[1] if found else 0)
            if found is None:
                return False
            session.execute(f"DELETE FROM fastcore_resources WHERE {_KEY}", key)
            session.execute(_REMEMBER, (*key, _next_version(session), found[0], now))
            _prune(session, now - _KEEP_DELETIONS_US)
        self._tell()
        return True

    def newest(self) -> int:
        """The version of the last change."""
        with self._reading() as session:
            return _version(session)

    def changes(self, workspace: str, kind: str, after: int, limit: int) -> Batch:
        """What changed after a version, oldest first."""
        where = "WHERE workspace = ? AND kind = ? AND version > ?"
        with self._reading() as session:
            [(pruned,)] = session.execute("SELECT number FROM fastcore_meta WHERE name = 'pruned'").fetchall()
            if after < pruned:
                raise WatchExpired(f"deletions up to version {pruned} are forgotten, {after} was asked for: list again")
            rows = session.execute(
                f"SELECT {_COLUMNS}, 0 FROM fastcore_resources {where} UNION ALL "
                "SELECT workspace, kind, namespace, name, '{}', '{}', '{}', deleted_at, deleted_at, version, id, 1 "
                f"FROM fastcore_deletions {where} ORDER BY version LIMIT ?",
                (workspace, kind, after, workspace, kind, after, limit + 1),
            ).fetchall()
        told = [(tuple(row[:-1]), bool(row[-1])) for row in rows[:limit]]
        return Batch(told, told[-1][0][_VERSION_AT] if told else after, len(rows) > limit)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each write of this process; returns what ends that."""
        key = object()
        self._listeners[key] = listener

        def cancel() -> None:
            self._listeners.pop(key, None)

        return cancel

    def _tell(self) -> None:
        for listener in list(self._listeners.values()):
            listener()

    @staticmethod
    def _put(session: Session, row: Row, expected: int | None, now: int) -> None:
        found = session.execute(
            f"SELECT version, spec, status, metadata FROM fastcore_resources WHERE {_KEY}", row.key
        ).fetchone()
        if expected is not None and expected != (found[0] if found else 0):
            raise VersionConflict(row.key, expected, found[0] if found else 0)
        documents = (row.spec, row.status, row.metadata)
        if found is not None and tuple(found[1:]) == documents:
            return  # a write that changes nothing is none
        version = _next_version(session)
        if found is None:
            created = now if row.created_at is None else row.created_at
            session.execute(_INSERT, (*row.key, version, created, now, row.phase, *documents))
            session.execute(f"DELETE FROM fastcore_deletions WHERE {_KEY}", row.key)
        else:
            session.execute(
                "UPDATE fastcore_resources SET version = ?, updated_at = ?, phase = ?, spec = ?, status = ?, "
                f"metadata = ? WHERE {_KEY}",
                (version, now, row.phase, *documents, *row.key),
            )


def _version(session: Session) -> int:
    [(version,)] = session.execute("SELECT number FROM fastcore_meta WHERE name = 'version'").fetchall()
    return int(version)


def _next_version(session: Session) -> int:
    session.execute("UPDATE fastcore_meta SET number = number + 1 WHERE name = 'version'")
    return _version(session)


def _prune(session: Session, before: int) -> None:
    [(last,)] = session.execute(
        "SELECT max(version) FROM fastcore_deletions WHERE deleted_at < ?", (before,)
    ).fetchall()
    if last is not None:
        session.execute("DELETE FROM fastcore_deletions WHERE deleted_at < ?", (before,))
        session.execute("UPDATE fastcore_meta SET number = ? WHERE name = 'pruned' AND number < ?", (last, last))
