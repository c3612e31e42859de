"""`/debug/pprof/` over HTTP: Go's rules for what is asked, and what happens when the client goes away."""

import asyncio
import signal
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fastcore.observe import HttpRequest, HttpResponse, HttpServer, local
from fastcore.observe.profiles import PREFIX, Profile, ValueType, pages, profile_pages
from observe.pprof import read
from observe.test_server import ask, get


class Recorder:
    """Stands for the sampler; waits until it is told to stop or let go."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.began, self.go, self.stopped = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, seconds: float, stop: threading.Event) -> Profile:
        self.seconds.append(seconds)
        self.began.set()
        while not self.go.wait(0.005):
            if stop.is_set():
                self.stopped.set()
                break
        return Profile((ValueType("samples", "count"), ValueType("cpu", "nanoseconds")), default="cpu")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(pages, "cpu_profile", made)
    monkeypatch.setattr(pages, "thread_clocks", lambda: True)
    monkeypatch.setattr(pages.SignalSampler, "possible", lambda: False)
    return made


@asynccontextmanager
async def serving() -> AsyncIterator[HttpServer]:
    server = HttpServer()
    server.route_below(PREFIX, local(profile_pages()))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_index_lists_profiles() -> None:
    """PF1: names, what they are, and how many threads and tasks there are."""
    async with serving() as server:
        status, headers, body = await ask(server.port, get(PREFIX))
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    for name in ("profile", "wall", "heap", "goroutine"):
        assert f"href='{name}?debug=1'" in body.decode()
    assert b"<td>off<td>" in body


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", 30), ("?seconds=2", 2), ("?seconds=0", 30), ("?seconds=-1", 30), ("?seconds=x", 30), ("?seconds=inf", 30),
     ("?seconds=0.5", 0.5), ("?seconds=600", 600)],
)  # fmt: skip
async def test_how_long(recorder: Recorder, query: str, expected: float) -> None:
    """PF1: 30 seconds, unless a number above 0 is given."""
    recorder.go.set()
    answer = await answer_of(f"profile{query}")
    assert answer.status == 200
    assert recorder.seconds == [expected]
    assert read(answer.body).types == [("samples", "count"), ("cpu", "nanoseconds")]


async def answer_of(path: str, peer: str = "127.0.0.1") -> HttpResponse:
    name, _, query = path.partition("?")
    asked = {key: [value] for key, _, value in (part.partition("=") for part in query.split("&") if part)}
    answer = local(profile_pages())(HttpRequest("GET", PREFIX + name, asked, {}, peer))
    return answer if isinstance(answer, HttpResponse) else await answer


@pytest.mark.parametrize("path", ["profile?seconds=601", "wall?seconds=1e9"])
async def test_too_long(path: str) -> None:
    """PF1: longer than the server waits is refused at once."""
    answer = await answer_of(path)
    assert (answer.status, answer.headers["X-Go-Pprof"]) == (400, "1")
    assert b"exceeds the server's limit of 600 s" in answer.body


async def test_one_at_a_time(recorder: Recorder) -> None:
    """PF1: the second gets 500 and Go's header while the first runs; afterwards the next one works."""
    async with serving() as server:
        first = asyncio.create_task(ask(server.port, get(f"{PREFIX}profile")))
        await asyncio.to_thread(recorder.began.wait, 10)
        status, headers, body = await ask(server.port, get(f"{PREFIX}wall?seconds=1"))
        assert (status, headers["x-go-pprof"]) == (500, "1")
        assert b"already in use" in body
        recorder.go.set()
        assert (await first)[0] == 200
        assert (await ask(server.port, get(f"{PREFIX}profile")))[0] == 200


async def test_client_that_goes_away(recorder: Recorder) -> None:
    """PF1: the profile ends with its client, and another may begin."""
    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(get(f"{PREFIX}profile?seconds=500").replace("\n", "\r\n").encode())
        await asyncio.to_thread(recorder.began.wait, 10)
        writer.close()
        await writer.wait_closed()
        assert await asyncio.to_thread(recorder.stopped.wait, 10)
        recorder.go.set()
        async with asyncio.timeout(10):
            while (await ask(server.port, get(f"{PREFIX}profile")))[0] != 200:
                await asyncio.sleep(0.01)


@pytest.mark.skipif(not pages.thread_clocks(), reason="threads' processor time is not told here")
async def test_loop_that_is_busy_now_and_then() -> None:
    """PF2: an event loop is seen at its work, not between two turns, where it waits."""

    def work() -> None:
        for _ in range(200):
            sum(range(1000))

    async def now_and_then() -> None:
        while True:
            work()
            await asyncio.sleep(0.002)

    task = asyncio.create_task(now_and_then())
    found = read((await answer_of("profile?seconds=0.8")).body)
    task.cancel()
    used = sum(values[1] for _, values, _ in found.samples)
    at_work = sum(values[1] for stack, values, _ in found.samples if any(name.endswith(".work") for name in stack))
    assert at_work > 0.6 * used > 0
    assert pages.SignalSampler.possible()


@pytest.mark.skipif(not pages.thread_clocks(), reason="threads' processor time is not told here")
async def test_signal_of_somebody_else() -> None:
    """A program that handles SIGPROF itself keeps its handler, and is looked at from a thread."""
    calls = []
    signal.signal(signal.SIGPROF, lambda *_: calls.append(1))
    try:
        assert (await answer_of("profile?seconds=0.02")).status == 200
        signal.raise_signal(signal.SIGPROF)
        assert calls == [1]
    finally:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)


@pytest.mark.skipif(not pages.thread_clocks(), reason="threads' processor time is not told here")
async def test_cancelled_profile_leaves_no_timer() -> None:
    """PF1: a client that goes away ends the timer, and threads switch as before."""
    usual = sys.getswitchinterval()
    asked = asyncio.create_task(answer_of("profile"))
    while not signal.getitimer(signal.ITIMER_PROF)[1]:
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
    assert sys.getswitchinterval() == usual


async def test_stop_ends_a_profile(recorder: Recorder) -> None:
    """PF8: stopping the server stops what it was doing, and releases the port."""
    async with serving() as server:
        asked = asyncio.create_task(ask(server.port, get(f"{PREFIX}profile?seconds=500")))
        await asyncio.to_thread(recorder.began.wait, 10)
        await server.stop()
        assert recorder.stopped.is_set()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asked
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", server.port)


async def test_heap_needs_tracing() -> None:
    """PF6: 412 says how to switch it on; then gc=1, debug=1 and seconds= work."""
    refused = await answer_of("heap")
    assert refused.status == 412
    assert b"tracemalloc.start(10)" in refused.body
    tracemalloc.start(5)
    try:
        kept = [bytes(1000) for _ in range(100)]
        text = (await answer_of("heap?gc=1&debug=1")).body.decode()
        found = read((await answer_of("heap")).body)
        change = await answer_of("heap?seconds=0.01&debug=1")
    finally:
        tracemalloc.stop()
    assert text.startswith("heap profile: total: ")
    assert "test_profile_pages.test_heap_needs_tracing" in text
    assert found.default == "inuse_space"
    assert sum(values[3] for _, values, _ in found.samples) > len(kept) * 1000
    assert change.body.startswith(b"heap profile: total: ")
    assert (await answer_of("heap?seconds=601")).status == 412


async def test_forms_of_an_answer() -> None:
    """PF4, PF7: text, collapsed lines, all stacks, and the file add up to the same."""
    binary = read((await answer_of("goroutine")).body)
    text = (await answer_of("goroutine?debug=1")).body.decode()
    lines = (await answer_of("goroutine?format=collapsed")).body.decode().splitlines()
    everything = (await answer_of("goroutine?debug=2")).body.decode()
    count = sum(values[0] for _, values, _ in binary.samples)
    assert text.startswith(f"goroutine profile: total: {count} (goroutine)\n")
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == count
    assert len([line for line in everything.splitlines() if line.startswith("goroutine ")]) == count


async def test_only_for_this_host() -> None:
    """PF8: others are refused, whatever the server listens on."""
    assert (await answer_of("goroutine", peer="10.0.0.1")).status == 403
    assert (await answer_of("goroutine", peer="::ffff:127.0.0.1")).status == 200


async def test_unknown_profile() -> None:
    """The answer names those that there are."""
    answer = await answer_of("cpu")
    assert answer.status == 404
    assert b"profile, wall, heap, block, mutex, goroutine" in answer.body


async def test_system_without_thread_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where threads' processor time is not told, nothing is made up."""
    monkeypatch.setattr(pages, "thread_clocks", lambda: False)
    answer = await answer_of("profile")
    assert answer.status == 501
    assert b"/debug/pprof/wall" in answer.body
