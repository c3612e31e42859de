"""How many processors this process may really use: affinity and the container's quota, not the host's count."""

import os
from pathlib import Path

_MAX_DEFAULT_CONCURRENCY = 10


def usable_cpus(root: str = "/") -> int:
    """Processors that this process may use, at least 1 (WP12).

    The smaller of the CPU affinity and the floor of the cgroup's quota (`cpu.max` of version 2 in this cgroup and its
    ancestors, `cpu.cfs_quota_us` of version 1). Files that are missing or unreadable count as "no quota".

    Args:
        root: folder that holds `proc` and `sys`; tests give another one.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(Path(root))
    return max(1, cpus if quota is None else min(cpus, int(quota)))


def default_concurrency() -> int:
    """Reconciles at once when nobody says otherwise: 2 per usable processor, in 1..10."""
    return max(1, min(_MAX_DEFAULT_CONCURRENCY, 2 * usable_cpus()))


def _quota(root: Path) -> float | None:
    limits = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "")
        if controllers == "":
            limits += [_v2(folder) for folder in _up(root / "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            limits += [_v1(folder) for folder in _up(root / "sys/fs/cgroup" / controllers, path)]
            limits += [_v1(folder) for folder in _up(root / "sys/fs/cgroup/cpu", path)]
    return min((limit for limit in limits if limit is not None), default=None)


def _up(mount: Path, path: str) -> list[Path]:
    """The cgroup's folder and its ancestors up to the mount; inside a container the path may not exist below it."""
    folder = mount / path.strip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))]


def _v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """Processors, or None for "max", -1 and whatever else is not a limit."""
    try:
        numerator, denominator = int(quota), int(period)
    except ValueError:
        return None
    return numerator / denominator if numerator > 0 and denominator > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
