"""What caches, limiters, breakers, pools, queues and workers count, read when somebody scrapes."""

import threading
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fastcore.observe.workers import exporter

_STATES = ("closed", "open", "half_open")
# By a field that only this kind has: the kind, what it counts, and what it has now.
_KINDS = {
    "hits": (
        "cache",
        ("hits", "misses", "expired", "insertions", "updates", "removals", "evictions", "loads", "load_failures"),
        ("entries", "currsize", "maxsize"),
    ),
    "rejected": ("breaker", ("calls", "successes", "failures", "excluded", "slow", "rejected"), ("in_flight",)),
    "reused": ("pool", ("created", "reused", "released", "dropped_full", "dropped_oversized"), ("idle",)),
    "adds": ("queue", ("adds", "retries"), ("depth", "processing", "delayed")),
    "decoded": ("objects", ("hot", "decoded"), ("objects", "bytes")),
}
_LIMITER = ("tokens", "rate", "burst")


class PrimitiveMetrics(Collector):
    """The counters of primitives, by name: `fastcore_cache_hits_total{name="users"}`.

    Complexity: O(primitives) a scrape; nothing otherwise.
    Thread safety: may be used from any thread.
    """

    def __init__(self, limit: int = 100) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._tracked: dict[str, Any] = {}

    def track(self, name: str, primitive: Any) -> None:
        """Export `primitive` under `name`.

        Raises:
            TypeError: it is none of those that are known.
            ValueError: the name is taken, or there are too many.
        """
        known = exporter(primitive) or _kind(primitive) or all(hasattr(primitive, field) for field in _LIMITER)
        if not known:
            raise TypeError(
                "a cache, token bucket, breaker, pool, queue, object store, worker pool, task manager, memory monitor, "
                f"resource tracker or resource store, not {primitive!r}"
            )
        with self._lock:
            if name in self._tracked:
                raise ValueError(f"the name {name!r} is taken")
            if len(self._tracked) >= self._limit:
                raise ValueError(f"{self._limit} primitives are exported already, which is the limit: {name!r}")
            self._tracked[name] = primitive

    def untrack(self, name: str) -> None:
        """Export it no more; a name that is not known is ignored."""
        with self._lock:
            self._tracked.pop(name, None)

    def collect(self) -> Iterator[Metric]:
        """The families, with their present values."""
        with self._lock:
            tracked = sorted(self._tracked.items())
        families: dict[str, Metric] = {}
        for name, primitive in tracked:
            export = exporter(primitive)
            if export is not None:
                export(families, name, primitive)
                continue
            kind = _kind(primitive)
            if kind is None:
                for field in _LIMITER:
                    _gauge(families, f"fastcore_limiter_{field}", field).add_metric((name,), getattr(primitive, field))
                continue
            what, counters, gauges = kind
            stats = primitive.stats()
            for field in counters:
                _counter(families, f"fastcore_{what}_{field}_total", field).add_metric((name,), getattr(stats, field))
            for field in gauges:
                _gauge(families, f"fastcore_{what}_{field}", field).add_metric((name,), getattr(stats, field))
            if what == "breaker":
                for state in _STATES:
                    family = _gauge(families, "fastcore_breaker_state", "1 for the state it is in", "state")
                    family.add_metric((name, state), float(stats.state == state))
        yield from families.values()


def _kind(primitive: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    stats = primitive.stats() if hasattr(primitive, "stats") else None
    return next((kind for field, kind in _KINDS.items() if hasattr(stats, field)), None)


def _counter(families: dict[str, Metric], name: str, field: str) -> CounterMetricFamily:
    family = families.setdefault(name, CounterMetricFamily(name, f"{_words(field)}, so far.", labels=("name",)))
    assert isinstance(family, CounterMetricFamily)
    return family


def _gauge(families: dict[str, Metric], name: str, field: str, *more: str) -> GaugeMetricFamily:
    family = families.setdefault(name, GaugeMetricFamily(name, f"{_words(field)}, now.", labels=("name", *more)))
    assert isinstance(family, GaugeMetricFamily)
    return family


def _words(field: str) -> str:
    return field.replace("_", " ").capitalize()
