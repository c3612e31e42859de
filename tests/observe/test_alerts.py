"""Alerts and dashboard: Prometheus reads them, each alert fires when it should, and all that they ask for exists."""

import asyncio
import json
import re
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastcore.cache import LRUCache
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION
from fastcore.observe import PerformanceMonitor
from fastcore.reference import MANIFESTS, MONITORING, WEBAPP, crd
from fastcore.reference.processes import Controller, Server, free_port
from fastcore.testing.plugin import need

RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["spec"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
PANELS = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))["panels"]
ELSEWHERE = {"kube_pod_container_resource_limits"}  # of kube-state-metrics

# For each alert: minutes after which it fires, and the series that make it fire; then those that do not.
CASES: dict[str, tuple[int, dict[str, str], dict[str, str]]] = {
    "FastcoreReconcileErrors": (
        30,
        {'controller_runtime_reconcile_total{result="error"}': "0+20x40",
         'controller_runtime_reconcile_total{result="success"}': "0+80x40"},
        {'controller_runtime_reconcile_total{result="error"}': "0+5x40",
         'controller_runtime_reconcile_total{result="success"}': "0+95x40"},
    ),
    "FastcoreReconcilePanics": (
        10,
        {"controller_runtime_reconcile_panics_total": "0x5 1x30"},
        {"controller_runtime_reconcile_panics_total": "1x40"},
    ),
    "FastcoreQuarantine": (
        20, {"fastcore_controller_quarantined_keys": "1x40"}, {"fastcore_controller_quarantined_keys": "0x15 1x40"}
    ),
    "FastcoreFieldFight": (
        10, {"fastcore_controller_field_fights_total": "0x5 1x9"}, {"fastcore_controller_field_fights_total": "1x20"}
    ),
    "FastcoreHotLoop": (
        10, {"fastcore_controller_hot_loops_total": "0x5 1x9"}, {"fastcore_controller_hot_loops_total": "1x20"}
    ),
    "FastcoreReconcileStuck": (
        10,
        {"workqueue_longest_running_processor_seconds": "400x20"},
        {"workqueue_longest_running_processor_seconds": "200x20"},
    ),
    "FastcoreQueueSlow": (
        40,
        {'workqueue_queue_duration_seconds_bucket{le="10"}': "0x60",
         'workqueue_queue_duration_seconds_bucket{le="100"}': "0+60x60",
         'workqueue_queue_duration_seconds_bucket{le="+Inf"}': "0+60x60"},
        {'workqueue_queue_duration_seconds_bucket{le="10"}': "0+60x60",
         'workqueue_queue_duration_seconds_bucket{le="100"}': "0+60x60",
         'workqueue_queue_duration_seconds_bucket{le="+Inf"}': "0+60x60"},
    ),
    "FastcoreQueueGrows": (40, {"workqueue_depth": "0+100x60"}, {"workqueue_depth": "2000x60"}),
    "FastcoreWorkersBusy": (
        45,
        {"controller_runtime_active_workers": "4x60", "controller_runtime_max_concurrent_reconciles": "4x60"},
        {"controller_runtime_active_workers": "3x60", "controller_runtime_max_concurrent_reconciles": "4x60"},
    ),
    "FastcoreServerErrors": (
        20,
        {'rest_client_requests_total{code="<error>"}': "0+10x40", 'rest_client_requests_total{code="200"}': "0+90x40"},
        {'rest_client_requests_total{code="404"}': "0+50x40", 'rest_client_requests_total{code="200"}': "0+50x40"},
    ),
    "FastcoreThrottled": (
        20, {'rest_client_requests_total{code="429"}': "0+60x40"}, {'rest_client_requests_total{code="429"}': "0+1x40"}
    ),
    "FastcoreBreakerOpen": (
        10, {'fastcore_workspace_breaker_open{workspace="a"}': "1x20"}, {"fastcore_workspace_breaker_open": "0x20"}
    ),
    "FastcoreNoLeader": (
        5,
        {'leader_election_master_status{pod="a"}': "0x9", 'leader_election_master_status{pod="b"}': "0x9"},
        {'leader_election_master_status{pod="a"}': "0x9", 'leader_election_master_status{pod="b"}': "1x9"},
    ),
    "FastcoreCacheMisses": (
        50,
        {'cache_requests_total{result="hit"}': "0+60x60", 'cache_requests_total{result="miss"}': "0+120x60"},
        {'cache_requests_total{result="hit"}': "0+120x60", 'cache_requests_total{result="miss"}': "0+60x60"},
    ),
    "FastcoreCacheThrash": (
        50,
        {"fastcore_cache_evictions_total": "0+120x60", "fastcore_cache_hits_total": "0+180x60"},
        {"fastcore_cache_evictions_total": "0+30x60", "fastcore_cache_hits_total": "0+180x60"},
    ),
    "FastcoreMemory": (
        15,
        {'process_resident_memory_bytes{namespace="n",pod="p"}': "950x20",
         'kube_pod_container_resource_limits{namespace="n",pod="p",container="a",resource="memory"}': "1000x20"},
        {'process_resident_memory_bytes{namespace="n",pod="p"}': "850x20",
         'kube_pod_container_resource_limits{namespace="n",pod="p",container="a",resource="memory"}': "1000x20"},
    ),
}  # fmt: skip


def check_with_promtool(*arguments: str) -> None:
    need("prometheus", "promtool")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    """An alert that nobody has seen fire is none; each says what to do."""
    assert set(CASES) == set(ALERTS)
    for rule in ALERTS.values():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("alert", CASES)
def test_alert_fires_when_it_should(alert: str, tmp_path: Path) -> None:
    """promtool's own clock: it fires on the first series, and on the others it does not."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    minutes, *cases = CASES[alert]
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                    "eval_time": f"{minutes}m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for series, fires in zip(cases, (True, False), strict=True)
    ]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    check_with_promtool("test", "rules", str(file))


def expressions() -> list[str]:
    """All that the dashboard asks for, as Prometheus gets it."""
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [one.replace("$__rate_interval", "5m") for one in found]


def test_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each expression is one of PromQL; panels do not overlap and have a unit."""
    rules = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(expressions())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    check_with_promtool("check", "rules", str(file))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(places)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)


def names(text: str) -> set[str]:
    """The metrics in an expression."""
    prefixes = "controller_runtime|workqueue|rest_client|fastcore|leader_election|process|cache|kube"
    return set(re.findall(rf"\b(?:{prefixes})_\w+", text)) - {"cache_name"}


def ask(url: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=5) as response:
        return json.load(response)["data"]


async def test_prometheus_scrapes_a_controller(tmp_path: Path) -> None:
    """OB1: a real Prometheus takes what the reference controller exports, and finds all that the rules ask for."""
    need("prometheus", "prometheus", "promtool")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    async with Server(tmp_path) as server, Client(await ClientConfig.load(str(server.kubeconfig))) as client:
        await client.create(CUSTOM_RESOURCE_DEFINITION, crd())
        await client.create(WEBAPP, yaml.safe_load((MANIFESTS / "webapp.yaml").read_text(encoding="utf-8")))
        async with Controller("--kubeconfig", str(server.kubeconfig), "--log-level", "warning") as controller:
            target = controller.url.removeprefix("http://")
            job = {"job_name": "fastcore", "static_configs": [{"targets": [target]}]}
            config = {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules.yaml"],
                "scrape_configs": [job],
            }
            (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
            address = f"127.0.0.1:{free_port()}"
            process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yaml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address={address}",
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                async with asyncio.timeout(60):
                    while not await asyncio.to_thread(scraped, f"http://{address}/api/v1"):
                        await asyncio.sleep(0.2)
                groups = (await asyncio.to_thread(ask, f"http://{address}/api/v1/rules"))["groups"]
                health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
                target_info = await asyncio.to_thread(ask, f"http://{address}/api/v1/metadata")
            finally:
                process.terminate()
                await process.wait()
    monitor = PerformanceMonitor()
    monitor.track("any", LRUCache(1))
    ours = {sample.name for family in monitor.registry.collect() for sample in family.samples}
    known = {f"{name}{end}" for name in target_info for end in ("", "_bucket", "_total")} | ours | ELSEWHERE
    asked = set().union(*map(names, [*expressions(), *(rule["expr"] for rule in ALERTS.values())]))
    assert asked <= known, asked - known
    assert set(health) == set(ALERTS)
    assert set(health.values()) <= {"ok", "unknown"}  # unknown: not evaluated yet


def scraped(api: str) -> bool:
    """Whether a reconcile has been seen."""
    try:
        found = ask(f"{api}/query", query='controller_runtime_reconcile_total{result="success"} > 0')
    except OSError:
        return False
    return bool(found["result"])
