"""controller-runtime's metrics from plain counters, read when somebody scrapes.

A registry gets one collector, however many managers export to it: two managers in a process do not clash. The
collector holds managers weakly, so a manager that is gone takes its series with it.
"""

import math
import sys
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from fastcore.controller.counters import Histogram
from fastcore.controller.flow_metrics import flow_families
from fastcore.controller.guard_metrics import counter, gauge, guard_metrics
from fastcore.controller.lease_metrics import leases

if TYPE_CHECKING:
    from fastcore.controller.controller import Controller
    from fastcore.controller.manager import Manager

_MAX_PRIORITIES = 25
_OVERFLOW = "exceeded_cardinality_limit"
_CONTROLLER = ("controller",)
_QUEUE = ("name", "controller")

_collectors: "weakref.WeakKeyDictionary[CollectorRegistry, RuntimeCollector]" = weakref.WeakKeyDictionary()


def own_registry() -> CollectorRegistry:
    """A new registry that already has the metrics of the process, the platform and the garbage collector."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    if sys.platform != "linux":  # elsewhere ProcessCollector tells nothing
        registry.register(CPUTimeCollector())
    registry.register(PeakMemoryCollector())
    return registry


def attach(registry: CollectorRegistry, manager: "Manager") -> None:
    """Export `manager` to `registry`; again is as good as once."""
    collector = _collectors.get(registry)
    if collector is None:
        collector = RuntimeCollector()
        registry.register(collector)
        _collectors[registry] = collector
    collector.managers.add(manager)


def controller_names(registry: CollectorRegistry) -> set[str]:
    """The controllers of every manager that exports to `registry`."""
    collector = _collectors.get(registry)
    return set() if collector is None else {controller.name for controller in collector.controllers()}


class RuntimeCollector(Collector):
    """Collects `controller_runtime_*`, `workqueue_*`, `rest_client_*`, `cache_*` and `fastcore_*` of its managers.

    Complexity: O(controllers) a scrape.
    Thread safety: may be scraped from any thread; a scrape during a reconcile may see a count one behind another.
    """

    def __init__(self) -> None:
        self.managers: weakref.WeakSet[Manager] = weakref.WeakSet()

    def controllers(self) -> "list[Controller]":
        """Every controller, by name."""
        found = [controller for manager in list(self.managers) for controller in manager.controllers.values()]
        return sorted(found, key=lambda controller: controller.name)

    def collect(self) -> Iterator[Metric]:
        """The families, with their present values."""
        controllers = self.controllers()
        yield from _reconciles(controllers)
        yield from _queues(controllers)
        yield from guard_metrics(controllers)
        yield self._requests()
        clients = [w.client for manager in list(self.managers) for w in list(manager.workspaces.values())]
        yield from flow_families(clients)
        yield self._caches()
        yield from leases(list(self.managers))

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            labels=("code", "method", "host"),
        )
        # Workspaces of one server share their connections and hence their counters: count each once.
        sources = {id(stats): stats for manager in list(self.managers) for stats in manager.request_stats()}
        totals: dict[tuple[str, str, str], int] = {}
        for stats in sources.values():
            for labels, count in list(stats.items()):
                totals[labels] = totals.get(labels, 0) + count
        for labels, count in sorted(totals.items()):
            family.add_metric(labels, count)
        return family

    def _caches(self) -> Metric:
        family = CounterMetricFamily("cache_requests_total", "Lookups by result.", labels=("cache_name", "result"))
        totals: dict[tuple[str, str], int] = {}
        for manager in list(self.managers):
            for name, cache in manager.caches.items():
                stats = cache.stats()
                for result, count in (("hit", stats.hits), ("miss", stats.misses)):
                    totals[name, result] = totals.get((name, result), 0) + count
        for labels, count in sorted(totals.items()):
            family.add_metric(labels, count)
        return family


class CPUTimeCollector(Collector):
    """The processor time that this process has used, under ProcessCollector's name."""

    def collect(self) -> Iterator[Metric]:
        """One counter."""
        family = CounterMetricFamily("process_cpu_seconds", "Total user and system CPU time spent in seconds.")
        family.add_metric((), time.process_time())
        yield family


class PeakMemoryCollector(Collector):
    """The most memory that this process ever had resident; nothing where the system does not tell."""

    def collect(self) -> Iterator[Metric]:
        """One gauge, or none."""
        peak = _peak_memory_bytes()
        if peak is not None:
            yield GaugeMetricFamily("process_peak_resident_memory_bytes", "Peak resident memory in bytes.", peak)


def _peak_memory_bytes() -> int | None:
    try:
        # Not getrusage: there a process starts with its parent's peak.
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reconciles(controllers: "Iterable[Controller]") -> Iterator[Metric]:
    total = CounterMetricFamily(
        "controller_runtime_reconcile_total",
        "Total number of reconciliations per controller.",
        labels=("controller", "result"),
    )
    errors = counter("controller_runtime_reconcile_errors_total", "Total number of reconciliation errors.")
    terminal = counter(
        "controller_runtime_terminal_reconcile_errors_total", "Total number of terminal reconciliation errors."
    )
    panics = counter("controller_runtime_reconcile_panics_total", "Total number of bugs in the reconciler.")
    timeouts = counter(
        "controller_runtime_reconcile_timeouts_total", "Total number of reconciliations over their own deadline."
    )
    lost = counter("fastcore_controller_lost_events_total", "Events whose predicate or mapper raised.")
    maximum = gauge("controller_runtime_max_concurrent_reconciles", "Maximum number of concurrent reconciles.")
    active = gauge("controller_runtime_active_workers", "Number of workers that reconcile now.")
    time = HistogramMetricFamily(
        "controller_runtime_reconcile_time_seconds", "Length of time per reconciliation.", labels=_CONTROLLER
    )
    for controller in controllers:
        counters, name = controller.counters, (controller.name,)
        for result, count in (
            ("success", counters.success),
            ("requeue_after", counters.requeue_after),
            ("requeue", 0),  # dashboards expect the series; a result cannot ask for it
            ("error", counters.error),
        ):
            total.add_metric((*name, result), count)
        errors.add_metric(name, counters.error)
        terminal.add_metric(name, counters.terminal_errors)
        panics.add_metric(name, counters.panics)
        timeouts.add_metric(name, counters.timeouts)
        lost.add_metric(name, counters.lost_events)
        maximum.add_metric(name, controller.options.max_concurrent_reconciles)
        active.add_metric(name, counters.active_workers)
        time.add_metric(name, _cumulative(counters.time), counters.time.sum)
    yield from (total, errors, terminal, panics, timeouts, lost, maximum, active, time)


def _queues(controllers: "Iterable[Controller]") -> Iterator[Metric]:
    depth = GaugeMetricFamily("workqueue_depth", "Number of keys that are ready.", labels=(*_QUEUE, "priority"))
    adds = CounterMetricFamily("workqueue_adds_total", "Number of keys that became ready.", labels=_QUEUE)
    retries = CounterMetricFamily("workqueue_retries_total", "Number of adds with a delay.", labels=_QUEUE)
    unfinished = GaugeMetricFamily(
        "workqueue_unfinished_work_seconds", "Seconds of work in progress that has not been counted.", labels=_QUEUE
    )
    longest = GaugeMetricFamily(
        "workqueue_longest_running_processor_seconds", "Seconds that the longest reconcile runs.", labels=_QUEUE
    )
    waited = HistogramMetricFamily(
        "workqueue_queue_duration_seconds", "Seconds that a key stays in the queue.", labels=_QUEUE
    )
    worked = HistogramMetricFamily(
        "workqueue_work_duration_seconds", "Seconds that processing a key takes.", labels=_QUEUE
    )
    for controller in controllers:
        stats, labels = controller.queue.stats(), (controller.name, controller.name)
        for priority, count in _bounded(stats.depth_by_priority).items():
            depth.add_metric((*labels, priority), count)
        adds.add_metric(labels, stats.adds)
        retries.add_metric(labels, stats.retries)
        unfinished.add_metric(labels, stats.unfinished_work)
        longest.add_metric(labels, stats.longest_running)
        waited.add_metric(labels, _buckets(stats.queue_duration.buckets), stats.queue_duration.sum)
        worked.add_metric(labels, _buckets(stats.work_duration.buckets), stats.work_duration.sum)
    yield from (depth, adds, retries, unfinished, longest, waited, worked)


def _bounded(depths: dict[int, int]) -> dict[str, int]:
    """Depth by label value: 25 priorities at most, the rest together; level 0 is always there."""
    found: dict[str, int] = {"0": depths.get(0, 0)}
    for priority, count in depths.items():
        label = str(priority)
        if label not in found and len(found) >= _MAX_PRIORITIES:
            label = _OVERFLOW
        found[label] = count if label == "0" else found.get(label, 0) + count
    return found


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    buckets, total = [], 0
    for bound, count in zip((*histogram.bounds, math.inf), list(histogram.counts), strict=True):
        total += count
        buckets.append((_bound(bound), float(total)))
    return buckets


def _buckets(pairs: Iterable[tuple[float, int]]) -> list[tuple[str, float]]:
    return [(_bound(bound), float(count)) for bound, count in pairs]


def _bound(value: float) -> str:
    return "+Inf" if value == math.inf else repr(value)
