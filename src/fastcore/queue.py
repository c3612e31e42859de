"""The work queue: each key once, never to two consumers at a time.

`WorkQueue` is the compiled class itself; docs/queue.md describes it.
"""

from fastcore._impl import queue as _queue

WorkQueue = _queue.WorkQueue
KeyState = _queue.KeyState
QueueStats = _queue.QueueStats
Durations = _queue.Durations

__all__ = ["Durations", "KeyState", "QueueStats", "WorkQueue"]
