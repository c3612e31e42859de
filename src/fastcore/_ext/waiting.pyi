from typing import Any, final

@final
class Waiter:
    """One wait: of a thread, or of a task on `loop`."""

    def __new__(cls, loop: Any = None) -> Waiter: ...

@final
class Crowd:
    """The waiters of one queue."""

    def __new__(cls) -> Crowd: ...
