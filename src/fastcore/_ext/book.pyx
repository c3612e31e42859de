# cython: freethreading_compatible=True
"""What a work queue knows of its keys: which are ready, delayed, being processed, and in what order they come.

    items: dict key -> Entry            owns every entry that is ready, being processed or delayed
    levels: C, by priority              borrowed links: ready entries, a lane a group (levels.pxd)
    ready: C ring                       the same entries in the order in which they became ready
    processing: C ring                  entries handed out, oldest first
    timers: C heap                      delayed entries by due time
    spare: Entry                        the last one that was dropped, for the next new key: saves making one
    crowd                               consumers that wait (waiting.pyx); empty on the fast path

A book belongs to one queue and is only used inside that queue's critical section. It reads no clock and wakes nobody:
it tells the crowd whom to wake.

User code runs: in a key's `__hash__` and `__eq__`, on the dict call that opens an operation (nothing has changed yet)
and on the `pop` in `finish`, while the entry still counts as being processed. Dict calls may let other threads in on a
free-threaded build, so that after each of them the entry's state is read anew. Entries leave the dict in `finish`
alone. One is used again only while nobody else holds it: a call that user code interrupts may.
"""

cimport cython
from cpython.ref cimport Py_REFCNT
from libc.stdint cimport INT64_MAX, int64_t

from fastcore._ext.durations cimport counts_add
from fastcore._ext.levels cimport (
    Lane, Level, lanes_free, lanes_get, level_put, level_remove, level_take, levels_free, levels_get, levels_top,
    levels_trim,
)
from fastcore._ext.link cimport Link, ring_append, ring_empty, ring_init, ring_remove
from fastcore._ext.timers cimport timers_add, timers_free, timers_remove, timers_up

cdef enum:
    READY = 1
    PROCESSING = 2
    DIRTY = 4           # added while being processed
    DELAYED = 8


@cython.final
cdef class Group:
    """Stands for one value of `fair_by`, or for all keys without it; compared by identity: no user code."""

    def __dealloc__(self):
        lanes_free(&self.lanes)


@cython.final
@cython.freelist(64)
cdef class Entry:
    """All that the queue knows of one key."""

    def __cinit__(self):
        self.line.owner = self.age.owner = self.timer.owner = <void*>self


@cython.final
cdef class Book:
    """The keys of one queue."""

    def __cinit__(self):
        ring_init(&self.ready)
        ring_init(&self.processing)
        self.items = {}

    def __dealloc__(self):
        levels_free(&self.levels)
        timers_free(&self.timers)

    cdef int put(self, object key, Group group, int64_t delay, long long priority, bint again, int64_t now) except -1:
        """Mark `key` for the time in `delay`.

        `again` is a requeue: counted as a retry. Priority INT64_MAX stands for that of the last time it was handed out.
        """
        cdef Entry fresh = self.spare, entry
        if self.shut:
            return 0
        if fresh is None:
            fresh = Entry.__new__(Entry)
        self.spare = None
        fresh.key = key
        fresh.group = group
        fresh.settled = True
        entry = self.items.setdefault(key, fresh)
        if entry is fresh:
            group.members += 1
        else:
            self.keep(fresh)
        if self.shut:       # while the keys were compared
            return 0
        now = self.advance(now)
        if priority == INT64_MAX:
            priority = entry.popped if entry.state & PROCESSING else 0
        if again and delay > 0:
            self.retries += 1
        if entry.state & (READY | DIRTY):
            self.raise_priority(entry, <int>priority)
        elif delay > 0:
            self.delay(entry, now + delay if delay < INT64_MAX - now else INT64_MAX, <int>priority)
        else:
            if entry.state & DELAYED:
                priority = max(priority, <long long>entry.priority)
                entry.state &= ~DELAYED
                timers_remove(&self.timers, &entry.timer)
            entry.priority = <int>priority
            self.mark(entry, now)
        return 0

    cdef Entry take(self, int64_t now):
        """Hand out the next key, or None."""
        cdef Level* level
        cdef Entry entry
        now = self.advance(now)
        if self.depth == 0:
            return None
        level = levels_top(&self.levels)
        entry = <Entry>self.ready.next.owner
        if entry.priority < level.priority and now - entry.ready_at > self.aging:
            self.aged_turn = not self.aged_turn
            if not self.aged_turn:
                level = entry.level
        entry = <Entry>level_take(level).owner
        levels_trim(&self.levels, level)
        ring_remove(&entry.age)
        self.depth -= 1
        entry.state = (entry.state & ~READY) | PROCESSING
        entry.popped = entry.priority
        entry.started = now
        ring_append(&self.processing, &entry.line)
        self.running += 1
        counts_add(&self.queued, now - entry.added)
        return entry

    cdef Entry finish(self, object key, int64_t now):
        """The entry whose processing has ended, or None if it is not being processed."""
        cdef Entry entry = None, gone
        if self.running and (<Entry>self.processing.next.owner).key is key:
            entry = <Entry>self.processing.next.owner       # most often it is the oldest; this spares a look-up
        if entry is None or not entry.settled:
            entry = self.items.get(key)
        if entry is None or not entry.state & PROCESSING:
            return None
        if entry.state == PROCESSING:
            entry.settled = False
            gone = self.items.pop(key, None)
            if gone is entry and entry.state == PROCESSING:
                entry.group.members -= 1
            elif gone is not None:
                self.put_back(key, gone)
            gone = None     # for `keep`
            if not entry.state & PROCESSING:
                return entry
        now = self.advance(now)
        entry.state &= ~PROCESSING
        ring_remove(&entry.line)
        self.running -= 1
        counts_add(&self.worked, now - entry.started)
        if entry.state & DIRTY:
            entry.state &= ~DIRTY
            self.push(entry, now)
        if self.shut and self.idle():
            self.crowd.release()
        if entry.state == 0 and entry.key is key:
            self.keep(entry)
        return entry

    cdef int64_t advance(self, int64_t now) except? -1:
        """Mark the delayed keys that are due, in order of their due times. Returns `now`, or the highest time seen."""
        if now > self.last:
            self.last = now
        if self.timers.size:
            self.expire()
        return self.last

    cdef int expire(self) except -1:
        cdef Entry entry
        while self.timers.size and self.timers.items[0].due <= self.last:
            entry = <Entry>self.timers.items[0].owner
            timers_remove(&self.timers, &entry.timer)
            entry.state &= ~DELAYED
            self.mark(entry, entry.timer.due)
        return 0

    cdef int64_t next_due(self, int64_t now) noexcept:
        """Nanoseconds from `now` until the next delayed key is due; INT64_MAX if there is none."""
        return self.timers.items[0].due - max(now, self.last) if self.timers.size else INT64_MAX

    cdef int hand_on(self) except -1:
        """Let another consumer see to what is there, or to the next delayed key."""
        if self.depth or (self.timers.size and self.crowd.leader is None):
            self.crowd.signal()
        return 0

    cdef bint idle(self) noexcept:
        return self.depth == 0 and self.running == 0

    cdef int close(self) except -1:
        """End intake. Entries that were only delayed stay in the dict, idle, until the queue goes."""
        cdef Py_ssize_t i
        self.shut = True
        for i in range(self.timers.size):
            (<Entry>self.timers.items[i].owner).state &= ~DELAYED
        self.timers.size = 0
        self.crowd.end()
        return 0

    cdef int read(self, int64_t now, Figures* figures, dict depths) except -1:
        """Fill in all figures. Allocates nothing that the collector tracks: a collection may run user code."""
        cdef Link* link
        cdef Py_ssize_t i
        now = self.advance(now)
        figures.unfinished_ns = figures.longest_ns = 0
        link = self.processing.next
        if not ring_empty(&self.processing):
            figures.longest_ns = now - (<Entry>link.owner).started
        while link != &self.processing:
            figures.unfinished_ns += now - (<Entry>link.owner).started
            link = link.next
        for i in range(self.levels.size - 1, -1, -1):
            if self.levels.items[i].count:
                depths[self.levels.items[i].priority] = self.levels.items[i].count
        figures.depth = self.depth
        figures.running = self.running
        figures.delayed = self.timers.size
        figures.adds = self.adds
        figures.retries = self.retries
        figures.queued = self.queued
        figures.worked = self.worked
        return 0

    cdef int raise_priority(self, Entry entry, int priority) except -1:
        cdef Level* level
        cdef Lane* lane
        if priority <= entry.priority:
            return 0
        if entry.state & READY:
            level = levels_get(&self.levels, priority)
            lane = lanes_get(&entry.group.lanes, priority)
            level_remove(entry.level, entry.lane, &entry.line)
            levels_trim(&self.levels, entry.level)
            self.link(entry, level, lane)
        entry.priority = priority
        return 0

    cdef void link(self, Entry entry, Level* level, Lane* lane) noexcept:
        entry.level = level
        entry.lane = lane
        level_put(level, lane, &entry.line)

    cdef int delay(self, Entry entry, int64_t due, int priority) except -1:
        if entry.state & DELAYED:
            entry.priority = max(priority, entry.priority)
            if due >= entry.timer.due:
                return 0
            self.seq += 1
            entry.timer.due = due
            entry.timer.seq = self.seq
            timers_up(&self.timers, &entry.timer)
        else:
            self.seq += 1
            entry.timer.due = due
            entry.timer.seq = self.seq
            timers_add(&self.timers, &entry.timer)
            entry.state |= DELAYED
            entry.priority = priority
        if self.timers.items[0] == &entry.timer and len(self.crowd.consumers):
            self.crowd.rearm()
        return 0

    cdef int mark(self, Entry entry, int64_t now) except -1:
        """The key is to be processed: now, or once its processing has ended."""
        self.adds += 1
        entry.added = now
        if entry.state & PROCESSING:
            entry.state |= DIRTY
        else:
            self.push(entry, now)
        return 0

    cdef int push(self, Entry entry, int64_t now) except -1:
        cdef Level* level = levels_get(&self.levels, entry.priority)
        self.link(entry, level, lanes_get(&entry.group.lanes, entry.priority))
        entry.ready_at = now
        entry.state |= READY
        ring_append(&self.ready, &entry.age)
        self.depth += 1
        if len(self.crowd.consumers):
            self.crowd.signal()
        return 0

    cdef int put_back(self, object key, Entry gone) except -1:
        """Undo the removal of an entry that `__eq__` has used meanwhile, unless a new one has taken its place."""
        cdef Entry kept = None
        gone.settled = False
        try:
            kept = self.items.setdefault(key, gone)
        finally:
            if kept is not gone:
                self.dismiss(gone)
        return 0

    cdef void dismiss(self, Entry entry) noexcept:
        """Unlink an entry that the dict no longer owns."""
        if entry.state & READY:
            level_remove(entry.level, entry.lane, &entry.line)
            ring_remove(&entry.age)
            self.depth -= 1
        if entry.state & PROCESSING:
            ring_remove(&entry.line)
            self.running -= 1
        if entry.state & DELAYED:
            timers_remove(&self.timers, &entry.timer)
        entry.state = 0
        entry.group.members -= 1

    cdef void keep(self, Entry entry) noexcept:
        """Keep an idle entry for the next new key, unless somebody else holds it too; its key is held by the caller."""
        if Py_REFCNT(entry) == 1:
            entry.key = None
            self.spare = entry
