# cython: freethreading_compatible=True
"""For tests: whether the parts of a compiled cache agree. Runs no user code."""

cimport cython
from libc.math cimport fabs
from libc.stdint cimport uint32_t

from fastcore._ext.collector cimport may_cycle
from fastcore._ext.ghost cimport ghost_place, ghost_seek, ghost_weight
from fastcore._ext.queues cimport Queues, USES, YOUNG
from fastcore._ext.ring cimport FREE, PINNED, ROOTS, SMALL, Table, table_home
from fastcore._ext.s3fifo cimport S3FIFOCache
from fastcore._ext.slots cimport Slots, key_at, value_at
from fastcore._ext.ttl cimport TTLCache
from fastcore._ext.wheel cimport NEVER, wheel_bucket


def check(Slots cache not None, /):
    """Assert that all parts of `cache` agree; the keys, first to be evicted first."""
    cdef list keys = check_entries(cache)
    if isinstance(cache, TTLCache):
        check_timers(cache)
    if isinstance(cache, S3FIFOCache):
        check_queues(cache)
    return keys


cdef list check_entries(Slots self):
    """Index, rings and items; the keys, first to be evicted first."""
    cdef Table *t = &self.table
    cdef uint32_t slot, root, free = 0, count = 0, cells = 0
    cdef double total = 0
    cdef list keys = []
    with cython.critical_section(self):
        self.intact()
        for root in range(<uint32_t>ROOTS):
            slot = t.slots[root].next
            while slot != root:
                require(t.slots[t.slots[slot].prev].next == slot, "ring broken backwards")
                require(t.slots[t.slots[slot].next].prev == slot, "ring broken forwards")
                require(count < t.count, "more entries in the rings than counted")
                if self.weights != NULL:
                    require((self.weights[slot] == 0) == (root == PINNED), "entry on the wrong ring")
                    total += self.weights[slot]
                keys.append(key_at(self, slot))
                require(is_indexed(t, slot), "entry not found where its hash leads")
                count += 1
                slot = t.slots[slot].next
        require(count == t.count, "fewer entries in the rings than counted")
        slot = t.free
        while slot:
            require(t.slots[slot].prev == FREE, "slot in use on the free list")
            require(key_at(self, slot) is None and value_at(self, slot) is None, "free slot holds references")
            free += 1
            slot = t.slots[slot].next
        require(count + free + ROOTS == t.used, "slots lost")
        for slot in range(<uint32_t>(1 << t.bits)):
            cells += t.cells[slot] != 0
        require(cells == count, "index and rings differ in size")
        require(t.used <= t.capacity, "more slots than memory")
        if self.tags is not None:
            self.tags.check()
            for slot in self.tags.tags:
                require(slot < t.used and t.slots[slot].prev != FREE, "tags of an entry that is gone")
        for stored in self.items:
            require(self.walked or not may_cycle(stored), "hidden from the collector")
        if self.weights == NULL:
            require(count <= self.limit, "over maxsize")
        else:
            require(fabs(total - self.total) <= 1e-9 * (1 + total), "sizes do not add up")
            require(self.total <= self.limit, "over maxsize")
    return keys


cdef int check_timers(TTLCache self) except -1:
    """Every timer lies where the wheel will find it."""
    cdef uint32_t slot, bucket, timed = 0, hung = 0
    with cython.critical_section(self):
        for slot in range(<uint32_t>ROOTS, self.table.used):
            if self.table.slots[slot].prev != FREE:
                timed += self.timers[slot].expires != NEVER
            elif slot < self.side and self.timers[slot].expires != NEVER:
                raise AssertionError("free slot has a timer")
        for bucket in range(256):
            if (self.wheel.first[bucket] != 0) != ((self.wheel.digits[bucket >> 4] >> (bucket & 15)) & 1):
                raise AssertionError("wheel's digits and buckets differ")
            slot = self.wheel.first[bucket]
            while slot:
                if wheel_bucket(&self.wheel, self.timers[slot].expires) != bucket:
                    raise AssertionError("timer in the wrong bucket")
                hung += 1
                slot = self.timers[slot].next
        if timed != hung:
            raise AssertionError("timers lost")
    return 0


cdef int check_queues(S3FIFOCache self) except -1:
    """Queues and ghosts are what their sizes say."""
    cdef list codes = self._ghosts()
    cdef Queues *q = &self.queues
    cdef uint32_t slot, cell, taken = 0
    cdef double small = 0, total
    with cython.critical_section(self):
        slot = self.table.slots[SMALL].next
        while slot != SMALL:
            require(q.places[slot] & YOUNG, "entry of the small queue is not young")
            small += self.weight_of(slot)
            taken += 1
            slot = self.table.slots[slot].next
        require(fabs(small - q.small) <= 1e-9 * (1 + small), "sizes of the small queue do not add up")
        for slot in range(<uint32_t>ROOTS, self.table.used):
            if self.table.slots[slot].prev != FREE:
                taken -= (q.places[slot] & YOUNG) != 0
                require(q.places[slot] <= (USES | YOUNG), "impossible place")
        require(taken == 0, "young entry outside the small queue")
        require(q.ghost.count == len(codes), "ghosts lost")
        for cell in range(q.ghost.width):
            taken += q.ghost.cells[cell] != 0
        require(taken == q.ghost.count, "index and queue of ghosts differ in size")
        total = 0
        for slot in range(q.ghost.span):
            cell = ghost_place(&q.ghost, slot)
            if q.ghost.hashes[cell]:
                require(ghost_seek(&q.ghost, q.ghost.hashes[cell], &taken), "ghost not found")
                require(q.ghost.cells[taken] == cell + 1, "ghost found elsewhere")
                total += ghost_weight(&q.ghost, cell)
        require(fabs(total - q.ghost.total) <= 1e-9 * (1 + total), "sizes of ghosts do not add up")
        require(q.ghost.total <= q.ghost.limit, "too many ghosts")
    return 0


cdef int require(bint holds, str what) except -1:
    if not holds:
        raise AssertionError(what)
    return 0


cdef bint is_indexed(Table *t, uint32_t slot) noexcept:
    cdef uint32_t pos = table_home(t, t.slots[slot].hash)
    while t.cells[pos]:
        if t.cells[pos] == (t.slots[slot].hash << t.width) | slot:
            return True
        pos = (pos + 1) & ((<uint32_t>1 << t.bits) - 1)
    return False
