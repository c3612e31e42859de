"""The block and mutex profiles: where threads stood still, and who let them."""

import copy
import gc
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fastcore.observe import DebugServer
from fastcore.observe.profiles import Line, ProfiledLock, encode, profiled_locks, set_block_rate, set_mutex_fraction
from fastcore.observe.profiles.waits import BLOCK, MAX_STACKS, MUTEX, WaitProfile
from fastcore.queue import WorkQueue
from fastcore.testing.plugin import need
from fastcore.work import Job, WorkerPool
from observe.test_server import ask, get


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    yield
    set_block_rate(0)
    set_mutex_fraction(0)
    BLOCK.clear()
    MUTEX.clear()


def functions(profile: WaitProfile) -> list[str]:
    return [line.function for stack, _ in profile.profile().samples for line in stack]


def wait_for_key(queue: "WorkQueue[str]") -> str:
    return queue.get(timeout=30)


def blocked_get() -> None:
    """One wait for a key that comes after the waiter was seen to wait."""
    queue: WorkQueue[str] = WorkQueue()
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(wait_for_key(queue)))
    thread.start()
    time.sleep(0.1)
    queue.add("k")
    thread.join(30)
    assert got == ["k"]


def test_block_is_empty_until_it_is_enabled() -> None:
    """PF5: a wait of a queue is noted with its stack and delay once there is a rate, and not before or after."""
    blocked_get()
    assert BLOCK.stacks() == 0
    set_block_rate(1)
    blocked_get()
    profile = BLOCK.profile()
    assert any(name.endswith("wait_for_key") for name in functions(BLOCK))
    assert profile.total("contentions") == 1
    assert profile.total("delay") >= 40_000_000
    set_block_rate(0)
    blocked_get()
    assert BLOCK.profile().total("contentions") == 1


def test_block_sees_who_waits_for_room_in_a_pool() -> None:
    """PF5: a submitter that waits is one of ours, too."""
    set_block_rate(1)
    go = threading.Event()
    with WorkerPool(workers=1, queue_size=1, rate=None) as pool:
        first = pool.submit(Job("1", "wait", lambda: go.wait(30)))
        while pool.stats().in_flight == 0:
            time.sleep(0.001)
        second = pool.submit(Job("2", "wait", lambda: None))
        threading.Timer(0.05, go.set).start()
        third = pool.submit(Job("3", "wait", lambda: None), timeout=30)
        for handle in (first, second, third):
            handle.result(timeout=30)
    assert any(name.endswith("WorkerPool.submit") for name in functions(BLOCK))


def contend(lock: ProfiledLock) -> None:
    """One thread holds the lock while another waits for it."""
    held, waiting = threading.Event(), threading.Event()

    def holder() -> None:
        with lock:
            held.set()
            waiting.wait(30)
            time.sleep(0.05)

    thread = threading.Thread(target=holder)
    thread.start()
    held.wait(30)
    waiting.set()
    with lock:
        pass
    thread.join(30)


def test_mutex_names_the_holder_and_block_the_waiter() -> None:
    """PF3, PF5: contentions and delay; as in Go the holder is blamed, the waiter's time is in block."""
    lock = ProfiledLock()
    contend(lock)
    assert (MUTEX.stacks(), BLOCK.stacks()) == (0, 0)
    assert set_mutex_fraction(1) == 0
    set_block_rate(1)
    contend(lock)
    assert any(name.endswith("contend.<locals>.holder") for name in functions(MUTEX))
    assert any(name.endswith(".contend") for name in functions(BLOCK))
    profile = MUTEX.profile()
    assert [kind.kind for kind in profile.types] == ["contentions", "delay"]
    assert (profile.total("contentions"), profile.total("delay") > 10_000_000) == (1, True)
    assert set_mutex_fraction(0) == 1


def test_profiled_locks_are_locks() -> None:
    """Patching is opt-in and ends; conditions, events and re-entrant locks work with them."""
    plain = threading.Lock
    with profiled_locks():
        lock, again, event = threading.Lock(), threading.RLock(), threading.Event()
        condition = threading.Condition()
    assert threading.Lock is plain
    assert isinstance(lock, ProfiledLock)
    assert lock.acquire(timeout=1)
    assert lock.locked()
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=0.01)
    lock.release()
    with again, again:
        assert not thread_gets(again)
    assert thread_gets(again)
    told = []

    def tell() -> None:
        with condition:
            told.append(1)
            condition.notify()
        event.set()

    with condition:
        threading.Thread(target=tell).start()
        assert condition.wait_for(lambda: told, timeout=30)
    assert event.wait(30)
    with pytest.raises(RuntimeError):
        lock.release()


def test_profiled_locks_refuse_what_locks_refuse() -> None:
    with pytest.raises(ValueError, match="timeout"):
        ProfiledLock().acquire(False, 1)
    lock = ProfiledLock()
    with copy.copy(lock):
        assert lock.locked()


def test_a_wait_may_be_noted_in_the_middle_of_another() -> None:
    """A finalizer or the collector's callback can come between any two lines, and may wait itself."""
    profile = WaitProfile("block")

    def look(phase: str, info: dict[str, int]) -> None:
        profile.add((Line("inner", "x.py", 1),), 1)

    done = threading.Event()

    def work() -> None:
        for i in range(200):
            profile.add((Line(f"outer{i}", "x.py", 1),), 1)
        done.set()

    young = gc.get_threshold()
    gc.callbacks.append(look)
    gc.set_threshold(1)
    try:
        threading.Thread(target=work, daemon=True).start()
        assert done.wait(30), "the thread waits for itself"
    finally:
        gc.callbacks.remove(look)
        gc.set_threshold(*young)
    assert profile.profile().total("contentions") >= 200


def thread_gets(lock: object) -> bool:
    got: list[bool] = []

    def get() -> None:
        got.append(lock.acquire(blocking=False))  # type: ignore[attr-defined]
        if got[0]:
            lock.release()  # type: ignore[attr-defined]

    thread = threading.Thread(target=get)
    thread.start()
    thread.join(30)
    return got[0]


def test_sampling_keeps_the_sums() -> None:
    """PF5: with a rate, short waits are noted rarely and stand for many; on average nothing is lost."""
    profile = WaitProfile("block", random=Random(7))
    weights = [profile.sampled(100, 10_000) for _ in range(100_000)]
    assert set(weights) == {0.0, 100.0}
    assert sum(weights) == pytest.approx(100_000, rel=0.1)
    assert profile.sampled(10_000, 10_000) == 1.0
    assert profile.sampled(0, 10_000) == 0.0
    chosen = [profile.chosen(50) for _ in range(100_000)]
    assert sum(chosen) == pytest.approx(100_000, rel=0.1)
    assert profile.chosen(0) == 0.0


def test_stacks_are_bounded() -> None:
    profile = WaitProfile("block")
    for i in range(MAX_STACKS + 100):
        profile.add((Line(f"f{i}", "x.py", 1),), 10)
    assert profile.stacks() == MAX_STACKS + 1
    assert profile.profile().total("delay") == 10 * (MAX_STACKS + 100)


@pytest.mark.parametrize("call", [lambda: set_block_rate(-1), lambda: set_mutex_fraction(-1)])
def test_bad_rates_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        call()  # type: ignore[operator]


async def test_pages_and_go(tmp_path: Path) -> None:
    """PF1, PF5, PF7: the index counts the stacks, text and binary say the same, `go tool pprof` names the waiter."""
    set_block_rate(1)
    blocked_get()
    async with DebugServer() as server:
        _, _, index = await ask(server.port, get("/debug/pprof/"))
        _, _, text = await ask(server.port, get("/debug/pprof/block?debug=1"))
        _, headers, binary = await ask(server.port, get("/debug/pprof/block"))
        status, _, empty = await ask(server.port, get("/debug/pprof/mutex?debug=1"))
    assert b"<td>1<td><a href='block?debug=1'>block</a>" in index
    assert b"wait_for_key" in text
    assert "block.pb.gz" in headers["content-disposition"]
    assert (status, b"total: 0 0 (contentions, delay in nanoseconds)" in empty) == (200, True)
    need("go", "go")
    file = tmp_path / "block.pb.gz"
    file.write_bytes(binary)
    assert binary[:2] == encode(BLOCK.profile())[:2]
    for kind in ("delay", "contentions"):
        done = subprocess.run(
            ["go", "tool", "pprof", "-top", f"-sample_index={kind}", str(file)],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert "wait_for_key" in done.stdout
        assert f"Type: {kind}" in done.stdout
