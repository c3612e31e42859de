"""The metrics: controller-runtime's names, from plain counters."""

import gc
import sys
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fastcore.controller.builder import ControllerBuilder
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.controller import Controller
from fastcore.controller.manager import Manager
from fastcore.controller.metrics import CPUTimeCollector, own_registry
from fastcore.controller.model import CONFIG_MAP, Request
from fastcore.controller.options import Options
from fastcore.controller.workspace import Workspace

ONE = Request("blue", "default", "one")


async def reconcile(ctx: Any, request: Any) -> None:
    return None


def made(registry: CollectorRegistry, name: str = "site") -> tuple[Manager, Controller]:
    manager = Manager(registry=registry)
    options = Options(max_concurrent_reconciles=7)
    return manager, ControllerBuilder(manager, name).for_(CONFIG_MAP).with_options(options).complete(reconcile)


def samples(registry: CollectorRegistry) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Values by name and labels, through the text that Prometheus would read."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


SITE = (("controller", "site"),)
QUEUE = (("controller", "site"), ("name", "site"))


def test_names_and_labels_are_controller_runtime_s() -> None:
    registry = CollectorRegistry()
    manager, _ = made(registry)
    found = samples(registry)
    for name in (
        "controller_runtime_reconcile_errors_total",
        "controller_runtime_terminal_reconcile_errors_total",
        "controller_runtime_reconcile_panics_total",
        "controller_runtime_reconcile_timeouts_total",
        "controller_runtime_active_workers",
        "controller_runtime_reconcile_time_seconds_sum",
        "controller_runtime_reconcile_time_seconds_count",
    ):
        assert found[name] == {SITE: 0.0}, name
    assert found["controller_runtime_max_concurrent_reconciles"] == {SITE: 7.0}
    results = {dict(labels)["result"] for labels in found["controller_runtime_reconcile_total"]}
    assert results == {"error", "requeue_after", "requeue", "success"}
    assert len(found["controller_runtime_reconcile_time_seconds_bucket"]) == 41
    for name in (
        "workqueue_adds_total",
        "workqueue_retries_total",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
        "workqueue_queue_duration_seconds_count",
        "workqueue_work_duration_seconds_sum",
    ):
        assert found[name] == {QUEUE: 0.0}, name
    assert found["workqueue_depth"] == {(*QUEUE, ("priority", "0")): 0.0}
    assert len(found["workqueue_queue_duration_seconds_bucket"]) == 13
    assert manager.controllers


def test_values_come_from_the_counters() -> None:
    registry = CollectorRegistry()
    manager, controller = made(registry)
    counters = controller.counters
    counters.success, counters.requeue_after, counters.error = 5, 4, 3
    counters.terminal_errors, counters.panics, counters.timeouts, counters.active_workers = 2, 1, 6, 7
    counters.time.observe(0.007)
    counters.time.observe(99.0)
    controller.queue.add(ONE)
    controller.queue.add(ONE._replace(name="two"), -100)
    found = samples(registry)
    total = found["controller_runtime_reconcile_total"]
    assert {dict(labels)["result"]: value for labels, value in total.items()} == {
        "success": 5.0, "requeue_after": 4.0, "requeue": 0.0, "error": 3.0,
    }  # fmt: skip
    assert found["controller_runtime_reconcile_errors_total"][SITE] == 3.0
    assert found["controller_runtime_terminal_reconcile_errors_total"][SITE] == 2.0
    assert found["controller_runtime_reconcile_panics_total"][SITE] == 1.0
    assert found["controller_runtime_reconcile_timeouts_total"][SITE] == 6.0
    assert found["controller_runtime_active_workers"][SITE] == 7.0
    buckets = found["controller_runtime_reconcile_time_seconds_bucket"]
    assert buckets[(*SITE, ("le", "0.005"))] == 0.0
    assert buckets[(*SITE, ("le", "0.01"))] == 1.0
    assert buckets[(*SITE, ("le", "60.0"))] == 1.0
    assert buckets[(*SITE, ("le", "+Inf"))] == 2.0
    assert found["controller_runtime_reconcile_time_seconds_sum"][SITE] == pytest.approx(99.007)
    assert found["workqueue_depth"] == {
        (*QUEUE, ("priority", "0")): 1.0,
        (*QUEUE, ("priority", "-100")): 1.0,
    }
    assert found["workqueue_adds_total"][QUEUE] == 2.0
    assert manager.controllers


def test_priorities_are_bounded() -> None:
    registry = CollectorRegistry()
    manager, controller = made(registry)
    for priority in range(40):
        controller.queue.add(ONE._replace(name=str(priority)), priority)
    depths = samples(registry)["workqueue_depth"]
    assert len(depths) == 26
    assert depths[(*QUEUE, ("priority", "exceeded_cardinality_limit"))] == 15.0
    assert depths[(*QUEUE, ("priority", "0"))] == 1.0
    assert sum(depths.values()) == 40
    assert manager.controllers


async def test_requests_of_clients_that_share_connections_count_once() -> None:
    registry = CollectorRegistry()
    manager, _ = made(registry)
    async with Client(ClientConfig("http://127.0.0.1:9")) as client, Client(client.config) as other:
        client.stats[("200", "GET", "127.0.0.1:9")] = 3
        other.stats[("200", "GET", "127.0.0.1:9")] = 4
        clients = {"a": client.scoped("/clusters/a"), "b": client.scoped("/clusters/b"), "c": other}
        manager.workspaces.update({name: Workspace(name, c) for name, c in clients.items()})
        found = samples(registry)["rest_client_requests_total"]
    assert found == {(("code", "200"), ("host", "127.0.0.1:9"), ("method", "GET")): 7.0}


def test_caches_are_exported_by_name() -> None:
    class Stats:
        hits, misses = 3, 1

    class Cache:
        def stats(self) -> Stats:
            return Stats()

    registry = CollectorRegistry()
    manager, _ = made(registry)
    manager.caches["site"] = Cache()
    found = samples(registry)["cache_requests_total"]
    assert found == {
        (("cache_name", "site"), ("result", "hit")): 3.0,
        (("cache_name", "site"), ("result", "miss")): 1.0,
    }


def test_managers_share_a_registry_and_leave_it_when_they_go() -> None:
    """Defect 92."""
    registry = CollectorRegistry()
    first, _ = made(registry, "one")
    second, _ = made(registry, "two")
    first.export()
    found = samples(registry)["controller_runtime_active_workers"]
    assert found == {(("controller", "one"),): 0.0, (("controller", "two"),): 0.0}
    del second
    gc.collect()
    assert samples(registry)["controller_runtime_active_workers"] == {(("controller", "one"),): 0.0}
    with pytest.raises(ValueError, match="'one' is taken"):
        made(registry, "one")
    ControllerBuilder(Manager(registry=registry), "two")


def test_a_registry_of_its_own_has_the_process_too() -> None:
    manager, other = Manager(), Manager()
    ControllerBuilder(manager, "site").for_(CONFIG_MAP).complete(reconcile)
    ControllerBuilder(other, "site").for_(CONFIG_MAP).complete(reconcile)
    registry = manager.export()
    assert registry is manager.export()
    assert registry is not other.export()
    found = samples(registry)
    assert "python_info" in found
    assert found["controller_runtime_active_workers"] == {SITE: 0.0}
    assert found["process_cpu_seconds_total"][()] > 0
    if sys.platform != "win32":
        assert found["process_peak_resident_memory_bytes"][()] > 10e6


def test_processor_time_is_told_where_prometheus_client_does_not() -> None:
    (family,) = CPUTimeCollector().collect()
    (sample,) = family.samples
    assert sample.name == "process_cpu_seconds_total"
    assert 0 < sample.value <= time.process_time()


def test_peak_memory_is_left_out_where_nothing_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastcore.controller.metrics._peak_memory_bytes", lambda: None)
    assert "process_peak_resident_memory_bytes" not in samples(own_registry())


def test_what_guards_reconciles_is_exported() -> None:
    """A breaker has a series only while it is not closed: a workspace that is gone has none."""
    registry = CollectorRegistry()
    manager, controller = made(registry)
    found = samples(registry)
    for name in (
        "fastcore_controller_own_events_total",
        "fastcore_controller_concurrency_cuts_total",
        "fastcore_controller_quarantines_total",
        "fastcore_controller_field_fights_total",
        "fastcore_controller_hot_loops_total",
        "fastcore_controller_quarantined_keys",
        "fastcore_controller_slowed_keys",
        "fastcore_controller_keys_aside",
    ):
        assert found[name] == {SITE: 0.0}, name
    outcomes = {(*SITE, ("outcome", name)): 0.0 for name in ("written", "dropped", "failed", "suppressed")}
    assert found["fastcore_controller_recorded_events_total"] == outcomes
    assert found["fastcore_controller_concurrency_limit"] == {SITE: 7.0}
    stages = {dict(labels)["stage"] for labels in found["fastcore_reconcile_cost_seconds_total"]}
    assert stages == {"queue", "limiter", "server", "decode", "collector", "user"}
    assert "fastcore_workspace_breaker_open" not in found
    breakers = controller.guards.breakers
    for _ in range(10):
        permit = breakers.enter("blue")
        assert permit is not None
        assert not isinstance(permit, float)
        permit.failure()
    opened = samples(registry)["fastcore_workspace_breaker_open"]
    assert opened == {(*SITE, ("workspace", "blue")): 1.0}
    controller.guards.forget("blue")
    assert "fastcore_workspace_breaker_open" not in samples(registry)
    assert manager.controllers
