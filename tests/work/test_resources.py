"""What the process uses, and what its pod may use."""

import asyncio
import gc
import os
import sys
import time
from pathlib import Path

import pytest

from fastcore.testing.clock import VirtualClock
from fastcore.work import ResourceLimits, ResourceTracker
from work.machine import machine

GROUP = {"proc/self/cgroup": "0::/box\n"}


def test_sample_of_a_machine_made_of_files(tmp_path: Path) -> None:
    """MT-3: memory from the kept file, the container's working set without what the kernel gives back at once."""
    root = machine(
        tmp_path,
        {
            **GROUP,
            "proc/self/statm": "900 30 20 1 0 100 0\n",
            "sys/fs/cgroup/box/memory.max": "100000000\n",
            "sys/fs/cgroup/box/memory.current": "50000000\n",
            "sys/fs/cgroup/box/memory.stat": "anon 1\ninactive_file 20000000\n",
        },
    )
    tracker = ResourceTracker(root=root, clock=VirtualClock())
    try:
        sample = tracker.sample()
        assert sample.memory == 30 * os.sysconf("SC_PAGE_SIZE")
        assert (sample.memory_limit, sample.container_memory) == (100_000_000, 30_000_000)
        assert (sample.tasks, sample.loop_lag, sample.loop_lag_max) == (None, None, 0.0)
        assert sample.cpu_seconds > 0
        assert sample.threads >= 1
    finally:
        tracker.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/fd")
def test_open_files_are_counted() -> None:
    """A descriptor more is one more."""
    tracker = ResourceTracker()
    try:
        before = tracker.sample().open_files
        assert before is not None
        with Path(os.devnull).open():
            assert tracker.sample().open_files == before + 1
        assert tracker.sample().open_files == before
    finally:
        tracker.close()


async def test_lag_and_tasks_of_a_loop() -> None:
    """A loop that is blocked is late by that; its tasks are counted; closing leaves no timer behind."""
    tracker = ResourceTracker()
    tracker.watch_loop(every=0.001)
    await asyncio.sleep(0.005)
    time.sleep(0.05)  # blocks the loop, which is what is to be noticed
    await asyncio.sleep(0.005)
    sample = tracker.sample()
    assert sample.loop_lag_max >= 0.04
    assert sample.tasks == len(asyncio.all_tasks())
    tracker.close()
    seen = tracker.sample()
    assert seen.tasks is None
    await asyncio.sleep(0.01)
    assert tracker.sample().loop_lag_max == seen.loop_lag_max
    with pytest.raises(ValueError, match="every must be above 0 seconds, got 0"):
        tracker.watch_loop(every=0)


def test_pauses_are_tracked_until_close() -> None:
    """MT-5: collections are counted from the start of the tracker to its close."""
    gc.disable()
    try:
        tracker = ResourceTracker()
        gc.collect()
        tracker.close()
        gc.collect()
    finally:
        gc.enable()
    assert tracker.sample().pauses.collections == 1


def test_limits_of_a_pod(tmp_path: Path) -> None:
    """MT-1, WP-12: the downward API's files and the control group, whichever allows less."""
    root = machine(
        tmp_path / "root",
        {**GROUP, "sys/fs/cgroup/box/memory.max": "1000000", "sys/fs/cgroup/box/cpu.max": "150000 100000"},
    )
    info = machine(
        tmp_path / "podinfo",
        {"limits.cpu": "2000", "requests.cpu": "250", "limits.memory": "900000\n", "requests.memory": "500000"},
    )
    assert ResourceLimits.read(info, root=root) == ResourceLimits(1.5, 0.25, 900_000, 500_000)
    assert ResourceLimits.read(tmp_path / "none", root=root) == ResourceLimits(1.5, None, 1_000_000, None)
    machine(info, {"limits.memory": "lots", "requests.memory": "-5", "limits.cpu": "500"})
    assert ResourceLimits.read(info, root=root) == ResourceLimits(0.5, 0.25, 1_000_000, None)


def test_sizes_follow_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """WP-12: workers from whole processors, caches and pools from a part of the memory."""
    monkeypatch.setattr("fastcore.work.resources.usable_cpus", lambda: 4)
    limits = ResourceLimits(2.9, None, 1 << 30, None)
    assert (limits.workers(), limits.workers(8), limits.workers(8, most=10)) == (2, 16, 10)
    assert limits.share(0.25, default=1) == 1 << 28
    assert limits.entries(0.25, 1 << 10, default=1) == 1 << 18
    assert ResourceLimits(0.1, None, 100, None).workers() == 1
    assert ResourceLimits(0.1, None, 100, None).entries(0.5, 1000, default=7) == 1
    unlimited = ResourceLimits(None, None, None, None)
    assert (unlimited.workers(), unlimited.share(0.5, 123), unlimited.entries(0.5, 10, 9)) == (4, 123, 9)
    assert ResourceLimits(64.0, None, None, None).workers() == 4
    with pytest.raises(ValueError, match="part must be above 0 and at most 1, got 0"):
        limits.share(0, 1)
    with pytest.raises(ValueError, match="entry_size must be at least 1 byte, got 0"):
        limits.entries(0.5, 0, 1)
