"""Deadlines of many short waits, for a fraction of what `asyncio.timeout` costs.

Nearly all requests have the same timeout and end long before it. So those of one timeout stand in a row, in the order
of their deadlines, and one timer watches the first of them; a request that ends while others run just leaves the row.
"""

import asyncio


class Deadline:
    """One wait of a task; see `Deadlines`."""

    __slots__ = ("cancelling", "expired", "row", "task", "when")

    def __init__(self, row: "_Row", task: "asyncio.Task[object]", when: float) -> None:
        self.row = row
        self.task = task
        self.when = when
        self.cancelling = task.cancelling()
        self.expired = False

    def caused(self, error: BaseException) -> bool:
        """Whether `error` is the cancellation that this deadline asked for; then it is taken back.

        Call it once, with whatever ended the wait, if `expired`.
        """
        return self.task.uncancel() <= self.cancelling and isinstance(error, asyncio.CancelledError)


class _Row:
    """The deadlines of one timeout, in order."""

    __slots__ = ("entries", "seconds", "timer")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.entries: dict[Deadline, None] = {}
        self.timer: asyncio.TimerHandle | None = None


class Deadlines:
    """Cancels the tasks whose wait takes longer than it may.

    Complexity: O(1) to begin and to end.
    Thread safety: use from one event loop.

    Example:
        >>> async def main():
        ...     deadlines = Deadlines()
        ...     deadline = deadlines.begin(0.001)
        ...     try:
        ...         await asyncio.sleep(10)
        ...     except asyncio.CancelledError as error:
        ...         print(deadline.expired, deadline.caused(error))
        ...     finally:
        ...         deadlines.end(deadline)
        >>> asyncio.run(main())
        True True
    """

    def __init__(self) -> None:
        self._rows: dict[float, _Row] = {}

    def begin(self, seconds: float) -> Deadline:
        """Let the current task run for so many seconds until `end`; then it is cancelled."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        when = loop.time() + seconds
        row = self._rows.get(seconds)
        if row is None:
            row = self._rows[seconds] = _Row(seconds)
        deadline = Deadline(row, task, when)
        row.entries[deadline] = None
        if row.timer is None:
            row.timer = loop.call_at(when, self._look, loop, seconds)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """The wait is over; with the last one of a row its timer goes, too."""
        row = deadline.row
        if row.entries.pop(deadline, deadline) is None and not row.entries and row.timer is not None:
            row.timer.cancel()
            del self._rows[row.seconds]

    def _look(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        row = self._rows[seconds]
        now = loop.time()
        while row.entries:
            first = next(iter(row.entries))
            if first.when > now:
                row.timer = loop.call_at(first.when, self._look, loop, seconds)
                return
            del row.entries[first]
            first.expired = True
            first.task.cancel()
        del self._rows[seconds]
