"""`/debug/pprof/`: profiles as Go's net/http/pprof serves them, so that its tools work."""

import asyncio
import math
import threading
from collections.abc import Callable

from fastcore.observe.profiles.goroutine import dump, goroutine_profile, sightings
from fastcore.observe.profiles.heap import heap_profile, in_use, tracing
from fastcore.observe.profiles.model import Profile
from fastcore.observe.profiles.proto import encode
from fastcore.observe.profiles.sampler import cpu_profile, thread_clocks, wall_profile
from fastcore.observe.profiles.signals import SignalSampler
from fastcore.observe.profiles.waits import BLOCK, MUTEX
from fastcore.observe.server import HttpRequest, HttpResponse, Page

PREFIX = "/debug/pprof/"
MOST_SECONDS = 600.0
_DEFAULT_SECONDS = 30.0

_Take = Callable[[float, threading.Event], Profile]

_ABOUT = {
    "profile": "processor time, by thread and stack; ?seconds=30",
    "wall": "time, of threads that run and that wait; ?seconds=30",
    "heap": "memory in use, by where it was allocated; ?gc=1 collects first, ?seconds=N shows what came since",
    "block": "waits of threads: of queues, of loads of others, for profiled locks; see set_block_rate",
    "mutex": "holders that others waited for, of profiled locks; see set_mutex_fraction",
    "goroutine": "threads and tasks; ?debug=1 grouped, ?debug=2 each with its name and state",
}

_WAITS = {"block": BLOCK, "mutex": MUTEX}


def profile_pages() -> Page:
    """The page for everything below `PREFIX`.

    `?debug=1` is text, `?format=collapsed` the lines that flame graph tools read, else gzipped protobuf. One CPU or
    wall profile at a time; it ends when the client goes away.
    """
    taking = threading.Lock()

    async def page(request: HttpRequest) -> HttpResponse:
        name = request.path.removeprefix(PREFIX)
        if name == "":
            return _index()
        if name == "profile" and not thread_clocks():
            return _error(501, f"this system does not tell threads' processor time: try {PREFIX}wall")
        if name in ("profile", "wall"):
            return await _timed(request, cpu_profile if name == "profile" else wall_profile, taking)
        if name == "heap":
            return await _heap(request)
        if name in _WAITS:
            return _answer(request, name, _WAITS[name].profile())
        if name == "goroutine":
            seen = sightings(asyncio.get_running_loop())
            if _one(request, "debug") == "2":
                return HttpResponse(200, dump(seen).encode())
            return _answer(request, "goroutine", goroutine_profile(seen))
        return _error(404, f"there is no profile {name!r}: {', '.join(_ABOUT)}")

    return page


async def _timed(request: HttpRequest, take: _Take, taking: threading.Lock) -> HttpResponse:
    seconds = _seconds(request) or _DEFAULT_SECONDS
    if seconds > MOST_SECONDS:
        return _error(400, f"profile duration exceeds the server's limit of {MOST_SECONDS:.0f} s")
    if not taking.acquire(blocking=False):
        return _error(500, "could not enable profiling: a profile is already in use")
    if take is cpu_profile and SignalSampler.possible():
        sampler = SignalSampler()
        sampler.start()
        try:
            await asyncio.sleep(seconds)
        finally:
            profile = sampler.stop()
            taking.release()
        return _answer(request, "profile", profile)
    stop = threading.Event()

    def run() -> Profile:
        try:
            return take(seconds, stop)
        finally:
            taking.release()

    work = asyncio.get_running_loop().run_in_executor(None, run)
    try:
        profile = await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        raise
    return _answer(request, "profile", profile)


async def _heap(request: HttpRequest) -> HttpResponse:
    if not tracing():
        return _error(
            412,
            "allocations are not traced: start python with -X tracemalloc=10, or call tracemalloc.start(10); it makes "
            "allocations about twice as slow",
        )
    seconds = _seconds(request)
    if seconds is not None and seconds > MOST_SECONDS:
        return _error(400, f"profile duration exceeds the server's limit of {MOST_SECONDS:.0f} s")
    collect = _one(request, "gc") not in ("", "0")
    before = None
    if seconds is not None:
        before = await asyncio.to_thread(in_use, collect=collect)
        await asyncio.sleep(seconds)
    now = await asyncio.to_thread(in_use, collect=collect)
    # allocations cost several times as much while they are traced: the loop should not wait for that either
    return await asyncio.to_thread(lambda: _answer(request, "heap", heap_profile(now, before)))


def _answer(request: HttpRequest, name: str, profile: Profile) -> HttpResponse:
    if "collapsed" in request.query.get("format", []):
        return HttpResponse(200, profile.collapsed().encode())
    if _one(request, "debug") not in ("", "0"):
        return HttpResponse(200, f"{name} profile: {profile.text()}".encode())
    disposition = {"Content-Disposition": f'attachment; filename="{name}.pb.gz"'}
    return HttpResponse(200, encode(profile), "application/octet-stream", disposition)


def _index() -> HttpResponse:
    counts = {
        "goroutine": str(len(sightings(asyncio.get_running_loop()))),
        "heap": "" if tracing() else "off",
        **{name: str(waited.stacks()) for name, waited in _WAITS.items()},
    }
    rows = "".join(
        f"<tr><td>{counts.get(name, '')}<td><a href='{name}?debug=1'>{name}</a><td>{about}"
        for name, about in _ABOUT.items()
    )
    text = (
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>profiles</title>"
        "<style>:root{color-scheme:light dark}body{font:1rem system-ui;margin:1rem}td{padding:.2rem .8rem .2rem 0}"
        "</style>"
        f"<h1>Profiles</h1><table>{rows}</table><p><a href='goroutine?debug=2'>all threads and tasks</a></p>"
        "<p>Without <code>debug</code> each is a file for <code>go tool pprof</code> and speedscope.</p>"
    )
    return HttpResponse(200, text.encode(), "text/html; charset=utf-8")


def _seconds(request: HttpRequest) -> float | None:
    """What was asked for; None if that is nothing, no number, or not above 0."""
    try:
        seconds = float(_one(request, "seconds"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _one(request: HttpRequest, name: str) -> str:
    return request.query.get(name, [""])[-1]


def _error(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, text.encode() + b"\n", headers={"X-Go-Pprof": "1"})
