# The policy S3-FIFO over the entries of a `Table`: a small queue for what is new, a main one for what was used again.
#
#     new ──> small ──> (not used twice) ──> gone, its hash into the ghost queue
#       │        └────> (used twice) ──> main ──> (not used) ──> gone
#       └─(hash in the ghost queue)──────> main <──┘ (used) back to the end, one use less
#
# A hit counts a use of the entry, up to 3, and moves nothing. Both queues are rings of the table; entries of weight 0
# are on neither. Sizes, order and details are those of libCacheSim 0.3.5, so that miss counts agree: a queue is a tenth
# of the limit, rounded down; an entry that moves to main begins without uses; until the first eviction, main takes what
# finds the small queue full. They differ where it stores nothing: an entry larger than the small queue goes there too,
# and a tenth below 1 is not rounded.
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.math cimport floor
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from fastcore._ext.ghost cimport Ghost, ghost_clear, ghost_fit, ghost_open, ghost_push, ghost_take
from fastcore._ext.ring cimport MAIN, SMALL, Slot, Table, ring_link, ring_unlink

cdef enum:
    # What stands in `places`: the uses of an entry, and whether it is in the small queue.
    USES = 3
    TWICE = 2
    YOUNG = 4

cdef struct Queues:
    uint8_t *places         # by slot
    double limit            # what `most_small` and `most_main` were computed from
    double most_small
    double most_main
    double small            # size of what is in the small queue
    bint evicted            # something has made room for something else
    Ghost ghost


cdef inline void queues_fit(Queues *q, double limit) noexcept:
    """Divide `limit` among the queues."""
    cdef double tenth = limit * 0.1, most_ghost
    if tenth >= 1:
        tenth = floor(tenth)
    q.limit = limit
    q.most_small = tenth
    q.most_main = limit - tenth if tenth < limit else limit     # infinity has no tenth
    most_ghost = limit * 0.9
    ghost_fit(&q.ghost, floor(most_ghost) if most_ghost >= 1 else most_ghost)


cdef inline void queues_open(Queues *q, double limit, bint weighs) noexcept:
    """Begin anew, without entries; what `places` has room for stays."""
    ghost_clear(&q.ghost)
    ghost_open(&q.ghost, weighs)
    q.small = 0
    q.evicted = False
    queues_fit(q, limit)


cdef inline void queues_close(Queues *q) noexcept:
    PyMem_Free(q.places)
    q.places = NULL
    ghost_clear(&q.ghost)


cdef inline bint queues_widen(Queues *q, uint32_t capacity) noexcept:
    """Have places for `capacity` slots. False: no memory."""
    cdef uint8_t *places = <uint8_t *>PyMem_Realloc(q.places, capacity)
    if places == NULL:
        return False
    q.places = places
    return True


cdef inline void queues_use(Queues *q, uint32_t slot) noexcept nogil:
    q.places[slot] += (q.places[slot] & USES) != USES


cdef inline void queues_enter(Queues *q, uint32_t slot, uint32_t root, double weight) noexcept nogil:
    """The entry in `slot` has come onto the ring `root`."""
    q.places[slot] = 0
    if root == SMALL:
        q.places[slot] = YOUNG
        q.small += weight


cdef inline void queues_leave(Slot *slots, Queues *q, uint32_t slot, double weight) noexcept nogil:
    """The entry in `slot` is about to leave its ring."""
    if q.places[slot] & YOUNG:
        q.small -= weight
        if slots[SMALL].next == slots[SMALL].prev:
            q.small = 0     # it is the last: no drift from fractions


cdef inline uint32_t queues_admit(Queues *q, bint known) noexcept nogil:
    """The ring for a new entry; `known`: its hash was in the ghost queue. Called when it has room."""
    return MAIN if known or (not q.evicted and q.small >= q.most_small) else SMALL


cdef inline uint32_t queues_victim(Slot *slots, double *weights, double total, Queues *q) noexcept nogil:
    """The slot to go next, 0 for none; moves what stands before it. `total` is the size of both queues."""
    cdef uint32_t slot = slots[SMALL].next
    if slot != SMALL and (total - q.small <= q.most_main or slots[MAIN].next == MAIN):
        while slot != SMALL:
            if q.places[slot] & USES < TWICE:
                return slot
            queues_leave(slots, q, slot, 1 if weights == NULL else weights[slot])
            ring_unlink(slots, slot)
            ring_link(slots, MAIN, slot)
            q.places[slot] = 0
            slot = slots[SMALL].next
    slot = slots[MAIN].next
    if slot == MAIN:
        return 0
    while q.places[slot]:
        q.places[slot] -= 1
        ring_unlink(slots, slot)
        ring_link(slots, MAIN, slot)
        slot = slots[MAIN].next
    return slot


cdef inline void queues_bury(Slot *slots, double *weights, Queues *q, uint32_t slot) noexcept:
    """The entry in `slot` is about to be evicted."""
    q.evicted = True
    if q.places[slot] & YOUNG:
        ghost_push(&q.ghost, slots[slot].hash, 1 if weights == NULL else weights[slot])
