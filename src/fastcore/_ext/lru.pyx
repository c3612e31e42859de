# cython: freethreading_compatible=True
"""The compiled LRU cache: the mapping and the critical sections around the parts of `slots.pyx`.

User code may run at: the hash and the comparison of keys; `getsizeof` and an overridden `popitem`, before the critical
section; the drop of displaced keys and values, after it. What each part may run, `slots.pyx` says.
"""

cimport cython
from libc.math cimport floor
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from importlib import import_module
from collections import deque
from copy import deepcopy
from types import GenericAlias

from fastcore._ext.iteration cimport iterate
from fastcore._ext.listeners cimport Listeners
from fastcore._ext.loads cimport Loads
from fastcore._ext.ring cimport PyMem_Free, ROOTS
from fastcore._ext.slots cimport (
    ABSENT, COPIER, COPIES_IN, COPIES_OUT, Counters, DEATHS, DELETES, EVICTS, GETSIZEOF, Gone, LISTENS, Load,
    LENDS, OPTIONS, QUIET, READS, RESTORE, SPECIAL, STRICT, WEAK, WEIGHS, WRITES, drop, exceeds, find, finish,
    hash_of, held, key_at, lend, live, locate_value, seen, store, touch, trash_for, value_at
)

from fastcore._ext.weakvalue import WeakValue

globals()["Load"] = Load        # a cimported name is none of the module's attributes, but this one is for Python too


@cython.no_gc_clear
cdef class LRUCache(Loads):
    """LRUCache(maxsize, getsizeof=None, **options)
--

    A mapping that holds at most `maxsize` and drops the least recently used entry to make room.

    `fastcore.cache.LRUCache` documents it, and adds what both twins share.
    """

    def __init__(self, maxsize, getsizeof=None, **options):
        self.configure(maxsize, getsizeof)
        self.equip(options)

    @classmethod
    def __class_getitem__(cls, item, /):
        """Generic alias, for annotations."""
        return GenericAlias(cls, item)

    # -- inner parts; each takes the critical section itself -----------------------------------------------------------

    cdef type compiled_type(self):
        return LRUCache

    cdef object lifetime(self, uint32_t slot, uint64_t now):
        """What is left of an entry's life, in units of the timer; None: it does not expire."""
        return None

    cdef tuple snapshot(self, uint32_t slot, uint64_t now):
        """An entry as `_restore` understands it."""
        return key_at(self, slot), held(self, slot), self.lifetime(slot, now)

    cdef int configure(self, object maxsize, object getsizeof) except -1:
        """Set up from the constructor's arguments; takes the section itself."""
        cdef double limit = maxsize
        cdef type own = self.compiled_type(), cls = type(self)
        cdef unsigned int flags = 0
        cdef uint64_t most
        cdef object given = maxsize
        if not limit >= 0:
            raise ValueError(f"maxsize must be non-negative, got {maxsize!r}")
        if cls is not own:
            if cls.__getitem__ is not own.__getitem__ or cls.__contains__ is not own.__contains__:
                flags |= READS
            if cls.__setitem__ is not own.__setitem__:
                flags |= WRITES
            if cls.__delitem__ is not own.__delitem__:
                flags |= DELETES | EVICTS
            if cls.popitem is not own.popitem:
                flags |= EVICTS
            if cls.getsizeof is not own.getsizeof:
                flags |= WEIGHS
        if getsizeof is not None:
            flags |= WEIGHS
        most = 0x7FFFFFF0 if limit > 0x7FFFFFF0 else <uint64_t>limit
        LRUCache.clear(self)
        with cython.critical_section(self):
            self.flags = flags
            self.fractions = False
            # What an earlier call of the constructor left goes when this returns.
            getsizeof, self.hooks[GETSIZEOF] = self.hooks[GETSIZEOF], getsizeof
            given, self.maxsize_given = self.maxsize_given, given
            self.limit = limit
            self.most = most
            self.side = ROOTS
            PyMem_Free(self.weights)
            self.weights = NULL
            self.sampler = None
            memset(&self.counters, 0, sizeof(Counters))
        return 0

    cdef int equip(self, dict options) except -1:
        """Take up the options that every cache has, the last step of the constructor; takes the section itself."""
        cdef dict given = dict(options)
        cdef object on_removal = options.pop("on_removal", None), on_eviction = options.pop("on_eviction", None)
        cdef object way = options.pop("copy", None), copier = options.pop("copier", None)
        cdef bint weak = options.pop("weak_values", False)
        cdef object deaths = deque() if weak else None
        cdef Listeners listeners = None
        if weak and way is not None:
            raise ValueError("weak_values and copy exclude each other: a copy would die at once")
        if way is not None and way not in ("on_read", "on_write", "both"):
            raise ValueError(f"copy must be 'on_read', 'on_write', 'both' or None, got {way!r}")
        if copier is None:
            copier = deepcopy
        elif not callable(copier):
            raise TypeError(f"copier must be callable, got {copier!r}")
        if options:
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {next(iter(options))!r}")
        if on_removal is not None or on_eviction is not None:
            listeners = Listeners(on_removal, on_eviction, weak)
        with cython.critical_section(self):
            listeners, self.listeners = self.listeners, listeners
            self.hooks[OPTIONS], given = given, self.hooks[OPTIONS]
            self.hooks[COPIER], copier = copier, self.hooks[COPIER]
            self.hooks[DEATHS], deaths = deaths, self.hooks[DEATHS]
            if weak:
                self.flags |= WEAK
            if self.listeners is not None:
                self.flags |= LISTENS
            if way == "on_read" or way == "both":
                self.flags |= COPIES_OUT
            if way == "on_write" or way == "both":
                self.flags |= COPIES_IN
        return 0

    cdef double weigh(self, object value) except? -1:
        """The size of `value`, where sizes count. Runs user code; called with no section held."""
        cdef double weight
        cdef object getsizeof, size
        getsizeof = self.hooks[GETSIZEOF]
        size = self.getsizeof(value) if getsizeof is None else getsizeof(value)
        weight = size
        if not weight >= 0:
            raise ValueError(f"value size must be non-negative, got {size!r}")
        if weight != floor(weight):
            with cython.critical_section(self):
                self.fractions = True
        return weight

    cdef object prepared(self, object value, int mode, double *weight):
        """`value` as it is to be stored, and its weight. Runs user code; called with no section held."""
        if self.flags & WEIGHS:
            weight[0] = self.weigh(value)
        if self.flags & COPIES_IN and mode != RESTORE:
            value = self.hooks[COPIER](value)
        return WeakValue(value, self.hooks[DEATHS].append) if self.flags & WEAK else value

    cdef int make_room(self, object key, double weight) except -1:
        """Evict through a subclass's `popitem`, as cachetools does. Runs user code; called with no section held."""
        cdef int64_t slot
        cdef double needed
        cdef bint enough
        while True:
            with cython.critical_section(self):
                slot = find(self, key, hash_of(key))
                needed = self.table.count if self.weights == NULL else self.total
                if self.weights != NULL:
                    needed += weight - (self.weights[slot] if slot else 0)
                elif not slot:
                    needed += 1
                enough = needed <= self.limit or self.table.count == 0
            if enough:
                return 0
            self.popitem()

    cdef int write(self, object key, object value, object ttl, int mode, Load load) except -1:
        """Behind `[]=`, `set` and loads; takes the section itself. 1 stored, 0 not."""
        cdef Gone gone = [NULL, NULL]
        cdef int64_t slot = 0
        cdef double weight = 1
        cdef uint32_t hash
        cdef list trash = None
        if ttl is not ... and ttl is not None:
            raise ValueError(f"ttl must be None: entries of {type(self).__name__} do not expire, got {ttl!r}")
        hash = hash_of(key)
        if self.flags & (WEIGHS | LISTENS | COPIES_IN | WEAK):
            trash = []
            value = self.prepared(value, mode, &weight)
        if load is not None and load.tags:
            self.expect_tags()
        if (mode == STRICT or mode == ABSENT) and exceeds(self, weight):
            raise ValueError(f"value too large: size {weight:g}, maxsize {self.maxsize!r}")
        if self.flags & EVICTS and not exceeds(self, weight):
            self.make_room(key, weight)
        try:
            with cython.critical_section(self):
                if self.flags & WEAK and trash is not None:
                    self.intact()
                    self.sweep(0, trash)
                if weight > self.limit:
                    if load is None or not load.fenced:
                        self.take(key, 0, &gone, trash)
                elif mode != ABSENT or not find(self, key, hash):
                    slot = self.put(key, value, weight, hash, load, &gone, trash)
                    if slot and load is not None and load.tags:
                        self.tag(<uint32_t>slot, load)
                    if slot and self.flags & WEAK:
                        locate_value(value, <uint32_t>slot)
                if trash is not None:
                    self.announce(trash)
        finally:
            self.release(&gone, trash)
        return slot != 0

    # -- reading -------------------------------------------------------------------------------------------------------

    def __getitem__(self, key):
        cdef uint32_t hash = hash_of(key)
        cdef int64_t slot
        if self.flags & LENDS:
            return self.read_copy(key, True, None)
        with cython.critical_section(self):
            slot = find(self, key, hash)
            seen(self, hash, <uint32_t>slot)
            if slot:
                self.counters.hits += 1
                touch(self, <uint32_t>slot)
                return value_at(self, <uint32_t>slot)
            self.counters.misses += 1
        return self.__missing__(key)

    def __missing__(self, key):
        """What `[]` does about an absent key; a subclass may return, and store, a value instead."""
        raise KeyError(key)

    def get(self, key, default=None):
        """The value of `key`, its use noted; `default` if it is absent."""
        cdef uint32_t hash
        cdef int64_t slot
        if self.flags & (READS | LENDS):
            if self.flags & READS:
                return self[key] if key in self else default
            return self.read_copy(key, False, default)
        hash = hash_of(key)
        with cython.critical_section(self):
            slot = find(self, key, hash)
            seen(self, hash, <uint32_t>slot)
            if slot:
                self.counters.hits += 1
                touch(self, <uint32_t>slot)
                return value_at(self, <uint32_t>slot)
            self.counters.misses += 1
        return default

    cdef object read_copy(self, object key, bint subscript, object default):
        """`[]` or `get` where readers get copies, or values are weakly held."""
        cdef bint found = False
        cdef uint32_t hash = hash_of(key)
        cdef int64_t slot
        cdef object value = None
        with cython.critical_section(self):
            slot = find(self, key, hash)
            seen(self, hash, <uint32_t>slot)
            if slot:
                self.counters.hits += 1
                touch(self, <uint32_t>slot)
                value = value_at(self, <uint32_t>slot)
            else:
                self.counters.misses += 1
        if slot:
            found = True
            value = self.borrow(value, &found)
            if found:
                return value
        return self.__missing__(key) if subscript else default

    def peek(self, key, default=None, /):
        """The value of `key`, or `default`; refreshes nothing and is not counted."""
        cdef uint64_t now = 0
        cdef int64_t slot
        cdef object value = None
        cdef bint found = False
        self.read_clock(&now)
        with cython.critical_section(self):
            slot = find(self, key, hash_of(key))
            if slot:
                value = live(self, <uint32_t>slot, now, &found)
        return lend(self, value) if found else default

    def __contains__(self, key):
        cdef uint64_t now = 0
        cdef int64_t slot
        self.read_clock(&now)
        with cython.critical_section(self):
            slot = find(self, key, hash_of(key))
            return slot != 0 and not self.dead(<uint32_t>slot, now)

    def get_many(self, keys, /, bulk_loader=None):
        """A dict of those `keys` that are there, each read as by `get`; with `bulk_loader`, of those it brings too."""
        cdef dict found = {}
        cdef object absent = self.hooks     # no value can be this list
        if bulk_loader is not None:
            return self._load_many(keys, bulk_loader)
        for key in keys:
            value = self.get(key, absent)
            if value is not absent:
                found[key] = value
        return found

    # -- writing -------------------------------------------------------------------------------------------------------

    def __setitem__(self, key, value):
        cdef Gone gone = [NULL, NULL]
        cdef int64_t slot = 0
        cdef uint32_t hash
        if not self.flags & SPECIAL:
            hash = hash_of(key)
            with cython.critical_section(self):
                slot = store(self, key, value, hash, &gone)
            drop(&gone)
        if not slot:
            self.write(key, value, ..., STRICT, None)

    def set(self, key, value, /, *, ttl=..., tags=()):
        """Store `value`; False if it does not fit, and then `key` is absent. `ttl` other than None needs a TTLCache."""
        cdef Load terms = None
        if tags != ():
            terms = Load()
            terms._tag(tags)
        return self.write(key, value, ttl, QUIET, terms) != 0

    def setdefault(self, key, default=None):
        """The value of `key`; if it is absent, `default`, stored."""
        cdef object absent = self.hooks
        cdef object value
        if self.flags & (READS | WRITES):
            if key in self:
                return self[key]
            self[key] = default
            return default
        while True:
            value = self.get(key, absent)
            if value is not absent:
                return value
            if self.write(key, default, ..., ABSENT, None):
                return lend(self, default)

    def __delitem__(self, key):
        if not self.erase(key):
            raise KeyError(key)

    def pop(self, key, *default):
        """Remove `key` and return its value; `default`, or KeyError without one, if it is absent."""
        cdef Gone gone = [NULL, NULL]
        cdef list trash = trash_for(self)
        cdef uint64_t now = 0
        cdef int taken
        cdef object value = None
        if len(default) > 1:
            raise TypeError(f"pop expected at most 2 arguments, got {len(default) + 1}")
        if self.flags & (READS | DELETES):
            if key in self:
                value = self[key]
                del self[key]
                return value
            taken = 0
        else:
            self.read_clock(&now)
            with cython.critical_section(self):
                taken = self.take(key, now, &gone, trash)
                if trash is not None:
                    self.announce(trash)
            if taken == 1:
                value = <object>gone.value
                if self.flags & WEAK:
                    value = value()
                    taken = value is not None
            self.release(&gone, trash)
        if taken == 1:
            return value
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self):
        """Remove and return the `(key, value)` that is to be evicted first; KeyError if the cache is empty."""
        cdef uint64_t now = 0
        cdef uint32_t slot
        cdef list trash = []
        cdef object key = None, value = None
        self.read_clock(&now)
        with cython.critical_section(self):
            self.intact()
            self.sweep(now, trash)
            slot = self.oldest()
            if slot:
                key = key_at(self, <uint32_t>slot)
                value = held(self, <uint32_t>slot)
                if not self.flags & DELETES:
                    self.discard(slot, trash, "explicit")
                    self.changes += 1
                    self.counters.removals += 1
            self.announce(trash)
        finish(self, trash)
        if not slot:
            raise KeyError(f"{type(self).__name__} is empty")
        if self.flags & DELETES:
            del self[key]
        if value is None and self.flags & WEAK:
            return self.popitem()       # it died while it was taken out
        return key, value

    def resize(self, maxsize, /):
        """Change `maxsize`; what no longer fits is evicted at once, in the order of the policy."""
        cdef double limit = maxsize
        cdef uint64_t now = 0
        cdef list trash = [], given = [maxsize]
        if not limit >= 0:
            raise ValueError(f"maxsize must be non-negative, got {maxsize!r}")
        self.read_clock(&now)
        with cython.critical_section(self):
            self.intact()
            given[0], self.maxsize_given = self.maxsize_given, maxsize      # the old one goes when this returns
            self.limit = limit
            self.most = 0x7FFFFFF0 if limit > 0x7FFFFFF0 else <uint64_t>limit
            self.sweep(now, trash)
            self.shrink(trash, limit)
            self.announce(trash)
        finish(self, trash)

    def _lend(self, value, /):
        """What one who waited for a load gets for the `value` that it brought."""
        return lend(self, value)

    # -- looking at the whole ------------------------------------------------------------------------------------------

    def __len__(self):
        cdef uint64_t now = 0
        cdef uint32_t count
        cdef list trash = []
        self.read_clock(&now)
        with cython.critical_section(self):
            self.intact()
            self.sweep(now, trash)
            count = self.table.count
            self.announce(trash)
        finish(self, trash)
        return count

    def __iter__(self):
        return iterate(self, 0)

    def _values(self):
        """An iterator over the values, which refreshes nothing."""
        return iterate(self, 1)

    def _items(self):
        """An iterator over `(key, value)`, which refreshes nothing."""
        return iterate(self, 2)

    def getsizeof(self, value, /):
        """The size of `value` in this cache; a subclass may override it."""
        getsizeof = self.hooks[GETSIZEOF]
        return 1 if getsizeof is None else getsizeof(value)

    @property
    def maxsize(self):
        """The sum of sizes that fits."""
        with cython.critical_section(self):
            return self.maxsize_given

    @property
    def currsize(self):
        """The sum of sizes of what the cache holds."""
        cdef Py_ssize_t count = len(self)
        with cython.critical_section(self):
            if self.weights == NULL:
                return count
            return self.total if self.fractions else int(self.total)

    def _entries(self):
        """`(key, value, lifetime)` of all live entries, the first to be evicted first; lifetime None: for ever."""
        cdef uint64_t now = 0, version
        cdef uint32_t slot, root
        cdef list trash = [], entries = []
        self.read_clock(&now)
        with cython.critical_section(self):
            self.intact()
            self.sweep(now, trash)
            version = self.table.version - 1
            while version != self.table.version:    # building the list may run the collector, and so user code
                self.intact()
                version = self.table.version
                entries = []
                for root in range(<uint32_t>ROOTS):
                    slot = self.table.slots[root].next
                    while slot != root:
                        entries.append(self.snapshot(slot, now))
                        if version != self.table.version:
                            break
                        slot = self.table.slots[slot].next
            self.announce(trash)
        finish(self, trash)
        return entries

    def _restore(self, entries, /):
        """Store what another cache's `_entries` returned, in that order."""
        for key, value, lifetime in entries:
            if value is None and self.flags & WEAK:
                continue
            self.write(key, value, lifetime, RESTORE, None)

    def _config(self):
        """The constructor's arguments, positional and by name."""
        with cython.critical_section(self):
            return (self.maxsize_given, self.hooks[GETSIZEOF]), dict(self.hooks[OPTIONS] or ())

    def _counts(self, reset=False, /):
        """All counters, the number of entries, their size and maxsize, at one instant; then start again from zero."""
        cdef Counters c
        cdef Py_ssize_t count
        cdef object size = self.currsize, most
        with cython.critical_section(self):
            most = self.maxsize_given
            c = self.counters
            count = self.table.count
            if reset:
                memset(&self.counters, 0, sizeof(Counters))
                self.counters.insertions = count    # what is there now counts as inserted since
        return (
            c.hits, c.misses, c.expired, c.insertions, c.updates, c.removals, c.evictions, c.expirations,
            c.loads, c.load_failures, c.loads_discarded, count, size, most,
        )

    def shadow(self, rate=None):
        """Watch what LRU and S3-FIFO would hit in place of this cache, at half, the same and double size: a Shadow."""
        return import_module("fastcore._ext.shadow").Shadow(self, rate)
