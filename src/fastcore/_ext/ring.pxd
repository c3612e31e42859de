# Where an entry of a cache lies, in plain integers: an open-addressing index over numbered slots, and rings of slots.
#
#     cells   [ 0 | tag 5 | 0 | tag 3 | tag 6 ]       hash -> slot; linear probing, deletion by backward shift
#     slots   [ roots ... | 3 | 4 | 5 | 6 ]           {prev, next, hash}: a ring through slot numbers, or the free list
#     items   [ - - ...   |k3 v3|- -|k5 v5|k6 v6]     the Python list that owns the user's objects; the cache holds it
#
# The first slots are the roots of rings: `next` of a root is the oldest entry, `prev` the newest. The pinned ring holds
# entries of weight 0, which never make room for others; the small one is for policies with two queues. Nothing in this
# file meets a Python object or can fail, except for lack of memory in `table_open` and `table_grow`, which then change
# nothing.
#
# A cell is a slot number in its low `width` bits and the low bits of the entry's hash above them, so that nearly every
# probe of a foreign entry ends inside `cells`. The position of an entry comes from the high bits of its hash.
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    MAIN = 0
    PINNED = 1
    SMALL = 2
    ROOTS = 3
    FREE = 0xFFFFFFFF       # in `prev`: the slot is on the free list

cdef struct Slot:
    uint32_t prev
    uint32_t next
    uint32_t hash

cdef struct Table:
    uint32_t *cells
    Slot *slots
    uint32_t bits           # log2 of the number of cells
    uint32_t width          # bits of a slot number in a cell
    uint32_t capacity       # slots allocated, roots included
    uint32_t used           # slots ever handed out, roots included
    uint32_t free           # first slot of the free list; 0: none
    uint32_t count          # entries
    uint64_t version        # changes with every insertion and removal


cdef inline uint32_t table_home(Table *t, uint32_t hash) noexcept nogil:
    return hash >> (32 - t.bits)


cdef inline void table_enter(Table *t, uint32_t slot) noexcept nogil:
    """Put `slot` into the index, under the hash that it carries."""
    cdef uint32_t mask = (<uint32_t>1 << t.bits) - 1
    cdef uint32_t pos = table_home(t, t.slots[slot].hash)
    while t.cells[pos]:
        pos = (pos + 1) & mask
    t.cells[pos] = (t.slots[slot].hash << t.width) | slot


cdef inline void table_leave(Table *t, uint32_t slot) noexcept nogil:
    """Take `slot` out of the index and close the gap that it leaves."""
    cdef uint32_t *cells = t.cells
    cdef Slot *slots = t.slots
    cdef uint32_t mask = (<uint32_t>1 << t.bits) - 1
    cdef uint32_t low = (<uint32_t>1 << t.width) - 1
    cdef uint32_t shift = 32 - t.bits
    cdef uint32_t gap = slots[slot].hash >> shift
    cdef uint32_t pos, cell, moves
    while cells[gap] & low != slot:
        gap = (gap + 1) & mask
    pos = gap
    while True:
        pos = (pos + 1) & mask
        cell = cells[pos]
        if not cell:
            break
        # An entry may move back only if that does not take it before its home. Which way it goes cannot be predicted,
        # so there is no branch, and what stays is copied too: the gap is filled again, or cleared, in the end.
        moves = -<uint32_t>(((pos - (slots[cell & low].hash >> shift)) & mask) >= ((pos - gap) & mask))
        cells[gap] = cell
        gap ^= (gap ^ pos) & moves
    cells[gap] = 0


cdef inline void ring_link(Slot *slots, uint32_t root, uint32_t slot) noexcept nogil:
    """Make `slot` the newest of the ring."""
    cdef uint32_t newest = slots[root].prev
    slots[slot].prev = newest
    slots[slot].next = root
    slots[newest].next = slot
    slots[root].prev = slot


cdef inline void ring_unlink(Slot *slots, uint32_t slot) noexcept nogil:
    cdef uint32_t older = slots[slot].prev, newer = slots[slot].next
    slots[older].next = newer
    slots[newer].prev = older


cdef inline void table_reset(Table *t) noexcept nogil:
    """Forget every entry; the memory stays."""
    cdef uint32_t i
    for i in range(<uint32_t>(1 << t.bits)):
        t.cells[i] = 0
    for i in range(<uint32_t>ROOTS):
        t.slots[i].prev = t.slots[i].next = i
    t.used = ROOTS
    t.free = t.count = 0
    t.version += 1


cdef inline bint table_grow(Table *t, uint64_t most) noexcept:
    """Allocate more slots, at least one and at most up to `most` entries, and cells for them. False: no memory."""
    cdef uint64_t capacity = <uint64_t>t.capacity * 2
    cdef uint32_t bits = 3, width = 1, i
    cdef uint32_t *cells
    cdef Slot *slots
    if capacity > most + ROOTS and t.capacity < most + ROOTS:
        capacity = most + ROOTS
    if capacity < ROOTS + 4:
        capacity = ROOTS + 4
    if capacity >= <uint64_t>1 << 31:
        return False
    while (<uint64_t>1 << bits) * 2 < capacity * 3:     # at most two cells in three are taken
        bits += 1
    while (<uint64_t>1 << width) < capacity:
        width += 1
    cells = <uint32_t *>PyMem_Calloc(<size_t>1 << bits, sizeof(uint32_t))
    if cells == NULL:
        return False
    slots = <Slot *>PyMem_Realloc(t.slots, <size_t>(capacity * sizeof(Slot)))
    if slots == NULL:
        PyMem_Free(cells)
        return False
    PyMem_Free(t.cells)
    t.cells, t.slots, t.bits, t.width, t.capacity = cells, slots, bits, width, <uint32_t>capacity
    for i in range(ROOTS, t.used):
        if slots[i].prev != FREE:
            table_enter(t, i)
    return True


cdef inline bint table_open(Table *t) noexcept:
    """Make a zeroed table usable. False: no memory."""
    if not table_grow(t, 0):
        return False
    table_reset(t)
    return True


cdef inline void table_close(Table *t) noexcept:
    PyMem_Free(t.cells)
    PyMem_Free(t.slots)
    t.cells = NULL
    t.slots = NULL


cdef inline uint32_t table_take(Table *t, uint32_t hash, uint32_t root) noexcept nogil:
    """Turn the first free slot into an entry: indexed, and the newest of its ring."""
    cdef uint32_t slot = t.free
    t.free = t.slots[slot].next
    t.slots[slot].hash = hash
    table_enter(t, slot)
    ring_link(t.slots, root, slot)
    t.count += 1
    t.version += 1
    return slot


cdef inline void table_release(Table *t, uint32_t slot) noexcept nogil:
    """Turn an entry back into a free slot."""
    table_leave(t, slot)
    ring_unlink(t.slots, slot)
    t.slots[slot].prev = FREE
    t.slots[slot].next = t.free
    t.free = slot
    t.count -= 1
    t.version += 1
