"""Bounded work: jobs in a pool, tasks and threads that are counted, named and ended."""

from fastcore.work.cpus import usable_cpus
from fastcore.work.errors import DeadlineExceeded, LeakError, LimitReached, Rejected, ShutdownTimeout, Survivor
from fastcore.work.jobs import Handle, Job, JobContext, current_job
from fastcore.work.kinds import KindStats
from fastcore.work.leaks import LeakDetector
from fastcore.work.pool import PoolStats, WorkerPool
from fastcore.work.tasks import TaskManager, TaskStats

__all__ = [
    "DeadlineExceeded",
    "Handle",
    "Job",
    "JobContext",
    "KindStats",
    "LeakDetector",
    "LeakError",
    "LimitReached",
    "PoolStats",
    "Rejected",
    "ShutdownTimeout",
    "Survivor",
    "TaskManager",
    "TaskStats",
    "WorkerPool",
    "current_job",
    "usable_cpus",
]
