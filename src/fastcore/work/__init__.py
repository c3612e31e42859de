"""Bounded work: jobs in a pool, tasks and threads that are counted, named and ended, memory within its limit."""

from fastcore.work.cpus import usable_cpus
from fastcore.work.errors import DeadlineExceeded, LeakError, LimitReached, Rejected, ShutdownTimeout, Survivor
from fastcore.work.garbage import Collection, PauseStats
from fastcore.work.jobs import Handle, Job, JobContext, current_job
from fastcore.work.kinds import KindStats
from fastcore.work.leaks import LeakDetector
from fastcore.work.memory import MemoryMonitor, Reading
from fastcore.work.pool import PoolStats, WorkerPool
from fastcore.work.resources import ResourceLimits, Resources, ResourceTracker
from fastcore.work.tasks import TaskManager, TaskStats

__all__ = [
    "Collection",
    "DeadlineExceeded",
    "Handle",
    "Job",
    "JobContext",
    "KindStats",
    "LeakDetector",
    "LeakError",
    "LimitReached",
    "MemoryMonitor",
    "PauseStats",
    "PoolStats",
    "Reading",
    "Rejected",
    "ResourceLimits",
    "ResourceTracker",
    "Resources",
    "ShutdownTimeout",
    "Survivor",
    "TaskManager",
    "TaskStats",
    "WorkerPool",
    "current_job",
    "usable_cpus",
]
