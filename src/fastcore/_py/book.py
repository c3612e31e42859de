"""What a work queue knows of its keys: which are ready, delayed, being processed, and in what order they come.

A key has an entry in `_chains` while it is ready, being processed or delayed: entries of keys with the same hash form a
chain. Ready keys stand in `_ready`, in the order in which they became ready, and in `_levels`, by priority and group. A
book belongs to one queue and is only used under that queue's lock. It reads no clock and wakes nobody: it tells the
crowd whom to wake.

User code runs in a key's `__hash__`, and in `__eq__` during `_search`, which opens an operation before anything has
changed. What `_search` finds is true when it returns.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

from fastcore._py.delays import Delays
from fastcore._py.durations import Counts, Durations
from fastcore._py.levels import Entry, Group, Levels
from fastcore._py.waiting import NEVER, Crowd

_READY, _PROCESSING, _DIRTY, _DELAYED, _GONE = 1, 2, 4, 8, 16


class QueueStats(NamedTuple):
    """What a queue holds and has done, at one moment; times in seconds."""

    name: str
    depth: int
    depth_by_priority: dict[int, int]
    processing: int
    delayed: int
    adds: int
    retries: int
    unfinished_work: float
    longest_running: float
    queue_duration: Durations
    work_duration: Durations


class KeyState(NamedTuple):
    """Where a queue has a key, at one moment; times in seconds.

    Fields:
        state: "ready", "processing" or "delayed".
        priority: of its turn, now or next.
        since: how long it has been ready or processed; None while it is delayed.
        due: until its delay ends; None if there is none.
        again: it was added while being processed, so that it will be ready after `done`.
    """

    state: str
    priority: int
    since: float | None
    due: float | None
    again: bool


class Book:
    """The keys of one queue."""

    def __init__(self, crowd: Crowd, aging: int) -> None:
        self._crowd = crowd
        self._aging = aging
        self._aged_turn = False
        self._chains: dict[int, list[Entry]] = {}
        self._levels = Levels()
        self._ready: OrderedDict[Entry, None] = OrderedDict()
        self._processing: dict[Entry, None] = {}
        self._delays = Delays()
        self._last = self._adds = self._retries = 0
        self._queued = Counts()
        self._worked = Counts()
        self.shut = False

    def put(self, key: Any, group: Group, delay: int, priority: int | None, again: bool, now: int) -> None:
        """Mark `key` for the time in `delay`.

        `again` is a requeue: counted as a retry. Priority None stands for the one that the key was handed out with.
        """
        code = hash(key)
        entry = self._search(key, code)
        if self.shut:  # since the queue looked, or while the keys were compared
            return
        if entry is None:
            entry = Entry(key, code, group)
            self._chains.setdefault(code, []).append(entry)
            group.members += 1
        now = self.advance(now)
        if priority is None:
            priority = entry.popped if entry.state & _PROCESSING else 0
        if again and delay > 0:
            self._retries += 1
        if entry.state & (_READY | _DIRTY):
            self._raise_priority(entry, priority)
        elif delay > 0:
            self._delay(entry, min(now + delay, NEVER), priority)
        else:
            if entry.state & _DELAYED:
                priority = max(priority, entry.priority)
                entry.state &= ~_DELAYED
                self._delays.cancel(entry)
            entry.priority = priority
            self._mark(entry, now)

    def take(self, now: int) -> Entry | None:
        """Hand out the next key, or None."""
        now = self.advance(now)
        if not self._ready:
            return None
        priority = self._levels.top()
        oldest = next(iter(self._ready))
        if oldest.priority < priority and now - oldest.ready_at > self._aging:
            self._aged_turn = not self._aged_turn
            if not self._aged_turn:
                priority = oldest.priority
        entry = self._levels.take(priority)
        del self._ready[entry]
        entry.state = (entry.state & ~_READY) | _PROCESSING
        entry.popped, entry.started = entry.priority, now
        self._processing[entry] = None
        self._queued.add(now - entry.added)
        return entry

    def finish(self, key: Any, now: int) -> Entry | None:
        """The entry whose processing has ended, or None if it is not being processed."""
        entry = self._search(key, hash(key))
        if entry is None or not entry.state & _PROCESSING:
            return None
        now = self.advance(now)
        entry.state &= ~_PROCESSING
        del self._processing[entry]
        self._worked.add(now - entry.started)
        if entry.state & _DIRTY:
            entry.state &= ~_DIRTY
            self._push(entry, now)
        elif not entry.state:
            self._drop(entry)
        if self.shut and self.idle():
            self._crowd.release()
        return entry

    def advance(self, now: int) -> int:
        """Mark the delayed keys that are due, in order of their due times. Returns `now`, or the highest time seen."""
        self._last = max(self._last, now)
        while (entry := self._delays.first()) is not None and entry.due <= self._last:
            self._delays.cancel(entry)
            entry.state &= ~_DELAYED
            self._mark(entry, entry.due)
        return self._last

    def next_due(self, now: int) -> int:
        """Nanoseconds from `now` until the next delayed key is due; NEVER if there is none."""
        entry = self._delays.first()
        return NEVER if entry is None else entry.due - max(now, self._last)

    def hand_on(self) -> None:
        """Let another consumer see to what is there, or to the next delayed key."""
        if self._ready or (self._delays.count and self._crowd.leader is None):
            self._crowd.signal()

    def depth(self) -> int:
        """The number of ready keys."""
        return len(self._ready)

    def delayed(self) -> int:
        """The number of delayed keys."""
        return self._delays.count

    def idle(self) -> bool:
        """Whether no key is ready or being processed."""
        return not self._ready and not self._processing

    def close(self) -> list[Entry]:
        """End intake, and take out the keys that were only delayed."""
        self.shut = True
        delayed = self._delays.clear()
        for entry in delayed:
            entry.state &= ~_DELAYED
            if not entry.state:
                self._drop(entry)
        self._crowd.end()
        return delayed

    def discard(self, group: Group) -> tuple[int, list[Entry]]:
        """Drop all turns that keys of a group wait for: how many; and the entries of these keys and those in process.

        The caller lets go of the entries after the lock.
        """
        entries = [entry for chain in self._chains.values() for entry in chain if entry.group is group]
        dropped = 0
        for entry in entries:
            if entry.state & (_READY | _DIRTY | _DELAYED):
                dropped += 1
            if entry.state & _READY:
                self._levels.remove(entry)
                del self._ready[entry]
            if entry.state & _DELAYED:
                self._delays.cancel(entry)
            entry.state &= _PROCESSING
            if not entry.state:
                self._drop(entry)
        self._delays.prune()
        if self.shut and self.idle():
            self._crowd.release()
        return dropped, entries

    def read(self, now: int, name: str) -> QueueStats:
        """All figures."""
        now = self.advance(now)
        running = [now - entry.started for entry in self._processing]
        return QueueStats(
            name=name,
            depth=len(self._ready),
            depth_by_priority=self._levels.depths(),
            processing=len(running),
            delayed=self._delays.count,
            adds=self._adds,
            retries=self._retries,
            unfinished_work=sum(running) / 1e9,
            longest_running=max(running, default=0) / 1e9,
            queue_duration=self._queued.snapshot(),
            work_duration=self._worked.snapshot(),
        )

    def tell(self, key: Any, now: int) -> KeyState | None:
        """Where `key` is, or None if it is nowhere."""
        entry = self._search(key, hash(key))
        now = self.advance(now)
        if entry is None:
            return None
        due = (entry.due - now) / 1e9 if entry.state & _DELAYED else None
        again = bool(entry.state & _DIRTY)
        if entry.state & _PROCESSING:
            priority = entry.priority if entry.state & (_DIRTY | _DELAYED) else entry.popped
            return KeyState("processing", priority, (now - entry.started) / 1e9, due, again)
        if entry.state & _READY:
            return KeyState("ready", entry.priority, (now - entry.added) / 1e9, due, again)
        return KeyState("delayed", entry.priority, None, due, again)

    def _raise_priority(self, entry: Entry, priority: int) -> None:
        if priority <= entry.priority:
            return
        if entry.state & _READY:
            self._levels.remove(entry)
            entry.priority = priority
            self._levels.put(entry)
        else:
            entry.priority = priority

    def _delay(self, entry: Entry, due: int, priority: int) -> None:
        if entry.state & _DELAYED:
            entry.priority = max(priority, entry.priority)
            if due >= entry.due:
                return
        else:
            entry.state |= _DELAYED
            entry.priority = priority
        self._delays.put(entry, due)
        if self._delays.first() is entry:
            self._crowd.rearm()

    def _mark(self, entry: Entry, now: int) -> None:
        """The key is to be processed: now, or once its processing has ended."""
        self._adds += 1
        entry.added = now
        if entry.state & _PROCESSING:
            entry.state |= _DIRTY
        else:
            self._push(entry, now)

    def _push(self, entry: Entry, now: int) -> None:
        self._levels.put(entry)
        entry.ready_at = now
        entry.state |= _READY
        self._ready[entry] = None
        self._crowd.signal()

    def _search(self, key: Any, code: int) -> Entry | None:
        """The entry of `key`. One that comes meanwhile is met, being at the end of its chain."""
        place = 0
        while place < len(chain := self._chains.get(code, [])):
            entry = chain[place]
            equal = entry.key is key or entry.key == key
            if entry.state == _GONE:
                place = 0
            elif equal:
                return entry
            else:
                place = self._chains[code].index(entry) + 1
        return None

    def _drop(self, entry: Entry) -> None:
        """Take out an entry that is nowhere else."""
        chain = self._chains[entry.code]
        chain.remove(entry)
        if not chain:
            del self._chains[entry.code]
        entry.state = _GONE
        entry.group.members -= 1
