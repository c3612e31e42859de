"""The memory monitor: what it takes for the limit, when it acts, and what it leaves alone."""

import gc
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcore.cache import LRUCache
from fastcore.pool import ObjectPool
from fastcore.testing.clock import VirtualClock
from fastcore.work import Job, MemoryMonitor, Reading, Rejected, WorkerPool
from fastcore.work.garbage import Pauses
from fastcore.work.rss import ResidentMemory
from work.machine import machine

V2 = "0::/kube/pod/box\n"
MEMINFO = {"proc/meminfo": "MemTotal:       4000 kB\nMemFree: 1 kB\n"}


class Program:
    """A process whose memory is what the test says."""

    def __init__(self, usage: int = 0) -> None:
        self.usage: int | None = usage
        self.garbage = 0
        self.collections = 0
        self.clock = VirtualClock()

    def measure(self) -> int | None:
        return self.usage

    def collect(self) -> None:
        self.collections += 1
        assert self.usage is not None
        self.usage -= self.garbage
        self.garbage = 0

    def monitor(self, limit: int | None = 1000, ratio: float = 1.0, **options: object) -> MemoryMonitor:
        return MemoryMonitor(limit, ratio, usage=self.measure, clock=self.clock, collect=self.collect, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/kube/pod/box/memory.max": "900000\n"}, 900000),
        (
            {
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/kube/pod/box/memory.max": "max\n",
                "sys/fs/cgroup/kube/pod/memory.max": "800000\n",
                "sys/fs/cgroup/kube/memory.max": "850000\n",
            },
            800000,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/box\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "700000\n",
            },
            700000,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/box\n0::/box\n",
                "proc/self/mountinfo": (
                    "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                    "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                ),
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "600000\n",
                "sys/fs/cgroup/unified/box/memory.max": "650000\n",
            },
            600000,
        ),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/kube/pod/box/memory.max": "max\n", **MEMINFO}, 4096000),
        ({"proc/self/cgroup": "rubbish", "sys/fs/cgroup/memory.max": "\x00", **MEMINFO}, 4096000),
        (MEMINFO, 4096000),
    ],
    ids=["v2", "ancestor", "v1", "hybrid", "max", "rubbish", "no group"],
)
def test_limit_is_the_smallest_that_somebody_sets(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    """MT-1: version 2, version 1, both; "max", missing and unreadable files fall back to the machine's memory."""
    root = machine(tmp_path, files)
    assert MemoryMonitor(root=root).limit() == limit
    assert MemoryMonitor(limit=500, root=root).limit() == 500
    assert MemoryMonitor(limit=1 << 40, root=root).limit() == (limit if limit != 4096000 else 1 << 40)


def test_limit_is_read_again_each_minute(tmp_path: Path) -> None:
    """MT-1: a limit that was changed while we run counts from the next minute on; the ratio is taken of it."""
    file = "sys/fs/cgroup/kube/pod/box/memory.max"
    root, clock = machine(tmp_path, {"proc/self/cgroup": V2, file: "1000"}), VirtualClock()
    monitor = MemoryMonitor(ratio=0.5, root=root, clock=clock, usage=lambda: 10)
    assert monitor.check() == Reading(10, 1000, 500, "ok", False)
    machine(tmp_path, {file: "2000"})
    clock.advance(59)
    assert monitor.limit() == 1000
    clock.advance(1)
    assert monitor.check().allowed == 1000


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"limit": -1}, {"ratio": 0}, {"ratio": 1.1}, {"soft": 0}, {"soft": 1}, {"pressure": 0},
                {"pressure": 101}, {"collect_every": -1}, {"ratio": float("nan")}],
)  # fmt: skip
def test_arguments_out_of_range(options: dict[str, float]) -> None:
    """MT-1: 0 < ratio <= 1, and the like; the message names the value."""
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        MemoryMonitor(**options)  # type: ignore[arg-type]


def test_collection_comes_before_the_verdict() -> None:
    """MT-2: what counts is what is in use after the collection; the first one is allowed at once."""
    program = Program(1100)
    program.garbage = 500
    monitor = program.monitor()
    assert monitor.check() == Reading(600, 1000, 1000, "ok", False)
    assert program.collections == monitor.collections == 1
    assert not monitor.refusing()


def test_one_collection_a_minute() -> None:
    """MT-2: at most one in 60 seconds of the clock, however often memory is short."""
    program = Program(1100)
    monitor = program.monitor()
    for _ in range(60):
        assert monitor.check().refusing
        program.clock.advance(1)
    assert program.collections == 1
    monitor.check()
    assert program.collections == 2


def test_one_collection_at_a_time() -> None:
    """MT-2: a check during a collection, in its finalizers or in another thread, only measures."""
    readings: list[Reading] = []
    inside = 0

    def collect() -> None:
        nonlocal inside
        inside += 1
        readings.append(monitor.check())
        other = threading.Thread(target=lambda: readings.append(monitor.check()))
        other.start()
        other.join(10)

    monitor = MemoryMonitor(1000, 1.0, usage=lambda: 1100, collect=collect, collect_every=0, clock=VirtualClock())
    assert monitor.check().refusing
    assert inside == 1
    assert [reading.usage for reading in readings] == [1100, 1100]


def test_refusal_ends_when_memory_is_free_again() -> None:
    """MT-2, MT-4: refused work is taken again below 0.95 of what is allowed, not before."""
    program = Program(1000)
    monitor = program.monitor()
    levels = []
    for usage in (1000, 960, 949, 1000, 100):
        program.usage = usage
        reading = monitor.check()
        levels.append((reading.level, reading.refusing))
    assert levels == [("hard", True), ("hard", True), ("soft", False), ("hard", True), ("ok", False)]
    assert monitor.crossings == {"soft": 1, "hard": 2}


def test_reading_keeps_its_file_and_starts_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MT-3: one open, then a pread each time; a thread only if asked for. The cost is measured in benchmarks."""
    page = os.sysconf("SC_PAGE_SIZE")
    root = machine(tmp_path, {"proc/self/statm": "900 30 20 1 0 100 0\n"})
    opened: list[object] = []
    really = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args[0]) or really(*args))
    threads = threading.active_count()
    monitor = MemoryMonitor(1 << 30, root=root)
    for pages in (30, 35, 40):
        with (root / "proc/self/statm").open("r+") as file:
            file.write(f"900 {pages} 20 1 0 100 0\n")
        assert monitor.check().usage == pages * page
    assert opened == [root / "proc/self/statm"]
    assert threading.active_count() == threads


def test_resident_memory_where_nobody_tells(tmp_path: Path) -> None:
    """MT-1: without /proc nothing is known, nothing is done, and nothing is raised."""
    assert ResidentMemory(tmp_path)() is None
    assert MemoryMonitor(1, root=tmp_path).check() == Reading(None, 1, 0, "ok", False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_resident_memory_of_a_forked_child() -> None:
    """MT-3: /proc/self of the descriptor would be the parent's; the child opens its own."""
    memory = ResidentMemory()
    if memory() is None:
        pytest.skip("no /proc here")
    script = (
        "import os\nfrom fastcore.work.rss import ResidentMemory\n"
        "memory = ResidentMemory()\nbefore = memory()\npid = os.fork()\n"
        "if pid == 0:\n"
        "    ballast = bytearray(os.urandom(64 << 20))\n    os._exit(0 if memory() > before + (48 << 20) else 1)\n"
        "print(os.waitpid(pid, 0)[1], memory() < before + (16 << 20))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "0 True\n"


def test_callbacks_fire_once_a_crossing(caplog: pytest.LogCaptureFixture) -> None:
    """MT-4: once when crossing up, armed again below 0.95 of the threshold; one that raises stops no other."""
    program = Program()
    monitor = program.monitor(soft=0.5)
    soft: list[int | None] = []
    hard: list[int | None] = []

    @monitor.on_soft
    def broken(reading: Reading) -> None:
        raise RuntimeError("no")

    monitor.on_soft(lambda reading: soft.append(reading.usage))
    forgotten = monitor.on_soft(lambda reading: soft.append(-1))
    monitor.on_hard(lambda reading: hard.append(reading.usage))
    monitor.forget(forgotten)
    monitor.forget(forgotten)
    with caplog.at_level(logging.ERROR, "fastcore.work"):
        for usage in (499, 500, 999, 480, 500, 474, 501, 1000, 1001, 100, 1002):
            program.usage = usage
            monitor.check()
    assert soft == [500, 501, 1002]
    assert hard == [1000, 1002]
    assert caplog.text.count("callback of the soft memory threshold failed") == 3


def test_caches_shrink_and_pools_drain_and_recover() -> None:
    """MT-4: at the soft stage; the size comes back when it has passed, though one cache refuses."""
    program = Program()
    monitor = program.monitor(soft=0.5)
    cache: LRUCache[int, int] = LRUCache(1000)
    empty: LRUCache[int, int] = LRUCache(7)
    cache.update((n, n) for n in range(100))
    pool = ObjectPool(list)
    pool.release(pool.acquire())

    class Stubborn(LRUCache[int, int]):
        def resize(self, maxsize: int, /) -> None:
            raise RuntimeError("no")

    stubborn = Stubborn(2)
    stubborn[1] = 1
    for one in (stubborn, cache, empty):
        monitor.shrink(one, keep=0.25)
    monitor.drain(pool)
    program.usage = 600
    monitor.check()
    assert (len(cache), cache.maxsize, cache.get(99), empty.maxsize) == (25, 25, 99, 7)
    assert pool.stats().idle == 0
    program.usage = 100
    monitor.check()
    assert cache.maxsize == 1000
    assert stubborn.maxsize == 2
    with pytest.raises(ValueError, match="keep must be above 0 and below 1, got 1"):
        monitor.shrink(cache, keep=1)


def test_pressure_is_soft_too(tmp_path: Path) -> None:
    """MT-4: what the kernel says of stalls counts although there is room left."""
    file = "sys/fs/cgroup/kube/pod/box/memory.pressure"
    root = machine(tmp_path, {"proc/self/cgroup": V2, file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"})
    monitor = MemoryMonitor(1000, usage=lambda: 10, root=root, pressure=20.0, clock=VirtualClock())
    assert monitor.check().level == "ok"
    machine(tmp_path, {file: "some avg10=25.50 avg60=0.00 avg300=0.00 total=0\nfull avg10=90.00 total=0\n"})
    assert monitor.check().level == "soft"
    assert monitor.pressure() == 25.5
    machine(tmp_path, {file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"})
    assert monitor.check().level == "ok"


def test_what_a_collection_gave_back(by_hand: None) -> None:
    """MT-5: seconds, objects and bytes of a forced collection are told."""
    gc.collect()
    for _ in range(100):
        cycle: list[object] = []
        cycle.append(cycle)
    del cycle
    monitor = MemoryMonitor(1000, 1.0, usage=iter([1000, 1000, 1000, 990]).__next__, clock=VirtualClock())
    monitor.check()
    told = monitor.last_collection
    assert told is not None
    assert told.objects >= 100
    assert told.seconds >= 0
    assert (told.before, told.after) == (1000, 990)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Garbage is collected only when a test says so, and nothing has been frozen."""
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    gc.disable()
    yield
    gc.enable()


def test_pauses_of_the_collector(by_hand: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """MT-5: each collection is timed through gc.callbacks, until stop; advice comes with long pauses."""
    clock = VirtualClock()
    pauses = Pauses(clock)
    pauses.start()
    pauses.start()
    try:
        assert gc.callbacks.count(pauses._notice) == 1
        gc.collect()
        assert pauses.stats().collections == 1
        assert pauses.advice() is None
        gc.callbacks.insert(0, lambda phase, info: clock.advance(0.25) if phase == "stop" else None)
        try:
            gc.collect()
        finally:
            del gc.callbacks[0]
        assert pauses.stats()[1:] == (0.25, 0.25, 0.25)
        assert "gc.freeze()" in (pauses.advice() or "")
        monkeypatch.setattr(gc, "get_freeze_count", lambda: 1000)
        assert pauses.advice() is None
    finally:
        pauses.stop()
    gc.collect()
    assert pauses.stats().collections == 2
    assert pauses._notice not in gc.callbacks


def test_worker_pool_refuses_while_memory_is_short() -> None:
    """MT-2, WP-1: `refuse=monitor.refusing` turns jobs away, and takes them again afterwards."""
    program = Program(1100)
    monitor = program.monitor()
    monitor.check()
    with WorkerPool(workers=1, rate=None, refuse=monitor.refusing) as pool:
        with pytest.raises(Rejected) as refused:
            pool.submit(Job("1", "sum", lambda: 1))
        assert refused.value.reason == "memory"
        program.usage = 100
        monitor.check()
        assert pool.submit(Job("2", "sum", lambda: 2)).result(timeout=10) == 2


def test_thread_checks_until_it_is_stopped(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """MT-3: `start` begins one thread, which outlives a failing check, and `stop` ends it."""
    checked = threading.Event()
    calls = 0

    def usage() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("no")
        checked.set()
        return 1

    monitor = MemoryMonitor(1000, usage=usage)
    monitor.start(0.001)
    monitor.start(0.001)
    assert checked.wait(10)
    monitor.stop()
    monitor.stop()
    assert "the memory monitor could not check" in caplog.text
    with pytest.raises(ValueError, match="interval must be above 0 seconds, got 0"):
        monitor.start(0)


SCRIPT = """
import sys
from fastcore.cache import LRUCache
from fastcore.work import MemoryMonitor
from fastcore.work.rss import ResidentMemory
MIB = 1 << 20
start = ResidentMemory()()
limit = start + 200 * MIB
cache = LRUCache(10_000)
monitor = MemoryMonitor(limit, 0.9)
if sys.argv[1] == "watched":
    monitor.shrink(cache)
peak = 0
for n in range(400):
    cache[n] = bytearray(MIB)
    peak = max(peak, monitor.check().usage)
print(peak <= limit, monitor.crossings["soft"] > 0, len(cache) < 400)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
@pytest.mark.parametrize(("how", "expected"), [("watched", "True True True\n"), ("alone", "False True False\n")])
def test_real_process_stays_within_its_limit(how: str, expected: str) -> None:
    """MT-2, MT-4: a cache that would take twice the limit is shrunk in time; without the monitor it is not."""
    assert subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True).stdout == expected
