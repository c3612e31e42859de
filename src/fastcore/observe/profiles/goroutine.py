"""What is under way: every thread and every task, and where it is. Go's name is kept, so that its tools find it."""

import asyncio
import sys
import threading
import time
from types import FrameType
from typing import Any, NamedTuple

from fastcore.observe.profiles.frames import MOST_FRAMES, line_of, stack_of
from fastcore.observe.profiles.model import Line, Profile, Stack, ValueType


class Sighting(NamedTuple):
    """A thread or a task.

    Args:
        kind: "thread" or "task".
        name: as whoever began it called it.
        state: "thread", "daemon thread", "ready", or what a task waits for.
        stack: innermost frame first; for a task the coroutines that wait for each other.
    """

    kind: str
    name: str
    state: str
    stack: Stack


def sightings(loop: asyncio.AbstractEventLoop | None) -> list[Sighting]:
    """All threads, and the tasks of `loop`, which must be the running one."""
    frames = sys._current_frames()
    found = [
        Sighting("thread", t.name, "daemon thread" if t.daemon else "thread", stack_of(frames.get(t.ident or 0)))
        for t in threading.enumerate()
    ]
    del frames
    if loop is not None:
        found += [Sighting("task", t.get_name(), _state(t), _chain(t)) for t in asyncio.all_tasks(loop)]
    return found


def goroutine_profile(seen: list[Sighting]) -> Profile:
    """Equal stacks are one sample with their count (PF4)."""
    profile = Profile((ValueType("goroutine", "count"),), default="goroutine", period=1)
    profile.began_ns = time.time_ns()
    for one in seen:
        profile.add(one.stack, (1,), (("kind", one.kind),))
    return profile


def dump(seen: list[Sighting]) -> str:
    """Each thread and task with its name, state and stack, in the form of Go's."""
    parts = []
    for number, one in enumerate(seen, 1):
        parts.append(f"goroutine {number} [{one.kind} {one.name!r}, {one.state}]:\n")
        parts += [f"{line.function}(...)\n\t{line.file}:{line.number}\n" for line in one.stack]
        parts.append("\n")
    return "".join(parts)


def _state(task: "asyncio.Task[Any]") -> str:
    waiter = getattr(task, "_fut_waiter", None)
    if waiter is None:
        return "ready"
    if isinstance(waiter, asyncio.Task):
        return f"waiting for task {waiter.get_name()!r}"
    return f"waiting for {type(waiter).__name__}"


def _chain(task: "asyncio.Task[Any]") -> Stack:
    """From the coroutine that waits for nobody of ours outwards, through all that await each other, to the task's."""
    found: list[Line] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(found) < MOST_FRAMES:
        frame = next((f for name in ("cr_frame", "gi_frame", "ag_frame") if (f := getattr(awaited, name, None))), None)
        if not isinstance(frame, FrameType):
            break
        found.append(line_of(frame))
        awaited = next(
            (a for name in ("cr_await", "gi_yieldfrom", "ag_await") if (a := getattr(awaited, name, None)) is not None),
            None,
        )
    return tuple(reversed(found))
