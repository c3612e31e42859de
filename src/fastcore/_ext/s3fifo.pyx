# cython: freethreading_compatible=True
"""The compiled S3-FIFO cache: the entries, deadlines and loads of a TTLCache under the policy of `queues.pxd`.

User code may run where the TTL cache runs it. A read asks a given timer only when it has found an entry with a
deadline, between two critical sections, and then looks again; the default clock is read in the second half of the same
section. What moves entries between the queues compares no keys and meets no Python object.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastcore._ext.ring cimport MAIN, PINNED, SMALL, ring_link, ring_unlink
from fastcore._ext.slots cimport QUEUES, WEIGHS, Gone, find, hash_of, seen, unseen, value_at
from fastcore._ext.ttl cimport Reading, TTLCache
from fastcore._ext.ghost cimport Ghost, ghost_place, ghost_take
from fastcore._ext.queues cimport (
    USES, YOUNG, queues_admit, queues_bury, queues_close, queues_enter, queues_fit, queues_leave, queues_open,
    queues_use, queues_victim, queues_widen
)
from fastcore._ext.wheel cimport NEVER


@cython.no_gc_clear
cdef class S3FIFOCache(TTLCache):
    """S3FIFOCache(maxsize, getsizeof=None, ttl=None, timer=None, *, jitter=0.0, touch="write", rng=None, **options)
--

    A cache that keeps what is used again: one-time keys leave through a small queue and displace nothing else.

    `fastcore.cache.S3FIFOCache` documents it, and adds what both twins share.
    """

    def __init__(
        self, maxsize, getsizeof=None, ttl=None, timer=None, *, jitter=0.0, touch="write", rng=None, **options
    ):
        TTLCache.__init__(self, maxsize, ttl, timer, getsizeof, jitter=jitter, touch=touch, rng=rng, **options)

    def __dealloc__(self):
        queues_close(&self.queues)

    cdef type compiled_type(self):
        return S3FIFOCache

    cdef int configure(self, object maxsize, object getsizeof) except -1:
        TTLCache.configure(self, maxsize, getsizeof)
        with cython.critical_section(self):
            self.flags |= QUEUES
            queues_open(&self.queues, self.limit, self.flags & WEIGHS != 0)
        return 0

    # -- hooks of the entries, inside the section ----------------------------------------------------------------------

    cdef double size(self) noexcept:
        """The size of both queues: what is pinned weighs nothing."""
        return self.table.count if self.weights == NULL else self.total

    cdef double weight_of(self, uint32_t slot) noexcept:
        return 1 if self.weights == NULL else self.weights[slot]

    cdef int widen(self, uint32_t capacity) except -1:
        TTLCache.widen(self, capacity)
        if not queues_widen(&self.queues, capacity):
            raise MemoryError
        return 0

    cdef void disarm(self, uint32_t slot) noexcept:
        queues_leave(self.table.slots, &self.queues, slot, self.weight_of(slot))
        TTLCache.disarm(self, slot)

    cdef void forget(self) noexcept:
        TTLCache.forget(self)
        queues_open(&self.queues, self.limit, self.flags & WEIGHS != 0)

    cdef uint32_t oldest(self) noexcept:
        cdef uint32_t slot = queues_victim(self.table.slots, self.weights, self.size(), &self.queues)
        if slot:
            return slot
        return self.table.slots[PINNED].next if self.table.slots[PINNED].next != PINNED else 0

    cdef int shrink(self, list trash, double limit) except -1:
        """Evict until the rest fits into `limit`."""
        cdef uint32_t slot
        if self.queues.limit != self.limit:
            queues_fit(&self.queues, self.limit)
        while self.size() > limit:
            slot = queues_victim(self.table.slots, self.weights, self.size(), &self.queues)
            if not slot:
                break
            queues_bury(self.table.slots, self.weights, &self.queues, slot)
            self.discard(slot, trash)
            self.counters.evictions += 1
            self.changes += 1
        return 0

    cdef uint32_t admit(self, uint32_t hash, double weight, Gone *gone, list trash) except? 0xFFFFFFFF:
        cdef bint known = ghost_take(&self.queues.ghost, hash)
        cdef uint32_t slot
        if self.flags & WEIGHS:
            self.shrink(trash, self.limit - weight)
            if weight == 0:
                return PINNED
        elif self.table.count >= self.most:
            slot = queues_victim(self.table.slots, NULL, self.size(), &self.queues)
            queues_bury(self.table.slots, NULL, &self.queues, slot)
            if trash is None:
                self.detach(slot, gone)
            else:
                self.discard(slot, trash)
            self.counters.evictions += 1
        return queues_admit(&self.queues, known)

    cdef void placed(self, uint32_t slot, uint32_t root) noexcept:
        queues_enter(&self.queues, slot, root, self.weight_of(slot))

    cdef int reuse(self, uint32_t slot, double weight, list trash) except -1:
        """A use, as a read is one. One that grows beyond the limit is spared when room is made for it."""
        cdef uint32_t root = MAIN
        cdef double old
        queues_use(&self.queues, slot)
        if self.weights == NULL or weight == self.weights[slot]:
            return 0
        old = self.weights[slot]
        if weight != 0 and old != 0 and self.total - old + weight <= self.limit:
            self.total += weight - old
            if self.queues.places[slot] & YOUNG:
                self.queues.small += weight - old
            self.weights[slot] = weight
            return 0
        if weight == 0:
            root = PINNED
        elif self.queues.places[slot] & YOUNG:
            root = SMALL
        queues_leave(self.table.slots, &self.queues, slot, old)
        ring_unlink(self.table.slots, slot)
        self.total -= old
        self.shrink(trash, self.limit - weight)
        ring_link(self.table.slots, root, slot)
        if root == SMALL:
            self.queues.small += weight
        else:
            self.queues.places[slot] &= USES
        self.total += weight
        self.weights[slot] = weight
        return 0

    # -- reading -------------------------------------------------------------------------------------------------------

    cdef object fetch(self, object key, bint *found):
        """The value for a read that counts as a use. Takes the section itself, again after it asked a given timer."""
        cdef Reading reading = [False, 0, 0]
        cdef uint32_t hash = hash_of(key)
        cdef int64_t slot
        cdef uint64_t now, expires
        cdef bint asked = not self.injected
        found[0] = False
        while True:
            with cython.critical_section(self):
                slot = find(self, key, hash)
                if not slot:
                    seen(self, hash, 0)
                    self.counters.misses += 1
                    return None
                expires = self.timers[slot].expires
                if expires == NEVER or asked:
                    if expires != NEVER:
                        now = self.settle(&reading)
                        if now >= self.timers[slot].expires:    # settling may have turned integers into floats
                            unseen(self, hash)
                            seen(self, hash, 0)
                            self.counters.expired += 1
                            self.counters.misses += 1
                            return None
                        if self.extends:
                            expires = self.deadline(now, &self.spans[slot])
                            if expires > self.timers[slot].expires:
                                self.arm(<uint32_t>slot, expires)
                    seen(self, hash, <uint32_t>slot)
                    self.counters.hits += 1
                    queues_use(&self.queues, <uint32_t>slot)
                    found[0] = True
                    return value_at(self, <uint32_t>slot)
            self.read_timer(&reading)
            asked = True

    # -- looking at the whole ------------------------------------------------------------------------------------------

    def _config(self):
        """The constructor's arguments, positional and by name."""
        (maxsize, ttl, timer, getsizeof), named = TTLCache._config(self)
        return (maxsize, getsizeof, ttl, timer), named

    cdef tuple snapshot(self, uint32_t slot, uint64_t now):
        key, value, lifetime = TTLCache.snapshot(self, slot, now)
        return key, value, lifetime, self.queues.places[slot]

    def _restore(self, entries, /):
        """Store what another cache's `_entries` returned, each in its queue and with its uses."""
        cdef int64_t slot
        cdef uint8_t place
        for key, value, lifetime, place in entries:
            TTLCache._restore(self, ((key, value, lifetime),))
            with cython.critical_section(self):
                slot = find(self, key, hash_of(key))
                if slot:
                    self.settle_in(<uint32_t>slot, place)

    cdef void settle_in(self, uint32_t slot, uint8_t place) noexcept:
        """Put an entry where another cache had it, as the newest of its queue."""
        cdef uint32_t root = SMALL if place & YOUNG else MAIN
        queues_leave(self.table.slots, &self.queues, slot, self.weight_of(slot))
        ring_unlink(self.table.slots, slot)
        if self.weight_of(slot) == 0:
            root = PINNED
        ring_link(self.table.slots, root, slot)
        queues_enter(&self.queues, slot, root, self.weight_of(slot))
        self.queues.places[slot] |= place & USES

    def _ghosts(self):
        """The hashes in the ghost queue, the first to be forgotten first."""
        cdef Ghost *g = &self.queues.ghost
        cdef uint32_t i = 0, code
        cdef list codes = []
        with cython.critical_section(self):
            while i < g.span:
                code = g.hashes[ghost_place(g, i)]
                if code:
                    codes.append(code)
                i += 1
        return codes
