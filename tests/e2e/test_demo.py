"""The main job as a person starts it: `fastcore demo`, on the embedded API server and on a real one."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fastcore.testing.kube import KubeServer

# A machine with other things to do is no failure: a phase that makes no headway ends by itself, after 120 s.
HANGS_S = 540
pytestmark = pytest.mark.timeout(600)

COMMAND = [sys.executable, "-X", "dev", "-m", "fastcore", "demo"]


def demo(*arguments: str) -> dict[str, Any]:
    command = [*COMMAND, "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            printed, complaints = process.communicate(timeout=HANGS_S)
        except BaseException:
            # Not killed: the controller is a process of its own, which only the demo ends.
            process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
            raise
    assert process.returncode == 0, printed + complaints
    summary: dict[str, Any] = json.loads(printed)
    return summary


def per_object(summary: dict[str, Any], phase: str) -> float:
    row = next(p for p in summary["phases"] if p["name"] == phase)
    return float(row["writes"] / row["objects"])


def assert_minimal(summary: dict[str, Any]) -> None:
    """The reference job's writes an object: 3 for a new one, 1 for a repair, none when it is in order."""
    assert summary["converged"]
    assert summary["error"] == ""
    assert 3.0 <= per_object(summary, "cold start") <= 3.1
    assert per_object(summary, "drift") <= 2.1  # a Deployment that is made anew has to report its status, too
    assert per_object(summary, "quiet") == 0
    assert per_object(summary, "restart") == 0
    assert summary["connections_cut"] >= 2
    assert summary["peak_mib"] > 10 or sys.platform == "win32"


def test_converges_on_the_embedded_server() -> None:
    summary = demo("--objects", "40", "--workspaces", "2")
    assert summary["server"].endswith("(embedded)")
    assert_minimal(summary)


@pytest.mark.kube
def test_converges_on_a_real_kube_apiserver(kube_server: KubeServer) -> None:
    summary = demo("--objects", "30", "--workspaces", "3", "--kubeconfig", kube_server.kubeconfig)
    assert summary["server"] == f"{kube_server.url} (kubeconfig)"
    assert_minimal(summary)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objects", "0"], "0 is not between 1 and 100000"),
        (["--workspaces", "x"], "x is not between 1 and 1000"),
        (["--timeout", "nan"], "nan is not"),
    ],
)
def test_bad_usage_names_the_limit(arguments: list[str], message: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_kubeconfig_that_is_not_there_is_named() -> None:
    done = subprocess.run(
        [*COMMAND, "--kubeconfig", "/does/not/exist"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "fastcore demo: no kubeconfig at '/does/not/exist'\n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_serve_keeps_running_until_interrupted() -> None:
    with subprocess.Popen(
        [*COMMAND, "--serve", "--objects", "4", "--workspaces", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    ) as process:
        assert process.stderr is not None
        printed = ""
        for line in process.stderr:
            printed += line
            if line.strip().startswith("curl "):
                break
        assert "cold start: 4 objects" in printed
        assert "Every object" not in printed
        metrics = line.split()[1]
        with urllib.request.urlopen(metrics, timeout=10) as response:
            assert b"controller_runtime_reconcile_total" in response.read()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(30) == 0, rest
        assert process.stdout is not None
        assert "Every object converged" in process.stdout.read()
        assert "failed" not in rest


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupt_ends_everything_and_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--objects", "4", "--workspaces", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("cold start: "):
                break
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(30) == 130, rest
        assert "Failed: interrupted" in rest
        assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
