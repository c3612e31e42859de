"""What is allocated, by where it was allocated, from `tracemalloc`; it has to be started by whoever wants to know."""

import gc
import time
import tracemalloc
from functools import lru_cache
from typing import TYPE_CHECKING

from fastcore.observe.profiles.model import Line, Profile, Stack, ValueType

if TYPE_CHECKING:
    pass

_COUNT, _BYTES = "count", "bytes"
TYPES = (
    ValueType("alloc_objects", _COUNT),
    ValueType("alloc_space", _BYTES),
    ValueType("inuse_objects", _COUNT),
    ValueType("inuse_space", _BYTES),
)

Held = dict[Stack, tuple[int, int]]


def tracing() -> bool:
    """Whether allocations are traced."""
    return tracemalloc.is_tracing()


def in_use(*, collect: bool) -> Held:
    """Blocks and bytes by stack; may take seconds, so call it in a thread.

    Args:
        collect: whether garbage is collected first.
    """
    if collect:
        gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces(
        (tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__))
    )
    found: Held = {}
    for one in snapshot.statistics("traceback"):
        stack = tuple(_line(frame.filename, frame.lineno) for frame in reversed(one.traceback))
        blocks, size = found.get(stack, (0, 0))
        found[stack] = blocks + one.count, size + one.size
    return found


def heap_profile(now: Held, before: Held | None = None) -> Profile:
    """A profile of what is in use, or of what came (and, below 0, went) since `before`.

    tracemalloc forgets what was freed, so what is said to be allocated is what of it is still in use.
    """
    profile = Profile(TYPES, default="inuse_space", period=1, period_type=ValueType("space", "bytes"))
    profile.began_ns = time.time_ns()
    before = before or {}
    for stack in dict.fromkeys((*now, *before)):
        (blocks, size), (old_blocks, old_size) = now.get(stack, (0, 0)), before.get(stack, (0, 0))
        change = blocks - old_blocks, size - old_size
        if change != (0, 0):
            profile.add(stack, (*change, *change))
    return profile


@lru_cache(65536)
def _line(file: str, number: int) -> Line:
    """tracemalloc knows files and lines; which function a line is in, the source tells."""
    best = ("?", 0)
    for start, end, name in _functions(file):
        if start <= number <= end:
            best = name, start  # the later, the deeper
    module = file.rpartition("/")[2].removesuffix(".py")
    return Line(f"{module}.{'<module>' if best[0] == '?' else best[0]}", file, number, best[1])


@lru_cache(1024)
def _functions(file: str) -> tuple[tuple[int, int, str], ...]:
    import ast  # what few need is not loaded for all
    import linecache

    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    found: list[tuple[int, int, str]] = []
    rest: list[tuple[ast.AST, str]] = [(tree, "")]
    while rest:
        node, prefix = rest.pop()
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{prefix}{child.name}."
                if not isinstance(child, ast.ClassDef):
                    found.append((child.lineno, child.end_lineno or child.lineno, inner[:-1]))
            rest.append((child, inner))
    return tuple(sorted(found))
