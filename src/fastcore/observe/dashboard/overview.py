"""What a dashboard shows, read from the metrics: tables of present values and of counters.

Rates are for whoever asks twice: the answer has counters and the time, so it depends on nobody who asked before.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

OVERVIEW = "/debug/overview"
MAX_ROWS = 50

Cell = str | float | None | list[float]


class Column(NamedTuple):
    """A column of a table.

    Args:
        title: at its head.
        kind: what its cells are. "count", "bytes" and "seconds" are present values; "rate" a counter, shown per second;
            "load" a counter of seconds, shown as cores; "mean" a counter of seconds and one of how often; "share" a
            counter and one that it is a part of; "text" is shown as it is.
        names: the metrics that are summed for it; two for "mean" and "share".
        state: the label whose value is the text, of the series that is 1.
    """

    title: str
    kind: str
    names: tuple[str, ...] = ()
    state: str = ""


class Table(NamedTuple):
    """A table: its columns, and rows of a name and a cell for each column; `more` rows were left out."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    more: int = 0

    def told(self) -> dict[str, Any]:
        """The table as JSON has it."""
        columns = [{"title": column.title, "kind": column.kind} for column in self.columns]
        rows = [{"name": name, "cells": list(cells)} for name, cells in self.rows]
        return {"title": self.title, "columns": columns, "rows": rows, "more": self.more}


class _Section(NamedTuple):
    title: str
    label: str  # whose values are the rows; "" is one row
    columns: tuple[Column, ...]


_SECTIONS = (
    _Section("Controllers", "controller", (
        Column("reconciles", "rate", ("controller_runtime_reconcile_total",)),
        Column("errors", "rate", ("controller_runtime_reconcile_errors_total",)),
        Column("mean time", "mean", (
            "controller_runtime_reconcile_time_seconds_sum", "controller_runtime_reconcile_time_seconds_count")),
        Column("running", "count", ("controller_runtime_active_workers",)),
        Column("limit", "count", ("fastcore_controller_concurrency_limit",)),
        Column("slowed keys", "count", ("fastcore_controller_slowed_keys",)),
        Column("quarantined", "count", ("fastcore_controller_quarantined_keys",)),
    )),
    _Section("Queues", "name", (
        Column("ready", "count", ("workqueue_depth", "fastcore_queue_depth")),
        Column("added", "rate", ("workqueue_adds_total", "fastcore_queue_adds_total")),
        Column("retries", "rate", ("workqueue_retries_total", "fastcore_queue_retries_total")),
        Column("mean wait", "mean", ("workqueue_queue_duration_seconds_sum", "workqueue_queue_duration_seconds_count")),
        Column("longest running", "seconds", ("workqueue_longest_running_processor_seconds",)),
    )),
    _Section("API requests", "code", (Column("answers", "rate", ("rest_client_requests_total",)),)),
    _Section("Requests served", "route", (
        Column("answers", "rate", ("http_requests_total",)),
        Column("mean time", "mean", ("http_request_duration_seconds_sum", "http_request_duration_seconds_count")),
    )),
    _Section("Caches", "name", (
        Column("hits", "share", ("fastcore_cache_hits_total", "fastcore_cache_misses_total")),
        Column("entries", "count", ("fastcore_cache_entries",)),
        Column("evictions", "rate", ("fastcore_cache_evictions_total",)),
        Column("loads", "rate", ("fastcore_cache_loads_total",)),
    )),
    _Section("Breakers", "name", (
        Column("state", "text", ("fastcore_breaker_state",), "state"),
        Column("calls", "rate", ("fastcore_breaker_calls_total",)),
        Column("failures", "rate", ("fastcore_breaker_failures_total",)),
        Column("rejected", "rate", ("fastcore_breaker_rejected_total",)),
    )),
    _Section("Open breakers of workspaces", "workspace", (
        Column("open", "count", ("fastcore_workspace_breaker_open",)),)),
    _Section("Limiters", "name", (
        Column("tokens", "count", ("fastcore_limiter_tokens",)),
        Column("rate", "count", ("fastcore_limiter_rate",)),
        Column("burst", "count", ("fastcore_limiter_burst",)),
    )),
    _Section("Pools", "name", (
        Column("reused", "share", ("fastcore_pool_reused_total", "fastcore_pool_created_total")),
        Column("idle", "count", ("fastcore_pool_idle",)),
    )),
    _Section("Worker pools", "name", (
        Column("waiting", "count", ("fastcore_worker_pool_depth",)),
        Column("running", "count", ("fastcore_worker_pool_in_flight",)),
        Column("workers", "count", ("fastcore_worker_pool_workers",)),
        Column("jobs", "rate", ("fastcore_worker_pool_jobs_total",)),
        Column("rejected", "rate", ("fastcore_worker_pool_rejected_total",)),
        Column("mean wait", "mean", (
            "fastcore_worker_pool_wait_seconds_sum", "fastcore_worker_pool_wait_seconds_count")),
        Column("mean time", "mean", ("fastcore_worker_pool_run_seconds_sum", "fastcore_worker_pool_run_seconds_count")),
    )),
    _Section("Task managers", "name", (
        Column("running", "count", ("fastcore_tasks_running",)),
        Column("limit", "count", ("fastcore_tasks_limit",)),
        Column("spawned", "rate", ("fastcore_tasks_spawned_total",)),
        Column("failures", "rate", ("fastcore_tasks_failed_total",)),
        Column("rejected", "rate", ("fastcore_tasks_refused_total",)),
    )),
    _Section("Memory", "name", (
        Column("in use", "bytes", ("fastcore_memory_usage_bytes",)),
        Column("allowed", "bytes", ("fastcore_memory_allowed_bytes",)),
        Column("limit", "bytes", ("fastcore_memory_limit_bytes",)),
        Column("refusing work", "count", ("fastcore_memory_refusing",)),
    )),
    _Section("Event loop", "name", (
        Column("late by", "seconds", ("fastcore_resources_loop_lag_seconds",)),
        Column("most", "seconds", ("fastcore_resources_loop_lag_max_seconds",)),
        Column("collector pauses", "load", ("fastcore_resources_gc_pause_seconds_total",)),
        Column("longest pause", "seconds", ("fastcore_resources_gc_pause_longest_seconds",)),
    )),
    _Section("Process", "", (
        Column("processor", "load", ("process_cpu_seconds_total",)),
        Column("memory", "bytes", ("process_resident_memory_bytes",)),
        Column("peak", "bytes", ("process_peak_resident_memory_bytes",)),
        Column("open files", "count", ("process_open_fds",)),
        Column("collections", "rate", ("python_gc_collections_total",)),
    )),
)  # fmt: skip

_FIRST = 2  # sections that stand before the tables of others

_Samples = dict[str, list[tuple[Mapping[str, str], float]]]
_NAMES = frozenset(name for section in _SECTIONS for column in section.columns for name in column.names)


class Overview:
    """Reads a registry, and whatever else has tables to show.

    Args:
        registry: the metrics; None: tables alone.
        tables: give further tables, shown behind controllers and queues.

    Complexity: that of a scrape.
    Thread safety: `read` belongs to the event loop, whose tasks it counts.

    Example:
        >>> from prometheus_client import CollectorRegistry, Gauge
        >>> registry = CollectorRegistry()
        >>> Gauge("workqueue_depth", "", ["name"], registry=registry).labels("shop").set(3)
        >>> Overview(registry).tables()[0].rows
        [('shop', [3.0, None, None, None, None])]
    """

    def __init__(
        self, registry: "Collector | None" = None, tables: Callable[[], Iterable[Table]] | None = None
    ) -> None:
        self._registry = registry
        self._tables = tables
        self._began = time.monotonic()

    def read(self) -> dict[str, Any]:
        """Everything, for JSON: `time` in seconds since any moment, `uptime`, `tasks`, `tables`."""
        return {
            "time": time.monotonic(),
            "uptime": time.monotonic() - self._began,
            "tasks": len(asyncio.all_tasks()),
            "tables": [table.told() for table in self.tables()],
        }

    def tables(self) -> list[Table]:
        """Those that have rows."""
        samples = {} if self._registry is None else _samples(self._registry)
        found = [_table(section, samples) for section in _SECTIONS]
        if self._tables is not None:
            found[_FIRST:_FIRST] = self._tables()
        return [table for table in found if table.rows]


def _samples(registry: "Collector") -> _Samples:
    found: _Samples = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name in _NAMES:
                found.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return found


def _table(section: _Section, samples: _Samples) -> Table:
    columns = [_values(column, section.label, samples) for column in section.columns]
    names = sorted({name for column in columns for name in column})
    rows = [(name or "this process", [column.get(name) for column in columns]) for name in names[:MAX_ROWS]]
    shown = [at for at, column in enumerate(columns) if column or section.label]
    return Table(
        section.title,
        [section.columns[at] for at in shown],
        [(name, [cells[at] for at in shown]) for name, cells in rows],
        max(0, len(names) - MAX_ROWS),
    )


def _values(column: Column, label: str, samples: _Samples) -> dict[str, Cell]:
    """The cell of each row."""
    if column.state:
        states = (pair for name in column.names for pair in samples.get(name, ()))
        return {labels[label]: labels[column.state] for labels, value in states if value == 1 and label in labels}
    if column.kind not in ("mean", "share"):
        return {**_sums(column.names, label, samples)}
    part, other = (_sums((name,), label, samples) for name in column.names)
    if column.kind == "share":
        return {row: [value, value + other.get(row, 0.0)] for row, value in part.items()}
    return {row: [value, other.get(row, 0.0)] for row, value in part.items()}


def _sums(names: Iterable[str], label: str, samples: _Samples) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name in names:
        for labels, value in samples.get(name, ()):
            if not label or label in labels:
                row = labels[label] if label else ""
                sums[row] = sums.get(row, 0.0) + value
    return sums
