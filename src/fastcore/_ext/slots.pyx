# cython: freethreading_compatible=True
"""What the compiled caches are made of: slots for entries, found by key, ordered by use, weighed and counted.

`ring.pxd` draws the structure. An entry is a numbered slot: an index of integers finds it by hash, a ring of integers
orders it by use, a Python list owns its key and value, so that the collector sees them and walks them quickly.

User code may run at: the hash of a key, which callers take first; the comparison of keys in `search` and in the dict of
loads; the drop of displaced keys and values, which callers do after their critical section, and of keys that vanish
while `search` holds them. What `search` and `locate` answer is true after the last comparison and the last drop; from
there to the end of the critical section nothing allocates a container or drops a last reference, so no user code sees
or disturbs a half-done step.

As long as no key or value can be part of a cycle the collector does not walk the list at all (`collector.pxd`).

The collector may empty the list while it breaks a cycle that runs through the cache; it is then shorter than `used`
asks for, and every path into it looks at that first. There is no tp_clear for the same reason: this list, and the one
that holds the callables, break all cycles by themselves.
"""

cimport cython
from cpython.object cimport Py_EQ, PyObject_RichCompareBool
from cpython.ref cimport Py_XDECREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE

from importlib import import_module

from fastcore._ext.listeners cimport note
from fastcore._ext.sampler cimport samples
from fastcore._ext.tags cimport Tags, exact
from fastcore._ext.ring cimport (
    FREE, PyMem_Free, PyMem_Realloc, SMALL, table_close, table_enter, table_grow, table_leave, table_open,
    table_release, table_take
)

cdef class Load:
    """A load in flight; a fenced one must not store its result.

    The cache fences it when its key is set, removed or invalidated. Subclasses add what waiters need.
    """

    def __cinit__(self, *args, **kwargs):
        self.tags = ()

    def _tag(self, tags, /):
        """Give what is going to be stored these tags, before it is begun."""
        self.tags = exact(tags)
        self.fresh = [set() for _ in self.tags]


@cython.no_gc_clear
cdef class Slots:
    """The entries of a cache, without a policy or a public method."""

    def __cinit__(self):
        if not table_open(&self.table):
            raise MemoryError
        self.items = no_items()
        self.hooks = [None] * 6
        self.flights = {}
        self.maxsize_given = 0

    def __dealloc__(self):
        table_close(&self.table)
        PyMem_Free(self.weights)

    # -- hooks of a cache with deadlines: these do without ------------------------------------------------------------

    cdef int read_clock(self, uint64_t *now) except -1:
        now[0] = 0
        return 0

    cdef bint dead(self, uint32_t slot, uint64_t now) noexcept:
        return self.flags & WEAK and held(self, slot) is None

    cdef void disarm(self, uint32_t slot) noexcept:
        pass

    cdef int widen(self, uint32_t capacity) except -1:
        """Give the side arrays room for `capacity` slots."""
        cdef double *weights
        if self.flags & WEIGHS:
            weights = <double *>PyMem_Realloc(self.weights, capacity * sizeof(double))
            if weights == NULL:
                raise MemoryError
            self.weights = weights
        return 0

    cdef void forget(self) noexcept:
        """All entries are about to go: drop what `disarm` would."""

    cdef int sweep(self, uint64_t now, list trash) except -1:
        """Remove the entries that are dead at `now` into `trash`: here, those whose values were weakly held."""
        cdef object reference
        cdef uint32_t slot
        while self.flags & WEAK and self.hooks[DEATHS]:
            reference = self.hooks[DEATHS].popleft()
            slot = reference.slot
            if slot < self.table.used and self.table.slots[slot].prev != FREE and value_at(self, slot) is reference:
                self.discard(slot, trash, "collected")
                self.counters.expirations += 1
        return 0

    # -- parts: all of them run inside the critical section of the caller ----------------------------------------------

    cdef int intact(self) except -1:
        """Wait for an `on_eviction` of another thread; refuse to go on when the collector has emptied the list."""
        while PyList_GET_SIZE(self.items) < 2 * <Py_ssize_t>self.table.used:
            if self.listeners is None or self.items is not self.listeners.nothing:
                raise RuntimeError(f"{type(self).__name__} is being collected")
            self.listeners.wait(self)
        return 0

    cdef int64_t search(self, object key, uint32_t hash) except -1:
        """As `find`, for keys that are equal without being identical, and when the collector took the lists.

        A comparison may change the cache. One that says no is not repeated when the search starts over: the key is
        held until the search has an answer, and so known again. Those that were removed meanwhile die here, and if that
        changes the cache too, the search starts over once more. So it ends after as many comparisons as there are keys
        with this hash, times the number of those that die.
        """
        cdef Table *t = &self.table
        cdef uint32_t pos, cell, slot = 0
        cdef uint64_t version
        cdef list rejected = None
        cdef object candidate = None
        cdef bint equal, changed
        while True:
            if PyList_GET_SIZE(self.items) < 2 * <Py_ssize_t>t.used:
                self.intact()
            version = t.version
            changed = False
            pos = table_home(t, hash)
            while True:
                cell = t.cells[pos]
                slot = cell & ((<uint32_t>1 << t.width) - 1)
                if cell == 0:
                    break
                if t.slots[slot].hash == hash:
                    candidate = key_at(self, slot)
                    if candidate is key or same_tuples(candidate, key):
                        break
                    if rejected is None or not is_among(rejected, candidate):
                        equal = PyObject_RichCompareBool(candidate, key, Py_EQ)
                        changed = version != t.version
                        if equal:
                            changed = changed and not self.holds(slot, candidate)
                            break
                        if changed:
                            if rejected is None:
                                rejected = []
                            rejected.append(candidate)
                            break
                pos = (pos + 1) & ((<uint32_t>1 << t.bits) - 1)
            if not changed:
                if rejected is None:
                    return slot     # `candidate` is in the cache, so its drop runs nothing
                version = t.version
                candidate = rejected = None
                if version == t.version and PyList_GET_SIZE(self.items) >= 2 * <Py_ssize_t>t.used:
                    return slot
            candidate = None        # before the search starts over: its drop may change the cache

    cdef bint holds(self, uint32_t slot, object key) noexcept:
        """Whether `slot` is in use and holds this very key."""
        return (
            slot < self.table.used
            and 2 * <Py_ssize_t>slot < PyList_GET_SIZE(self.items)
            and self.table.slots[slot].prev != FREE
            and key_at(self, slot) is key
        )

    cdef void detach(self, uint32_t slot, Gone *gone) noexcept:
        """Take an entry out, its references into `gone`."""
        self.disarm(slot)
        if self.tagged:
            self.tags.remove(slot)
        remove(self, slot, gone)

    cdef int discard(self, uint32_t slot, list trash, str cause="size") except -1:
        """Take an entry out, its references into `trash`."""
        cdef Gone gone
        if self.sampler is not None and cause != "size":
            unseen(self, self.table.slots[slot].hash)
        note(trash, key_at(self, slot), value_at(self, slot), cause)
        self.detach(slot, &gone)
        drop(&gone)     # `trash` holds them still
        return 0

    cdef int shrink(self, list trash, double limit) except -1:
        """Evict the least recently used until the rest fits into `limit`."""
        cdef uint32_t slot
        while (self.table.count if self.weights == NULL else self.total) > limit:
            slot = self.table.slots[MAIN].next
            if slot == MAIN:
                break
            if self.weights != NULL and slot == self.table.slots[MAIN].prev:
                self.total = self.weights[slot]     # what is alone is not evicted by the drift of fractions
                if self.total <= limit:
                    break
            self.discard(slot, trash)
            self.counters.evictions += 1
            self.changes += 1
        return 0

    cdef uint32_t oldest(self) noexcept:
        """The slot to go first; 0 if there is none."""
        cdef Slot *slots = self.table.slots
        if slots[MAIN].next != MAIN:
            return slots[MAIN].next
        return slots[PINNED].next if slots[PINNED].next != PINNED else 0

    # A class that queues: make room for an entry of `weight` and say on which ring it goes; it stands there, its weight
    # is known; it is set again, at `weight`, its value exchanged.

    cdef uint32_t admit(self, uint32_t hash, double weight, Gone *gone, list trash) except? 0xFFFFFFFF:
        return MAIN

    cdef void placed(self, uint32_t slot, uint32_t root) noexcept:
        pass

    cdef int reuse(self, uint32_t slot, double weight, list trash) except -1:
        return 0

    cdef int64_t put(
        self, object key, object value, double weight, uint32_t hash, Load load, Gone *gone, list trash
    ) except -1:
        """Store an entry that fits, fence a load of its key; the slot, or 0 if it is not stored."""
        cdef PyObject *flight = NULL
        cdef Slot *slots
        cdef uint32_t slot = <uint32_t>locate(self, key, hash, &flight)
        cdef uint32_t root = PINNED if weight == 0 else MAIN
        cdef bint replaced = slot != 0
        if load is not None and load.fenced:
            return 0
        if weight > self.limit:
            # The cache shrank while keys were compared: as if that had come after this.
            if flight != NULL:
                (<Load>flight).fenced = True
            if slot:
                if trash is None:
                    self.detach(slot, gone)
                else:
                    self.discard(slot, trash)
                self.counters.evictions += 1
                self.changes += 1
            return 0
        if slot:
            hold(self, value)
            gone.value = swap(self.items, 2 * <Py_ssize_t>slot + 1, value)
            if self.tagged:
                self.tags.remove(slot)
            if self.flags & QUEUES:
                self.reuse(slot, weight, trash)
            else:
                slots = self.table.slots
                ring_unlink(slots, slot)
                ring_link(slots, root, slot)
                if self.weights != NULL:
                    self.total += weight - self.weights[slot]
                    self.weights[slot] = weight
            self.counters.updates += 1
        else:
            if self.flags & QUEUES:
                root = self.admit(hash, weight, gone, trash)
                reserve(self)
            elif (self.flags & LISTENS or self.tagged) and not self.flags & WEIGHS:
                if trash is not None:
                    self.shrink(trash, <double>self.most - 1)
                elif self.table.count >= self.most:
                    self.detach(self.table.slots[MAIN].next, gone)
                    self.counters.evictions += 1
                reserve(self)
            elif not self.flags & WEIGHS and self.table.count >= self.most:
                # The least recently used gives its slot, and the deadline in it, which the caller moves.
                remove(self, self.table.slots[MAIN].next, gone)
                self.counters.evictions += 1
            else:
                reserve(self)
            slot = table_take(&self.table, hash, root)
            hold(self, key)
            hold(self, value)
            Py_XDECREF(swap(self.items, 2 * <Py_ssize_t>slot, key))         # None
            Py_XDECREF(swap(self.items, 2 * <Py_ssize_t>slot + 1, value))   # None
            if self.flags & WEIGHS:
                self.weights[slot] = weight
                self.total += weight
            if self.flags & QUEUES:
                self.placed(slot, root)
            self.counters.insertions += 1
            self.changes += 1
        if flight != NULL:
            (<Load>flight).fenced = True
        if self.sampler is not None and samples(self.sampler, hash):
            self.sampler.write(hash, weight)
        if trash is not None:
            if replaced:
                note(trash, key_at(self, slot), <object>gone.value, "replaced")
            if self.weights != NULL:
                self.shrink(trash, self.limit)
                if self.table.slots[slot].prev == FREE:
                    return 0
        return slot

    cdef int take(self, object key, uint64_t now, Gone *gone, list trash) except -1:
        """Remove the entry of `key` and fence its load: 0 absent, 1 removed, 2 it had expired."""
        cdef PyObject *flight = NULL
        cdef uint32_t hash = hash_of(key)
        cdef uint32_t slot = <uint32_t>locate(self, key, hash, &flight)
        cdef bint dead
        cdef str cause = "explicit"
        cdef object value = None
        unseen(self, hash)
        if flight != NULL:
            (<Load>flight).fenced = True
        if not slot:
            return 0
        if self.flags & WEAK:
            value = held(self, slot)    # to the end, so that nothing on the way lets go of the last reference
        dead = self.dead(slot, now)
        if dead:
            cause = "collected" if self.flags & WEAK and value is None else "expired"
        self.detach(slot, gone)
        if trash is not None:
            note(trash, <object>gone.key, <object>gone.value, cause)
        self.changes += 1
        if dead:
            self.counters.expirations += 1
            return 2
        self.counters.removals += 1
        return 1

    cdef object borrow(self, object stored, bint *found):
        """What a reader gets for `stored`, counted as a hit; a miss after all if its value is gone. No section held."""
        if self.flags & WEAK:
            stored = stored()
            if stored is None:
                found[0] = False
                with cython.critical_section(self):
                    self.counters.hits -= 1
                    self.counters.misses += 1
                    self.counters.expired += 1
                return None
        return lend(self, stored)

    cdef int expect_tags(self) except -1:
        """Have an index of tags; takes the section itself."""
        cdef Tags tags = Tags()
        with cython.critical_section(self):
            if self.tags is None:
                self.tags = tags
            self.tags.tidy()
            self.tagged = True
        return 0

    cdef int tag(self, uint32_t slot, Load load) except -1:
        """Give an entry that has just been stored the tags of its load."""
        self.tagged = True        # again: all may have been cleared away meanwhile
        self.tags.attach(slot, load.tags, load.fresh)
        return 0

    cdef int announce(self, list gone) except -1:
        """Tell `on_eviction` of what is `gone`: the last step of an operation that is complete."""
        cdef list items
        if self.listeners is not None and self.listeners.concerns(gone):
            items, self.items = self.items, self.listeners.nothing
            try:
                self.listeners.announce(gone)
            finally:
                self.items = items
        return 0

    cdef int release(self, Gone *gone, list trash) except -1:
        """Let go of what an operation displaced, and tell listeners. Runs user code; called with no section held."""
        drop(gone)
        if trash is not None and self.listeners is not None:
            self.listeners.notify(trash)
        return 0

    cdef int retire(self, object key, object load) except -1:
        """Take a fenced `load` out of the loads in flight, if it is the one that stands there."""
        cdef object removed
        if self.flights.get(key) is load:
            removed = self.flights.pop(key, None)
            self.flight_version += 1
            if removed is not None and not (<Load>removed).fenced:
                # Another took its place while the keys were compared: it runs, but nobody else will find it.
                (<Load>removed).fenced = True
        return 0

    # -- for tests -----------------------------------------------------------------------------------------------------

    def _check(self):
        """Assert that all parts agree, without running user code; the keys, first to be evicted first."""
        return import_module("fastcore._ext.checks").check(self)


cdef int64_t enter(Slots self, object key, object value, uint32_t hash, Gone *gone) except -1:
    """The rest of `store`: the key is absent."""
    cdef Table *t = &self.table
    cdef uint32_t slot
    if t.count >= self.most:
        # The least recently used gives its slot, and the deadline in it, which the caller moves.
        slot = t.slots[MAIN].next
        table_leave(t, slot)
        ring_unlink(t.slots, slot)
        self.counters.evictions += 1
    else:
        reserve(self)
        slot = t.free
        t.free = t.slots[slot].next
        t.count += 1
    t.slots[slot].hash = hash
    table_enter(t, slot)
    ring_link(t.slots, MAIN, slot)
    t.version += 1
    hold(self, key)
    hold(self, value)
    gone.key = swap(self.items, 2 * <Py_ssize_t>slot, key)
    gone.value = swap(self.items, 2 * <Py_ssize_t>slot + 1, value)
    self.counters.insertions += 1
    self.changes += 1
    return slot


# Parts of `put` and `take` that no subclass sees.

cdef inline int64_t locate(Slots self, object key, uint32_t hash, PyObject **flight) except -1:
    """The slot of `key` and (borrowed from `flights`) its load in flight, both true at the same instant."""
    cdef uint64_t version
    cdef int64_t slot
    cdef object current
    flight[0] = NULL
    if not self.flights:
        version = self.flight_version
        slot = find(self, key, hash)
        if version == self.flight_version:
            return slot
    while True:
        version = self.flight_version
        current = self.flights.get(key)
        slot = find(self, key, hash)
        if version == self.flight_version:
            if current is not None:
                flight[0] = <PyObject *>current
            return slot


cdef int reserve(Slots self) except -1:
    """Have a free slot. Runs no user code."""
    cdef Table *t = &self.table
    if t.free:
        return 0
    if t.used >= self.side:
        if t.used == t.capacity and not table_grow(t, self.most):
            raise MemoryError
        self.widen(t.capacity)
        self.side = t.capacity
    while PyList_GET_SIZE(self.items) < 2 * <Py_ssize_t>t.used + 2:
        self.items.append(None)
    t.slots[t.used].prev = FREE
    t.slots[t.used].next = 0
    t.free = t.used
    t.used += 1
    return 0


cdef inline void remove(Slots self, uint32_t slot, Gone *gone) noexcept:
    """Take an entry out, its references into `gone`; its deadline stays."""
    if self.weights != NULL:
        self.total -= self.weights[slot]
    table_release(&self.table, slot)
    if self.table.slots[MAIN].next == MAIN and self.table.slots[SMALL].next == SMALL:
        self.total = 0      # no drift from fractions: whatever is left weighs nothing
    gone.key = swap(self.items, 2 * <Py_ssize_t>slot, None)
    gone.value = swap(self.items, 2 * <Py_ssize_t>slot + 1, None)


cdef inline bint same_tuples(object a, object b) noexcept:
    """Whether both are tuples of the very same objects, as keys of calls are: then they are equal."""
    cdef Py_ssize_t i
    if not (PyTuple_CheckExact(a) and PyTuple_CheckExact(b) and PyTuple_GET_SIZE(a) == PyTuple_GET_SIZE(b)):
        return False
    for i in range(PyTuple_GET_SIZE(a)):
        if PyTuple_GET_ITEM(a, i) != PyTuple_GET_ITEM(b, i):
            return False
    return True


cdef bint is_among(list objects, object wanted) noexcept:
    for one in objects:
        if one is wanted:
            return True
    return False
