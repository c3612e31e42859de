"""What the dashboard and `fastcore top` are told, and what they make of it."""

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from fastcore.breaker import CircuitBreaker
from fastcore.cache import LRUCache
from fastcore.observe import DebugServer, PerformanceMonitor
from fastcore.observe.dashboard import Column, Overview, Table
from fastcore.observe.top import main, measured, shown, worked_out
from fastcore.pool import ObjectPool
from fastcore.queue import WorkQueue
from fastcore.ratelimit import TokenBucket
from observe.test_server import ask, get


def cells(tables: list[Table], title: str, row: str) -> dict[str, Any]:
    [table] = [table for table in tables if table.title == title]
    [found] = [cells for name, cells in table.rows if name == row]
    return {column.title: cell for column, cell in zip(table.columns, found, strict=True)}


def test_every_primitive_has_its_table() -> None:
    monitor = PerformanceMonitor()
    cache, breaker, queue = LRUCache(10), CircuitBreaker("billing"), WorkQueue()
    for name, primitive in {
        "users": cache, "billing": breaker, "jobs": queue, "api": TokenBucket(5, 10), "buffers": ObjectPool(bytearray),
    }.items():  # fmt: skip
        monitor.track(name, primitive)
    cache["a"] = 1
    assert cache.get("a") == 1
    assert cache.get("b") is None
    breaker.force_open()
    queue.add("k")
    tables = Overview(monitor.registry).tables()
    assert cells(tables, "Caches", "users")["hits"] == [1, 2]
    assert cells(tables, "Caches", "users")["entries"] == 1
    assert cells(tables, "Breakers", "billing")["state"] == "open"
    assert cells(tables, "Queues", "jobs") | {"mean wait": 0, "longest running": 0} == {
        "ready": 1, "added": 1, "retries": 0, "mean wait": 0, "longest running": 0,
    }  # fmt: skip
    assert cells(tables, "Limiters", "api") == {"tokens": 10, "rate": 5, "burst": 10}
    assert cells(tables, "Pools", "buffers") == {"reused": [0, 0], "idle": 0}
    assert [table.title for table in tables][:2] == ["Queues", "Caches"]


def test_series_of_one_row_are_summed_and_rows_are_bounded() -> None:
    registry = CollectorRegistry()
    depth = Gauge("workqueue_depth", "", ["name", "priority"], registry=registry)
    depth.labels("shop", "0").set(2)
    depth.labels("shop", "5").set(3)
    Counter("workqueue_adds", "", ["name"], registry=registry).labels("shop").inc(7)
    for i in range(60):
        depth.labels(f"z{i}", "0").set(i)
    [table] = Overview(registry).tables()
    assert cells([table], "Queues", "shop")["ready"] == 5
    assert cells([table], "Queues", "shop")["added"] == 7
    assert (len(table.rows), table.more) == (50, 11)


def test_further_tables_stand_behind_controllers_and_queues() -> None:
    registry = CollectorRegistry()
    for name, label in (("workqueue_depth", "name"), ("fastcore_cache_entries", "name")):
        Gauge(name, "", [label], registry=registry).labels("a").set(1)
    own = Table("Own", (Column("x", "count"),), [("row", (1.0,))])
    empty = Table("Empty", (Column("x", "count"),), [])
    assert [t.title for t in Overview(registry, lambda: [own, empty]).tables()] == ["Queues", "Own", "Caches"]
    assert [t.title for t in Overview(None, lambda: [own]).tables()] == ["Own"]


@pytest.mark.parametrize(
    ("kind", "now", "then", "value"),
    [
        ("rate", 30.0, 10.0, 10.0),
        ("rate", 30.0, None, None),
        ("rate", 1.0, 10.0, 0.0),  # the process was restarted
        ("load", 3.0, 2.0, 0.5),
        ("mean", [4.0, 8.0], [2.0, 4.0], 0.5),
        ("mean", [4.0, 8.0], [4.0, 8.0], 0.5),  # nothing came since: of all time
        ("mean", [0.0, 0.0], None, None),
        ("share", [3.0, 4.0], [0.0, 0.0], 0.75),
        ("share", [3.0, 4.0], [30.0, 40.0], 0.75),
        ("count", 3.0, 9.0, 3.0),
        ("text", "open", "closed", "open"),
        ("bytes", None, None, None),
    ],
)
def test_counters_become_rates(kind: str, now: Any, then: Any, value: Any) -> None:
    assert measured(kind, now, then, 2.0) == value


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("rate", 0.0, "0/s"), ("rate", 12.34, "12.3/s"), ("seconds", 0.0, "0 s"), ("seconds", 2.5, "2.5 s"),
        ("mean", 2e-5, "20 us"), ("bytes", 1023, "1,023 B"), ("bytes", 2**50, "1,024 TiB"), ("load", 1.5, "150 %"),
        ("count", 1234567.0, "1,234,567"), ("text", "open", "open"), ("rate", None, "-"), ("count", 100.0, "100"),
    ],
)  # fmt: skip
def test_values_are_for_people(kind: str, value: Any, text: str) -> None:
    assert shown(kind, value) == text


def test_rows_and_columns_may_come_and_go_between_two_looks() -> None:
    def told(time: float, rows: list[tuple[str, list[float]]], columns: int = 1) -> dict[str, Any]:
        table = {
            "title": "Queues", "more": 0, "columns": [{"title": "added", "kind": "rate"}] * columns,
            "rows": [{"name": name, "cells": cells} for name, cells in rows],
        }  # fmt: skip
        return {"time": time, "tables": [table]}

    then = told(1.0, [("a", [1.0]), ("gone", [5.0])])
    [table] = worked_out(told(3.0, [("a", [5.0]), ("new", [9.0])]), then)
    assert {row["name"]: row["values"] for row in table["rows"]} == {"a": [2.0], "new": [None]}
    [table] = worked_out(told(3.0, [("a", [5.0, 6.0])], columns=2), then)
    assert table["rows"][0]["values"] == [None, None]
    [table] = worked_out(told(0.5, [("a", [5.0])]), then)  # of another process
    assert table["rows"][0]["values"] == [None]


async def test_overview_over_http() -> None:
    monitor = PerformanceMonitor()
    monitor.track("users", LRUCache(1))
    async with DebugServer(registry=monitor.registry) as server:
        status, headers, body = await ask(server.port, get("/debug/overview"))
    told = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert told["tasks"] >= 2
    assert "Caches" in [table["title"] for table in told["tables"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ftp://x"], "must be like http://127.0.0.1:8080, not 'ftp://x'"),
        (["http://"], "must be like"),
        (["--interval", "0"], "must be 0.1 to 3600 seconds, not '0'"),
        (["--interval", "soon"], "must be 0.1 to 3600 seconds"),
    ],
)
def test_misuse_is_explained(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:1", "--once"]) == 1
    assert "http://127.0.0.1:1 does not answer as a fastcore process would" in capsys.readouterr().err
