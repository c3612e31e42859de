"""What the SQL store costs: rows a second on the way in, a page at the front and far behind, one resource by name."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fastcore.store import PoolOptions, QueryOptions, Resource, SyncStore
from fastcore.store.sqlite import SQLiteBackend

ROWS = 60_000
DEEP = 50_000
INGEST = "10,000 resources written at once"
PAGE = "a page of 100"
GET = "one resource by name"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def resource(i: int) -> Resource:
    return Resource(
        "acme", "WebApp", f"n{i % 50}", f"w{i:06}", {"image": "a:1", "replicas": 2}, {"phase": "Ready"},
        created_at=BEGIN + timedelta(seconds=i),
    )  # fmt: skip


def new_store(path: Path) -> SyncStore:
    return SyncStore(SQLiteBackend(str(path), PoolOptions(), 30.0), lambda: BEGIN)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncStore]:
    found = new_store(tmp_path_factory.mktemp("store") / "store.db")
    found.upsert_many(resource(i) for i in range(ROWS))
    yield found
    found.close()


@pytest.mark.subject(INGEST, "fastcore, SQLite")
def test_ingest(benchmark: Any, tmp_path: Path) -> None:
    rows = [resource(i) for i in range(10_000)]
    stores = iter([new_store(tmp_path / f"{i}.db") for i in range(6)])
    benchmark.pedantic(lambda: next(stores).upsert_many(rows), rounds=5)


@pytest.mark.subject(PAGE, "at the front")
def test_first_page(benchmark: Any, store: SyncStore) -> None:
    options = QueryOptions("acme", "WebApp", order_by=["created_at"])
    assert len(benchmark(store.list, options).items) == 100


@pytest.mark.subject(PAGE, "behind 50,000, by cursor")
def test_deep_page(benchmark: Any, store: SyncStore) -> None:
    cursor = None
    for _ in range(DEEP // 1000):
        cursor = store.list(QueryOptions("acme", "WebApp", 1000, cursor=cursor, order_by=["created_at"])).cursor
    page = benchmark(store.list, QueryOptions("acme", "WebApp", cursor=cursor, order_by=["created_at"]))
    assert page.items[0].name == f"w{DEEP:06}"


@pytest.mark.subject(PAGE, "behind 50,000, by offset")
def test_deep_page_by_offset(benchmark: Any, store: SyncStore) -> None:
    page = benchmark(store.list, QueryOptions("acme", "WebApp", offset=DEEP, order_by=["created_at"]))
    assert page.items[0].name == f"w{DEEP:06}"


@pytest.mark.subject(GET, "fastcore, SQLite")
def test_get(benchmark: Any, store: SyncStore) -> None:
    assert benchmark(store.get, "acme", "WebApp", "n7", "w000007").spec["replicas"] == 2
