"""The store as Python calls: for tasks, and through `sync` for threads."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import unquote, urlsplit

from fastcore.store import cursor as cursors
from fastcore.store.backend import Backend, PoolOptions, StoreStats
from fastcore.store.errors import ResourceError, StoreClosed
from fastcore.store.query import Page, QueryOptions, checked, sort_values
from fastcore.store.resource import Resource, check_key, from_row, microseconds, to_row
from fastcore.store.statements import count_statement, list_statement

__all__ = ["ResourceStore", "StoreEvent", "SyncStore"]

_T = TypeVar("_T")
_BATCH = 500
_POLL_S = 0.5
_CLOSE_S = 10.0


class StoreEvent(NamedTuple):
    """A change: the resource as it is after it; of one that was deleted, its key, id and version alone."""

    deleted: bool
    resource: Resource


_Events = list[StoreEvent]


class SyncStore:
    """The store for threads; `ResourceStore` says what each call does.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, backend: Backend, now: Callable[[], datetime]) -> None:
        self._backend = backend
        self._now = now
        self.closed = threading.Event()

    def upsert(self, resource: Resource, expected_version: int | None = None) -> Resource:
        """See ResourceStore."""
        return from_row(self._backend.put(to_row(resource), _expected(expected_version), self._moment()))

    def upsert_many(self, resources: Iterable[Resource]) -> int:
        """See ResourceStore."""
        return self._backend.put_many([to_row(resource) for resource in resources], self._moment())

    def get(self, workspace: str, kind: str, namespace: str, name: str) -> Resource | None:
        """See ResourceStore."""
        key = check_key(workspace, kind, namespace, name)
        options = QueryOptions(key.workspace, key.kind, 1, filters={"namespace": key.namespace, "name": key.name})
        rows = self._backend.query(list_statement(self._backend.dialect, checked(options), None))
        return from_row(rows[0]) if rows else None

    def delete(self, workspace: str, kind: str, namespace: str, name: str, expected_version: int | None = None) -> bool:
        """See ResourceStore."""
        key = check_key(workspace, kind, namespace, name)
        return self._backend.remove(key, _expected(expected_version), self._moment())

    def list(self, options: QueryOptions) -> Page[Resource]:
        """See ResourceStore."""
        query, backend = checked(options), self._backend
        after = None if options.cursor is None else cursors.decode(query, options.cursor, backend.secret)
        rows = backend.query(list_statement(backend.dialect, query, after))
        items = [from_row(row) for row in rows[: query.limit]]
        cursor = None
        if len(rows) > query.limit:
            cursor = cursors.encode(query, sort_values(items[-1], query.order), backend.secret)
        remaining = None
        if options.remaining:
            [(count,)] = backend.query(count_statement(backend.dialect, query, after))
            remaining = max(0, count - query.offset - len(items))
        return Page(items, cursor, remaining)

    def count(self, workspace: str, kind: str, filters: Mapping[str, Any] | None = None) -> int:
        """See ResourceStore."""
        query = checked(QueryOptions(workspace, kind, filters={} if filters is None else filters))
        [(count,)] = self._backend.query(count_statement(self._backend.dialect, query, None))
        return int(count)

    def version(self) -> int:
        """See ResourceStore."""
        return self._backend.newest()

    def watch(
        self, workspace: str, kind: str, *, since: int | None = None, poll: float = _POLL_S
    ) -> Iterator[StoreEvent]:
        """See ResourceStore; ends when the store is closed."""
        after = self._since(workspace, kind, since, poll)
        news = threading.Event()
        cancel = self._backend.subscribe(news.set)
        try:
            while not self.closed.is_set():
                news.clear()
                after, more, events = self._changes(workspace, kind, after)
                yield from events
                if not more:
                    news.wait(poll)
        finally:
            cancel()

    def stats(self) -> StoreStats:
        """See ResourceStore."""
        return self._backend.stats()

    def close(self) -> None:
        """See ResourceStore."""
        self.closed.set()
        self._backend.close(_CLOSE_S)

    def _since(self, workspace: str, kind: str, since: int | None, poll: float) -> int:
        checked(QueryOptions(workspace, kind))
        if not 0 < poll < float("inf"):
            raise ValueError(f"poll must be above 0 seconds, not {poll!r}")
        if since is None:
            return self._backend.newest()
        if isinstance(since, bool) or not isinstance(since, int) or since < 0:
            raise ValueError(f"since must be a version, not {since!r}")
        return since

    def _changes(self, workspace: str, kind: str, after: int) -> tuple[int, bool, _Events]:
        batch = self._backend.changes(workspace, kind, after, _BATCH)
        return batch.version, batch.more, [StoreEvent(deleted, from_row(row)) for row, deleted in batch.rows]

    def _moment(self) -> int:
        return microseconds("now", self._now())


class ResourceStore:
    """Resources in a SQL database, by workspace, kind, namespace and name, with pages, versions and a watch.

    Made by `open`. Every call raises StoreTimeout, StoreUnavailable or StoreClosed where the database fails it; a call
    that is cancelled may have happened or not.

    Attributes:
        sync: the same calls for threads.

    Thread safety: use from one event loop; `sync` from any thread.

    Example:
        >>> async def main():
        ...     async with await ResourceStore.open("sqlite://") as store:
        ...         await store.upsert(Resource("acme", "WebApp", "shop", "front", spec={"replicas": 3}))
        ...         page = await store.list(QueryOptions("acme", "WebApp", filters={"namespace": "shop"}))
        ...         return [resource.name for resource in page.items]
        >>> asyncio.run(main())
        ['front']
    """

    def __init__(self, sync: SyncStore, workers: int) -> None:
        self.sync = sync
        self._workers = ThreadPoolExecutor(workers, "fastcore-store")

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        pool: PoolOptions | None = None,
        statement_timeout: float = 30.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> "ResourceStore":
        """Open a database, and bring its tables up to date.

        Args:
            url: "sqlite:///relative/path", "sqlite:////absolute/path", "sqlite://" for one in memory, or
                "postgresql://user@host/database" as libpq has it (extra `postgres`).
            pool: connections.
            statement_timeout: seconds that a statement may take, > 0.
            now: the time that is noted, with a zone.

        Raises:
            ValueError: an argument makes no sense.
            StoreUnavailable: the database cannot be opened.
        """
        if not 0 < statement_timeout < float("inf"):
            raise ValueError(f"statement_timeout must be above 0 seconds, not {statement_timeout!r}")
        make = _backend(url)
        backend = await asyncio.to_thread(make, pool or PoolOptions(), statement_timeout)
        return cls(SyncStore(backend, now), backend.concurrency)

    async def upsert(self, resource: Resource, expected_version: int | None = None) -> Resource:
        """Store a resource, new or not; what is stored now, with its version.

        Nothing happens if it says what is stored already: version and time stay.

        Args:
            resource: its version, id and times are ignored, but for `created_at` of a new one.
            expected_version: the version that it must have now, 0 for none at all; None: whatever it has.

        Raises:
            VersionConflict: it has another version.
            ResourceError: it cannot be stored.
        """
        return await self._call(self.sync.upsert, resource, expected_version)

    async def upsert_many(self, resources: Iterable[Resource]) -> int:
        """Store many in one transaction, all or none; how many of them changed anything."""
        return await self._call(self.sync.upsert_many, list(resources))

    async def get(self, workspace: str, kind: str, namespace: str, name: str) -> Resource | None:
        """One resource, or None. Complexity: O(log resources)."""
        return await self._call(self.sync.get, workspace, kind, namespace, name)

    async def delete(
        self, workspace: str, kind: str, namespace: str, name: str, expected_version: int | None = None
    ) -> bool:
        """Delete a resource; whether there was one.

        Raises:
            VersionConflict: it has another version than expected.
        """
        return await self._call(self.sync.delete, workspace, kind, namespace, name, expected_version)

    async def list(self, options: QueryOptions) -> Page[Resource]:
        """A page of resources; see `QueryOptions`.

        Raises:
            QueryError: the options ask for what is not allowed; CursorError for a cursor of something else.
        """
        return await self._call(self.sync.list, options)

    async def count(self, workspace: str, kind: str, filters: Mapping[str, Any] | None = None) -> int:
        """How many resources there are. Complexity: O(result)."""
        return await self._call(self.sync.count, workspace, kind, filters)

    async def version(self) -> int:
        """The version of the last change of all: list after asking for it, then watch from it, and miss nothing."""
        return await self._call(self.sync.version)

    async def watch(
        self, workspace: str, kind: str, *, since: int | None = None, poll: float = _POLL_S
    ) -> AsyncIterator[StoreEvent]:
        """Every change after a version, in order; of several changes of one resource in quick succession the last.

        Changes of this process are told at once, those of others within `poll` seconds. It ends with the store.

        Args:
            workspace: whose.
            kind: of what.
            since: the version after which to begin; None: from now on.
            poll: seconds between two looks for changes of other processes, > 0.

        Raises:
            WatchExpired: deletions since then are forgotten, after a day: list again.
        """
        sync = self.sync
        after = await self._call(sync._since, workspace, kind, since, poll)
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        cancel = sync._backend.subscribe(lambda: _wake(loop, news))
        try:
            while not sync.closed.is_set():
                news.clear()
                try:
                    after, more, events = await self._call(sync._changes, workspace, kind, after)
                except StoreClosed:
                    return
                for event in events:
                    yield event
                if not more:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(poll):
                            await news.wait()
        finally:
            cancel()

    def stats(self) -> StoreStats:
        """What its connections do; `PerformanceMonitor.track` exports it."""
        return self.sync.stats()

    async def close(self) -> None:
        """Refuse further calls, wait for those under way, and close the database; safe to call twice."""
        if not self.sync.closed.is_set():
            await asyncio.to_thread(self.sync.close)
            await asyncio.to_thread(self._workers.shutdown)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        if self.sync.closed.is_set():
            raise StoreClosed("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)


def _wake(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there any more
        loop.call_soon_threadsafe(news.set)


def _expected(version: object) -> int | None:
    if version is None:
        return None
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise ResourceError(f"expected_version must be a version, 0 or None, not {version!r}")
    return version


def _backend(url: object) -> Callable[[PoolOptions, float], Backend]:
    """What opens the database that a URL names; what it needs is loaded now."""
    scheme = url.partition("://")[0] if isinstance(url, str) and "://" in url else ""
    if scheme in ("postgresql", "postgres"):
        try:
            from fastcore.store.postgres import PostgresBackend
        except ModuleNotFoundError as error:
            raise ValueError(
                f"a postgresql:// url needs the package {error.name!r}: pip install 'fastcore-k8s[postgres]'"
            ) from error
        return lambda pool, timeout: PostgresBackend(str(url), pool, timeout)
    if scheme != "sqlite":
        shown = f"{scheme}://..." if scheme else "one without a scheme"  # it may hold a password
        raise ValueError(f"the url must be sqlite:///path, sqlite:// for memory, or postgresql://..., not {shown}")
    parts = urlsplit(str(url))
    if parts.netloc or parts.query or parts.fragment:
        raise ValueError("the url of a SQLite file is sqlite:///relative/path or sqlite:////absolute/path")
    from fastcore.store.sqlite import SQLiteBackend

    return lambda pool, timeout: SQLiteBackend(unquote(parts.path[1:]), pool, timeout)
