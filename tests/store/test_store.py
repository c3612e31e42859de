"""The SQL store: what is written is found, in pages that do not shift, and nothing a caller says becomes SQL."""

import asyncio
import contextlib
import multiprocessing
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore.observe import PerformanceMonitor
from fastcore.store import (
    CursorError,
    Eq,
    Ge,
    Gt,
    In,
    Le,
    Lt,
    Ne,
    OrderBy,
    PoolOptions,
    Prefix,
    QueryError,
    QueryOptions,
    Range,
    Resource,
    ResourceError,
    ResourceStore,
    StoreClosed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    SyncStore,
    VersionConflict,
    WatchExpired,
)
from fastcore.store.postgres import PostgresBackend, PostgresDialect
from fastcore.store.query import checked
from fastcore.store.sqlite import SQLiteBackend, SQLiteDialect
from fastcore.store.statements import list_statement
from fastcore.testing.postgres import PostgresServer

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A second later each time."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def opened(path: str, clock: Any = None, **options: Any) -> SyncStore:
    backend = SQLiteBackend(path, PoolOptions(**options), 30.0)
    return SyncStore(backend, clock or Clock())


@pytest.fixture(params=["file", "memory", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncStore]:
    """SQ10: an empty store in each database."""
    if request.param == "postgres":
        found = SyncStore(
            PostgresBackend(emptied(request.getfixturevalue("postgres_server")), PoolOptions(), 30.0), Clock()
        )
    else:
        found = opened(str(tmp_path / "store.db") if request.param == "file" else "")
    yield found
    found.close()


def emptied(server: PostgresServer) -> str:
    """The URL of a database without tables of ours."""
    with psycopg.connect(server.url) as connection:
        connection.execute("DROP TABLE IF EXISTS fastcore_meta, fastcore_resources, fastcore_deletions")
    return server.url


def web(name: str, namespace: str = "shop", workspace: str = "acme", **documents: Any) -> Resource:
    return Resource(workspace, "WebApp", namespace, name, **documents)


def names(store: SyncStore, **options: Any) -> list[str]:
    return [found.name for found in store.list(QueryOptions("acme", "WebApp", **options)).items]


# --- Writes


def test_what_is_written_is_found(store: SyncStore) -> None:
    """Documents, times and versions; a write that says the same changes nothing, and one that differs does."""
    first = store.upsert(web("front", spec={"replicas": 3, "ä": ["\u2028", None, 1.5]}, status={"phase": "Ready"}))
    assert first == store.get("acme", "WebApp", "shop", "front")
    assert (first.spec["ä"], first.phase, first.version) == (["\u2028", None, 1.5], "Ready", 1)
    assert first.created_at == first.updated_at == BEGIN + timedelta(seconds=1)
    again = store.upsert(web("front", spec={"ä": ["\u2028", None, 1.5], "replicas": 3}, status={"phase": "Ready"}))
    assert again == first
    changed = store.upsert(web("front", spec={"replicas": 4}))
    assert (changed.version, changed.id, changed.created_at) == (2, first.id, first.created_at)
    assert changed.updated_at is not None
    assert first.updated_at is not None
    assert changed.updated_at > first.updated_at
    assert store.get("acme", "WebApp", "shop", "back") is None
    assert store.get("other", "WebApp", "shop", "front") is None


def test_versions_guard_writes(store: SyncStore) -> None:
    """A write or delete that expects another version does nothing, and says which it found."""
    with pytest.raises(VersionConflict, match="acme/WebApp/shop/front does not exist, expected it at version 7"):
        store.upsert(web("front"), expected_version=7)
    first = store.upsert(web("front"), expected_version=0)
    with pytest.raises(VersionConflict, match="exists already, at version 1"):
        store.upsert(web("front", spec={"a": 1}), expected_version=0)
    second = store.upsert(web("front", spec={"a": 1}), expected_version=first.version)
    with pytest.raises(VersionConflict, match="is at version 2, expected 1: read it again and repeat the change"):
        store.upsert(web("front", spec={"a": 2}), expected_version=first.version)
    with pytest.raises(VersionConflict):
        store.delete("acme", "WebApp", "shop", "front", expected_version=first.version)
    assert store.get("acme", "WebApp", "shop", "front") == second
    assert store.delete("acme", "WebApp", "shop", "front", expected_version=second.version)
    assert not store.delete("acme", "WebApp", "shop", "front")
    made_again = store.upsert(web("front"))
    assert made_again.version > second.version
    assert made_again.id != first.id


def test_many_are_written_all_or_none(store: SyncStore) -> None:
    """One that cannot be stored keeps all out; the count is of those that changed anything."""
    rows = [web(f"w{i:03}", spec={"i": i}) for i in range(250)]
    assert store.upsert_many(rows) == 250
    assert store.upsert_many([*rows[:200], web("new")]) == 1
    with pytest.raises(ResourceError, match="name must not be empty"):
        store.upsert_many([web("good"), web("")])
    assert store.get("acme", "WebApp", "shop", "good") is None
    assert store.count("acme", "WebApp") == 251


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        (web("a\0b"), "name must not contain NUL"),
        (web("\ud800"), "name must not contain lone surrogates"),
        (web("x" * 513), "name must have at most 512 bytes, not 513"),
        (web("a", spec={"x": float("nan")}), "spec is no JSON object"),
        (web("a", spec={"x": "\0"}), "spec must not contain NUL"),
        (web("a", spec={"x": object()}), "spec is no JSON object"),
        (web("a", status=[1]), "status must be a mapping, not list"),
        (web("a", spec={"x": "y" * (5 << 20)}), "bytes, the limit is 4194304"),
        (web("a", created_at=datetime(2026, 1, 1)), "created_at must have a time zone"),
        ({"name": "a"}, "expected a Resource, not dict"),
    ],
)
def test_what_cannot_be_stored_is_refused(store: SyncStore, resource: Any, message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        store.upsert(resource)
    assert store.version() == 0


# --- Lists


def filled(store: SyncStore, count: int = 12) -> None:
    for i in range(count):
        moment = BEGIN + timedelta(seconds=i // 3)  # several of one moment
        store.upsert(
            web(f"w{i:02}", namespace=f"n{i % 2}", created_at=moment, status={"phase": "Ready"} if i % 3 else {})
        )
    store.upsert(web("elsewhere", workspace="other"))


def test_limits(store: SyncStore) -> None:
    """SQ1: None and 0 are 100, more than 1,000 are 1,000, less than 0 is an error before any SQL."""
    store.upsert_many([web(f"w{i:04}") for i in range(1100)])
    assert len(names(store)) == len(names(store, limit=0)) == 100
    assert len(names(store, limit=5000)) == 1000
    for options in ({"limit": -1}, {"offset": -1}, {"limit": 2.5}, {"limit": True}, {"limit": 10**30}):
        with pytest.raises(QueryError, match=r"limit|offset"):
            names(store, **options)
    with pytest.raises(ValueError, match="a cursor or an offset, not both"):
        names(store, cursor="x", offset=1)


def test_orders_and_filters_are_of_a_list(store: SyncStore) -> None:
    """SQ2: other fields are refused by name, with those that can be; every order ends with the primary key."""
    filled(store)
    with pytest.raises(QueryError, match="cannot sort by 'spec'; allowed: created_at, name, namespace, updated"):
        names(store, order_by=["spec"])
    with pytest.raises(QueryError, match="cannot filter by 'workspace'; allowed: created_at, id, name"):
        names(store, filters={"workspace": "other"})
    with pytest.raises(QueryError, match="names a field twice: name, name"):
        names(store, order_by=["name", "-name"])
    with pytest.raises(QueryError, match="descending must be True or False, not 'DESC'"):
        names(store, order_by=[OrderBy("name", "DESC")])  # type: ignore[arg-type]
    for order in ([], ["name"], ["-namespace", "name"], ["created_at"]):
        query = checked(QueryOptions("acme", "WebApp", order_by=order))
        assert list_statement(SQLiteDialect(), query, None).text.split(" LIMIT")[0].endswith(("id ASC", "id DESC"))


def test_a_filter_cannot_leave_its_workspace(store: SyncStore) -> None:
    """SQ3: workspace and kind are in every statement."""
    filled(store)
    assert "elsewhere" not in names(store, limit=1000)
    assert store.count("acme", "WebApp") == 12
    assert store.count("other", "WebApp") == 1
    assert store.count("acme", "Other") == 0
    with pytest.raises(QueryError, match="workspace must not be empty"):
        store.count("", "WebApp")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"name": "w03"}, ["w03"]),
        ({"name": Eq("w03")}, ["w03"]),
        ({"phase": None}, ["w00", "w03", "w06", "w09"]),
        ({"phase": Ne(None), "namespace": "n0"}, ["w02", "w04", "w08", "w10"]),
        ({"phase": Ne("Ready")}, ["w00", "w03", "w06", "w09"]),
        ({"name": ["w03", "w01", "zz"]}, ["w01", "w03"]),
        ({"name": In(())}, []),
        ({"name": {"w05"}}, ["w05"]),
        ({"name": Range("w03", "w05")}, ["w03", "w04"]),
        ({"name": Prefix("w1")}, ["w10", "w11"]),
        ({"name": Prefix("w%")}, []),
        ({"name": Gt("w09")}, ["w10", "w11"]),
        ({"name": Ge("w10")}, ["w10", "w11"]),
        ({"name": Lt("w01")}, ["w00"]),
        ({"name": Le("w01")}, ["w00", "w01"]),
        ({"created_at": Lt(BEGIN + timedelta(seconds=1))}, ["w00", "w01", "w02"]),
        ({"created_at": BEGIN.astimezone(timezone(timedelta(hours=5)))}, ["w00", "w01", "w02"]),
        ({"id": [1, 2], "namespace": "n1"}, ["w01"]),
    ],
)
def test_filters(store: SyncStore, filters: dict[str, Any], expected: list[str]) -> None:
    """SQ4: None is IS NULL, a list any of its values, an empty one nothing; operators are objects."""
    filled(store)
    assert names(store, filters=filters, order_by=["name"]) == expected
    assert store.count("acme", "WebApp", filters) == len(expected)


INJECTIONS = ["' OR 1=1 --", '"; DROP TABLE fastcore_resources; --', "name) --", "w00' UNION SELECT 1", "%", "_", "\\"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_nothing_that_is_said_becomes_sql(store: SyncStore, text: str) -> None:
    """Through every argument: it is a value that finds nothing, or it is refused by name."""
    filled(store)
    assert names(store, filters={"name": text}) == []
    assert names(store, filters={"name": [text]}) == []
    assert names(store, filters={"name": Prefix(text)}) == []
    assert store.get(text, text, text, text) is None
    assert not store.delete("acme", "WebApp", "shop", text)
    assert store.list(QueryOptions(text, text)).items == []
    for options in (
        {"order_by": [text]}, {"order_by": text}, {"filters": {text: 1}}, {"limit": text}, {"offset": text},
        {"cursor": text}, {"filters": {"version": text}}, {"filters": {"created_at": text}}, {"filters": text},
        {"filters": {"name": {"$ne": text}}},
    ):  # fmt: skip
        with pytest.raises(QueryError):
            store.list(QueryOptions("acme", "WebApp", **options))  # type: ignore[arg-type]
    kept = store.upsert(web(text, namespace=text, spec={text: text}))
    assert store.get("acme", "WebApp", text, text) == kept
    assert store.count("acme", "WebApp") == 13


FIELDS = st.dictionaries(st.sampled_from(["name", "namespace", "phase"]), st.text("abc", max_size=3), min_size=1)


@given(FIELDS, st.randoms(use_true_random=False), st.integers(0, 999), st.integers(0, 999))
def test_text_depends_on_fields_alone(filters: dict[str, str], shuffle: random.Random, limit: int, offset: int) -> None:
    """SQ5: equal fields give equal text and arguments in the same order, whatever the values and the dict's order."""
    items = list(filters.items())
    shuffle.shuffle(items)
    one = list_statement(SQLiteDialect(), checked(QueryOptions("a", "b", filters=filters)), None)
    other = list_statement(
        SQLiteDialect(), checked(QueryOptions("c", "d", limit, offset=offset, filters=dict(items))), None
    )
    assert one.text == other.text
    assert one.parameters[2:-2] == other.parameters[2:-2]
    changed = {name: value + "x" for name, value in filters.items()}
    assert list_statement(SQLiteDialect(), checked(QueryOptions("a", "b", filters=changed)), None).text == one.text


ORDERS: list[list[str]] = [
    [], ["created_at"], ["name"], ["-name"], ["namespace", "-created_at"], ["-updated_at", "name"], ["-version"],
    ["namespace", "name", "-version"],
]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_pages_neither_repeat_nor_skip(store: SyncStore, order: list[str]) -> None:
    """SQ6, SQ7: what exists throughout is seen once, in order, whatever comes and goes between two pages."""
    filled(store, 40)
    shuffle = random.Random(7)
    stay = {f"w{i:02}" for i in range(0, 40, 2)}
    seen: list[Resource] = []
    cursor = None
    for turn in range(100):
        page = store.list(QueryOptions("acme", "WebApp", 3, cursor=cursor, order_by=order))
        seen += page.items
        cursor = page.cursor
        if cursor is None:
            break
        store.delete("acme", "WebApp", "n1", f"w{shuffle.randrange(1, 40, 2):02}")
        store.upsert(web(f"x{turn:02}", namespace=f"n{turn % 2}", created_at=BEGIN + timedelta(seconds=turn % 15)))
    found = [resource.name for resource in seen]
    assert len(found) == len(set(found))
    assert stay <= set(found)
    ids = [item.name for item in seen if item.name in stay]
    everything = [name for name in names(store, limit=1000, order_by=order) if name in stay]
    assert ids == everything


def test_cursors_are_signed_and_belong_to_their_query(store: SyncStore) -> None:
    """SQ6: a cursor of another query, a changed one and one of another store are refused."""
    filled(store)
    cursor = store.list(QueryOptions("acme", "WebApp", 3, order_by=["name"])).cursor
    assert cursor is not None
    assert len(names(store, limit=5, cursor=cursor, order_by=["name"])) == 5
    for options in ({}, {"order_by": ["-name"]}, {"order_by": ["name"], "filters": {"namespace": "n1"}}):
        with pytest.raises(CursorError, match="belongs to another query"):
            names(store, cursor=cursor, **options)
    with pytest.raises(CursorError, match="belongs to another query"):
        store.list(QueryOptions("other", "WebApp", cursor=cursor, order_by=["name"]))
    for broken in (cursor[:-2], "A" + cursor[1:], cursor + "AAAA", "", "ä", "x" * 9000, 7):
        with pytest.raises(CursorError, match="was not made by this store"):
            names(store, cursor=broken, order_by=["name"])
    other = opened("")
    filled(other)
    with pytest.raises(CursorError, match="was not made by this store"):
        names(other, cursor=cursor, order_by=["name"])
    other.close()


def test_pages_tell_what_remains_if_asked(store: SyncStore) -> None:
    """SQ9: the count costs a statement of its own, so it is made only then."""
    filled(store)
    page = store.list(QueryOptions("acme", "WebApp", 5, remaining=True))
    assert (len(page.items), page.remaining) == (5, 7)
    page = store.list(QueryOptions("acme", "WebApp", 5, cursor=page.cursor, remaining=True))
    assert (len(page.items), page.remaining, page.cursor is None) == (5, 2, False)
    page = store.list(QueryOptions("acme", "WebApp", 5, cursor=page.cursor, remaining=True))
    assert (len(page.items), page.remaining, page.cursor) == (2, 0, None)
    assert store.list(QueryOptions("acme", "WebApp")).remaining is None
    assert store.list(QueryOptions("acme", "WebApp", 5, offset=10, remaining=True)).remaining == 0


SHAPES: list[dict[str, Any]] = [
    {}, {"order_by": ["created_at"]}, {"order_by": ["-updated_at"]}, {"order_by": ["name"]}, {"order_by": ["-version"]},
    {"filters": {"namespace": "n1"}}, {"filters": {"phase": "Ready"}}, {"filters": {"phase": None}},
    {"filters": {"name": Prefix("w1")}, "order_by": ["name"]}, {"filters": {"name": ["w00001", "w00002"]}},
    {"filters": {"created_at": Gt(BEGIN)}}, {"filters": {"namespace": "n1", "name": "w00001"}},
    {"filters": {"namespace": "n1"}, "order_by": ["-created_at"]},
]  # fmt: skip


@pytest.mark.parametrize("rows", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_every_list_uses_an_index(tmp_path: Path, rows: int) -> None:
    """No shape reads the whole table; those that follow an index's order do not sort either."""
    path = tmp_path / "store.db"
    store = opened(str(path))
    for start in range(0, rows, 10_000):
        part = range(start, start + 10_000)
        store.upsert_many([web(f"w{i:05}", f"n{i % 50}", status={"phase": "Ready"} if i % 3 else {}) for i in part])
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("ANALYZE")
    for shape in SHAPES:
        statement = list_statement(SQLiteDialect(), checked(QueryOptions("acme", "WebApp", **shape)), None)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters)]
        assert all("SCAN fastcore_resources" not in step for step in plan), (shape, plan)
        assert any("USING INDEX" in step or "USING INTEGER PRIMARY KEY" in step for step in plan), (shape, plan)
        if "filters" not in shape:
            assert not any("TEMP B-TREE" in step for step in plan), (shape, plan)
    connection.close()


# --- Watches, tasks, faults


async def test_watch_tells_every_change_in_order(tmp_path: Path) -> None:
    """Changes and deletions since a version, without a gap, also those of another store on the same file."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with await ResourceStore.open(url) as store, await ResourceStore.open(url) as other:
        await store.upsert(web("before"))
        since = await store.version()
        await store.upsert(web("a"))
        await store.upsert(web("elsewhere", workspace="other"))
        watch = store.watch("acme", "WebApp", since=since, poll=0.05)
        first = await anext(watch)
        assert (first.deleted, first.resource.name) == (False, "a")
        waiting = asyncio.ensure_future(anext(watch))
        await other.upsert(web("b"))
        assert (await asyncio.wait_for(waiting, 30)).resource.name == "b"
        await other.delete("acme", "WebApp", "shop", "a")
        gone = await asyncio.wait_for(anext(watch), 30)
        assert (gone.deleted, gone.resource.name, gone.resource.id) == (True, "a", first.resource.id)
        late = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(late, 30)


def test_watch_of_a_thread(store: SyncStore) -> None:
    """The same for threads; closing the store ends it."""
    seen: list[str] = []
    thread = threading.Thread(
        target=lambda: seen.extend(event.resource.name for event in store.watch("acme", "WebApp", since=0, poll=0.05))
    )
    thread.start()
    for i in range(1200):
        store.upsert(web(f"w{i:04}"))
    while len(seen) < 1200 and thread.is_alive():
        threading.Event().wait(0.01)
    store.close()
    thread.join(30)
    assert not thread.is_alive()
    assert seen == [f"w{i:04}" for i in range(1200)]


def test_forgotten_deletions_are_an_error_not_a_gap(tmp_path: Path) -> None:
    clock = Clock()
    store = opened(str(tmp_path / "store.db"), clock)
    store.upsert(web("a"))
    store.delete("acme", "WebApp", "shop", "a")
    clock.now += timedelta(days=2)
    store.upsert(web("b"))
    store.delete("acme", "WebApp", "shop", "b")
    with pytest.raises(WatchExpired, match="deletions up to version 2 are forgotten, 1 was asked for: list again"):
        next(store.watch("acme", "WebApp", since=1))
    assert next(store.watch("acme", "WebApp", since=2)).resource.name == "b"
    store.close()


async def test_calls_of_many_tasks(tmp_path: Path) -> None:
    """Writers of one resource lose nothing: each reads, adds one, and expects the version that it read."""
    async with await ResourceStore.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        await store.upsert(web("counter", spec={"n": 0}))

        async def add() -> None:
            while True:
                found = await store.get("acme", "WebApp", "shop", "counter")
                assert found is not None
                try:
                    await store.upsert(web("counter", spec={"n": found.spec["n"] + 1}), found.version)
                except VersionConflict:
                    continue
                return

        await asyncio.gather(*(add() for _ in range(50)))
        found = await store.get("acme", "WebApp", "shop", "counter")
        assert found is not None
        assert found.spec["n"] == 50
        assert await store.upsert_many([web("x"), web("y")]) == 2
        assert await store.delete("acme", "WebApp", "shop", "x")
        assert await store.count("acme", "WebApp") == 2
        assert len((await store.list(QueryOptions("acme", "WebApp"))).items) == 2
    with pytest.raises(StoreClosed):
        await store.version()
    await store.close()
    with pytest.raises(StoreClosed):
        store.sync.version()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("fastcore-store")]


def test_a_slow_statement_is_ended_and_the_connection_stays_usable(tmp_path: Path) -> None:
    """SQ8: after its time it is interrupted; the next one runs."""
    store = SyncStore(SQLiteBackend(str(tmp_path / "store.db"), PoolOptions(), 0.05), Clock())
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i > 0"
    backend: Any = store._backend
    for _ in range(6):  # more often than there are connections
        with pytest.raises(StoreTimeout, match=r"took longer than 0\.05 s"), backend._reading() as reader:
            reader.execute(endless).fetchall()
    assert store.upsert(web("a")).version == 1
    assert names(store) == ["a"]

    def write() -> None:
        with backend._writing() as writer:
            writer.execute("UPDATE fastcore_meta SET number = 99 WHERE name = 'version'")
            writer.execute(endless).fetchall()

    with pytest.raises(StoreTimeout):
        write()
    assert store.version() == 1
    store.close()


def test_a_writer_elsewhere_is_waited_for_and_then_said(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    store = opened(path, acquire_timeout=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreTimeout, match=r"another process wrote for more than 0\.1 s"):
        store.upsert(web("a"))
    assert names(store) == []  # readers do not wait
    other.execute("ROLLBACK")
    other.close()
    assert store.upsert(web("a")).name == "a"
    store.close()


def write_until_killed(path: str) -> None:
    store = opened(path)
    i = 0
    while True:
        store.upsert_many([web(f"w{i}", spec={"part": part}, namespace=f"n{part}") for part in range(5)])
        i += 1


def test_a_killed_writer_leaves_whole_transactions(tmp_path: Path) -> None:
    """kill -9 in the middle of writing: what is there is whole, and the store goes on."""
    path = str(tmp_path / "store.db")
    process = multiprocessing.get_context("spawn").Process(target=write_until_killed, args=(path,))
    process.start()
    store = opened(path)
    while store.version() < 200:
        assert process.is_alive()
        threading.Event().wait(0.01)
    process.kill()
    process.join(30)
    count = store.count("acme", "WebApp")
    assert count % 5 == 0
    assert count == store.version()
    assert store.upsert(web("after")).version == count + 1
    store.close()


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is its folder there"):
        opened(str(tmp_path / "none" / "store.db"))
    (tmp_path / "text.db").write_text("this is no database, but long enough to be taken for one" * 50)
    with pytest.raises(StoreUnavailable, match="as a database"):
        opened(str(tmp_path / "text.db"))
    store = opened(str(tmp_path / "new.db"))
    store.close()
    connection = sqlite3.connect(tmp_path / "new.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="has schema 99, and this version of fastcore knows 1: use the newer one"):
        opened(str(tmp_path / "new.db"))


@pytest.mark.parametrize(
    "url", ["mysql://me:secret@host/db", "sqlite://host/path", "sqlite:///a?mode=ro", "me:secret@host", 7, ""]
)
async def test_bad_urls_are_refused_without_their_secrets(url: Any) -> None:
    with pytest.raises(ValueError, match="url") as caught:
        await ResourceStore.open(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"max_idle": -1},
        {"max_lifetime": 0},
        {"max_idle_time": 0},
        {"max_open": 0},
        {"max_open": 5000},
        {"acquire_timeout": 0},
        {"acquire_timeout": float("inf")},
    ],
)
def test_bad_pools_are_refused(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(ValueError, match=name):
        PoolOptions(**options)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "drop"]), st.integers(0, 2)), max_size=25))
def test_a_store_is_a_dict_with_versions(steps: list[tuple[str, str, int]]) -> None:
    """Whatever is done, the store holds what a dict would, and a watch from the beginning ends in the same state."""
    store = opened("")
    model: dict[str, int] = {}
    for name, step, value in steps:
        if step == "put":
            store.upsert(web(name, spec={"value": value}))
            model[name] = value
        else:
            assert store.delete("acme", "WebApp", "shop", name) == (model.pop(name, None) is not None)
    held = {found.name: found.spec["value"] for found in store.list(QueryOptions("acme", "WebApp")).items}
    assert held == model
    told: dict[str, int] = {}
    _, more, events = store._changes("acme", "WebApp", 0)
    assert not more
    for event in events:
        if event.deleted:
            told.pop(event.resource.name, None)
        else:
            told[event.resource.name] = event.resource.spec["value"]
    assert told == model
    store.close()


# --- PostgreSQL


@pytest.mark.parametrize("rows", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_every_list_uses_an_index_of_postgres(postgres_server: PostgresServer, rows: int) -> None:
    """No shape reads the whole table, in PostgreSQL either."""
    store = SyncStore(PostgresBackend(emptied(postgres_server), PoolOptions(), 120.0), Clock())
    for start in range(0, rows, 10_000):
        part = range(start, start + 10_000)
        store.upsert_many([web(f"w{i:05}", f"n{i % 50}", status={"phase": "Ready"} if i % 3 else {}) for i in part])
    store.close()
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE fastcore_resources")
        for shape in SHAPES:
            statement = list_statement(PostgresDialect(), checked(QueryOptions("acme", "WebApp", **shape)), None)
            text = "EXPLAIN " + statement.text.replace("?", "%s")
            plan = [row[0] for row in connection.execute(text.encode(), statement.parameters)]
            assert not any("Seq Scan on fastcore_resources" in step for step in plan), (shape, plan)
            assert any("Index" in step for step in plan), (shape, plan)


def test_a_killed_server_is_said_and_come_back_to(postgres_server: PostgresServer) -> None:
    """CP5: while it is down calls fail in time with what is wrong; afterwards they work, and nothing was lost."""
    store = SyncStore(PostgresBackend(emptied(postgres_server), PoolOptions(acquire_timeout=1.0), 30.0), Clock())
    first = store.upsert(web("a"))
    postgres_server.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"PostgreSQL|no connection within 1 s: pool_size"):
            store.upsert(web("b"))
    postgres_server.start()
    deadline = time.monotonic() + 30
    while True:
        try:
            assert store.get("acme", "WebApp", "shop", "a") == first
            break
        except StoreUnavailable:
            assert time.monotonic() < deadline
    assert store.upsert(web("b")).version > first.version
    store.close()


def test_cut_connections_are_replaced(postgres_server: PostgresServer) -> None:
    """CP3, CP4: an idle connection that the server has ended is not handed out, and one that breaks is not kept."""
    store = SyncStore(PostgresBackend(emptied(postgres_server), PoolOptions(), 30.0), Clock())
    for i in range(3):
        store.upsert(web(f"w{i}"))
        with psycopg.connect(postgres_server.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fastcore'")
        assert store.count("acme", "WebApp") == i + 1
    store.close()


def test_a_slow_statement_of_postgres_is_ended(postgres_server: PostgresServer) -> None:
    """SQ8: by the server (57014); nothing of it is written, and the connection serves on."""
    store = SyncStore(PostgresBackend(emptied(postgres_server), PoolOptions(max_open=1), 0.2), Clock())
    backend: Any = store._backend

    def write() -> None:
        with backend._writing() as session:
            session.execute("UPDATE fastcore_meta SET number = 99 WHERE name = 'version'")
            session.execute("SELECT pg_sleep(30)")

    for _ in range(3):
        with pytest.raises(StoreTimeout, match=r"took longer than 0\.2 s"):
            write()
    assert store.version() == 0
    assert store.upsert(web("a")).version == 1
    store.close()


def test_open_connections_are_bounded(postgres_server: PostgresServer) -> None:
    """CP1, CP2: never more than `max_open`; who waits too long is told how the pool is; idle ones beyond are closed."""
    options = PoolOptions(max_open=3, max_idle=1, acquire_timeout=0.3)
    store = SyncStore(PostgresBackend(emptied(postgres_server), options, 30.0), Clock())
    backend: Any = store._backend
    most = 0
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(backend._reading())
        with pytest.raises(StoreUnavailable, match=r"no connection within 0\.3 s: pool_size 3, pool_available 0"):
            store.version()
        most = backend._pool.get_stats()["pool_size"]
    assert most == 3
    assert store.version() == 0
    assert backend._pool.get_stats()["pool_available"] <= 1
    store.close()
    with pytest.raises(StoreClosed):
        store.version()


def add_in_postgres(url: str, times: int) -> None:
    store = SyncStore(PostgresBackend(url, PoolOptions(max_open=2), 30.0), Clock())
    for _ in range(times):
        while True:
            found = store.get("acme", "WebApp", "shop", "counter")
            assert found is not None
            with contextlib.suppress(VersionConflict):
                store.upsert(web("counter", spec={"n": found.spec["n"] + 1}), found.version)
                break
    store.close()


def test_processes_lose_no_write(postgres_server: PostgresServer) -> None:
    """Two processes that read, add one and expect what they read; a watch sees their versions in order."""
    url = emptied(postgres_server)
    store = SyncStore(PostgresBackend(url, PoolOptions(), 30.0), Clock())
    store.upsert(web("counter", spec={"n": 0}))
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=add_in_postgres, args=(url, 50)) for _ in range(2)]
    for process in processes:
        process.start()
    seen: list[int] = []
    for event in store.watch("acme", "WebApp", since=0, poll=0.01):
        seen.append(event.resource.version)
        if event.resource.spec["n"] == 100:
            break
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert seen == sorted(set(seen))
    assert store.version() == 101
    store.close()


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """The error comes in time, and does not say the password."""
    with pytest.raises(StoreUnavailable) as caught:
        await ResourceStore.open("postgresql://me:secret@127.0.0.1:1/db", pool=PoolOptions(acquire_timeout=0.5))
    assert "secret" not in str(caught.value)


def test_connections_are_counted(store: SyncStore) -> None:
    """CP7: open, idle, waits, timeouts and opened, exported by name when somebody scrapes."""
    store.upsert(web("a"))
    monitor = PerformanceMonitor()
    monitor.track("resources", store)
    value = monitor.registry.get_sample_value
    opened, idle = (value(f"fastcore_store_connections_{what}", {"name": "resources"}) for what in ("open", "idle"))
    assert opened is not None
    assert opened == idle
    assert opened >= 1
    total = value("fastcore_store_opened_total", {"name": "resources"})
    assert total is not None
    assert total >= opened
    assert value("fastcore_store_timeouts_total", {"name": "resources"}) == 0


def test_waits_are_counted(tmp_path: Path) -> None:
    """CP7: a call that waits for its turn, and one that does so in vain."""
    store = opened(str(tmp_path / "store.db"), acquire_timeout=0.05)
    backend: Any = store._backend
    with backend._writing(), pytest.raises(StoreTimeout, match="no turn to write"):
        store.upsert(web("a"))
    stats = store.stats()
    assert (stats.waits, stats.timeouts) == (1, 1)
    assert stats.wait_seconds >= 0.04
    store.close()
    assert store.stats().connections_open == 0


def test_a_forked_process_leaves_the_connections_alone(store: SyncStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """CP6: what was inherited is its parent's; the error says what to do. After close every call is refused."""
    store.upsert(web("a"))
    with monkeypatch.context() as patch:
        patch.setattr("fastcore.store.sql.os.getpid", lambda: -1)
        with pytest.raises(
            StoreClosed, match="this process was forked after the store was opened: open one of its own"
        ):
            store.upsert(web("b"))
        with pytest.raises(StoreClosed, match="forked"):
            store.version()
    assert store.version() == 1
    store.close()
    store.close()
    for call in (store.version, lambda: store.upsert(web("b")), lambda: store.count("acme", "WebApp")):
        with pytest.raises(StoreClosed, match="the store is closed"):
            call()
