"""Bounded work: tasks and threads that are counted, named and ended."""

from fastcore.work.errors import DeadlineExceeded, LeakError, LimitReached, Rejected, ShutdownTimeout, Survivor
from fastcore.work.leaks import LeakDetector
from fastcore.work.tasks import TaskManager, TaskStats

__all__ = [
    "DeadlineExceeded",
    "LeakDetector",
    "LeakError",
    "LimitReached",
    "Rejected",
    "ShutdownTimeout",
    "Survivor",
    "TaskManager",
    "TaskStats",
]
