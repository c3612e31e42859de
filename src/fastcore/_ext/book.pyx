# cython: freethreading_compatible=True
"""What a work queue knows of its keys: which are ready, delayed, being processed, and in what order they come.

    catalog: C hash table               an entry for each key that is ready, being processed or delayed (catalog.pxd)
    keys: list                          owns the keys, by slot, where the collector sees them
    levels: C, by priority              borrowed links: ready entries, a lane a group (levels.pxd)
    ready: C ring                       the same entries in the order in which they became ready
    processing: C ring                  entries handed out, oldest first
    timers: C heap                      delayed entries by due time
    crowd                               consumers that wait (waiting.pyx); empty on the fast path

A book belongs to one queue and is only used inside that queue's critical section. It reads no clock and wakes nobody:
it tells the crowd whom to wake.

User code runs in a key's `__hash__`, and in `__eq__` during `search`, which opens an operation before anything has
changed. Other threads may come in while it does. What `search` finds is true when it returns, and from there to the end
of the operation nothing compares, drops a reference or allocates a container. Only then are consumers signalled, which
allocates, so that the collector may run. References to keys that leave are handed over to the queue, which drops them
after the section: without a GIL, dropping one that another thread has made may suspend the section.

The collector may empty the list of keys while it breaks a cycle through the queue; operations look at that first. There
is no tp_clear for the same reason: that list breaks all cycles by itself.
"""

cimport cython
from cpython.list cimport PyList_Append
from cpython.object cimport Py_EQ, PyObject, PyObject_Hash, PyObject_RichCompareBool
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from fastcore._ext.catalog cimport (
    DELAYED, DIRTY, GONE, PROCESSING, READY, Entry, Party, catalog_add, catalog_chain, catalog_crowded,
    catalog_fit, catalog_free, catalog_keep, catalog_remove, party_drop, party_new,
)
from fastcore._ext.durations cimport counts_add
from fastcore._ext.levels cimport (
    Lane, Level, lanes_get, level_put, level_remove, level_take, levels_free, levels_get, levels_top, levels_trim,
)
from fastcore._ext.link cimport Link, ring_append, ring_empty, ring_init, ring_remove
from fastcore._ext.timers cimport timers_add, timers_free, timers_remove, timers_up

cdef extern from *:
    """
    /* Put `item` in place i, and hand over the reference that was there. Both steal and give. */
    static inline PyObject *fastcore_exchange(PyObject *list, Py_ssize_t i, PyObject *item) {
        PyObject *old = PyList_GET_ITEM(list, i);
        PyList_SET_ITEM(list, i, item);
        return old;
    }
    """
    # Of pointers, since Cython counts a reference wherever it hands a member on as an object.
    PyObject* exchange "fastcore_exchange"(PyObject* items, Py_ssize_t i, PyObject* item) noexcept
    Py_ssize_t PyList_GET_SIZE(PyObject* items) noexcept
    PyObject* PyList_GET_ITEM(PyObject* items, Py_ssize_t i) noexcept
    int PyList_SetSlice(PyObject* items, Py_ssize_t low, Py_ssize_t high, PyObject* by) except -1
    Py_ssize_t PyDict_GET_SIZE(PyObject* items) noexcept

cdef enum:
    CHANGED = 2         # an answer of `same`


cdef int reserve(list items, Py_ssize_t n) except -1:
    """Fill an empty list with `n` times None. Allocates nothing that the collector tracks."""
    while PyList_GET_SIZE(<PyObject*>items) < n:
        PyList_Append(items, None)
    return 0


cdef void hand_over(list items, Py_ssize_t i, PyObject* item) noexcept:
    """Put `item` in the place of a None, and its reference with it."""
    Py_DECREF(<object>exchange(<PyObject*>items, i, item))


@cython.final
cdef class Group:
    """Stands for one value of `fair_by`, or for all keys without it; compared by identity: no user code."""

    def __cinit__(self):
        self.party = party_new()

    def __dealloc__(self):
        if self.party != NULL:
            party_drop(self.party)


@cython.final
@cython.no_gc_clear
cdef class Book:
    """The keys of one queue."""

    def __cinit__(self):
        ring_init(&self.ready)
        ring_init(&self.processing)
        self.keys = []

    def __dealloc__(self):
        levels_free(&self.levels)
        timers_free(&self.timers)
        catalog_free(&self.catalog)

    cdef int put(self, object key, Party* party, int64_t delay, long long priority, bint again, int64_t now) except -1:
        """Mark `key` for the time in `delay`.

        `again` is a requeue: counted as a retry. Priority INT64_MAX stands for that of the last time it was handed out.
        """
        cdef Entry* entry = NULL
        cdef Py_hash_t hash
        if self.shut:
            return 0
        hash = PyObject_Hash(key)
        self.search(key, hash, &entry)
        if self.shut:       # while the keys were compared
            return 0
        if entry == NULL:
            if catalog_crowded(&self.catalog) or PyList_GET_SIZE(<PyObject*>self.keys) < self.catalog.room:
                self.fit()
            entry = catalog_add(&self.catalog, hash)
            party.holders += 1
            entry.party = party
            Py_INCREF(key)
            Py_DECREF(<object>exchange(<PyObject*>self.keys, entry.slot, <PyObject*>key))      # None
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
        if self.signals:
            self.signal()
        return 0

    cdef PyObject* take(self, int64_t now) except? NULL:
        """Hand out the next key, as a new reference, or NULL."""
        cdef Level* level
        cdef Entry* entry
        cdef PyObject* key
        now = self.advance(now)
        if self.signals:
            self.signal()
        if PyList_GET_SIZE(<PyObject*>self.keys) < self.catalog.size:
            self.abandon()
        if self.depth == 0:
            return NULL
        level = levels_top(&self.levels)
        entry = <Entry*>self.ready.next.owner
        if entry.priority < level.priority and now - entry.since > self.aging:
            self.aged_turn = not self.aged_turn
            if not self.aged_turn:
                level = entry.level
        entry = <Entry*>level_take(level).owner
        levels_trim(&self.levels, level)
        ring_remove(&entry.age)
        self.depth -= 1
        entry.state = (entry.state & ~READY) | PROCESSING
        entry.popped = entry.priority
        entry.since = now
        ring_append(&self.processing, &entry.line)
        self.running += 1
        counts_add(&self.queued, now - entry.added)
        key = PyList_GET_ITEM(<PyObject*>self.keys, entry.slot)
        Py_INCREF(<object>key)
        return key

    cdef int finish(self, object key, int64_t now, PyObject** gone) except -1:
        """Whether `key` was being processed, which has ended. If it has left, `gone` is a reference to drop."""
        cdef Entry* entry = <Entry*>self.processing.next.owner
        gone[0] = NULL
        if (        # most often it is the oldest; this spares a look-up
            entry == NULL or PyList_GET_SIZE(<PyObject*>self.keys) < self.catalog.size
            or PyList_GET_ITEM(<PyObject*>self.keys, entry.slot) != <PyObject*>key
        ):
            self.search(key, PyObject_Hash(key), &entry)
            if entry == NULL or not entry.state & PROCESSING:
                return 0
        now = self.advance(now)
        entry.state &= ~PROCESSING
        ring_remove(&entry.line)
        self.running -= 1
        counts_add(&self.worked, now - entry.since)
        if entry.state & DIRTY:
            entry.state &= ~DIRTY
            self.push(entry, now)
        elif entry.state == 0:
            gone[0] = self.drop(entry)
        if self.signals:
            self.signal()
        if self.shut and self.idle():
            self.crowd.release()
        return 1

    cdef int64_t advance(self, int64_t now) except? -1:
        """Mark the delayed keys that are due, in order of their due times. Returns `now`, or the highest time seen."""
        if now > self.last:
            self.last = now
        if self.timers.size:
            self.expire()
        return self.last

    cdef int expire(self) except -1:
        cdef Entry* entry
        while self.timers.size and self.timers.items[0].due <= self.last:
            entry = <Entry*>self.timers.items[0].owner
            timers_remove(&self.timers, &entry.timer)
            entry.state &= ~DELAYED
            self.mark(entry, entry.timer.due)
        return 0

    cdef Py_ssize_t count(self, int64_t now) except -1:
        """The number of ready keys."""
        self.advance(now)
        if self.signals:
            self.signal()
        return self.depth

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

    cdef int close(self, list gone) except -1:
        """End intake, and move the keys that were only delayed to `gone`."""
        cdef Py_ssize_t i, moved = 0
        cdef Entry* entry
        reserve(gone, self.timers.size)
        self.shut = True
        for i in range(self.timers.size):
            (<Entry*>self.timers.items[i].owner).state &= ~DELAYED
        self.timers.size = 0
        if PyList_GET_SIZE(<PyObject*>self.keys) < self.catalog.size:
            self.abandon()
        for i in range(self.catalog.size - 1, -1, -1):
            entry = self.catalog.entries[i]
            if entry.state == 0:
                hand_over(gone, moved, self.drop(entry))
                moved += 1
        self.crowd.end()
        return 0

    cdef Py_ssize_t discard(self, Party* party, list keys) except -1:
        """Drop all turns that keys of a group wait for. Returns how many; `keys` gets these keys and those in process.

        The caller holds the party. Room in `keys` is made first, so that nothing fails half-way.
        """
        cdef Py_ssize_t i, known = 0, dropped = 0
        cdef PyObject* key
        cdef Entry* entry
        if PyList_GET_SIZE(<PyObject*>self.keys) < self.catalog.size:
            self.abandon()
        for i in range(self.catalog.size):
            known += self.catalog.entries[i].party == party
        reserve(keys, known)
        known = 0
        for i in range(self.catalog.size - 1, -1, -1):      # who takes over a slot that becomes free was seen before
            entry = self.catalog.entries[i]
            if entry.party != party:
                continue
            if entry.state & (READY | DIRTY | DELAYED):
                self.withdraw(entry)
                dropped += 1
            if entry.state == 0:
                key = self.drop(entry)
            else:
                key = PyList_GET_ITEM(<PyObject*>self.keys, i)
                Py_INCREF(<object>key)
            hand_over(keys, known, key)
            known += 1
        if self.shut and self.idle():
            self.crowd.release()
        return dropped

    cdef int read(self, int64_t now, Figures* figures, dict depths) except -1:
        """Fill in all figures. Allocates nothing that the collector tracks: a collection may run user code."""
        cdef Link* link
        cdef Py_ssize_t i
        now = self.advance(now)
        figures.unfinished_ns = figures.longest_ns = 0
        link = self.processing.next
        if not ring_empty(&self.processing):
            figures.longest_ns = now - (<Entry*>link.owner).since
        while link != &self.processing:
            figures.unfinished_ns += now - (<Entry*>link.owner).since
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
        if self.signals:
            self.signal()
        return 0

    cdef int tell(self, object key, int64_t now, Facts* facts) except -1:
        """Fill in where `key` is; state 0 if it is nowhere."""
        cdef Entry* entry = NULL
        self.search(key, PyObject_Hash(key), &entry)
        now = self.advance(now)     # moves entries, and frees none
        facts.state = 0
        if entry != NULL:
            facts.state = entry.state
            facts.due = entry.timer.due - now if entry.state & DELAYED else -1
            facts.priority = entry.priority
            facts.since = -1
            if entry.state & PROCESSING:
                facts.since = now - entry.since
                if not entry.state & (DIRTY | DELAYED):
                    facts.priority = entry.popped
            elif entry.state & READY:
                facts.since = now - entry.added
        if self.signals:
            self.signal()
        return 0

    cdef int search(self, object key, Py_hash_t hash, Entry** found) except -1:
        """The entry of `key`, or NULL. An entry that comes meanwhile is met, being at the end of its chain."""
        cdef Entry* entry
        cdef int verdict
        found[0] = NULL
        while True:
            if PyList_GET_SIZE(<PyObject*>self.keys) < self.catalog.size:
                self.abandon()
            if self.catalog.size == 0:
                return 0
            entry = catalog_chain(&self.catalog, hash)[0]
            while entry != NULL:
                if entry.hash == hash:
                    if PyList_GET_ITEM(<PyObject*>self.keys, entry.slot) == <PyObject*>key:
                        verdict = True
                    else:
                        verdict = self.same(entry, key)
                    if verdict == CHANGED:
                        break
                    if verdict:
                        found[0] = entry
                        return 0
                entry = entry.next
            else:
                return 0

    cdef int same(self, Entry* entry, object key) except -1:
        """Whether `key` is that of `entry`; or CHANGED, if the entry or the place of its chain is not what it was."""
        cdef uint64_t layout = self.catalog.layout
        cdef bint equal, gone
        known = <object>PyList_GET_ITEM(<PyObject*>self.keys, entry.slot)
        entry.readers += 1
        try:
            equal = PyObject_RichCompareBool(known, key, Py_EQ)
        finally:
            entry.readers -= 1
            gone = entry.state == GONE
            if gone and entry.readers == 0:
                catalog_keep(&self.catalog, entry)
        return CHANGED if gone or layout != self.catalog.layout else equal

    cdef int fit(self) except -1:
        """Bring the catalog and the list of keys to the size that suits."""
        catalog_fit(&self.catalog)
        while PyList_GET_SIZE(<PyObject*>self.keys) < self.catalog.room:
            PyList_Append(self.keys, None)
        if PyList_GET_SIZE(<PyObject*>self.keys) > self.catalog.room:
            PyList_SetSlice(<PyObject*>self.keys, self.catalog.room, PyList_GET_SIZE(<PyObject*>self.keys), NULL)
        return 0

    cdef PyObject* drop(self, Entry* entry) noexcept:
        """Take out an entry that is linked nowhere else. Returns the reference to its key."""
        cdef Py_ssize_t slot = entry.slot, last
        cdef PyObject* key
        party_drop(entry.party)
        last = catalog_remove(&self.catalog, entry)
        Py_INCREF(None)
        key = exchange(<PyObject*>self.keys, last, <PyObject*>None)
        return key if slot == last else exchange(<PyObject*>self.keys, slot, key)

    cdef void withdraw(self, Entry* entry) noexcept:
        """Take away the turn that a key waits for, whatever for."""
        if entry.state & READY:
            level_remove(entry.level, entry.lane, &entry.line)
            levels_trim(&self.levels, entry.level)
            ring_remove(&entry.age)
            self.depth -= 1
        if entry.state & DELAYED:
            timers_remove(&self.timers, &entry.timer)
        entry.state &= ~(READY | DIRTY | DELAYED)

    cdef void abandon(self) noexcept:
        """Forget all entries: the collector has taken their keys."""
        cdef Entry* entry
        while self.catalog.size:
            entry = self.catalog.entries[self.catalog.size - 1]
            self.withdraw(entry)
            ring_remove(&entry.line)
            party_drop(entry.party)
            catalog_remove(&self.catalog, entry)
        self.running = 0

    cdef int raise_priority(self, Entry* entry, int priority) except -1:
        cdef Level* level
        cdef Lane* lane
        if priority <= entry.priority:
            return 0
        if entry.state & READY:
            level = levels_get(&self.levels, priority)
            lane = lanes_get(&entry.party.lanes, priority)
            level_remove(entry.level, entry.lane, &entry.line)
            levels_trim(&self.levels, entry.level)
            entry.level = level
            entry.lane = lane
            level_put(level, lane, &entry.line)
        entry.priority = priority
        return 0

    cdef int delay(self, Entry* entry, int64_t due, int priority) except -1:
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
        if self.timers.items[0] == &entry.timer and PyDict_GET_SIZE(<PyObject*>self.crowd.consumers):
            self.crowd.rearm()
        return 0

    cdef int mark(self, Entry* entry, int64_t now) except -1:
        """The key is to be processed: now, or once its processing has ended."""
        self.adds += 1
        entry.added = now
        if entry.state & PROCESSING:
            entry.state |= DIRTY
        else:
            self.push(entry, now)
        return 0

    cdef int push(self, Entry* entry, int64_t now) except -1:
        cdef Level* level = levels_get(&self.levels, entry.priority)
        cdef Lane* lane = lanes_get(&entry.party.lanes, entry.priority)
        entry.level = level
        entry.lane = lane
        level_put(level, lane, &entry.line)
        entry.since = now
        entry.state |= READY
        ring_append(&self.ready, &entry.age)
        self.depth += 1
        if PyDict_GET_SIZE(<PyObject*>self.crowd.consumers):
            self.signals += 1
        return 0

    cdef int signal(self) except -1:
        cdef Py_ssize_t signals = self.signals
        self.signals = 0
        while signals:
            self.crowd.signal()
            signals -= 1
        return 0
