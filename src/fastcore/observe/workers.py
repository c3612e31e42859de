"""What worker pools, task managers, memory monitors, trackers and stores count, read when somebody scrapes."""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

_Families = dict[str, Metric]


def exporter(thing: Any) -> Callable[[_Families, str, Any], None] | None:
    """What exports `thing`, if it is one of these: they are known by what they have, as nothing here imports them."""
    if hasattr(thing, "crossings") and hasattr(thing, "reading"):
        return _memory
    if hasattr(thing, "pauses") and hasattr(thing, "sample"):
        return _resources
    if hasattr(thing, "upsert") and hasattr(thing, "stats"):
        return _store
    if hasattr(thing, "submit") and hasattr(thing, "stats"):
        return _pool
    return _tasks if hasattr(thing, "spawn") and hasattr(thing, "stats") else None


def _pool(families: _Families, name: str, pool: Any) -> None:
    stats = pool.stats()
    _gauge(families, "fastcore_worker_pool_workers", "Jobs that can run at once.").add_metric((name,), stats.workers)
    _gauge(families, "fastcore_worker_pool_depth", "Jobs that wait.").add_metric((name,), stats.depth)
    _gauge(families, "fastcore_worker_pool_waiting", "Submitters that wait for room.").add_metric(
        (name,), stats.waiting
    )
    flying = _gauge(families, "fastcore_worker_pool_in_flight", "Jobs that run.", "kind")
    ended = _counter(
        families, "fastcore_worker_pool_jobs_total", "Jobs that ran, by how they ended.", "kind", "outcome"
    )
    refused = _counter(
        families, "fastcore_worker_pool_rejected_total", "Jobs that did not run, by reason.", "kind", "reason"
    )
    waited = _histogram(families, "fastcore_worker_pool_wait_seconds", "From the submission to the start.")
    ran = _histogram(families, "fastcore_worker_pool_run_seconds", "From the start to the end.")
    for kind, counts in stats.kinds.items():
        flying.add_metric((name, kind), counts.in_flight)
        for outcome, count in counts.ended.items():
            ended.add_metric((name, kind, outcome), count)
        for reason, count in counts.rejected.items():
            refused.add_metric((name, kind, reason), count)
        for family, durations in ((waited, counts.waited), (ran, counts.ran)):
            family.add_metric((name, kind), _buckets(durations.buckets), durations.sum)


def _tasks(families: _Families, name: str, tasks: Any) -> None:
    stats = tasks.stats()
    for field, text in (
        ("running", "Tasks and threads that run."),
        ("waiting", "Callers that wait for a place."),
        ("limit", "Tasks and threads that may run."),
        ("peak", "Most that ever ran at once."),
    ):
        _gauge(families, f"fastcore_tasks_{field}", text).add_metric((name,), getattr(stats, field))
    for field in ("spawned", "failed", "cancelled", "refused"):
        family = _counter(families, f"fastcore_tasks_{field}_total", f"Tasks and threads {field}.")
        family.add_metric((name,), getattr(stats, field))


def _memory(families: _Families, name: str, monitor: Any) -> None:
    reading = monitor.reading()
    for field, value, text in (
        ("usage", reading.usage, "Resident memory."),
        ("limit", reading.limit, "What the container may use."),
        ("allowed", reading.allowed, "What the monitor allows."),
    ):
        if value is not None:
            _gauge(families, f"fastcore_memory_{field}_bytes", text).add_metric((name,), value)
    refusing = _gauge(families, "fastcore_memory_refusing", "1 while new work is refused for lack of memory.")
    refusing.add_metric((name,), float(reading.refusing))
    for threshold, count in monitor.crossings.items():
        family = _counter(families, "fastcore_memory_crossings_total", "Thresholds crossed upwards.", "threshold")
        family.add_metric((name, threshold), count)
    forced = _counter(families, "fastcore_memory_collections_total", "Collections forced by lack of memory.")
    forced.add_metric((name,), monitor.collections)


def _store(families: _Families, name: str, store: Any) -> None:
    stats = store.stats()
    for field, text in (
        ("connections_open", "Connections to the database."),
        ("connections_idle", "Connections that nobody uses."),
        ("connections_waiting", "Calls that wait for a connection."),
    ):
        _gauge(families, f"fastcore_store_{field}", text).add_metric((name,), getattr(stats, field))
    for field, text in (
        ("waits", "Calls that had to wait for a connection."),
        ("wait_seconds", "Seconds that calls waited for a connection."),
        ("timeouts", "Calls that waited for a connection in vain."),
        ("opened", "Connections opened."),
        ("lost", "Connections that broke."),
    ):
        _counter(families, f"fastcore_store_{field}_total", text).add_metric((name,), getattr(stats, field))


def _resources(families: _Families, name: str, tracker: Any) -> None:
    sample = tracker.sample()
    for field, value, text in (
        ("threads", sample.threads, "Threads."),
        ("tasks", sample.tasks, "Tasks of the watched loop."),
        ("open_files", sample.open_files, "Files and sockets that are open."),
        ("loop_lag_seconds", sample.loop_lag, "By how much the event loop was late."),
        ("loop_lag_max_seconds", sample.loop_lag_max, "The most by which the event loop was ever late."),
        ("gc_pause_longest_seconds", sample.pauses.longest, "The longest pause of the garbage collector."),
    ):
        if value is not None:
            _gauge(families, f"fastcore_resources_{field}", text).add_metric((name,), value)
    _counter(families, "fastcore_resources_gc_pauses_total", "Pauses of the garbage collector.").add_metric(
        (name,), sample.pauses.collections
    )
    _counter(families, "fastcore_resources_gc_pause_seconds_total", "Seconds in pauses.").add_metric(
        (name,), sample.pauses.total
    )


def _buckets(pairs: Iterable[tuple[float, int]]) -> list[tuple[str, float]]:
    return [("+Inf" if bound == float("inf") else repr(bound), float(count)) for bound, count in pairs]


def _gauge(families: _Families, name: str, text: str, *labels: str) -> GaugeMetricFamily:
    family = families.setdefault(name, GaugeMetricFamily(name, text, labels=("name", *labels)))
    assert isinstance(family, GaugeMetricFamily)
    return family


def _counter(families: _Families, name: str, text: str, *labels: str) -> CounterMetricFamily:
    family = families.setdefault(name, CounterMetricFamily(name, text, labels=("name", *labels)))
    assert isinstance(family, CounterMetricFamily)
    return family


def _histogram(families: _Families, name: str, text: str) -> HistogramMetricFamily:
    family = families.setdefault(name, HistogramMetricFamily(name, text, labels=("name", "kind")))
    assert isinstance(family, HistogramMetricFamily)
    return family
