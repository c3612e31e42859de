"""Profiles: who used the processor, who waits where, what was allocated, and whether Go's tools can read it."""

import asyncio
import gzip
import re
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcore.observe.profiles import Line, Profile, ValueType, encode
from fastcore.observe.profiles import sampler as sampler_module
from fastcore.observe.profiles.goroutine import dump, goroutine_profile, sightings
from fastcore.observe.profiles.heap import heap_profile, in_use
from fastcore.observe.profiles.sampler import cpu_profile, thread_clocks, wall_profile
from fastcore.testing.plugin import need
from observe.pprof import read

linux = pytest.mark.skipif(not thread_clocks(), reason="threads' processor time is not told here")


class Threads:
    """One thread that computes, and two that sleep."""

    def __init__(self) -> None:
        self._end = threading.Event()
        work = [(self.compute, "busy"), (self.rest, "idle-1"), (self.rest, "idle-2")]
        self._threads = [threading.Thread(target=target, name=name) for target, name in work]

    def compute(self) -> None:
        while not self._end.is_set():
            sum(range(1000))

    def rest(self) -> None:
        self._end.wait(60)

    def __enter__(self) -> "Threads":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def by_thread(profile: Profile, kind: str) -> dict[str, int]:
    at, found = profile.index(kind), dict[str, int]()
    for (_, labels), values in profile.samples.items():
        name = dict(labels)["thread"]
        found[name] = found.get(name, 0) + values[at]
    return found


@linux
def test_only_threads_that_run_count() -> None:
    """PF2: with one busy and two sleeping threads, the busy one has nearly all of the processor's time."""
    with Threads():
        profile = cpu_profile(0.5, threading.Event())
    used = by_thread(profile, "cpu")
    assert used["busy"] > 0.9 * profile.total("cpu") > 0
    assert used.get("idle-1", 0) + used.get("idle-2", 0) < 0.02 * used["busy"]
    assert 0 < profile.total("cpu") <= 1.5 * profile.duration_ns
    stacks = [stack for stack, labels in profile.samples if ("thread", "busy") in labels]
    assert any(line.function == f"{__name__}.Threads.compute" for line in stacks[0])


def test_wall_time_counts_everybody() -> None:
    """PF2: the wall profile shows those that sleep for as long as those that run."""
    with Threads():
        profile = wall_profile(0.3, threading.Event())
    spent = by_thread(profile, "wall")
    for name in ("busy", "idle-1", "idle-2"):
        assert spent[name] == pytest.approx(profile.duration_ns, rel=0.2)


def test_profile_ends_when_it_is_stopped() -> None:
    """PF1: a set event ends it long before its time."""
    stop = threading.Event()
    stop.set()
    assert wall_profile(600, stop).duration_ns < 60e9


@linux
def test_thread_that_ends_meanwhile() -> None:
    """A thread without a clock any more is left out, and the profile goes on."""

    def gone(native: int) -> int:
        raise ProcessLookupError

    assert cpu_profile(0.02, threading.Event(), cpu_ns=gone).samples == {}
    with pytest.raises(OSError, match="Invalid argument"):
        sampler_module.thread_cpu_ns(2**22 + 1)


def test_stacks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many different stacks end in one entry for the rest; nothing of their time is lost."""
    monkeypatch.setattr(sampler_module, "MOST_STACKS", 1)
    with Threads():
        profile = wall_profile(0.1, threading.Event())
    assert len(profile.samples) == 2
    assert any(stack[0].function == "(more stacks)" for stack, _ in profile.samples)


async def test_tasks_and_threads_with_their_stacks() -> None:
    """PF4: equal stacks are one with a count; a task's stack goes from its coroutine to what that awaits."""

    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    tasks = [asyncio.create_task(outer(), name=f"sleeper-{n}") for n in range(3)]
    watcher = asyncio.create_task(asyncio.wait_for(tasks[0], None), name="watcher")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    seen = sightings(asyncio.get_running_loop())
    here = f"{__name__}.test_tasks_and_threads_with_their_stacks.<locals>"
    profile = goroutine_profile(seen)
    counts = {tuple(line.function for line in stack): values[0] for (stack, _), values in profile.samples.items()}
    assert counts["asyncio.locks.Event.wait", f"{here}.inner", f"{here}.outer"] == 3
    assert profile.total("goroutine") == len(seen) >= 5
    text = dump(seen)
    assert "[task 'sleeper-1', waiting for Future]" in text
    assert "[task 'watcher', waiting for task 'sleeper-0']" in text
    assert re.search(r"goroutine \d+ \[thread 'MainThread', thread\]", text)
    for task in (*tasks, watcher):
        task.cancel()
    await asyncio.gather(*tasks, watcher, return_exceptions=True)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start(10)
    yield
    tracemalloc.stop()


def allocate() -> list[bytes]:
    return [bytes(1000) for _ in range(100)]


def test_heap_names_functions(traced: None) -> None:
    """PF3, PF6: what is in use by the function that allocated it, and what came between two looks."""
    before = in_use(collect=True)
    kept = allocate()
    profile = heap_profile(in_use(collect=True), before)
    assert [tuple(one) for one in profile.types] == [
        ("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes"),
    ]  # fmt: skip
    assert profile.default == "inuse_space"
    ours = [values for (stack, _), values in profile.samples.items() if "test_profiles.allocate" in stack[0].function]
    assert sum(values[3] for values in ours) > 100_000
    del kept
    gone = heap_profile(before, in_use(collect=True))
    assert read(encode(gone)).samples  # figures below 0 can be written, too


def test_what_is_written_is_what_was_seen() -> None:
    """PF3, PF7: types, stacks, values and labels survive; so do negative numbers and odd names."""
    types = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))
    profile = Profile(types, default="cpu", period=10_000_000)
    profile.duration_ns = 1 << 40
    inner, outer = Line("m.inner", "m.py", 3, 1), Line("m.öuter", "m.py", 300, 200)
    profile.add((inner, outer), (1, 5), (("thread", "a"),))
    profile.add((inner, outer), (2, 1 << 50), (("thread", "a"),))
    profile.add((outer,), (-1, -7))
    found = read(encode(profile))
    assert found.types == [("samples", "count"), ("cpu", "nanoseconds")]
    assert found.samples == [
        (["m.inner", "m.öuter"], [3, (1 << 50) + 5], {"thread": "a"}),
        (["m.öuter"], [-1, -7], {}),
    ]
    assert (found.default, found.duration_ns) == ("cpu", 1 << 40)
    assert found.period == ("cpu", "nanoseconds", 10_000_000)
    assert profile.collapsed() == f"m.öuter -7\nm.öuter;m.inner {(1 << 50) + 5}\n"
    assert profile.text().startswith(f"total: 2 {(1 << 50) - 2} (samples, cpu in nanoseconds)\n\n3 ")
    assert "#\tm.inner\tm.py:3\n" in profile.text()


@pytest.mark.parametrize("kind", ["cpu", "wall", "heap", "goroutine"])
async def test_go_reads_every_profile(kind: str, tmp_path: Path, traced: None) -> None:
    """PF7: `go tool pprof` parses each, adds up to the same, and finds no difference from itself."""
    need("go", "go")
    kept = allocate()
    profile = {
        "cpu": lambda: cpu_profile(0.2, threading.Event()),
        "wall": lambda: wall_profile(0.1, threading.Event()),
        "heap": lambda: heap_profile(in_use(collect=False)),
        "goroutine": lambda: goroutine_profile(sightings(asyncio.get_running_loop())),
    }[kind]
    with Threads():
        if kind == "cpu" and not thread_clocks():
            pytest.skip("threads' processor time is not told here")
        taken = profile()
    del kept
    file = tmp_path / "profile.pb.gz"
    file.write_bytes(encode(taken))
    raw = go("-raw", f"-sample_index={taken.default}", str(file))
    assert "PeriodType:" in raw
    at = taken.index(taken.default)
    samples = raw.partition("Samples:\n")[2].partition("Locations\n")[0]
    lines = re.findall(r"^ +((?:-?\d+ +)*-?\d+): ", samples, re.MULTILINE)
    assert sum(int(line.split()[at]) for line in lines) == taken.total(taken.default)
    function = "compute" if kind in ("cpu", "wall") else "allocate" if kind == "heap" else "Threads.rest"
    assert function in raw
    top = go("-top", "-base", str(file), str(file))
    assert re.search(r"^Showing nodes accounting for 0", top, re.MULTILINE) or "0 of 0 total" in top, top


def go(*arguments: str) -> str:
    done = subprocess.run(["go", "tool", "pprof", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_are_gzip() -> None:
    """PF7: the file begins as gzip does, which speedscope looks for."""
    profile = goroutine_profile(sightings(None))
    assert gzip.decompress(encode(profile))
    assert profile.total("goroutine") == threading.active_count()
