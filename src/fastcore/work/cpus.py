"""How many processors this process may really use: affinity and the container's quota, not the host's count."""

import os
from pathlib import Path

from fastcore.work.cgroup import Cgroup


def usable_cpus(root: str | Path = "/") -> int:
    """Processors that this process may use, at least 1: the affinity, or the floor of the group's quota if less.

    Args:
        root: folder that holds `proc` and `sys`; tests give another one.

    Source: the floor is go.uber.org/automaxprocs' rule.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Cgroup(root).cpu_quota()
    return max(1, cpus if quota is None else min(cpus, int(quota)))
