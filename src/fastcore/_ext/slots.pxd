# The entries of a compiled cache: members, parts, and the lookup that every hot path inlines.
cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastcore._ext.collector cimport may_cycle, walk
from fastcore._ext.collector cimport unwalk
from fastcore._ext.listeners cimport Listeners
from fastcore._ext.tags cimport Tags
from fastcore._ext.ring cimport MAIN, PINNED, ROOTS, Slot, Table, ring_link, ring_unlink, table_home
from fastcore._ext.sampler cimport Sampler, samples

cdef extern from *:
    """
    /* The hash of `key`: a str that has been hashed before, as keys have, carries it. */
    static inline Py_hash_t fastcore_hash(PyObject *key) {
        if (PyUnicode_CheckExact(key)) {
    #ifdef Py_GIL_DISABLED
            Py_hash_t known = _Py_atomic_load_ssize_relaxed(&((PyASCIIObject *)key)->hash);
    #else
            Py_hash_t known = ((PyASCIIObject *)key)->hash;
    #endif
            if (known != -1)
                return known;
        }
        return PyObject_Hash(key);
    }
    """
    Py_hash_t hash_object "fastcore_hash"(object key) except? -1
    Py_ssize_t PyDict_GET_SIZE(PyObject *mapping) noexcept

cdef extern from *:
    """
    /* Put `item` in place i, and hand over the reference that was there. */
    static inline PyObject *fastcore_swap(PyObject *list, Py_ssize_t i, PyObject *item) {
        PyObject *old = PyList_GET_ITEM(list, i);
        Py_INCREF(item);
        PyList_SET_ITEM(list, i, item);
        return old;
    }
    """
    PyObject *swap "fastcore_swap"(list items, Py_ssize_t i, object item) noexcept

cdef enum:
    # What a subclass overrides, so that the methods built on it go through it, as in cachetools. Set once.
    READS = 1           # __getitem__ or __contains__
    WRITES = 2          # __setitem__
    DELETES = 4         # __delitem__
    EVICTS = 8          # popitem or __delitem__
    WEIGHS = 16         # getsizeof, by argument or by override
    QUEUES = 32         # not an override: the class places and evicts by `admit`, `placed` and `reuse`
    ASKS = 64           # not an override: setting calls a timer or a random number generator
    LISTENS = 128       # not an override: somebody is told what goes
    COPIES_IN = 256     # not an override: what is stored is a copy
    COPIES_OUT = 512    # not an override: what is handed out is a copy
    WEAK = 1024         # not an override: what is stored is a weak reference to the value
    LENDS = COPIES_OUT | WEAK
    SPECIAL = EVICTS | WEIGHS | QUEUES | ASKS | LISTENS | COPIES_IN | WEAK     # more than `store` does

cdef enum:
    # Places in `hooks`.
    GETSIZEOF = 0
    TIMER = 1
    RNG = 2
    OPTIONS = 3
    COPIER = 4
    DEATHS = 5          # a deque of the weak references whose values are gone

cdef enum:
    # What `write` does with a value that is too large, a key that is there, and a time to live.
    QUIET = 0           # store nothing, remove the key, return 0
    STRICT = 1          # ValueError
    ABSENT = 2          # ValueError; and 0 if the key is there
    RESTORE = 3         # as QUIET, and the time to live is exact

cdef struct Counters:
    int64_t hits
    int64_t misses
    int64_t expired
    int64_t insertions
    int64_t updates
    int64_t removals
    int64_t evictions
    int64_t expirations
    int64_t loads
    int64_t load_failures
    int64_t loads_discarded

cdef struct Gone:
    # References taken out of `items` inside a critical section, dropped after it.
    PyObject *key
    PyObject *value


cdef class Load:
    cdef readonly bint fenced
    cdef readonly tuple tags        # of the entry to be; empty: not known
    cdef list fresh                 # an empty set for each tag


cdef class Slots:
    cdef Table table
    cdef uint64_t most              # entries that fit
    cdef uint64_t changes           # insertions and removals that an iterator must not miss
    cdef uint64_t flight_version    # loads ever begun
    cdef uint32_t side              # slots for which the side arrays have room
    cdef unsigned int flags         # set by the constructor, and read without the section
    cdef bint tagged                # some entry has had a tag
    cdef bint fractions             # some weight was not an integer
    cdef bint walked                # `items` is shown to the collector: something in it may be part of a cycle
    cdef list items                 # key of slot s at 2 * s, its value after it
    cdef double *weights            # NULL: every entry weighs 1, or there has been none yet
    cdef double limit
    cdef double total
    cdef Counters counters
    cdef object maxsize_given
    cdef list hooks
    cdef dict flights
    cdef Listeners listeners        # None unless flags say LISTENS
    cdef Sampler sampler            # None unless a shadow watches
    cdef Tags tags                  # None until an entry has had a tag
    cdef object __weakref__

    # The hooks of a subclass with deadlines. `dead`, `disarm` and `widen` run inside the critical section.
    cdef int read_clock(self, uint64_t *now) except -1
    cdef bint dead(self, uint32_t slot, uint64_t now) noexcept
    cdef void disarm(self, uint32_t slot) noexcept
    cdef int widen(self, uint32_t capacity) except -1
    cdef int sweep(self, uint64_t now, list trash) except -1

    cdef void forget(self) noexcept
    cdef int retire(self, object key, object load) except -1
    cdef int intact(self) except -1
    cdef bint holds(self, uint32_t slot, object key) noexcept
    cdef uint32_t oldest(self) noexcept
    cdef int64_t search(self, object key, uint32_t hash) except -1
    cdef void detach(self, uint32_t slot, Gone *gone) noexcept
    cdef int discard(self, uint32_t slot, list trash, str cause=*) except -1
    cdef object borrow(self, object stored, bint *found)
    cdef int announce(self, list gone) except -1
    cdef int expect_tags(self) except -1
    cdef int tag(self, uint32_t slot, Load load) except -1
    cdef int release(self, Gone *gone, list trash) except -1
    cdef int shrink(self, list trash, double limit) except -1
    cdef uint32_t admit(self, uint32_t hash, double weight, Gone *gone, list trash) except? 0xFFFFFFFF
    cdef void placed(self, uint32_t slot, uint32_t root) noexcept
    cdef int reuse(self, uint32_t slot, double weight, list trash) except -1
    cdef int64_t put(
        self, object key, object value, double weight, uint32_t hash, Load load, Gone *gone, list trash
    ) except -1
    cdef int take(self, object key, uint64_t now, Gone *gone, list trash) except -1


cdef inline list no_items():
    """The list of a cache without entries."""
    cdef list items = [None] * (2 * ROOTS)
    unwalk(items)
    return items


cdef int64_t enter(Slots self, object key, object value, uint32_t hash, Gone *gone) except -1


cdef inline uint32_t hash_of(object key) except? 0xFFFFFFFF:
    """The hash of `key`, mixed so that its high bits spread sequences of integers."""
    return <uint32_t>((<uint64_t>hash_object(key) * <uint64_t>0x9E3779B97F4A7C15) >> 32)


cdef inline int64_t find(Slots self, object key, uint32_t hash) except -1:
    """The slot of `key`, 0 if it is absent. May run the `__eq__` of keys; what it returns is true when it returns."""
    cdef Table *t = &self.table
    cdef uint32_t mask = (<uint32_t>1 << t.bits) - 1
    cdef uint32_t low = (<uint32_t>1 << t.width) - 1
    cdef uint32_t tag = hash << t.width
    cdef uint32_t pos = table_home(t, hash)
    cdef uint32_t cell
    if PyList_GET_SIZE(self.items) < 2 * <Py_ssize_t>t.used:
        return self.search(key, hash)
    while True:
        cell = t.cells[pos]
        if cell == 0:
            return 0
        if ((cell ^ tag) & ~low) == 0:
            cell &= low
            if PyList_GET_ITEM(self.items, 2 * <Py_ssize_t>cell) == <PyObject *>key:
                return cell
            if t.slots[cell].hash == hash:
                return self.search(key, hash)
        pos = (pos + 1) & mask


cdef inline bint exceeds(Slots self, double weight) noexcept:
    """Whether `weight` alone is too much. Takes the section itself."""
    with cython.critical_section(self):
        return weight > self.limit


cdef inline list trash_for(Slots self):
    """Where an operation that keeps what it displaces in a Gone notes it for listeners; None: there are none."""
    return [] if self.flags & LISTENS else None


cdef inline int finish(Slots self, list trash) except -1:
    """Tell listeners what is in `trash`, and let go of it. Runs user code; called with no section held."""
    if self.listeners is not None:
        self.listeners.notify(trash)
    trash.clear()
    return 0


cdef inline void drop(Gone *gone) noexcept:
    """Let go of what an operation displaced. Runs user code; called with no section held."""
    Py_XDECREF(gone.key)
    Py_XDECREF(gone.value)


cdef inline object held(Slots self, uint32_t slot):
    """The value in `slot`; None if it is weakly held and gone."""
    return value_at(self, slot)() if self.flags & WEAK else value_at(self, slot)


cdef inline object live(Slots self, uint32_t slot, uint64_t now, bint *found):
    """The value in `slot`, and whether it is alive at `now`; to be dropped after the section."""
    cdef object value = held(self, slot)    # first: `dead` must not let go of the last reference
    found[0] = not self.dead(slot, now)
    return value


cdef inline int locate_value(object reference, uint32_t slot) except -1:
    """Tell a weak reference where it lies."""
    reference.slot = slot
    return 0


cdef inline object lend(Slots self, object value):
    """What a reader gets for `value`. May run the copier; called with no section held."""
    return self.hooks[COPIER](value) if self.flags & COPIES_OUT else value


cdef inline object key_at(Slots self, uint32_t slot):
    return <object>PyList_GET_ITEM(self.items, 2 * <Py_ssize_t>slot)


cdef inline object value_at(Slots self, uint32_t slot):
    return <object>PyList_GET_ITEM(self.items, 2 * <Py_ssize_t>slot + 1)


cdef inline void seen(Slots self, uint32_t hash, uint32_t slot) noexcept:
    """Tell a shadow of a read that has found `slot`; 0: none."""
    if self.sampler is not None:
        self.sampler.requests += 1
        if samples(self.sampler, hash):
            self.sampler.read(hash, slot != 0, 1 if self.weights == NULL else self.weights[slot])


cdef inline void unseen(Slots self, uint32_t hash) noexcept:
    """Tell a shadow of a key that somebody removed, or that has died."""
    if self.sampler is not None and samples(self.sampler, hash):
        self.sampler.remove(hash)


cdef inline void touch(Slots self, uint32_t slot) noexcept:
    """Make `slot` the most recently used."""
    cdef Slot *slots = self.table.slots
    cdef uint32_t root = PINNED if self.weights != NULL and self.weights[slot] == 0 else MAIN
    if slots[root].prev != slot:
        ring_unlink(slots, slot)
        ring_link(slots, root, slot)


cdef inline void hold(Slots self, object stored) noexcept:
    """`stored` is about to go into `items`: let the collector walk them if a cycle may lead through it."""
    if not self.walked and may_cycle(stored):
        self.walked = True
        walk(self.items)


cdef inline int64_t store(Slots self, object key, object value, uint32_t hash, Gone *gone) except -1:
    """As `put` for the common case: plain entries, some fit, and no load is in flight; 0 if it is another."""
    cdef Slot *slots
    cdef uint32_t slot
    if PyDict_GET_SIZE(<PyObject *>self.flights) or self.sampler is not None:
        return 0
    slot = <uint32_t>find(self, key, hash)
    if not self.most or self.flags & SPECIAL or self.tagged or PyDict_GET_SIZE(<PyObject *>self.flights):
        return 0    # a comparison may have resized the cache, tagged an entry, or begun a load
    if not slot:
        return enter(self, key, value, hash, gone)
    hold(self, value)
    gone.value = swap(self.items, 2 * <Py_ssize_t>slot + 1, value)
    self.counters.updates += 1
    slots = self.table.slots
    if slots[MAIN].prev != slot:
        ring_unlink(slots, slot)
        ring_link(slots, MAIN, slot)
    return slot
