"""Processor time by the kernel's own timer: it goes off while the program runs, not while it waits.

A thread that looks now and then finds an event loop mostly between two turns, where the GIL is free. The timer counts
processor time, and its signal interrupts the main thread in the middle of what it does, as in Go.
"""

import signal
import sys
import threading
import time
from types import FrameType

from fastcore.observe.profiles.model import Profile
from fastcore.observe.profiles.sampler import RATE, Clocks, Sightings, empty_cpu_profile, prompt_switches, thread_clocks


class SignalSampler:
    """Samples by SIGPROF from `start` to `stop`, both on the main thread.

    Args:
        rate: samples for each second of processor time.

    Thread safety: belongs to the main thread; all threads are seen.
    """

    def __init__(self, rate: int = RATE) -> None:
        self._rate = rate
        self._profile = empty_cpu_profile(rate)
        self._clocks = Clocks()
        self._seen = Sightings()
        self._own = threading.main_thread().ident or 0
        self._switches = prompt_switches()
        self._began = 0

    @staticmethod
    def possible() -> bool:
        """Whether this is the main thread, and nobody else uses the signal."""
        return (
            thread_clocks()
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
        )

    def start(self) -> None:
        """Begin."""
        self._clocks.start()
        self._profile.began_ns = time.time_ns()
        self._began = time.monotonic_ns()
        self._switches.__enter__()
        signal.signal(signal.SIGPROF, self._look)
        signal.siginterrupt(signal.SIGPROF, False)  # calls into the system go on by themselves
        signal.setitimer(signal.ITIMER_PROF, 1 / self._rate, 1 / self._rate)

    def stop(self) -> Profile:
        """End, and give what was seen."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        # Not the default, which is to end the program: a signal may be under way.
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        self._switches.__exit__(None, None, None)
        self._profile.duration_ns = time.monotonic_ns() - self._began
        return self._seen.fill(self._profile)

    def _look(self, number: int, interrupted: FrameType | None) -> None:
        stacks = sys._current_frames()
        for thread in threading.enumerate():
            frame = interrupted if thread.ident == self._own else stacks.get(thread.ident or 0)
            value = self._clocks.spent(thread)
            if frame is not None and value > 0:
                self._seen.note(frame, thread.name, value)
