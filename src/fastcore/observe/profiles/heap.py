"""What is allocated, by where it was allocated, from `tracemalloc`; it has to be started by whoever wants to know."""

import gc
import importlib.util
import marshal
import sys
import time
import tracemalloc
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import CodeType

from fastcore.observe.profiles.model import Line, Profile, Stack, ValueType

_PYC_HEADER = 16
_OWN = (tracemalloc.__file__, __file__)
_Trace = tuple[tuple[str, int], ...]

Held = dict[_Trace, tuple[int, int]]
"""Blocks and bytes by stack: files and lines, the innermost first."""

_COUNT, _BYTES = "count", "bytes"
TYPES = (
    ValueType("alloc_objects", _COUNT),
    ValueType("alloc_space", _BYTES),
    ValueType("inuse_objects", _COUNT),
    ValueType("inuse_space", _BYTES),
)

MAX_STACKS = 2000
_OTHERS: Stack = (Line("all others", "", 0),)


def tracing() -> bool:
    """Whether allocations are traced."""
    return tracemalloc.is_tracing()


def in_use(*, collect: bool) -> Held:
    """Blocks and bytes by stack; may take a second, so call it in a thread.

    Args:
        collect: whether garbage is collected first.
    """
    if collect:
        gc.collect()
    # The public way makes three objects for each of some hundred thousand traces; what it wraps shares equal stacks.
    traces: Iterable[tuple[int, int, _Trace, int]] = tracemalloc.take_snapshot().traces._traces  # type: ignore[attr-defined]
    totals: dict[int, list[int]] = {}
    stacks: dict[int, _Trace] = {}
    for _, size, trace, *_ in traces:
        held = totals.get(id(trace))
        if held is None:
            stacks[id(trace)] = trace
            totals[id(trace)] = [1, size]
        else:
            held[0] += 1
            held[1] += size
    found: Held = {}
    for at, trace in stacks.items():
        if trace[0][0] not in _OWN:
            blocks, size = found.get(trace, (0, 0))
            found[trace] = blocks + totals[at][0], size + totals[at][1]
    return found


def heap_profile(now: Held, before: Held | None = None) -> Profile:
    """A profile of what is in use, or of what came (and, below 0, went) since `before`; not for the event loop.

    tracemalloc forgets what was freed, so what is said to be allocated is what of it is still in use. Of many stacks
    those with most bytes are told apart; the others are one, so that the sums stay true.
    """
    profile = Profile(TYPES, default="inuse_space", period=1, period_type=ValueType("space", "bytes"))
    profile.began_ns = time.time_ns()
    before = before or {}
    changes = []
    for trace in dict.fromkeys((*now, *before)):
        (blocks, size), (old_blocks, old_size) = now.get(trace, (0, 0)), before.get(trace, (0, 0))
        if (blocks, size) != (old_blocks, old_size):
            changes.append((blocks - old_blocks, size - old_size, trace))
    changes.sort(key=lambda change: -abs(change[1]))
    names = Names()
    for blocks, size, trace in changes[:MAX_STACKS]:
        profile.add(tuple(names.line(file, number) for file, number in trace), (blocks, size, blocks, size))
    for blocks, size, _ in changes[MAX_STACKS:]:
        profile.add(_OTHERS, (blocks, size, blocks, size))
    return profile


class Names:
    """Says which function a line is in: tracemalloc knows files and lines alone."""

    def __init__(self) -> None:
        self._modules = {
            file: name for name, module in list(sys.modules.items()) if (file := getattr(module, "__file__", None))
        }
        self._lines: dict[tuple[str, int], Line] = {}

    def line(self, file: str, number: int) -> Line:
        """The line with its function, module and all."""
        found = self._lines.get((file, number))
        if found is None:
            around = ((start, -end, name) for start, end, name in _functions(file) if start <= number <= end)
            start, _, name = max(around, default=(0, 0, "<module>"))
            module = self._modules.get(file) or file.rpartition("/")[2].removesuffix(".py")
            found = self._lines[file, number] = Line(f"{module}.{name}", file, number, start)
        return found


@lru_cache(1024)
def _functions(file: str) -> tuple[tuple[int, int, str], ...]:
    """First line, last line and name of each function of a file, from its compiled form if there is one."""
    found: list[tuple[int, int, str]] = []
    rest = [code] if (code := _code(file)) is not None else []
    while rest:
        outer = rest.pop()
        for code in outer.co_consts:
            if isinstance(code, CodeType):
                rest.append(code)
                last = max((line for _, _, line in code.co_lines() if line), default=code.co_firstlineno)
                found.append((code.co_firstlineno, last, code.co_qualname))
    return tuple(found)


def _code(file: str) -> CodeType | None:
    try:
        cached = Path(importlib.util.cache_from_source(file))
        source = Path(file)
        if cached.stat().st_mtime >= source.stat().st_mtime:
            code = marshal.loads(cached.read_bytes()[_PYC_HEADER:])
            return code if isinstance(code, CodeType) else None
    except (OSError, ValueError, EOFError, TypeError, NotImplementedError):
        pass  # not compiled to a file, or by another Python
    try:
        return compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
