"""What this process uses, and what its pod may use."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple, TypeVar

from fastcore.clock import Clock, monotonic_ns
from fastcore.work.cgroup import Cgroup
from fastcore.work.cpus import usable_cpus
from fastcore.work.garbage import Pauses, PauseStats
from fastcore.work.rss import ResidentMemory

_N = TypeVar("_N", int, float)

_LAG_EVERY_S = 0.5


class Resources(NamedTuple):
    """What the process uses at one moment; None where the system, or nobody, tells.

    Args:
        cpu_seconds: processor time used since its start.
        memory: resident bytes.
        memory_limit: bytes that the container allows.
        container_memory: bytes that the whole container uses, as the kubelet counts them: its working set.
        open_files: descriptors.
        threads: of Python.
        tasks: of the watched loop.
        loop_lag: seconds by which the watched loop was late at the last look.
        loop_lag_max: the most so far.
        pauses: of the garbage collector.
    """

    cpu_seconds: float
    memory: int | None
    memory_limit: int | None
    container_memory: int | None
    open_files: int | None
    threads: int
    tasks: int | None
    loop_lag: float | None
    loop_lag_max: float
    pauses: PauseStats


class ResourceTracker:
    """Samples this process when asked; between two samples only the collector's pauses and the loop's lag are noted.

    Args:
        root: folder that holds `proc` and `sys`; tests give another one.
        clock: integer nanoseconds.

    Thread safety: `sample` may be called from any thread; `watch_loop` and `close` on the loop that is watched.

    Example:
        >>> tracker = ResourceTracker()
        >>> tracker.sample().threads >= 1
        True
        >>> tracker.close()
    """

    def __init__(self, *, root: str | Path = "/", clock: Clock = monotonic_ns) -> None:
        self._root = Path(root)
        self._cgroup = Cgroup(root)
        self._rss = ResidentMemory(root)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lag: float | None = None
        self._lag_max = 0.0
        self.pauses = Pauses(clock)
        self.pauses.start()

    def watch_loop(self, every: float = _LAG_EVERY_S) -> None:
        """Note by how much the running loop is late, every so many seconds, and count its tasks.

        Raises:
            ValueError: `every` is not above 0.
        """
        if not every > 0:
            raise ValueError(f"every must be above 0 seconds, got {every!r}")
        self._unwatch()
        self._loop = asyncio.get_running_loop()
        self._look_again(every)

    def _look_again(self, every: float) -> None:
        loop = self._loop
        assert loop is not None
        due = loop.time() + every

        def look() -> None:
            self._lag = max(0.0, loop.time() - due)
            self._lag_max = max(self._lag_max, self._lag)
            self._look_again(every)

        self._timer = loop.call_at(due, look)

    def sample(self) -> Resources:
        """What is used now.

        Complexity: O(open files + tasks); below a millisecond with a hundred of each.
        """
        return Resources(
            time.process_time(),
            self._rss(),
            self._cgroup.memory_limit(),
            self._cgroup.memory_usage(),
            self._open_files(),
            threading.active_count(),
            self._tasks(),
            self._lag,
            self._lag_max,
            self.pauses.stats(),
        )

    def _open_files(self) -> int | None:
        folder = self._root / "proc/self/fd" if sys.platform == "linux" else Path("/dev/fd")
        try:
            return len(os.listdir(folder)) - 1  # the listing's own
        except OSError:
            return None

    def _tasks(self) -> int | None:
        return None if self._loop is None or self._loop.is_closed() else len(asyncio.all_tasks(self._loop))

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Note nothing more, and leave nothing behind."""
        self._unwatch()
        self._loop = None
        self.pauses.stop()
        self._rss.close()


class ResourceLimits(NamedTuple):
    """What the pod asked for and what it may use; None where nobody said.

    Args:
        cpu_limit: processors.
        cpu_request: processors.
        memory_limit: bytes.
        memory_request: bytes.
    """

    cpu_limit: float | None
    cpu_request: float | None
    memory_limit: int | None
    memory_request: int | None

    @classmethod
    def read(cls, folder: str | Path = "/etc/podinfo", *, root: str | Path = "/") -> "ResourceLimits":
        """From the files of a downward API volume, and from the control group, whichever allows less.

        Args:
            folder: has `limits.cpu` and `requests.cpu` in thousandths of a processor (divisor "1m"), `limits.memory`
                and `requests.memory` in bytes (divisor "1"). Files that are missing or no numbers count as not said.
            root: folder that holds `proc` and `sys`; tests give another one.
        """
        cgroup = Cgroup(root)
        cpu, memory = _number(Path(folder) / "limits.cpu"), _number(Path(folder) / "limits.memory")
        cpu_request = _number(Path(folder) / "requests.cpu")
        return cls(
            _least(None if cpu is None else cpu / 1000, cgroup.cpu_quota()),
            None if cpu_request is None else cpu_request / 1000,
            _least(memory, cgroup.memory_limit()),
            _number(Path(folder) / "requests.memory"),
        )

    def workers(self, per_cpu: int = 1, most: int | None = None) -> int:
        """How many workers to run: so many for each whole processor of the limit, at least 1 and at most `most`.

        More than one for each when they wait for others most of the time.
        """
        whole = usable_cpus() if self.cpu_limit is None else min(int(self.cpu_limit), usable_cpus())
        found = max(1, whole) * per_cpu
        return found if most is None else min(found, most)

    def share(self, part: float, default: int) -> int:
        """Bytes: a part of the memory limit, for a cache or a pool; `default` without a limit.

        Raises:
            ValueError: `part` is not above 0 and at most 1.
        """
        if not 0 < part <= 1:
            raise ValueError(f"part must be above 0 and at most 1, got {part!r}")
        return default if self.memory_limit is None else int(self.memory_limit * part)

    def entries(self, part: float, entry_size: int, default: int) -> int:
        """How many entries of `entry_size` bytes fit into a part of the memory limit, at least 1."""
        if entry_size < 1:
            raise ValueError(f"entry_size must be at least 1 byte, got {entry_size}")
        return default if self.memory_limit is None else max(1, self.share(part, 0) // entry_size)


def _number(path: Path) -> int | None:
    try:
        value = int(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None
    return value if value > 0 else None


def _least(one: _N | None, other: _N | None) -> _N | None:
    return min((value for value in (one, other) if value is not None), default=None)
