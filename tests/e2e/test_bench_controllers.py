"""The side-by-side benchmark: what it counts, compares and judges, and one small run of it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.controllers"]
pytestmark = [
    pytest.mark.skipif(not (ROOT / "benchmarks" / "controllers").is_dir(), reason="the benchmarks are not here"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the harness by name."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.controllers.{name}")


def event(verb: str, agent: str = "webapp/v1", code: int = 200, stage: str = "ResponseComplete") -> str:
    place = {"resource": "webapps", "name": "a"}
    return json.dumps(
        {"stage": stage, "verb": verb, "userAgent": agent, "responseStatus": {"code": code}, "objectRef": place}
    )


def test_requests_are_counted_once(part: Any, tmp_path: Path) -> None:
    """Writes, reads and watches of the controller; not those of the driver or of the server; also of half a line."""
    log = tmp_path / "audit.log"
    lines = [
        event("patch"),
        event("create", code=409),
        event("get"),
        event("list"),
        event("watch", stage="ResponseStarted"),
        event("patch", "fastcore-bench-driver"),
        event("update", "kube-apiserver/v1.37"),
    ]
    text = "\n".join(lines) + "\n" + event("delete")
    log.write_text(text[:-10])
    requests = part("servers").Requests(log)
    assert requests.read() == (2, 3, 1)
    assert (requests.watched, requests.watches) == ({"webapps"}, 1)
    log.write_text(text + "\n" + event("watch") + "\n")
    assert requests.read() == (3, 3, 1)
    assert requests.watches == 0, "it has ended"


def row(part: Any, scenario: str, **changed: float) -> Any:
    figures = {"per_s": 1, "p50_s": 1, "p99_s": 1, "cpu_ms": 1, "writes": 3, "reads": 0, "peak_mib": 60, **changed}
    return part("bench").Row(scenario=scenario, objects=1000, **figures)


def run(part: Any, name: str, *rows: Any) -> Any:
    return part("bench").Run(name, list(rows), 0.1, 30, [])


def test_targets(part: Any) -> None:
    """Absolute limits, half of controller-runtime's CPU, and nobody's writes and memory exceeded."""
    judge = part("judge").judge
    ours = run(part, "fastcore", row(part, "cold"), row(part, "update", cpu_ms=1.2))
    peer = run(part, "controller-runtime", row(part, "cold", cpu_ms=1.9, writes=3.5, peak_mib=50))
    found = {(verdict.what, verdict.limit.split()[1]): verdict.met for verdict in judge([peer, ours])}
    assert found == {
        ("cold: CPU ms an object", "1.1"): True,
        ("cold: writes an object", "3.00"): True,
        ("cold: CPU ms an object", "half"): False,
        ("cold: writes an object", "controller-runtime's"): True,
        ("cold: peak MiB", "controller-runtime's"): False,
        ("update: CPU ms an object", "1.1"): False,
        ("update: writes an object", "3.00"): True,
        ("peak MiB, 1000 objects", "68"): True,
    }
    assert judge([peer]) == [], "there is nothing to judge without ours"


def test_differences(part: Any) -> None:
    """What only one has, and what differs, by object and part."""
    state, differences = part("states").State, part("states").differences
    one = [state("ConfigMap", "n", "a", {"data": {"k": "1"}}), state("ConfigMap", "n", "b", {"data": {}})]
    assert differences(one, one) == []
    other = [state("ConfigMap", "n", "a", {"data": {"k": "2"}})]
    assert differences(one, other) == [
        "ConfigMap/n/b: only one of them has it",
        "ConfigMap/n/a: data: {'k': '1'} and {'k': '2'}",
    ]


def test_one_small_run(tmp_path: Path) -> None:
    """The reference job's writes an object, counted at the server: 3, 3, 1 and 0."""
    target = tmp_path / "figures.json"
    arguments = ["--objects", "20", "--passive", "5", "--server", "embedded", "--controllers", "fastcore"]
    done = subprocess.run(
        [*COMMAND, *arguments, "--scenario", "update", "drift", "restart", "--json", str(target)],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(target.read_text())
    writes = {row["scenario"]: row["writes"] for row in figures["controllers"]["fastcore"]["scenarios"]}
    assert writes == {"cold": 3, "update": 3, "drift": 1, "restart": 0}
    assert all(row["peak_mib"] > 10 for row in figures["controllers"]["fastcore"]["scenarios"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--objects", "19"], "19 is not a number of at least 20"), (["--controllers", "operator"], "invalid choice")],
)
def test_bad_usage(arguments: list[str], message: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert message in done.stderr
