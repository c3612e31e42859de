# The keys that a work queue knows: entries in C, found by the hash of their key.
#
#   buckets   hash -> chain of entries, through Entry.next; new ones at the end
#   entries   by slot, dense: the entry in slot i belongs to the key that the book keeps at i in a Python list, where
#             the collector sees it
#   spare     chain of entries to be used again
#
# Nothing here compares keys or counts references, so that nothing here runs user code.
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint64_t

from fastcore._ext.levels cimport Lane, Level, lanes_free
from fastcore._ext.link cimport Link
from fastcore._ext.timers cimport Timer

cdef enum:
    # States of an entry.
    READY = 1
    PROCESSING = 2
    DIRTY = 4           # added while being processed
    DELAYED = 8
    GONE = 16           # taken out while somebody compared its key

    LEAST_ROOM = 64     # also the number of spare entries that are kept


cdef struct Party:
    # A group's lanes; lives as long as its Group or an entry.
    Lane* lanes
    Py_ssize_t holders


cdef struct Entry:
    Link line           # in a lane while ready, in `processing` while being processed
    Link age            # in `ready` while ready
    Timer timer         # in `timers` while delayed
    Entry* next
    Py_hash_t hash
    Py_ssize_t slot
    Party* party
    Lane* lane
    Level* level
    int64_t added       # when it was first added since it was last handed out
    int64_t since       # when it became ready, or was handed out
    int priority
    int popped          # the priority it was handed out with
    int state
    int readers         # comparisons of its key that have not returned


cdef struct Catalog:
    Entry** buckets
    Entry** entries
    Py_ssize_t size
    Py_ssize_t room     # slots, and buckets: a power of two
    int shift           # 64 - log2(room)
    int spares
    Entry* spare
    uint64_t layout     # grows with each change of the chains other than an entry more or less


cdef inline Party* party_new() except NULL:
    """A party with one holder."""
    cdef Party* party = <Party*>PyMem_Calloc(1, sizeof(Party))
    if party == NULL:
        raise MemoryError()
    party.holders = 1
    return party


cdef inline void party_drop(Party* party) noexcept:
    party.holders -= 1
    if party.holders == 0:
        lanes_free(&party.lanes)
        PyMem_Free(party)


cdef inline Entry** catalog_chain(Catalog* c, Py_hash_t hash) noexcept:
    """Where the chain of `hash` begins. Multiplied, so that sequences of integers spread."""
    return &c.buckets[(<uint64_t>hash * <uint64_t>0x9E3779B97F4A7C15) >> c.shift]


cdef inline void catalog_link(Catalog* c, Entry* entry) noexcept:
    cdef Entry** place = catalog_chain(c, entry.hash)
    while place[0] != NULL:
        place = &place[0].next
    place[0] = entry
    entry.next = NULL


cdef inline bint catalog_crowded(Catalog* c) noexcept:
    """Whether the room is too small for one entry more, or much too large."""
    return c.size == c.room or (c.room > LEAST_ROOM and c.size < c.room >> 3)


cdef inline int catalog_fit(Catalog* c) except -1:
    """Make room for the entries there are, and one more at least."""
    cdef Py_ssize_t room = LEAST_ROOM, i
    cdef int shift = 58
    cdef Entry** buckets
    cdef Entry** entries
    while room <= c.size + (c.size >> 1):
        room <<= 1
        shift -= 1
    buckets = <Entry**>PyMem_Calloc(room, sizeof(Entry*))
    if buckets == NULL:
        raise MemoryError()
    entries = <Entry**>PyMem_Realloc(c.entries, room * sizeof(Entry*))
    if entries == NULL:
        PyMem_Free(buckets)
        raise MemoryError()
    PyMem_Free(c.buckets)
    c.buckets = buckets
    c.entries = entries
    c.room = room
    c.shift = shift
    c.layout += 1
    for i in range(c.size):
        catalog_link(c, c.entries[i])
    return 0


cdef inline Entry* catalog_add(Catalog* c, Py_hash_t hash) except NULL:
    """A new entry in the last slot; there is room."""
    cdef Entry* entry = c.spare
    if entry != NULL:
        c.spare = entry.next
        c.spares -= 1
    else:
        entry = <Entry*>PyMem_Calloc(1, sizeof(Entry))
        if entry == NULL:
            raise MemoryError()
        entry.line.owner = entry.age.owner = entry.timer.owner = entry
    entry.hash = hash
    entry.slot = c.size
    c.entries[c.size] = entry
    c.size += 1
    catalog_link(c, entry)
    return entry


cdef inline void catalog_keep(Catalog* c, Entry* entry) noexcept:
    """Keep an entry that is nowhere linked to be used again, or free it."""
    if c.spares < LEAST_ROOM:
        entry.state = 0
        entry.next = c.spare
        c.spare = entry
        c.spares += 1
    else:
        PyMem_Free(entry)


cdef inline Py_ssize_t catalog_remove(Catalog* c, Entry* entry) noexcept:
    """Take an entry out. Its slot goes to the entry of the last one, whose former slot is returned."""
    cdef Entry** place = catalog_chain(c, entry.hash)
    cdef Entry* last
    while place[0] != entry:
        place = &place[0].next
    place[0] = entry.next
    c.size -= 1
    last = c.entries[c.size]
    last.slot = entry.slot
    c.entries[entry.slot] = last
    if entry.readers:
        entry.state = GONE
    else:
        catalog_keep(c, entry)
    return c.size


cdef inline void catalog_free(Catalog* c) noexcept:
    cdef Py_ssize_t i
    cdef Entry* entry
    for i in range(c.size):
        party_drop(c.entries[i].party)
        PyMem_Free(c.entries[i])
    while c.spare != NULL:
        entry = c.spare
        c.spare = entry.next
        PyMem_Free(entry)
    PyMem_Free(c.entries)
    PyMem_Free(c.buckets)
    c.entries = c.buckets = NULL
    c.size = 0
