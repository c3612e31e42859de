# cython: freethreading_compatible=True
"""The simulations behind a cache's shadow: what LRU and S3-FIFO would hold at three sizes, for a sample of the keys.

A simulated cache is a `Table` whose entries are hashes alone. It is as much smaller than the cache that it stands for
as the sample is smaller than the whole (spatial sampling, SHARDS). All of this runs inside the critical section of the
cache that is watched, meets no Python object, and where memory is lacking an entry is left out.
"""

cimport cython
from libc.math cimport ceil
from libc.stdint cimport uint32_t, uint64_t

from fastcore._ext.ghost cimport ghost_take
from fastcore._ext.queues cimport (
    queues_admit, queues_bury, queues_close, queues_enter, queues_leave, queues_open, queues_use, queues_victim,
    queues_widen
)
from fastcore._ext.ring cimport (
    FREE, MAIN, PINNED, PyMem_Free, PyMem_Realloc, SMALL, Table, ring_link, ring_unlink, table_close, table_grow,
    table_home, table_open, table_release, table_reset, table_take
)


@cython.final
cdef class Sampler:
    """Sampler(limits, rate, weighs)
--

    Counts what LRU and S3-FIFO would hit, at each of three `limits`, over a `rate` of all keys.
    """

    def __cinit__(self, limits, double rate, bint weighs):
        cdef int i
        self.threshold = <uint64_t>ceil(rate * 4294967296.0)
        self.weighs = weighs
        for i in range(SIMS):
            if not table_open(&self.sims[i].table):
                raise MemoryError
            self.sims[i].limit = limits[i % SIZES]
            queues_open(&self.sims[i].queues, self.sims[i].limit, weighs)

    def __dealloc__(self):
        cdef int i
        for i in range(SIMS):
            table_close(&self.sims[i].table)
            PyMem_Free(self.sims[i].weights)
            queues_close(&self.sims[i].queues)

    cdef void read(self, uint32_t hash, bint found, double weight) noexcept:
        """A read of a sampled key, which the watched cache answered, or not."""
        cdef int i
        self.sampled += 1
        for i in range(SIMS):
            if use(&self.sims[i], hash, i >= SIZES):
                self.sims[i].hits += 1
            elif found:
                insert(&self.sims[i], hash, weight, self.weighs, i >= SIZES)

    cdef void write(self, uint32_t hash, double weight) noexcept:
        """A sampled key was set: what a miss of a simulated cache stores, or what was there changes."""
        cdef int i
        cdef uint32_t slot
        for i in range(SIMS):
            slot = seek(&self.sims[i].table, hash)
            if slot and self.weighs and self.sims[i].weights[slot] != weight:
                take_out(&self.sims[i], slot)
                slot = 0
            if not slot:
                insert(&self.sims[i], hash, weight, self.weighs, i >= SIZES)
            elif i < SIZES:
                use(&self.sims[i], hash, False)

    cdef void remove(self, uint32_t hash) noexcept:
        """A sampled key was removed, or was found dead."""
        cdef int i
        cdef uint32_t slot
        for i in range(SIMS):
            slot = seek(&self.sims[i].table, hash)
            if slot:
                take_out(&self.sims[i], slot)

    cdef int clear(self) except -1:
        """The watched cache was emptied; what was counted stays."""
        cdef int i
        for i in range(SIMS):
            table_reset(&self.sims[i].table)
            self.sims[i].total = 0
            queues_open(&self.sims[i].queues, self.sims[i].limit, self.weighs)
        return 0


cdef uint32_t seek(Table *t, uint32_t hash) noexcept nogil:
    """The slot of `hash`; 0 if it is absent."""
    cdef uint32_t mask = (<uint32_t>1 << t.bits) - 1, low = (<uint32_t>1 << t.width) - 1
    cdef uint32_t pos = table_home(t, hash)
    while t.cells[pos]:
        if t.slots[t.cells[pos] & low].hash == hash:
            return t.cells[pos] & low
        pos = (pos + 1) & mask
    return 0


cdef inline double weight_in(Sim *sim, uint32_t slot) noexcept nogil:
    return 1 if sim.weights == NULL else sim.weights[slot]


cdef bint use(Sim *sim, uint32_t hash, bint queued) noexcept nogil:
    """Whether `hash` is there; it then counts as used."""
    cdef uint32_t slot = seek(&sim.table, hash)
    if slot == 0:
        return False
    if queued:
        queues_use(&sim.queues, slot)
    elif weight_in(sim, slot) != 0:
        ring_unlink(sim.table.slots, slot)
        ring_link(sim.table.slots, MAIN, slot)
    return True


cdef void take_out(Sim *sim, uint32_t slot) noexcept nogil:
    sim.total -= weight_in(sim, slot)
    queues_leave(sim.table.slots, &sim.queues, slot, weight_in(sim, slot))
    table_release(&sim.table, slot)
    if sim.table.slots[MAIN].next == MAIN and sim.table.slots[SMALL].next == SMALL:
        sim.total = 0       # no drift from fractions


cdef bint reserve(Sim *sim, bint weighs) noexcept:
    """Have a free slot. False: no memory."""
    cdef Table *t = &sim.table
    cdef double *weights
    cdef uint64_t most = 0x7FFFFFF0 if weighs or sim.limit > 0x7FFFFFF0 else <uint64_t>sim.limit
    if t.free:
        return True
    if t.used >= sim.side:
        if t.used == t.capacity and not table_grow(t, most):
            return False
        if not queues_widen(&sim.queues, t.capacity):
            return False
        if weighs:
            weights = <double *>PyMem_Realloc(sim.weights, t.capacity * sizeof(double))
            if weights == NULL:
                return False
            sim.weights = weights
        sim.side = t.capacity
    t.slots[t.used].prev = FREE
    t.slots[t.used].next = 0
    t.free = t.used
    t.used += 1
    return True


cdef void insert(Sim *sim, uint32_t hash, double weight, bint weighs, bint queued) noexcept:
    """Store an absent `hash`, if it fits, and evict what then does not."""
    cdef uint32_t slot, root = MAIN
    cdef bint known
    if weight > sim.limit:
        return
    known = queued and ghost_take(&sim.queues.ghost, hash)
    while sim.total > sim.limit - weight:
        if queued:
            slot = queues_victim(sim.table.slots, sim.weights, sim.total, &sim.queues)
        else:
            slot = sim.table.slots[MAIN].next
        if queued and slot:
            queues_bury(sim.table.slots, sim.weights, &sim.queues, slot)
        if not slot:
            break
        take_out(sim, slot)
    if not reserve(sim, weighs):
        return
    if weight == 0:
        root = PINNED
    elif queued:
        root = queues_admit(&sim.queues, known)
    slot = table_take(&sim.table, hash, root)
    if weighs:
        sim.weights[slot] = weight
    queues_enter(&sim.queues, slot, root, weight)
    sim.total += weight
