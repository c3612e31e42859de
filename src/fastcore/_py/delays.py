"""Delayed keys by due time, then by age: a heap whose stale entries are skipped."""

from heapq import heapify, heappop, heappush

from fastcore._py.levels import Entry


class Delays:
    """At most one due time a key; `entry.seq` is 0 while it has none."""

    __slots__ = ("_heap", "_seq", "count")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Entry]] = []
        self._seq = 0
        self.count = 0

    def put(self, entry: Entry, due: int) -> None:
        """Set the due time of `entry`, in place of one that it may have."""
        if entry.seq == 0:
            self.count += 1
        self._seq += 1
        entry.due, entry.seq = due, self._seq
        heappush(self._heap, (due, entry.seq, entry))
        if len(self._heap) > 2 * self.count + 64:
            self.prune()

    def prune(self) -> None:
        """Let go of stale entries, once all is in order: the keys that end with them may use the queue."""
        stale = self._heap
        heap = [item for item in stale if item[2].seq == item[1]]
        heapify(heap)
        self._heap = heap

    def cancel(self, entry: Entry) -> None:
        """Take out an entry that `put` added."""
        entry.seq = 0
        self.count -= 1

    def first(self) -> Entry | None:
        """The entry that is due next."""
        while self._heap and self._heap[0][2].seq != self._heap[0][1]:
            heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def clear(self) -> list[Entry]:
        """Take all out."""
        entries = [entry for _, seq, entry in self._heap if entry.seq == seq]
        for entry in entries:
            self.cancel(entry)
        self._heap = []
        return entries
