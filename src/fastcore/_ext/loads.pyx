# cython: freethreading_compatible=True
"""Invalidation, and the loads in flight that it fences: between the entries of `slots.pyx` and the mapping on them.

User code may run at: the hash and the comparison of keys, in `find`, `take` and the dict of loads; the drop of what was
removed and of loads, after the critical section or before a step begins. Prefixes are compared in C.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_Check, PyUnicode_Tailmatch
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from fastcore._ext.listeners cimport note
from fastcore._ext.ring cimport FREE, ROOTS, Table, table_close, table_open
from fastcore._ext.slots cimport (
    Gone, Load, QUIET, find, finish, hash_of, key_at, live, no_items, trash_for
)
from fastcore._ext.tags cimport FREE_THREADED, covers

cdef extern from *:
    const Py_ssize_t PY_SSIZE_T_MAX


@cython.no_gc_clear
cdef class Loads(Slots):
    """The entries of a cache, with what outdates them."""

    cdef int write(self, object key, object value, object ttl, int mode, Load load) except -1:
        """Behind `[]=`, `set` and loads; takes the section itself. 1 stored, 0 not."""
        raise NotImplementedError

    # -- invalidation --------------------------------------------------------------------------------------------------

    cdef bint erase(self, object key) except -1:
        """Remove `key` and fence its load; whether it was there. Takes the section itself."""
        cdef Gone gone = [NULL, NULL]
        cdef list trash = trash_for(self)
        cdef uint64_t now = 0
        cdef int taken
        self.read_clock(&now)
        with cython.critical_section(self):
            taken = self.take(key, now, &gone, trash)
            if trash is not None:
                self.announce(trash)
        self.release(&gone, trash)
        return taken == 1

    def invalidate(self, key, /):
        """Remove `key`; True if it was there. A load of it that is in flight will not be stored."""
        return self.erase(key)

    def invalidate_prefix(self, prefix, /):
        """Remove the str (or bytes) keys that begin with `prefix` and fence their loads; the number removed. O(n)."""
        cdef uint64_t now = 0
        cdef uint32_t slot
        cdef list trash = []
        cdef Py_ssize_t removed = 0
        if not isinstance(prefix, (str, bytes)):
            raise TypeError(f"prefix must be str or bytes, got {type(prefix).__name__}")
        self.read_clock(&now)
        with cython.critical_section(self):
            self.intact()
            self.sweep(now, trash)
            for key, load in self.flights.items():
                if begins(key, prefix):
                    (<Load>load).fenced = True
            for slot in range(ROOTS, self.table.used):
                if self.table.slots[slot].prev != FREE and begins(key_at(self, slot), prefix):
                    self.discard(slot, trash, "explicit")
                    removed += 1
            self.counters.removals += removed
            self.changes += removed
            self.announce(trash)
        finish(self, trash)
        return removed

    def invalidate_tag(self, tag, /):
        """Remove the entries with `tag`; the number removed. Loads that may be of such are not stored. O(removed)."""
        cdef uint64_t now = 0
        cdef list trash = []
        cdef Py_ssize_t removed = 0
        cdef object slots = None, slot = None
        if not isinstance(tag, str):
            raise TypeError(f"tag must be str, got {type(tag).__name__}")
        tag = str.__str__(tag)
        self.read_clock(&now)
        with cython.critical_section(self):
            self.intact()
            self.sweep(now, trash)
            for load in self.flights.values():
                if not (<Load>load).tags or tag in (<Load>load).tags:
                    (<Load>load).fenced = True
            if self.tagged:
                slots = self.tags.slots.get(tag)
            while slots:
                slot = slots.pop()
                if FREE_THREADED:
                    self.tags.limbo.append(slot)    # or its drop might leave the section, as `tags.pyx` says
                self.discard(slot, trash, "explicit")
                removed += 1
            self.counters.removals += removed
            self.changes += removed
            self.announce(trash)
        finish(self, trash)
        return removed

    def invalidate_all(self):
        """Remove every entry; no load that is in flight will be stored."""
        Loads.clear(self)

    def clear(self):
        """Remove every entry; no load that is in flight will be stored."""
        cdef uint64_t now = 0
        cdef list trash = [], items = no_items()
        cdef dict slots = {}, tags = {}
        cdef Table table
        cdef bint walked = False
        self.read_clock(&now)
        memset(&table, 0, sizeof(Table))
        if not table_open(&table):
            raise MemoryError
        try:
            with cython.critical_section(self):
                self.intact()
                for load in self.flights.values():
                    (<Load>load).fenced = True
                self.sweep(now, trash)
                if self.sampler is not None:
                    self.sampler.clear()
                self.counters.removals += self.table.count
                self.changes += 1
                self.forget()
                if self.tags is not None:
                    slots, self.tags.slots = self.tags.slots, slots
                    tags, self.tags.tags = self.tags.tags, tags
                    self.tagged = False
                table.version = self.table.version + 1
                table, self.table = self.table, table
                items, self.items = self.items, items
                walked, self.walked = self.walked, walked
                self.side = ROOTS
                self.total = 0
                self.announce(trash)
            if self.listeners is not None:
                note_all(trash, &table, items)
        finally:
            table_close(&table)
        finish(self, trash)
        items.clear()

    def _tagged(self):
        """A list of `(key, tags)` of the entries that have tags."""
        cdef list pairs = [], tagged
        with cython.critical_section(self):
            self.intact()
            if self.tagged:
                tagged = list(self.tags.tags.items())
                for slot, tags in tagged:
                    self.intact()       # making the list and pairs may run the collector, and so user code
                    if self.tags.tags.get(slot) is tags:
                        pairs.append((key_at(self, slot), tags))
        return pairs

    def _retag(self, pairs, /):
        """Tag entries as another cache's `_tagged` says."""
        cdef Load load
        cdef int64_t slot
        for key, tags in pairs:
            load = Load()
            load._tag(tags)
            self.expect_tags()
            with cython.critical_section(self):
                slot = find(self, key, hash_of(key))
                if slot:
                    self.tags.remove(<uint32_t>slot)
                    self.tag(<uint32_t>slot, load)

    # -- loads in flight: the half of single flight that needs the critical section ------------------------------------

    def _begin_load(self, key, load, /):
        """`(True, value)` if `key` is there; else `(False, flight)`: `load` if it may run, or the one to wait for."""
        cdef uint64_t now = 0
        cdef int64_t slot
        cdef object current = None, value = None
        cdef bint found = False
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        self.read_clock(&now)
        with cython.critical_section(self):
            self.intact()
            try:
                while True:
                    current = None      # here: no drop may come between the entry of a load and its version
                    current = self.flights.setdefault(key, load)
                    self.flight_version += 1
                    if current is load:
                        break
                    if not (<Load>current).fenced:
                        if covers((<Load>current).tags, (<Load>load).tags):
                            break
                        (<Load>current).fenced = True
                    self.retire(key, current)
                # Registered first: a load that ends now was either joined above or has stored what is found here.
                slot = find(self, key, hash_of(key)) if current is load else 0
                if slot:
                    value = live(self, <uint32_t>slot, now, &found)
                if found:
                    (<Load>load).fenced = True
                    self.retire(key, load)
                elif current is load:
                    self.counters.loads += 1
            except BaseException:
                (<Load>load).fenced = True  # whoever meets it among the loads in flight takes it out
                raise
        return (True, value) if found else (False, current)

    def _end_load(self, key, load, value, /):
        """Store what `load` brought, unless it was fenced; whether it is stored."""
        cdef bint stored = True
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        try:
            stored = self.write(key, value, ..., QUIET, <Load>load)
        finally:
            with cython.critical_section(self):
                self.counters.loads_discarded += not stored
                (<Load>load).fenced = True
                self.retire(key, load)
        return stored

    def _fail_load(self, key, load, /):
        """Forget a load that brought nothing."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        with cython.critical_section(self):
            self.counters.load_failures += 1
            (<Load>load).fenced = True
            self.retire(key, load)


cdef int note_all(list trash, Table *table, list items) except -1:
    """Note for listeners what a cache was cleared of, the first to be evicted first."""
    cdef uint32_t root, slot
    for root in range(<uint32_t>ROOTS):
        slot = table.slots[root].next
        while slot != root:
            note(trash, items[2 * slot], items[2 * slot + 1], "explicit")
            slot = table.slots[slot].next
    return 0


cdef int begins(object key, object prefix) except -1:
    """Whether `key` begins with `prefix` and is of its type, without a method that a subclass could override."""
    cdef Py_ssize_t length
    if PyUnicode_Check(prefix):
        return PyUnicode_Check(key) and PyUnicode_Tailmatch(key, prefix, 0, PY_SSIZE_T_MAX, -1) == 1
    length = PyBytes_GET_SIZE(prefix)
    return (
        PyBytes_Check(key)
        and PyBytes_GET_SIZE(key) >= length
        and memcmp(PyBytes_AS_STRING(key), PyBytes_AS_STRING(prefix), <size_t>length) == 0
    )
