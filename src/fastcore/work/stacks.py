"""Where a task or a thread is, as text."""

import asyncio
import io
import sys
import threading
import traceback
from typing import Any

_MAX_FRAMES = 32


def task_stack(task: "asyncio.Task[Any]") -> str:
    """The frames in which `task` is suspended, the outermost first; "" when it has ended or not begun.

    Thread safety: best called in the task's own loop; from another thread the stack may be a step old.
    """
    text = io.StringIO()
    task.print_stack(limit=_MAX_FRAMES, file=text)
    lines = text.getvalue().splitlines()[1:]  # the first names the task
    return "\n".join(lines)


def thread_stack(thread: threading.Thread) -> str:
    """The frames that `thread` is in, the outermost first; "" when it has ended or not begun."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "" if frame is None else "".join(traceback.format_stack(frame, limit=_MAX_FRAMES))
