"""Where threads spend their processor time, or their time: looked at a hundred times a second from a thread.

A look costs the program the GIL for a few microseconds a thread; nothing is traced, and nothing happens between looks.
A thread that asks for the GIL gets it soonest where another one waits for something, so that it would see little but
waiting. So while a profile is taken, threads give the GIL up as soon as they are asked for it.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fastcore.clock import NS_PER_S
from fastcore.observe.profiles.frames import Key, Names
from fastcore.observe.profiles.model import Line, Profile, ValueType

RATE = 100  # looks a second, as in Go
MOST_STACKS = 20_000
_CPUCLOCK_THREAD = 4 | 2  # per thread, what the scheduler gave it
_SWITCH_S = 0.0001

SAMPLES = ValueType("samples", "count")
_REST = (Line("(more stacks)", "", 0),)


def thread_clocks() -> bool:
    """Whether this system tells how much processor time each thread had."""
    return sys.platform == "linux"


def thread_cpu_ns(native_id: int) -> int:
    """Processor time of a thread; OSError if it has ended.

    The number of the clock is made from the thread's id in the kernel, as `pthread_getcpuclockid` does; asking that for
    a thread that has just ended could crash.
    """
    return time.clock_gettime_ns((~native_id << 3) | _CPUCLOCK_THREAD)


@contextmanager
def prompt_switches() -> Iterator[None]:
    """Have threads give up the GIL within a tenth of a millisecond of being asked."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(usual, _SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class Clocks:
    """The processor time that each thread has had since it was last asked.

    Args:
        cpu_ns: processor time of a thread by its id in the kernel; OSError if it has ended.
    """

    def __init__(self, cpu_ns: Callable[[int], int] = thread_cpu_ns) -> None:
        self._cpu_ns = cpu_ns
        self._known: dict[int, int] = {}

    def start(self) -> None:
        """Count from here."""
        for thread in threading.enumerate():
            self.spent(thread)

    def spent(self, thread: threading.Thread) -> int:
        """Nanoseconds since the last call for this thread; since its beginning if there was none."""
        native = thread.native_id
        if native is None:
            return 0
        try:
            now = self._cpu_ns(native)
        except OSError:  # it has just ended
            return 0
        before = self._known.get(native, 0)
        self._known[native] = now
        return max(0, now - before)


class Sightings:
    """What was seen of threads, by stack; bounded, the rest together."""

    def __init__(self) -> None:
        self._names = Names()
        self._seen: dict[tuple[Key, str], list[int]] = {}

    def note(self, frame: FrameType, thread: str, value: int) -> None:
        """Add one sample of `value` at the stack of `frame`."""
        key = self._names.key(frame), thread
        seen = self._seen
        if key not in seen and len(seen) >= MOST_STACKS:
            key = (), ""
        held = seen.setdefault(key, [0, 0])
        held[0] += 1
        held[1] += value

    def fill(self, profile: Profile) -> Profile:
        """Put all into `profile`, whose types are samples and what was measured."""
        for (key, name), (count, value) in self._seen.items():
            stack = self._names.stack(key) if key else _REST
            profile.add(stack, (count, value), (("thread", name),) if name else ())
        return profile


def empty_cpu_profile(rate: int) -> Profile:
    """A profile of processor time without samples."""
    return Profile((SAMPLES, ValueType("cpu", "nanoseconds")), default="cpu", period=NS_PER_S // rate)


def cpu_profile(
    seconds: float,
    stop: threading.Event,
    *,
    rate: int = RATE,
    cpu_ns: Callable[[int], int] = thread_cpu_ns,
    frames: Callable[[], dict[int, FrameType]] = sys._current_frames,
) -> Profile:
    """Sample for `seconds`, or until `stop` is set, which threads used a processor, and where they were.

    A thread counts only for what its own clock went forward, so those that sleep or wait count for nothing (PF2).
    `signals.SignalSampler` sees more precisely where the main thread is.
    """
    clocks = Clocks(cpu_ns)
    clocks.start()
    return _sample(empty_cpu_profile(rate), seconds, stop, rate, lambda thread, looked_ns: clocks.spent(thread), frames)


def wall_profile(
    seconds: float,
    stop: threading.Event,
    *,
    rate: int = RATE,
    frames: Callable[[], dict[int, FrameType]] = sys._current_frames,
) -> Profile:
    """Sample for `seconds`, or until `stop` is set, where every thread is, whether it runs or waits."""
    profile = Profile((SAMPLES, ValueType("wall", "nanoseconds")), default="wall", period=NS_PER_S // rate)
    return _sample(profile, seconds, stop, rate, lambda thread, looked_ns: looked_ns, frames)


def _sample(
    profile: Profile,
    seconds: float,
    stop: threading.Event,
    rate: int,
    spent: Callable[[threading.Thread, int], int],
    frames: Callable[[], dict[int, FrameType]],
) -> Profile:
    seen, own, period = Sightings(), threading.get_ident(), NS_PER_S // rate
    profile.began_ns = time.time_ns()
    began = looked = due = time.monotonic_ns()
    end = began + round(seconds * NS_PER_S)
    with prompt_switches():
        while True:
            now = time.monotonic_ns()
            stacks = frames()
            for thread in threading.enumerate():
                if thread.ident == own or thread.ident not in stacks:
                    continue
                value = spent(thread, now - looked)
                if value > 0:
                    seen.note(stacks[thread.ident], thread.name, value)
            del stacks  # a frame that is held keeps its variables alive
            looked = now
            if now >= end or stop.is_set():
                break
            due = max(due + period, now)
            stop.wait((min(due, end) - time.monotonic_ns()) / NS_PER_S)
    profile.duration_ns = time.monotonic_ns() - began
    return seen.fill(profile)
