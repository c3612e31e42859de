"""WP12: processors are counted from affinity and cgroup quotas, not from the host."""

import os
from pathlib import Path

import pytest

from fastcore.work import usable_cpus


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processors by affinity on a host of 64."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def machine(root: Path, cgroup: str, **files: str) -> str:
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_affinity_counts_where_there_is_no_quota(tmp_path: Path) -> None:
    assert usable_cpus(str(tmp_path)) == 8
    assert usable_cpus(machine(tmp_path, "0::/\n", **{"sys/fs/cgroup/cpu.max": "max 100000\n"})) == 8


def test_processors_of_the_host_where_there_is_no_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cpus(str(tmp_path)) == 64


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8), ("-1 100000", 8), ("rubbish", 8), ("5 0", 8)],
)
def test_the_quota_of_version_2_is_floored_and_at_least_1(tmp_path: Path, quota: str, expected: int) -> None:
    assert usable_cpus(machine(tmp_path, "0::/\n", **{"sys/fs/cgroup/cpu.max": quota})) == expected


def test_the_tightest_ancestor_counts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/kube/pod/box\n",
        **{
            "sys/fs/cgroup/kube/pod/box/cpu.max": "max 100000",
            "sys/fs/cgroup/kube/pod/cpu.max": "300000 100000",
            "sys/fs/cgroup/kube/cpu.max": "600000 100000",
        },
    )
    assert usable_cpus(root) == 3


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_the_quota_of_version_1(tmp_path: Path, mount: str) -> None:
    root = machine(
        tmp_path,
        "12:memory:/x\n4:cpu,cpuacct:/x\nbroken line\n",
        **{
            f"sys/fs/cgroup/{mount}/x/cpu.cfs_quota_us": "200000\n",
            f"sys/fs/cgroup/{mount}/x/cpu.cfs_period_us": "100000\n",
        },
    )
    assert usable_cpus(root) == 2
