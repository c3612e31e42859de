# A set of pointers: open addressing with linear probing, at most half full, no tombstones.
from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport calloc, free


cdef struct Pointers:
    void** slots
    size_t mask         # number of slots - 1; a power of two
    size_t size


cdef inline size_t pointers_home(Pointers* pointers, void* pointer) noexcept nogil:
    # Multiplication spreads the aligned low bits into the high ones; the constant is 2**64 / golden ratio.
    return <size_t>((<uint64_t><uintptr_t>pointer * <uint64_t>0x9E3779B97F4A7C15ULL) >> 32) & pointers.mask


cdef inline size_t pointers_find(Pointers* pointers, void* pointer) noexcept nogil:
    """The slot that holds `pointer`, or the free one where it belongs. There must be slots."""
    cdef size_t slot = pointers_home(pointers, pointer)
    while pointers.slots[slot] != NULL and pointers.slots[slot] != pointer:
        slot = (slot + 1) & pointers.mask
    return slot


cdef inline bint pointers_has(Pointers* pointers, void* pointer) noexcept nogil:
    return pointers.size != 0 and pointers.slots[pointers_find(pointers, pointer)] == pointer


cdef inline int pointers_reserve(Pointers* pointers) except -1:
    """Make room for one more."""
    cdef Pointers grown
    cdef size_t i
    if pointers.slots != NULL and 2 * (pointers.size + 1) <= pointers.mask + 1:
        return 0
    grown.size = pointers.size
    grown.mask = 15 if pointers.slots == NULL else 2 * pointers.mask + 1
    grown.slots = <void**>calloc(grown.mask + 1, sizeof(void*))
    if grown.slots == NULL:
        raise MemoryError()
    if pointers.slots != NULL:
        for i in range(pointers.mask + 1):
            if pointers.slots[i] != NULL:
                grown.slots[pointers_find(&grown, pointers.slots[i])] = pointers.slots[i]
        free(pointers.slots)
    pointers[0] = grown
    return 0


cdef inline void pointers_add(Pointers* pointers, void* pointer) noexcept nogil:
    """Add one that is not there, after `pointers_reserve`."""
    pointers.slots[pointers_find(pointers, pointer)] = pointer
    pointers.size += 1


cdef inline void pointers_remove(Pointers* pointers, void* pointer) noexcept nogil:
    """Remove one that is there, and close the gap that it leaves."""
    cdef size_t gap = pointers_find(pointers, pointer), slot = gap, home
    while True:
        slot = (slot + 1) & pointers.mask
        if pointers.slots[slot] == NULL:
            break
        home = pointers_home(pointers, pointers.slots[slot])
        if ((slot - home) & pointers.mask) >= ((slot - gap) & pointers.mask):
            pointers.slots[gap] = pointers.slots[slot]
            gap = slot
    pointers.slots[gap] = NULL
    pointers.size -= 1


cdef inline void pointers_clear(Pointers* pointers) noexcept nogil:
    free(pointers.slots)
    pointers.slots = NULL
    pointers.mask = 0
    pointers.size = 0
